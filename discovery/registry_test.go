package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
)

func TestEveryRegistrySeesNodesJoinUpdateDrainAndLeave(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a, b, watching := newPeer(t, srv, cfg), newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		changes := watching.Watch(t.Context())

		var kinds atomic.Pointer[[]string]
		kinds.Store(&[]string{"Order"})
		var draining atomic.Bool
		m := a.joinAs(t, func() Node {
			return Node{ID: "node1", Endpoint: "http://1", Kinds: *kinds.Load(), Draining: draining.Load(), Metadata: map[string]string{"zone": "x"}}
		})
		joined := receive(t, changes)
		want := Node{
			ID: "node1", Endpoint: "http://1", Instance: m.Instance(), Kinds: []string{"Order"}, Online: true,
			Metadata: map[string]string{"zone": "x"}, LastSeen: time.Now(),
		}
		near := cmpopts.EquateApproxTime(time.Second)
		if diff := cmp.Diff(Change{Joined, want}, joined, near); diff != "" {
			t.Errorf("first change (-want +got):\n%s", diff)
		}
		b.await(t, "online", online("node1"))

		kinds.Store(&[]string{"Ship", "Order", "Ship"})
		m.Beat()
		if c := receive(t, changes); c.Change != Updated || !equal(c.Node.Kinds, []string{"Order", "Ship"}) {
			t.Errorf("after other kinds: %+v", c)
		}
		if got := watching.Handling("Ship"); !equal(got, []string{"node1"}) {
			t.Errorf("handling Ship: %v", got)
		}

		draining.Store(true)
		m.Beat()
		if c := receive(t, changes); c.Change != Draining || !c.Node.Online {
			t.Errorf("after drain: %+v", c)
		}
		if got := watching.Handling("Ship"); got != nil {
			t.Errorf("a draining node handles Ship: %v", got)
		}

		if err := m.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c := receive(t, changes); c.Change != Left || c.Node.Online || c.Node.Endpoint != "http://1" {
			t.Errorf("after leave: %+v", c)
		}
		for _, p := range []*peer{a, b, watching} {
			p.await(t, "offline", online())
			if n, ok := p.Lookup("node1"); !ok || n.Online {
				t.Errorf("after leave: listed %v, %+v", ok, n)
			}
		}
	})
}

func TestHeartbeatsKeepANodeOnlineAndAreNoChanges(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a, b := newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		a.join(t, "node1", "Order")
		b.await(t, "online", online("node1"))
		first, _ := b.Lookup("node1")
		changes, moved := b.Watch(t.Context()), b.Changed()
		select {
		case c := <-changes:
			t.Errorf("change %+v", c)
		case <-moved:
			t.Error("membership changed")
		case <-time.After(2 * time.Minute):
		}
		last, _ := b.Lookup("node1")
		if age := time.Since(last.LastSeen); age > 11*time.Second || !last.LastSeen.After(first.LastSeen) {
			t.Errorf("last seen %v ago, first seen %v", age, first.LastSeen)
		}
	})
}

func TestKilledNodeIsLostWithinTTLThenListedThenForgotten(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		cfg.Forget = 5 * time.Minute
		a, b, c := newPeer(t, srv, cfg), newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		a.join(t, "node1", "Order")
		b.join(t, "node2", "Order")
		c.await(t, "online", online("node1", "node2"))
		changes := c.Watch(t.Context())

		killed := time.Now()
		a.nc.Close()
		if got := receive(t, changes); got.Change != Lost || got.Node.ID != "node1" || got.Node.Endpoint == "" {
			t.Fatalf("change %+v", got)
		}
		if took := time.Since(killed); took < 19*time.Second || took > 31*time.Second {
			t.Errorf("lost after %v, want 20s to 30s", took)
		}
		b.await(t, "lost for the others", online("node2"))
		if n, ok := c.Lookup("node1"); !ok || n.Online {
			t.Errorf("lost node listed %v, online %v", ok, n.Online)
		}
		if got := c.Handling("Order"); !equal(got, []string{"node2"}) {
			t.Errorf("handling: %v", got)
		}
		lost := time.Now()
		c.awaitWithin(t, 10*time.Minute, "forgotten", func(nodes []Node) bool { return len(nodes) == 1 })
		if took := time.Since(lost); took < cfg.Forget-time.Second || took > cfg.Forget+time.Second {
			t.Errorf("forgotten after %v, want %v", took, cfg.Forget)
		}
	})
}

func TestBeatAfterExpiryRegistersTheNodeAgain(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a, b := newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		stall := make(chan struct{})
		var stalled atomic.Bool
		m := a.joinAs(t, func() Node {
			if stalled.Load() {
				<-stall
			}
			return Node{ID: "node1"}
		})
		b.await(t, "online", online("node1"))
		changes := b.Watch(t.Context())
		stalled.Store(true)
		if c := receive(t, changes); c.Change != Lost {
			t.Fatalf("change %+v", c)
		}
		stalled.Store(false)
		close(stall)
		if c := receive(t, changes); c.Change != Joined || c.Node.Instance != m.Instance() {
			t.Fatalf("change %+v", c)
		}
		if err := m.Err(); err != nil {
			t.Errorf("the member is lost: %v", err)
		}
	})
}

func TestRegistryOpenedLaterSeesWhoIsThere(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	a := newPeer(t, srv, Config{})
	for _, id := range []string{"node3", "node1", "node2"} {
		a.join(t, id, "Order")
	}
	b := newPeer(t, srv, Config{})
	if !online("node1", "node2", "node3")(b.Nodes()) {
		t.Errorf("nodes right after open: %+v", b.Nodes())
	}
	if got := b.Handling("Order"); !equal(got, []string{"node1", "node2", "node3"}) {
		t.Errorf("handling: %v", got)
	}
}

func TestManyNodesAreAllReadByOpen(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	a := newPeer(t, srv, Config{})
	want := 2*pullBatch + 7
	for i := range want {
		id := fmt.Sprintf("node%d", i)
		data, err := encode(Node{ID: id, Instance: "i"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.js.PublishAsync(keyPrefix("catga_nodes")+id, data); err != nil {
			t.Fatal(err)
		}
	}
	awaitClosed(t, a.js.PublishAsyncComplete())
	if got := len(newPeer(t, srv, Config{}).Nodes()); got != want {
		t.Errorf("%d nodes, want %d", got, want)
	}
}

func TestOpenFailsOnABadSetting(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := natstest.Connect(t, srv)
	for setting, cfg := range map[string]Config{
		"Bucket":    {Bucket: "a.b"},
		"Namespace": {Bucket: "b", Namespace: "a b"},
		"Replicas":  {Replicas: -1},
		"TTL":       {TTL: time.Millisecond},
		"Heartbeat": {Heartbeat: 20 * time.Second},
		"Forget":    {Forget: -1},
	} {
		var wrong *ConfigError
		if _, err := Open(t.Context(), nc, natstest.JetStream(t, nc), cfg); !errors.As(err, &wrong) || wrong.Setting != setting {
			t.Errorf("%+v: %v, want a config error about %s", cfg, err, setting)
		}
	}
}

func TestOpenAndJoinRefuseNothing(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	var wrong *ConfigError
	if _, err := Open(t.Context(), nil, nil, Config{}); !errors.As(err, &wrong) {
		t.Errorf("open without a connection: %v", err)
	}
	if _, err := newPeer(t, srv, Config{}).Join(t.Context(), nil); !errors.As(err, &wrong) {
		t.Errorf("join without self: %v", err)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := natstest.Connect(t, srv)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, nc, natstest.JetStream(t, nc), Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("open with an ended context: %v", err)
	}
}

func TestClosedRegistryKeepsItsSnapshotAndRefusesToJoin(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	p := newPeer(t, srv, Config{})
	m := p.join(t, "node1", "Order")
	changes := p.Watch(t.Context())
	p.Close()
	p.Close()
	awaitClosed(t, changes)
	if id, ok := p.Next("Order"); !ok || id != "node1" {
		t.Errorf("next after close: %q, %v", id, ok)
	}
	if _, err := p.Join(t.Context(), describe("node2")); !errors.Is(err, ErrClosed) {
		t.Errorf("join after close: %v", err)
	}
	if err := m.Leave(t.Context()); err != nil {
		t.Errorf("leave after close: %v", err)
	}
	if _, err := p.kv.Get(t.Context(), "node1"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("entry after leave: %v", err)
	}
}
