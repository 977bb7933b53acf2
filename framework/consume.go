package framework

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/catga-go/catga/streams"
)

// consumer is what a running node has going for one handler: a pool of workers, and a loop for each
// name of its kind. A request's pool is also fed by the node's direct loop.
type consumer struct {
	h       *handler
	pool    *streams.Pool // nil for QoS 0
	loops   []*streams.Loop
	signals *signals // QoS 0 only
}

func (c *consumer) busy() int {
	if c.signals != nil {
		return int(c.signals.busy.Load())
	}
	return c.pool.Running()
}

// directCredits bounds how many requests sent to this node itself it holds at once.
const directCredits = 64

// startConsumers starts what is registered and does not run yet. Only Run calls it. Every durable is
// there before the first handler runs, so that what a handler publishes misses no new group. What has
// been started when it fails is stopped with the rest.
func (n *Node) startConsumers(ctx, handlers context.Context) error {
	var fresh []*consumer
	for key, h := range n.handlers.all() {
		if _, started := n.consumers.get(key); started {
			continue
		}
		c, err := n.newConsumer(handlers, h)
		if err != nil {
			return err
		}
		n.consumers.add(key, c)
		fresh = append(fresh, c)
	}
	for _, c := range fresh {
		if err := c.prepare(ctx); err != nil {
			return err
		}
	}
	for _, c := range fresh {
		if err := c.start(ctx, n); err != nil {
			return err
		}
	}
	return n.startDirect(ctx)
}

func (n *Node) newConsumer(handlers context.Context, h *handler) (*consumer, error) {
	if h.ref.QoS == AtMostOnce {
		return &consumer{h: h, signals: n.newSignals(handlers, h)}, nil
	}
	c := &consumer{h: h, pool: streams.NewPool(h.cfg.concurrency, func(d *streams.Delivery) { n.consume(h, d) })}
	for _, kind := range h.kinds() {
		loop, err := n.newLoop(n.loopConfig(c, kind), GroupLag{Kind: kind, Group: h.ref.Group})
		if err != nil {
			return nil, errors.Join(c.failed(err), c.pool.Drain(handlers))
		}
		c.loops = append(c.loops, loop)
	}
	return c, nil
}

func (c *consumer) prepare(ctx context.Context) error {
	for _, l := range c.loops {
		if err := l.Prepare(ctx); err != nil {
			return c.failed(err)
		}
	}
	return nil
}

func (c *consumer) start(ctx context.Context, n *Node) error {
	if c.signals != nil {
		return c.failed(c.signals.start(ctx, n, c.h))
	}
	for _, l := range c.loops {
		if err := l.Start(ctx); err != nil {
			return c.failed(err)
		}
	}
	if c.h.spec.request {
		for _, kind := range c.h.kinds() {
			n.pools.add(kind, c.pool)
		}
	}
	return nil
}

func (c *consumer) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("consume %s as group %s: %w", c.h.ref.Kind, c.h.ref.Group, err)
}

// loopConfig is how one kind is consumed. A former name has a durable of its own, the one it always
// had, so that a group keeps its position through a renaming, and old and new versions of a program
// can run side by side.
func (n *Node) loopConfig(c *consumer, kind string) streams.LoopConfig {
	h := c.h
	stream, filters := h.subjects(n.names, kind)
	cfg := streams.LoopConfig{
		Stream: stream, Durable: n.names.Durable(h.ref.Group, kind), FilterSubjects: filters,
		FromStart: h.cfg.fromStart, AckWait: h.cfg.ackWait, Credits: h.cfg.concurrency + h.prefetch(),
		Pool: func(*streams.Delivery) *streams.Pool { return c.pool },
	}
	if !h.spec.request && h.cfg.scope == everyNode {
		cfg.InactiveThreshold = n.cfg.ForgetAfter
	}
	return cfg
}

// prefetch is how many messages wait beside those that run. Events have something to gain from being
// at hand. Requests wait in the stream, where any node that has room can take them.
func (h *handler) prefetch() int {
	if h.spec.request {
		return 0
	}
	return h.cfg.concurrency
}

func (n *Node) newLoop(cfg streams.LoopConfig, lag GroupLag) (*streams.Loop, error) {
	cfg.InfoInterval, cfg.Logger, cfg.Mode = n.cfg.LagInterval, n.log, n.cfg.Provision.mode()
	if hook := n.cfg.Hooks.Lag; hook != nil {
		cfg.OnInfo = func(i streams.Info) {
			lag.Pending, lag.AckPending, lag.OldestAge = i.NumPending, uint64(max(i.NumAckPending, 0)), i.Oldest
			hook(lag)
		}
	}
	return streams.NewLoop(n.conns.consume, n.consumeJS, cfg)
}

// startDirect consumes what is sent to this node itself, once it handles any request: one durable
// for all kinds, each delivery going to its kind's pool.
func (n *Node) startDirect(ctx context.Context) error {
	if n.direct != nil || len(n.pools.all()) == 0 {
		return nil
	}
	n.strangers = streams.NewPool(1, n.consumeStranger)
	loop, err := n.newLoop(streams.LoopConfig{
		Stream: n.names.Requests(), Durable: n.names.DirectDurable(n.cfg.NodeID),
		FilterSubjects: []string{n.names.DirectAll(n.cfg.NodeID)}, AckWait: n.shortestAckWait(), Credits: directCredits,
		Pool: n.poolOf,
	}, GroupLag{Kind: "*", Group: "node=" + n.cfg.NodeID})
	if err == nil {
		err = loop.Start(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("consume requests to node %s: %w", n.cfg.NodeID, err), n.strangers.Drain(ctx))
	}
	n.direct = loop
	return nil
}

func (n *Node) poolOf(d *streams.Delivery) *streams.Pool {
	if kind, ok := n.names.KindOfDirect(n.cfg.NodeID, d.Subject); ok {
		if pool, ok := n.pools.get(kind); ok {
			return pool
		}
	}
	return n.strangers
}

func (n *Node) shortestAckWait() time.Duration {
	var shortest time.Duration
	for _, h := range n.handlers.all() {
		if h.spec.request && (shortest == 0 || h.cfg.ackWait < shortest) {
			shortest = h.cfg.ackWait
		}
	}
	return shortest
}

const (
	strangerDelay = 5 * time.Second
	strangerAge   = time.Hour
)

// consumeStranger is for requests to this node of a kind that it has no handler for, as a newer
// version of the program may have: they are handed back until that one is there, for an hour.
func (n *Node) consumeStranger(d *streams.Delivery) {
	h := &handler{
		spec: &typeSpec{request: true, qos: AtLeastOnce}, cfg: defaultHandlerConfig(),
		ref: HandlerRef{Group: requestGroup, Node: n.cfg.NodeID},
	}
	r := &run{arrival: h.read(d), h: h}
	if r.lease = n.currentLease(r); r.lease == nil {
		return // dropped
	}
	o := outcome{fate: fateBusy, after: strangerDelay}
	if time.Since(d.Published) > strangerAge {
		o = bury(ReasonUnknownKind, fmt.Errorf("node %s has had no handler for %s since %v", n.cfg.NodeID, r.kind, strangerAge))
	}
	n.logOutcome(r, n.settle(r, o))
}

// stopConsumers ends the consumption: nothing new arrives, what no worker has started goes back at
// once, and the running handlers are waited for until ctx ends. It may be called again.
func (n *Node) stopConsumers(ctx context.Context) error {
	var stop, drain []func() error
	for _, c := range n.consumers.all() {
		stop = append(stop, func() error { c.stopLoops(); return nil })
		drain = append(drain, func() error { return c.drain(ctx) })
	}
	if n.direct != nil {
		stop = append(stop, func() error { n.direct.Stop(); return nil })
		drain = append(drain, func() error { return n.strangers.Drain(ctx) })
	}
	return errors.Join(inParallel(stop), inParallel(drain))
}

// inParallel runs the jobs at once, waits for all of them, and joins their errors.
func inParallel(jobs []func() error) error {
	errs := make([]error, len(jobs))
	var wg sync.WaitGroup
	for i, job := range jobs {
		wg.Go(func() { errs[i] = job() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *consumer) stopLoops() {
	for _, l := range c.loops {
		l.Stop()
	}
}

func (c *consumer) drain(ctx context.Context) error {
	var err error
	if c.signals != nil {
		err = c.signals.stop(ctx)
	} else {
		err = c.pool.Drain(ctx)
	}
	if err != nil {
		return fmt.Errorf("handler of %s in group %s: %w", c.h.ref.Kind, c.h.ref.Group, err)
	}
	return nil
}

// alone runs f while no other suspect runs on this node, and waits for it. The goroutine of keepLane
// does it; when the node stops, nothing is run.
func (n *Node) alone(f func() outcome) outcome {
	done := make(chan outcome, 1)
	select {
	case n.lane <- func() { done <- f() }:
		return <-done
	case <-n.settling.Done():
		return outcome{fate: fateLeft}
	}
}

// keepLane runs suspects, messages whose handler has died with its process before, one at a time,
// so that at most one of them can take its neighbours down and be blamed with them.
func (n *Node) keepLane(ctx context.Context) {
	for {
		select {
		case f := <-n.lane:
			f()
		case <-ctx.Done():
			return
		}
	}
}
