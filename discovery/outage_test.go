package discovery

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
)

// dial connects over TCP and comes back quickly, for tests that restart a server in real time.
func dial(tb testing.TB, srv *server.Server) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(srv.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// restart puts another server in the place of srv, after down.
func restart(tb testing.TB, srv *server.Server, dir string, down time.Duration) {
	tb.Helper()
	addr, ok := srv.Addr().(*net.TCPAddr)
	if !ok {
		tb.Fatalf("listens on %v", srv.Addr())
	}
	natstest.Stop(srv)
	<-time.After(down)
	natstest.Listen(tb, dir, addr.Port)
}

// fast is for tests of outages. They run in real time: a server cannot be stopped in a synctest
// bubble while clients wait for messages, because it sleeps while it holds locks.
func fast() Config { return Config{TTL: time.Second, Heartbeat: 250 * time.Millisecond} }

func TestChangeRightAfterARestartIsSeenWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := natstest.Listen(t, dir, 0)
	a, b := peerOn(t, dial(t, srv), Config{}), peerOn(t, dial(t, srv), Config{})
	a.join(t, "node1")
	b.await(t, "online", online("node1"))
	changes := b.Watch(t.Context())

	restart(t, srv, dir, 100*time.Millisecond)
	up := time.Now()
	a.join(t, "node2")
	if c := receive(t, changes); c.Change != Joined || c.Node.ID != "node2" {
		t.Errorf("change %+v, want node2 joined and nothing about node1", c)
	}
	if took := time.Since(up); took > 2*time.Second {
		t.Errorf("seen %v after the restart", took)
	}
}

func TestReconnectsLeaveNoConsumersBehind(t *testing.T) {
	t.Parallel()
	srv := natstest.Listen(t, t.TempDir(), 0)
	nc := dial(t, srv)
	p := peerOn(t, nc, Config{})
	for range 5 {
		connected := nc.StatusChanged(nats.CONNECTED)
		if err := nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		receive(t, connected)
		nc.RemoveStatusListener(connected)
		m := p.join(t, "node1") // listed means that it follows again
		if err := m.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := p.js.Stream(t.Context(), streamName("catga_nodes"))
	if err != nil {
		t.Fatal(err)
	}
	// A removal that was on its way when the connection went is lost: then the server removes it.
	for limit := time.After(consumerLife + 10*time.Second); ; {
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.State.Consumers == 1 {
			return
		}
		select {
		case <-limit:
			t.Fatalf("%d consumers after 5 reconnects", info.State.Consumers)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestServerDownLongerThanTheTTLLosesOnlyTheDead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := natstest.Listen(t, dir, 0)
	a, b, dead := peerOn(t, dial(t, srv), fast()), peerOn(t, dial(t, srv), fast()), peerOn(t, dial(t, srv), fast())
	members := []*Member{a.join(t, "node1", "Order"), b.join(t, "node2", "Order")}
	dead.join(t, "node3", "Order")
	b.await(t, "online", online("node1", "node2", "node3"))
	changes := b.Watch(t.Context())
	dead.nc.Close()

	restart(t, srv, dir, 1500*time.Millisecond)
	if c := receive(t, changes); c.Node.ID != "node3" || c.Change != Lost {
		t.Errorf("change %s of %s, want only node3 lost", c.Change, c.Node.ID)
	}
	a.await(t, "the same", online("node1", "node2"))
	for _, m := range members {
		if m.Err() != nil {
			t.Errorf("member: %v", m.Err())
		}
	}
}

func TestNodesCutOffLongerThanTheTTLReturnAsIfNothingHadBeen(t *testing.T) {
	t.Parallel()
	w := wires{srv: natstest.Start(t)}
	a, b := peerOn(t, w.connect(t), fast()), peerOn(t, w.connect(t), fast())
	members := []*Member{a.join(t, "node1", "Order"), b.join(t, "node2", "Order")}
	b.await(t, "online", online("node1", "node2"))
	changes := b.Watch(t.Context())

	w.cut()
	<-time.After(1500 * time.Millisecond)
	if got := b.Handling("Order"); !equal(got, []string{"node1", "node2"}) {
		t.Errorf("handling while cut off: %v", got)
	}
	w.mend()
	select {
	case c := <-changes:
		t.Errorf("change %+v", c)
	case <-time.After(2300 * time.Millisecond): // longer than the moment in which the missing are doubted
	}
	for i, m := range members {
		if m.Err() != nil {
			t.Errorf("member: %v", m.Err())
		}
		if e, err := b.kv.Get(t.Context(), m.id); err != nil {
			t.Errorf("entry of node%d: %v, %v", i+1, e, err)
		}
	}
}

func TestNodeBeatsAtOnceWhenItsConnectionIsBack(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	w := wires{srv: srv}
	a, b := peerOn(t, w.connect(t), Config{}), newPeer(t, srv, Config{})
	a.join(t, "node1")
	b.await(t, "online", online("node1"))
	before, _ := b.Lookup("node1")
	w.cut()
	w.mend()
	b.awaitWithin(t, 5*time.Second, "beaten before the heartbeat of 10s", func(nodes []Node) bool {
		return nodes[0].LastSeen.After(before.LastSeen)
	})
}

func TestLeaveWhileCutOffEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := wires{srv: natstest.Start(t)}
	a := peerOn(t, w.connect(t), Config{})
	m := a.join(t, "node1")
	w.cut()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := m.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("leave while cut off: %v", err)
	}
	connected := a.nc.StatusChanged(nats.CONNECTED)
	w.mend()
	receive(t, connected)
	a.nc.RemoveStatusListener(connected)
	if err := m.Leave(t.Context()); err != nil {
		t.Errorf("leave when the connection is back: %v", err)
	}
	if _, err := a.kv.Get(t.Context(), "node1"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("entry after leave: %v", err)
	}
}
