package discovery

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// peer is one process of a cluster: a connection and a registry on it.
type peer struct {
	*Registry

	nc *nats.Conn
	js jetstream.JetStream
}

// newPeer opens a registry on a connection of its own.
func newPeer(tb testing.TB, srv *server.Server, cfg Config) *peer {
	tb.Helper()
	return peerOn(tb, natstest.Connect(tb, srv), cfg)
}

func peerOn(tb testing.TB, nc *nats.Conn, cfg Config) *peer {
	tb.Helper()
	js := natstest.JetStream(tb, nc)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := Open(ctx, nc, js, cfg)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(r.Close)
	return &peer{Registry: r, nc: nc, js: js}
}

// join makes p the node id, which handles kinds.
func (p *peer) join(tb testing.TB, id string, kinds ...string) *Member {
	tb.Helper()
	return p.joinAs(tb, describe(id, kinds...))
}

func (p *peer) joinAs(tb testing.TB, self func() Node) *Member {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := p.Join(ctx, self)
	if err != nil {
		tb.Fatalf("join: %v", err)
	}
	return m
}

func describe(id string, kinds ...string) func() Node {
	return func() Node { return Node{ID: id, Endpoint: "http://" + id, Kinds: kinds} }
}

// await waits until ok holds for the nodes of p, for at most a minute.
func (p *peer) await(tb testing.TB, what string, ok func([]Node) bool) {
	tb.Helper()
	p.awaitWithin(tb, time.Minute, what, ok)
}

func (p *peer) awaitWithin(tb testing.TB, limit time.Duration, what string, ok func([]Node) bool) {
	tb.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		s := p.current.Load()
		if ok(s.nodes) {
			return
		}
		select {
		case <-s.replaced:
		case <-deadline.C:
			tb.Fatalf("after %v still not %s: %+v", limit, what, s.nodes)
		}
	}
}

// online says whether exactly these nodes are online.
func online(ids ...string) func([]Node) bool {
	return func(nodes []Node) bool {
		var on []string
		for _, n := range nodes {
			if n.Online {
				on = append(on, n.ID)
			}
		}
		return equal(on, ids)
	}
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// receive takes the next value, and gives up after a minute.
func receive[T any](tb testing.TB, from <-chan T) T {
	tb.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			tb.Fatal("channel is closed")
		}
		return v
	case <-time.After(time.Minute):
		tb.Fatal("nothing received within a minute")
	}
	panic("unreachable")
}

// awaitClosed waits until the channel is closed.
func awaitClosed[T any](tb testing.TB, done <-chan T) {
	tb.Helper()
	select {
	case _, ok := <-done:
		if ok {
			tb.Fatal("received a value from a channel that should be closed")
		}
	case <-time.After(time.Minute):
		tb.Fatal("not closed within a minute")
	}
}

// wires connects clients to an in-process server, and can be cut.
type wires struct {
	srv *server.Server

	mu   sync.Mutex
	down bool
	open []net.Conn
}

// InProcessConn is what the client calls to connect.
func (w *wires) InProcessConn() (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, net.ErrClosed
	}
	conn, err := w.srv.InProcessConn()
	w.open = append(w.open, conn)
	return conn, err
}

func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for _, conn := range w.open {
		_ = conn.Close()
	}
	w.open = nil
}

func (w *wires) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}

func (w *wires) connect(tb testing.TB) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(w), nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(nc.Close)
	return nc
}
