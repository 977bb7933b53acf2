package streams

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/jsapi"
)

// lingerTime is how long a loop waits for more room before it asks for little.
const lingerTime = 2 * time.Millisecond

// noFresh as watermark: nothing is fresh.
const noFresh = math.MaxUint64

// pulls is how many requests for messages a loop keeps open: one runs out while the next is ready.
const pulls = 2

// A Loop consumes from one durable for one process. It asks for messages as credits allow, and
// goes on by itself through reconnects, restarts and changes of leader of the server, and when the
// durable is deleted. Three goroutines beside the callbacks of its subscriptions are its whole:
//
//	callback  stamps what arrives and offers it to the pool; counts
//	owner     sends pulls, runs the timers, notices what is lost
//	tender    asks the server: makes sure of the consumer, reads the watermark, polls its info
//
// They share atomics, each with its writers named, and kick each other through channels.
type Loop struct {
	cfg  LoopConfig
	js   jetstream.JetStream
	next string // subject of pulls
	from origin // what deliveries point to

	slots     [pulls]slot
	held      atomic.Int64  // arrived and not settled; callbacks add, settlements subtract
	lingering atomic.Bool   // the linger timer runs; owner writes
	watermark atomic.Uint64 // see setWatermark
	epoch     atomic.Uint64 // counts what makes the watermark stale
	created   atomic.Int64  // of the stream; tender writes
	troubles  atomic.Uint32 // set of trouble not yet seen by the owner
	cause     atomic.Pointer[PullError]
	healthy   atomic.Bool // something good was heard since the last repair
	stopping  atomic.Bool // what arrives goes back

	kick     chan struct{} // 1 long: something for the owner to look at
	repair   chan trouble  // 1 long: owner to tender
	repaired chan error    // 1 long: tender to owner
	state    atomic.Uint32 // idle, started, stopped
	quit     context.CancelFunc
	done     chan struct{} // closed when Stop has done its work
	ended    chan struct{} // one token each from owner and tender

	tended tended // of the tender, and of Start before it
}

const (
	loopIdle uint32 = iota
	loopStarted
	loopStopped
)

// NewLoop checks cfg and prepares a loop; nothing happens before Start. The connection should have
// no reconnect buffer: what it would send late is worthless. Its js context must be of the same
// connection; an API prefix or a domain in it is honoured.
func NewLoop(nc *nats.Conn, js jetstream.JetStream, cfg LoopConfig) (*Loop, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	l := &Loop{
		cfg:      cfg,
		js:       js,
		next:     jsapi.Prefix(js.Options()) + "CONSUMER.MSG.NEXT." + cfg.Stream + "." + cfg.Durable,
		kick:     make(chan struct{}, 1),
		repair:   make(chan trouble, 1),
		repaired: make(chan error, 1),
		done:     make(chan struct{}),
		ended:    make(chan struct{}, 2), // not a semaphore: one token each from two goroutines that end
	}
	l.from.nc, l.from.base, l.from.release = nc, time.Now(), l.release
	l.from.wait.Store(int64(cfg.AckWait))
	l.watermark.Store(noFresh)
	return l, nil
}

// Prepare makes sure of the durable and consumes nothing yet. Who starts several loops prepares all of
// them first: then what the handlers of one publish misses no new group of another. It may be left
// out; it must not be called during or after Start.
func (l *Loop) Prepare(ctx context.Context) error {
	if err := l.mend(ctx, troubled|missing); err != nil {
		return fmt.Errorf("prepare loop %s: %w", l.cfg.Durable, err)
	}
	return nil
}

// Start makes sure of the durable, reads the watermark (see [Delivery.Fresh]) and begins to pull. It
// returns an error if that cannot be done before ctx ends; then nothing is left running, and the loop
// is of no further use. The loop goes on after ctx ends, until Stop.
func (l *Loop) Start(ctx context.Context) error {
	if !l.state.CompareAndSwap(loopIdle, loopStarted) {
		return fmt.Errorf("start loop %s: started before", l.cfg.Durable)
	}
	status := l.from.nc.StatusChanged()
	l.from.up.Store(l.from.nc.IsConnected())
	err := l.mend(ctx, troubled|missing)
	if err == nil {
		err = l.subscribe()
	}
	if err != nil {
		l.from.nc.RemoveStatusListener(status)
		l.state.Store(loopStopped)
		close(l.done)
		return fmt.Errorf("start loop %s: %w", l.cfg.Durable, err)
	}
	l.from.watched.Store(true)
	ctx, l.quit = context.WithCancel(context.WithoutCancel(ctx))
	go l.own(ctx, status)
	go l.tend(ctx)
	return nil
}

func (l *Loop) subscribe() error {
	inbox := l.from.nc.NewInbox()
	for i := range l.slots {
		s := &l.slots[i]
		s.inbox = inbox + "." + strconv.Itoa(i) + "."
		s.closed = make(chan struct{})
		sub, err := l.from.nc.Subscribe(s.inbox+"*", func(m *nats.Msg) { l.receive(s, m) })
		if err == nil {
			s.sub = sub
			sub.SetClosedHandler(func(string) { close(s.closed) })
			if !sub.IsValid() { // the connection has just closed; perhaps before it knew the handler
				s.sub, err = nil, nats.ErrConnectionClosed
			}
		}
		if err == nil {
			// Credits bound what is asked for; a limit here would drop messages silently.
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			l.unsubscribe()
			return fmt.Errorf("subscribe %s: %w", s.inbox, err)
		}
	}
	return nil
}

// Stop ends the loop: the server sends nothing more, and what is already on its way is handed back.
// When it returns, no further delivery is offered to a pool and the loop's goroutines are gone.
// Deliveries already offered stay settleable. It takes a round trip to the server, at most about 2 s.
// It is safe to call it more than once and before Start.
func (l *Loop) Stop() {
	if l.state.CompareAndSwap(loopIdle, loopStopped) {
		close(l.done)
		return
	}
	if l.state.CompareAndSwap(loopStarted, loopStopped) {
		l.quit()
		<-l.ended
		<-l.ended
		l.unsubscribe()
		close(l.done)
	}
	<-l.done
}

// unsubscribe waits until no callback can run any more. It first drains: what the server sent before
// it knew is handed back by the callbacks, behind the UNSUB on the same connection, so that it cannot
// come back here.
func (l *Loop) unsubscribe() {
	for i := range l.slots {
		if sub := l.slots[i].sub; sub != nil && l.from.nc.IsConnected() {
			_ = sub.Drain() // closed already; Unsubscribe below is the fallback
		}
	}
	l.stopping.Store(true)
	patience := time.NewTimer(2 * time.Second)
	defer patience.Stop()
	if !l.from.nc.IsConnected() {
		patience.Reset(0)
	}
	for i := range l.slots {
		s := &l.slots[i]
		if s.sub == nil {
			continue
		}
		select {
		case <-s.closed:
			continue
		case <-patience.C:
			patience.Reset(0) // for the next slot
		}
		_ = s.sub.Unsubscribe() // fails only if closed, which is what is wanted
		<-s.closed
	}
}

// Held is how many messages have arrived and are not settled.
func (l *Loop) Held() int { return int(l.held.Load()) }

// release gives one credit back. It wakes the owner only when there is something to ask for. No
// wake-up is lost: room grows here alone, and the count is changed before it is looked at; that a slot
// becomes idle always wakes the owner.
func (l *Loop) release() {
	held := l.held.Add(-1)
	asked, idle := l.open()
	batch, linger := plan(int64(l.cfg.Credits), held, asked, idle)
	if batch > 0 || (linger && !l.lingering.Load()) {
		l.wake()
	}
}

func (l *Loop) open() (asked, idle int64) {
	for i := range l.slots {
		n := l.slots[i].asked.Load()
		asked += n
		if n == 0 {
			idle++
		}
	}
	return asked, idle
}

func (l *Loop) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}
