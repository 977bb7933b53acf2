package framework

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/catga-go/catga/idempotency"
)

// lease is one session with the claim store, and the context of every handler that runs under it.
type lease struct {
	session *idempotency.Session
	ctx     context.Context //nolint:containedctx // the life of the session, handed to each handler
	end     context.CancelCauseFunc
	next    chan struct{} // closed once another lease has taken this one's place
}

// lost says whether the lease may have passed.
func (l *lease) lost() bool {
	select {
	case <-l.session.Lost():
		return true
	default:
		return false
	}
}

// newLease starts a session; handlers is the context from which those of its handlers come.
func (n *Node) newLease(ctx, handlers context.Context) (*lease, error) {
	session, err := n.claims.StartSession(ctx)
	if err != nil {
		return nil, err
	}
	l := &lease{session: session, next: make(chan struct{})}
	l.ctx, l.end = context.WithCancelCause(handlers)
	return l, nil
}

// keepLease owns the node's lease: when it is lost, its handlers' contexts end at once, and another
// takes its place. A lost session is never resumed. It ends with ctx.
func (n *Node) keepLease(ctx, handlers context.Context) {
	var burials sync.WaitGroup
	defer burials.Wait()
	l := n.lease.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.session.Lost():
		}
		l.end(ErrLeaseLost)
		n.log.LogAttrs(ctx, slog.LevelWarn, "lease lost: handlers are told to stop, their work may be taken over")
		lost := l.session
		burials.Go(func() { endSession(ctx, lost) })
		next, err := n.retryLease(ctx, handlers)
		if err != nil {
			return
		}
		n.lease.Store(next)
		close(l.next)
		n.log.LogAttrs(ctx, slog.LevelInfo, "new lease taken")
		l = next
	}
}

// endSession buries a lost session, so that others need not prove that it is over.
func endSession(ctx context.Context, s *idempotency.Session) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_ = s.End(ctx) // it expires anyway
}

// retryLease tries until there is a new lease or ctx has ended.
func (n *Node) retryLease(ctx, handlers context.Context) (*lease, error) {
	for {
		try, cancel := context.WithTimeout(ctx, n.cfg.Lease)
		l, err := n.newLease(try, handlers)
		cancel()
		if err == nil || ctx.Err() != nil {
			return l, err
		}
		pause := time.NewTimer(100 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, ctx.Err()
		}
	}
}

// currentLease is the lease to work under. While there is none it waits, for as long as the delivery
// is worth it: nil says that it is not.
func (n *Node) currentLease(r *run) *lease {
	l := n.lease.Load()
	if !l.lost() {
		return l
	}
	patience := time.NewTimer(r.AckWait())
	defer patience.Stop()
	select {
	case <-l.next:
		return n.lease.Load()
	case <-patience.C:
		return nil
	case <-n.settling.Done():
		return nil
	}
}
