package framework

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/discovery"
	"github.com/catga-go/catga/idempotency"
	"github.com/catga-go/catga/streams"
)

// A Node is one member of the cluster. All methods, and the functions that take a node, are safe for
// concurrent use. It is made by [Connect].
type Node struct {
	cfg       Config
	log       *slog.Logger
	instance  string // names this life of the node
	startedAt time.Time
	names     streams.Names
	codecs    codecs
	publish   PublishFunc // middleware, then dispatch

	conns     conns
	watcher   *watcher
	consumeJS jetstream.JetStream
	publisher *streams.Publisher
	claims    *idempotency.Store
	registry  *discovery.Registry
	calls     *calls
	nodesTold chan struct{} // closed when tellNodes has ended; nil if it never began

	outKinds   table[outKey, *outKind]
	kindOwners table[string, kindOwner]
	kindHooks  table[KindRef, func() doneFunc] // of Hooks.Kind
	callHooks  table[KindRef, func() doneFunc] // of Hooks.Requests
	handlers   table[handlerKey, *handler]
	failures   atomic.Pointer[[]error] // of registrations

	phase    atomic.Int32                 // written by Run
	closed   atomic.Bool                  // Close has begun
	stopping chan struct{}                // closed by Close: ends Run
	ended    chan struct{}                // closed by Close once nothing works any more: ends waiting callers
	closing  chan struct{}                // closed when Close is through
	closeErr error                        // of Close; read after closing
	woken    chan struct{}                // 1 long: there is a new registration
	settled  chan struct{}                // closed when Run consumes or has failed
	ran      chan struct{}                // closed when Run has returned
	runErr   atomic.Pointer[error]        // why Run did not come to consume, or has failed
	settling context.Context              //nolint:containedctx // for what must go through after a run's context has ended
	abandon  context.CancelFunc           // ends settling
	lease    atomic.Pointer[lease]        // the present one; written by Run and keepLease
	lane     chan func()                  // see keepLane
	pools    table[string, *streams.Pool] // of the request handlers, by kind

	consumers table[handlerKey, *consumer] // written by Run
	direct    *streams.Loop                // Run's own
	strangers *streams.Pool                // Run's own
}

// phase is where a node is in its life.
type phase int32

const (
	idle phase = iota
	starting
	running
	draining
	drained
)

func (p phase) String() string {
	return [...]string{"not run yet", "starting", "running", "draining", "drained"}[p]
}

// Connect connects and makes sure that the assets exist. From then on Publish, Send and Submit work;
// nothing is consumed, and the node is not listed: a process that only publishes stops here. End it
// with [Node.Close].
//
// It returns a [*ConfigError] for what it cannot use, and an error when no server answers within
// Config.ConnectTimeout, when the server has no JetStream, or when a stream or bucket exists and
// differs in something that cannot be changed. It waits for a cluster that is still electing until
// ctx ends, at most 30s.
func Connect(ctx context.Context, cfg Config) (*Node, error) {
	cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	known, err := newCodecs(cfg.Codec, cfg.KindCodecs)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger.With(slog.String("node_id", cfg.NodeID)), codecs: known,
		instance: rand.Text(), startedAt: time.Now(), names: streams.NewNames(cfg.Namespace),
		stopping: make(chan struct{}), ended: make(chan struct{}), closing: make(chan struct{}),
		woken: make(chan struct{}, 1), settled: make(chan struct{}), ran: make(chan struct{}), lane: make(chan func()),
	}
	n.settling, n.abandon = context.WithCancel(context.WithoutCancel(ctx))
	n.publish = chainPublish(n.dispatch, cfg.PublishMiddleware)
	ctx, cancel := context.WithTimeout(ctx, provisionTimeout)
	defer cancel()
	if err := n.open(ctx); err != nil {
		_ = n.shut(ctx) // nothing was sent that a flush could lose
		return nil, err
	}
	return n, nil
}

const provisionTimeout = 30 * time.Second

// open connects and opens the parts, in the order in which they rely on each other.
func (n *Node) open(ctx context.Context) (err error) {
	n.watcher = &watcher{
		node: n.cfg.NodeID, log: n.log, hook: n.cfg.Hooks.Connection, stop: n.settling.Done(),
		reconnected: n.onReconnect,
	}
	if n.conns, err = dial(ctx, &n.cfg, n.watcher); err != nil {
		return err
	}
	publishJS, consumeJS, err := n.conns.jetStreams(n.cfg.Domain)
	if err != nil {
		return err
	}
	n.consumeJS = consumeJS
	if err := n.provision(ctx, publishJS); err != nil {
		return err
	}
	if n.publisher, err = streams.NewPublisher(n.conns.publish, n.names, n.log); err != nil {
		return err
	}
	if n.calls, err = newCalls(n.conns.publish, n.claims); err != nil {
		return fmt.Errorf("subscribe to replies: %w", err)
	}
	return nil
}

func (n *Node) provision(ctx context.Context, js jetstream.JetStream) (err error) {
	mode := n.cfg.Provision.mode()
	err = streams.Provision(ctx, js, streams.Config{
		Namespace: n.cfg.Namespace, Replicas: n.cfg.Replicas, Mode: mode,
		EventsMaxAge: n.cfg.EventsMaxAge, EventsMaxBytes: n.cfg.EventsMaxBytes,
	})
	if err != nil {
		return err
	}
	n.claims, err = idempotency.Open(ctx, js, idempotency.Config{
		Bucket: n.cfg.Namespace + "_dedup", Replicas: n.cfg.Replicas, TTL: n.cfg.DedupTTL,
		MaxKeys: n.cfg.DedupMaxKeys, Lease: n.cfg.Lease, Mode: mode, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.registry, err = discovery.Open(ctx, n.conns.publish, js, discovery.Config{
		Bucket: n.cfg.Namespace + "_nodes", Namespace: n.cfg.Namespace, Replicas: n.cfg.Replicas,
		TTL: n.cfg.NodeTimeout, Heartbeat: n.cfg.Heartbeat, Mode: mode, Logger: n.log,
	})
	if err == nil && n.cfg.Hooks.Nodes != nil {
		n.nodesTold = make(chan struct{})
		go n.tellNodes(n.settling)
	}
	return err
}

func (n *Node) onReconnect() {
	if n.calls != nil {
		n.calls.lookNow()
	}
}

// usable is why nothing can be done with the node, or nil.
func (n *Node) usable() error {
	switch {
	case n == nil:
		return &ConfigError{"node", nil, "is nil; it comes from Connect"}
	case n.closed.Load():
		return ErrClosed
	}
	return nil
}

// Ready is nil while the node is connected, registered, consuming and not draining; else it says
// which of them it is not. It is meant for /readyz.
func (n *Node) Ready() error {
	switch p := phase(n.phase.Load()); {
	case n.closed.Load():
		return ErrClosed
	case p != running:
		return fmt.Errorf("node %s is %s", n.cfg.NodeID, p)
	case !n.conns.publish.IsConnected() || !n.conns.consume.IsConnected():
		return fmt.Errorf("node %s is not connected to NATS", n.cfg.NodeID)
	}
	if l := n.lease.Load(); l.lost() {
		return fmt.Errorf("node %s: %w", n.cfg.NodeID, ErrLeaseLost)
	}
	return nil
}

// WaitReady waits until Run consumes, and returns nil; or until Run has failed, and returns its
// error; or until Run has been told to stop before that, ctx ends, or the node is closed.
func (n *Node) WaitReady(ctx context.Context) error {
	select {
	case <-n.settled:
		if err := n.runErr.Load(); err != nil {
			return *err
		}
		return nil
	case <-n.ended:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for node %s, which is %s: %w", n.cfg.NodeID, phase(n.phase.Load()), ctx.Err())
	}
}

// Conn is the NATS connection that the node publishes with, for what this package does not do. It
// belongs to the node: do not close it.
func (n *Node) Conn() *nats.Conn { return n.conns.publish }

// Close drains a Run that still goes, ends what waits for answers, flushes, and closes the
// connections that the node has opened. When ctx ends first, it closes without waiting any longer
// and returns an error that says so. It is idempotent: a second Close waits for the first. Every later call
// on the node returns [ErrClosed].
func (n *Node) Close(ctx context.Context) error {
	if !n.closed.CompareAndSwap(false, true) {
		select {
		case <-n.closing:
			return n.closeErr
		case <-ctx.Done():
			return fmt.Errorf("close node %s: %w", n.cfg.NodeID, ctx.Err())
		}
	}
	close(n.stopping)
	err := n.awaitRun(ctx)
	n.closeErr = errors.Join(err, n.shut(ctx))
	close(n.closing)
	return n.closeErr
}

// awaitRun waits until Run has returned, if it was ever called.
func (n *Node) awaitRun(ctx context.Context) error {
	if n.phase.CompareAndSwap(int32(idle), int32(drained)) {
		return nil // from now on it cannot be
	}
	select {
	case <-n.ran:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close node %s while it is %s: %w", n.cfg.NodeID, phase(n.phase.Load()), ctx.Err())
	}
}

// shut ends what open has begun, in the opposite order.
func (n *Node) shut(ctx context.Context) error {
	close(n.ended)
	if n.calls != nil {
		n.calls.close()
	}
	if n.registry != nil {
		n.registry.Close()
	}
	n.abandon()
	if n.nodesTold != nil {
		<-n.nodesTold
	}
	if n.publisher != nil {
		n.publisher.Close()
	}
	err := n.conns.close(ctx)
	n.watcher.running.Wait()
	return err
}

// doneFunc is what a hook of a kind has returned; nil if it wants nothing.
type doneFunc = func(outcome string, took time.Duration)

// publishHooks and requestHooks call the user's hook once for each kind, whoever comes first.
func (n *Node) publishHooks(ref KindRef) doneFunc {
	if n.cfg.Hooks.Kind == nil {
		return nil
	}
	done, _ := n.kindHooks.add(ref, sync.OnceValue(func() doneFunc { return n.cfg.Hooks.Kind(ref).Done }))
	return done()
}

func (n *Node) requestHooks(ref KindRef) doneFunc {
	if n.cfg.Hooks.Requests == nil {
		return nil
	}
	done, _ := n.callHooks.add(ref, sync.OnceValue(func() doneFunc { return n.cfg.Hooks.Requests(ref).Done }))
	return done()
}
