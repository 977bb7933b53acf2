package framework

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/idempotency"
)

// calls hands replies to the callers that wait for them. One inbox serves the node. A reply is a
// core message and may be lost, so whoever has waited for a second, and everyone after a reconnect,
// also looks at the stored result: by key, one goroutine for all, never a watch per caller.
type calls struct {
	store   *idempotency.Store
	prefix  string // of the inbox, with its dot
	inboxes *nats.Subscription
	waiting sync.Map           // token → *call
	look    chan struct{}      // 1 long
	quit    context.CancelFunc // ends keepLooking
	ended   chan struct{}
}

// call is one request that waits for its answer.
type call struct {
	token, key, hash string
	since            time.Time
	answer           chan reply                // takes one; later ones are duplicates
	abandoned        atomic.Pointer[time.Time] // when its caller gave up and could not withdraw it; else nil
}

const (
	lookEvery  = time.Second
	abandonFor = time.Minute // how long an abandoned request is tried to be withdrawn
)

func newCalls(nc *nats.Conn, store *idempotency.Store) (*calls, error) {
	c := &calls{
		store: store, prefix: nc.NewInbox() + ".",
		look: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	var err error
	c.inboxes, err = nc.Subscribe(c.prefix+"*", func(m *nats.Msg) {
		if r, err := decodeReply(m.Data); err == nil { // garbage in an inbox answers nobody
			c.deliver(strings.TrimPrefix(m.Subject, c.prefix), r)
		}
	})
	if err != nil {
		return nil, err
	}
	ctx, quit := context.WithCancel(context.Background())
	c.quit = quit
	go c.keepLooking(ctx)
	return c, nil
}

func (c *calls) inbox(token string) string { return c.prefix + token }

func (c *calls) open(token, key, hash string) *call {
	w := &call{token: token, key: key, hash: hash, since: time.Now(), answer: make(chan reply, 1)}
	c.waiting.Store(token, w)
	return w
}

func (c *calls) deliver(token string, r reply) {
	w, ok := c.waiting.Load(token)
	if !ok {
		return
	}
	select {
	case w.(*call).answer <- r: //nolint:forcetypeassert // the only type stored
	default: // answered already
	}
}

// done forgets a call.
func (c *calls) done(w *call) { c.waiting.Delete(w.token) }

// abandon leaves a call that could not be withdrawn to the looking goroutine.
func (c *calls) abandon(w *call) {
	now := time.Now()
	w.abandoned.Store(&now)
}

// lookNow makes the goroutine look for all waiting calls at once: after a reconnect.
func (c *calls) lookNow() {
	select {
	case c.look <- struct{}{}:
	default: // it is about to
	}
}

func (c *calls) close() {
	_ = c.inboxes.Unsubscribe() // fails only where there is no subscription any more
	c.quit()
	<-c.ended
}

// keepLooking owns the looking; close ends it, a look that is under way included.
func (c *calls) keepLooking(ctx context.Context) {
	defer close(c.ended)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.lookFor(ctx, lookEvery)
		case <-c.look:
			c.lookFor(ctx, 0)
		}
	}
}

// lookFor reads the stored result of every call that has waited for at least age. Where the server
// does not answer, the others are left for the next time.
func (c *calls) lookFor(ctx context.Context, age time.Duration) {
	c.waiting.Range(func(_, v any) bool {
		w := v.(*call) //nolint:forcetypeassert // the only type stored
		if since := w.abandoned.Load(); since != nil {
			return c.withdrawAbandoned(ctx, w, *since)
		}
		return time.Since(w.since) < age || c.lookUp(ctx, w)
	})
}

// withdrawAbandoned reports whether the server answered.
func (c *calls) withdrawAbandoned(ctx context.Context, w *call, since time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	_, _, err := c.store.Withdraw(ctx, w.key, w.token)
	if err == nil || time.Since(since) > abandonFor {
		c.done(w)
	}
	return err == nil
}

// lookUp delivers the answer that the record of a call holds, if it holds one. It reports whether
// the server answered.
func (c *calls) lookUp(ctx context.Context, w *call) bool {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	rec, err := c.store.Get(ctx, w.key)
	if err != nil {
		return errors.Is(err, idempotency.ErrNotFound)
	}
	if r, ok := storedReply(rec, w.hash); ok {
		c.deliver(w.token, r)
	}
	return true
}

// storedReply is the answer in a record; hash is the fingerprint of the asker's payload, "" to not
// compare it.
func storedReply(rec idempotency.Record, hash string) (reply, bool) {
	if hash != "" && rec.Hash != "" && rec.Hash != hash {
		return reply{Status: replyReused}, true
	}
	if rec.State != idempotency.Done && rec.State != idempotency.Dead {
		return reply{}, false
	}
	r, err := decodeReply(rec.Result)
	if err != nil {
		return reply{Status: replyFailed, Message: err.Error()}, true
	}
	return r, true
}
