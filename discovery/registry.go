package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/provision"
)

// A Registry is this process's view of the cluster's nodes, and the way to become one of them.
type Registry struct {
	cfg Config
	log *slog.Logger
	nc  *nats.Conn // on which members answer
	js  jetstream.JetStream
	kv  jetstream.KeyValue

	current atomic.Pointer[snapshot] // stored by the owner goroutine only

	observed chan observation // from the follower; buffered so that a burst becomes one snapshot
	reread   chan struct{}    // to the follower; one request is as good as many
	joining  chan func()      // members' loops, which the owner starts and waits for

	ready   chan struct{} // closed when the first snapshot is complete
	closing chan struct{} // closed when Close has been called
	closed  chan struct{} // closed when every goroutine has ended
	cancel  context.CancelFunc
}

// Open makes sure that the bucket exists, begins to follow it, and returns once every node in it
// is listed. It fails when ctx ends before that, with a [*ConfigError] for a bad setting, and with
// what the server says about the bucket. nc carries the question whether a node is alive; js may
// be on the same connection or another one. Neither is closed by the registry.
func Open(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, cfg Config) (*Registry, error) {
	if nc == nil || js == nil {
		return nil, fmt.Errorf("open node registry: %w", &ConfigError{"connection", nc, "want one"})
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("open node registry: %w", err)
	}
	if _, err := provision.Stream(ctx, js, cfg.stream(), cfg.Mode); err != nil {
		return nil, fmt.Errorf("open node registry: %w", err)
	}
	kv, err := js.KeyValue(ctx, cfg.Bucket)
	if err != nil {
		return nil, fmt.Errorf("open node registry: bind bucket %s: %w", cfg.Bucket, err)
	}
	r := newRegistry(nc, js, kv, cfg)
	select {
	case <-r.ready:
		return r, nil
	case <-ctx.Done():
		r.Close()
		return nil, fmt.Errorf("open node registry: read bucket %s: %w", cfg.Bucket, ctx.Err())
	}
}

func newRegistry(nc *nats.Conn, js jetstream.JetStream, kv jetstream.KeyValue, cfg Config) *Registry {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Registry{
		cfg: cfg, log: cfg.Logger, nc: nc, js: js, kv: kv,
		observed: make(chan observation, pullBatch), reread: make(chan struct{}, 1), joining: make(chan func()),
		ready: make(chan struct{}), closing: make(chan struct{}), closed: make(chan struct{}), cancel: cancel,
	}
	first := newSnapshot([]Node{}, []bool{})
	first.handling, first.moved = map[string]group{}, make(chan struct{})
	r.current.Store(first)
	go r.own(ctx)
	return r
}

// Close stops following and beating, and returns when it has stopped. Members that have not left
// expire after the TTL. The last snapshot stays readable; [Registry.Watch] channels are closed.
// Closing twice is harmless.
func (r *Registry) Close() {
	r.cancel()
	<-r.closed
}

// own is the owner goroutine. It alone touches the table and stores snapshots; it starts and waits
// for the follower and the members' loops.
func (r *Registry) own(ctx context.Context) {
	defer close(r.closed)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer close(r.closing)
	f := &follower{js: r.js, nc: r.js.Conn(), cfg: r.cfg, log: r.log, out: r.observed, reread: r.reread}
	tasks.Go(func() { f.run(ctx) })
	t := newTable(r.cfg)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case loop := <-r.joining:
			tasks.Go(loop)
			continue
		case o := <-r.observed:
			r.note(t, o)
		case <-timer.C:
		}
		r.turn(t)
		timer.Reset(time.Until(t.due(time.Now())))
	}
}

// note takes in o and whatever else waits by now, so that a burst costs one snapshot.
func (r *Registry) note(t *table, o observation) {
	t.observe(o, time.Now())
	for range len(r.observed) {
		t.observe(<-r.observed, time.Now()) // never blocks: nobody else receives
	}
}

// turn lets time pass and publishes what has changed. Before the first reading is complete nothing
// is published: half a cluster is no cluster.
func (r *Registry) turn(t *table) {
	if t.pass(time.Now()) {
		wake(r.reread)
	}
	first := !isClosed(r.ready)
	if first && !t.following {
		return
	}
	if t.dirty {
		r.publish(newSnapshot(t.list()))
	}
	if first {
		close(r.ready)
	}
}

func (r *Registry) publish(next *snapshot) {
	old := r.current.Load()
	moved := next.succeed(old)
	r.current.Store(next)
	close(old.replaced)
	if moved {
		close(old.moved)
	}
}

// Nodes returns every node that is online, and those that left or were lost less than Config.Forget
// ago, offline, by ID: an operator wants to see what has gone as well as what is there. Nodes that
// were gone before this registry was opened are not known to it. The slice and what is in it are
// shared: do not modify them.
func (r *Registry) Nodes() []Node { return r.current.Load().nodes }

// Lookup returns one of [Registry.Nodes].
func (r *Registry) Lookup(id string) (Node, bool) {
	node, _, ok := r.current.Load().lookup(id)
	return node, ok
}

// Handling returns the IDs of the nodes that are online, not draining, and list kind; nil if there
// are none. It neither computes nor allocates. The slice is shared: do not modify it.
func (r *Registry) Handling(kind string) []string { return r.current.Load().handling[kind].ids }

// Next returns one of [Registry.Handling] by round robin, or false if there is none. Turns are
// counted per kind and process, exactly evenly while the nodes stay the same.
func (r *Registry) Next(kind string) (id string, ok bool) { return r.current.Load().next(kind) }

// Changed returns a channel that is closed when the membership changes: a node has joined, left,
// been lost or restarted, begins to drain, or handles other kinds. Take the channel first, then
// look, then wait: no change can slip through in between. Load and heartbeats do not count.
func (r *Registry) Changed() <-chan struct{} { return r.current.Load().moved }

// wake leaves a signal for a reader that may be busy; a signal already there is enough.
func wake(signal chan<- struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
