package idempotency

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// tombstoneTTL is how long it stands proved that a session is over; after that it is proved anew.
const tombstoneTTL = 10 * time.Minute

// Session holds claims in the name of one process for as long as its lease is renewed. See
// [Store.StartSession].
type Session struct {
	store *Store
	id    string
	key   string
	lease lease
	lost  chan struct{}
	quit  context.CancelFunc
	gone  chan struct{} // closed when the renewing goroutine has returned

	rev      uint64        // of the session's key; the goroutine's until gone is closed
	buried   atomic.Bool   // the tombstone is written
	nonces   atomic.Uint64 // each write of a record has one of its own
	inFlight sync.Map      // key → *Claim: what goroutines of this session are at
}

// StartSession takes a lease and starts the goroutine that renews it every quarter of
// [Config.Lease]. It waits for the server until ctx ends; the session does not depend on ctx. End it
// with [Session.End].
func (s *Store) StartSession(ctx context.Context) (*Session, error) {
	se := &Session{store: s, id: rand.Text(), lost: make(chan struct{}), gone: make(chan struct{})}
	se.key = sessionKey(se.id)
	sent, err := se.renewOnce(ctx)
	if err != nil {
		return nil, fmt.Errorf("start session: %w", err)
	}
	se.lease.start(sent, s.lease)
	ctx, se.quit = context.WithCancel(context.WithoutCancel(ctx))
	go se.keep(ctx)
	return se, nil
}

// ID names the session; no other ever has the same.
func (se *Session) ID() string { return se.id }

// Lost is closed when the session may be over although nobody ended it: its lease has passed by the
// local monotonic clock, counted from the sending of the last renewal that was acknowledged, or a
// renewal met its tombstone. Its claims may be taken from then on, so the runs under them should
// stop; what they finish is still recorded where nobody took over. A lost session never comes
// back: end it and start another. Lost is not closed by [Session.End].
func (se *Session) Lost() <-chan struct{} { return se.lost }

// End stops the renewals and writes the tombstone, so that others need not wait for the lease to
// take what is left: call it when all claims are finished. The goroutine is gone when End returns,
// with an error too, which says that the tombstone may be missing and the lease has to pass. It may
// be called again, by several goroutines, and when the session is lost.
func (se *Session) End(ctx context.Context) error {
	se.quit()
	<-se.gone // prompt: all it does ends with its context
	se.lease.end()
	if se.buried.Load() {
		return nil
	}
	last := found{Record: Record{State: stateAlive, Revision: se.rev}, present: true}
	if _, err := se.store.change(ctx, se.key, last, bury); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	se.buried.Store(true)
	return nil
}

// bury is the plan that ends in a tombstone, whoever wrote it.
func bury(f found) (move, error) {
	if f.present && f.State == stateOver {
		return move{act: stop}, nil
	}
	return move{act: write, next: Record{State: stateOver}, ttl: tombstoneTTL}, nil
}

// keep renews the lease until ctx ends or the lease does.
func (se *Session) keep(ctx context.Context) {
	defer close(se.gone)
	tick := time.NewTicker(se.store.lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := se.renew(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			se.store.log.LogAttrs(ctx, slog.LevelWarn, "idempotency session is lost",
				slog.String("session", se.id), slog.Any("error", err))
			close(se.lost)
			return
		}
	}
}

// renew extends the lease, or returns why it is over: not before it is.
func (se *Session) renew(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, se.lease.deadline())
	defer cancel()
	sent, err := se.renewOnce(ctx)
	if err == nil && se.lease.extend(sent, se.store.lease) {
		return nil
	}
	if err == nil {
		return ErrSessionOver
	}
	if !errors.Is(err, ErrSessionOver) {
		<-ctx.Done() // nothing will come of it, but nobody can have taken over yet
	}
	se.lease.end()
	return err
}

// renewOnce writes the session's key until a write is known to be stored, and returns when that one
// was sent. Each attempt has its own nonce: one that is found later, stored after all, counts only
// if it was the last and is not old.
func (se *Session) renewOnce(ctx context.Context) (sent time.Time, err error) {
	nonce := ""
	last := found{Record: Record{State: stateAlive, Revision: se.rev}, present: se.rev > 0}
	rec, err := se.store.change(ctx, se.key, last, func(f found) (move, error) {
		switch {
		case f.present && f.State == stateOver:
			return move{}, ErrSessionOver
		case f.present && f.Revision < se.rev:
			return move{act: again}, nil
		case f.present && nonce != "" && f.Nonce == nonce && time.Since(sent) < se.store.lease/2:
			return move{act: stop}, nil
		}
		// What is absent was forgotten at the bucket's bound, or a lagging replica answered: nobody
		// can have buried this session, so it may write itself again.
		nonce, sent = se.nonce(), time.Now()
		return move{act: write, next: Record{State: stateAlive, Nonce: nonce}, ttl: se.store.lease}, nil
	})
	if err == nil {
		se.rev = rec.Revision
	}
	return sent, err
}

// nonce is unique within the session, and with its ID everywhere.
func (se *Session) nonce() string { return strconv.FormatUint(se.nonces.Add(1), 36) }
