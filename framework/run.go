package framework

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/catga-go/catga/discovery"
)

// Run registers the node, consumes until ctx ends or the node is closed, drains, and returns nil
// after a clean drain. It returns early, with an error, if a registration has failed, if another
// live process has the node's ID ([ErrNodeTaken]), or if the server refuses what consuming needs.
// Publish and Send still work afterwards, until Close. A node runs once.
//
// In the drain the registry says so first and Ready fails; messages that no handler has started are
// handed back at once; running handlers have Config.SoftStop before their context ends, with the
// cause [ErrDraining], and what they return is still settled. A handler that ignores the end of its
// context is reported as an error, not waited for.
func (n *Node) Run(ctx context.Context) error {
	if n.closed.Load() {
		return ErrClosed
	}
	if !n.phase.CompareAndSwap(int32(idle), int32(starting)) {
		return fmt.Errorf("run node %s, which is %s: a node runs once", n.cfg.NodeID, phase(n.phase.Load()))
	}
	defer close(n.ran)
	err := n.run(ctx)
	failed := err
	if failed == nil && phase(n.phase.Load()) == starting {
		failed = fmt.Errorf("node %s was told to stop before it consumed", n.cfg.NodeID)
	}
	if failed != nil {
		n.runErr.Store(&failed)
	}
	if p := phase(n.phase.Swap(int32(drained))); p == starting {
		close(n.settled)
	}
	return err
}

// life is what a running node has beside its consumers.
type life struct {
	member       *discovery.Member
	handlers     context.Context //nolint:containedctx // of every handler
	stopHandlers context.CancelCauseFunc
	keepers      sync.WaitGroup
	stopKeepers  context.CancelFunc
}

func (n *Node) run(ctx context.Context) error {
	if failures := n.failures.Load(); failures != nil {
		return fmt.Errorf("run node %s: %w", n.cfg.NodeID, errors.Join(*failures...))
	}
	l := &life{}
	l.handlers, l.stopHandlers = context.WithCancelCause(context.WithoutCancel(ctx))
	defer l.stopHandlers(ErrDraining)
	start, cancel := n.untilClose(ctx)
	defer cancel()
	err := n.start(start, l)
	if err == nil {
		err = n.serve(start, l)
	}
	return errors.Join(n.unlessTold(start, err), n.drain(l))
}

// unlessTold is err, unless all that is wrong is that the node was told to stop while it started.
func (n *Node) unlessTold(stop context.Context, err error) error {
	if err != nil && stop.Err() == nil {
		return fmt.Errorf("run node %s: %w", n.cfg.NodeID, err)
	}
	return nil
}

// untilClose is ctx, ended by Close, too.
func (n *Node) untilClose(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-n.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// start takes a lease, takes the node's ID, and consumes.
func (n *Node) start(ctx context.Context, l *life) error {
	lease, err := n.newLease(ctx, l.handlers)
	if err != nil {
		return err
	}
	n.lease.Store(lease)
	if l.member, err = n.registry.Join(ctx, n.self); err != nil {
		if errors.Is(err, discovery.ErrTaken) {
			return fmt.Errorf("%w: %w", ErrNodeTaken, err)
		}
		return err
	}
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stopKeepers = stop
	l.keepers.Go(func() { n.keepLease(keep, l.handlers) })
	l.keepers.Go(func() { n.keepLane(keep) })
	if err := n.startConsumers(ctx, l.handlers); err != nil {
		return err
	}
	n.phase.Store(int32(running))
	close(n.settled)
	l.member.Beat() // now with its kinds
	n.log.LogAttrs(ctx, slog.LevelInfo, "node runs", slog.Int("handlers", len(n.handlers.all())))
	return nil
}

// serve starts what is registered while the node runs, until the end.
func (n *Node) serve(ctx context.Context, l *life) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.member.Lost():
			return fmt.Errorf("%w: %w", ErrNodeTaken, l.member.Err())
		case <-n.woken:
			if err := n.startConsumers(ctx, l.handlers); err != nil {
				return err
			}
			l.member.Beat()
		}
	}
}

// wake tells serve that there is a new registration.
func (n *Node) wake() {
	select {
	case n.woken <- struct{}{}:
	default: // it has not looked since the last
	}
}

// hardStop is how long handlers may take to notice that their context has ended, and each step of
// saying goodbye to the server.
const hardStop = 5 * time.Second

// drain ends everything that start and serve have begun, in the opposite order.
func (n *Node) drain(l *life) error {
	began := time.Now()
	if phase(n.phase.Load()) == running {
		n.phase.Store(int32(draining))
	}
	if l.member != nil {
		l.member.Beat()
	}
	err := n.drainHandlers(l)
	if l.stopKeepers != nil {
		l.stopKeepers()
		if err == nil { // else the lane may still hold a handler that ignores its context
			l.keepers.Wait()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), hardStop)
	defer cancel()
	if lease := n.lease.Load(); lease != nil {
		n.goodbye(lease.session.End(ctx), "claims are free after the lease")
		lease.end(ErrDraining)
	}
	if l.member != nil {
		n.goodbye(l.member.Leave(ctx), "node is listed until the node timeout")
	}
	n.goodbye(flush(ctx, n.conns.consume), "messages that are done may be delivered again, and are not run")
	if l.member != nil {
		n.log.LogAttrs(ctx, slog.LevelInfo, "node drained", slog.Duration("took", time.Since(began)))
	}
	return err
}

func (n *Node) drainHandlers(l *life) error {
	soft, cancel := context.WithTimeout(context.Background(), n.cfg.SoftStop)
	defer cancel()
	if n.stopConsumers(soft) == nil {
		return nil
	}
	l.stopHandlers(ErrDraining)
	hard, cancel := context.WithTimeout(context.Background(), hardStop)
	defer cancel()
	if err := n.stopConsumers(hard); err != nil {
		return fmt.Errorf("drain node %s: handlers ignore the end of their context: %w", n.cfg.NodeID, err)
	}
	return nil
}

// goodbye logs what could not be said to the server at the end. Nothing is lost by it.
func (n *Node) goodbye(err error, consequence string) {
	if err != nil {
		n.log.LogAttrs(context.Background(), slog.LevelWarn, "last word to the server failed", slog.String("consequence", consequence), errAttr(err))
	}
}
