package discovery

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/internal/natstest"
)

func TestSecondProcessWithTheSameIDIsRefusedWhileTheFirstAnswers(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	a, b := newPeer(t, srv, Config{}), newPeer(t, srv, Config{})
	m := a.join(t, "node1")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := b.Join(ctx, func() Node { return Node{ID: "node1", Instance: "second"} })
	var taken *TakenError
	if !errors.As(err, &taken) || !errors.Is(err, ErrTaken) || ctx.Err() != nil {
		t.Fatalf("join: %v, want a taken error at once", err)
	}
	if taken.Holder.Instance != m.Instance() || taken.Instance != "second" {
		t.Errorf("taken error names %q and %q", taken.Holder.Instance, taken.Instance)
	}
	for _, part := range []string{"node1", "second", m.Instance(), "http://node1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %s", err, part)
		}
	}
	if m.Err() != nil {
		t.Errorf("first process: %v", m.Err())
	}
}

func TestSameInstanceTwiceInOneProcessIsRefused(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	p := newPeer(t, srv, Config{})
	self := func() Node { return Node{ID: "node1", Instance: "one"} }
	p.joinAs(t, self)
	if _, err := p.Join(t.Context(), self); !errors.Is(err, ErrTaken) {
		t.Errorf("second join: %v, want taken", err)
	}
	if n, _ := p.Lookup("node1"); !n.Online {
		t.Error("the refused join took the entry away")
	}
}

func TestKilledProcessIsTakenOverAtOnce(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a, b, c := newPeer(t, srv, cfg), newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		old := a.join(t, "node1")
		c.await(t, "online", online("node1"))
		changes := c.Watch(t.Context())
		a.nc.Close()
		synctest.Wait() // until the server has noticed
		begun := time.Now()
		m := b.join(t, "node1")
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("took over after %v", took)
		}
		if ch := receive(t, changes); ch.Change != Left || ch.Node.Instance != old.Instance() || ch.Node.Online {
			t.Errorf("first change %+v, want the old instance left", ch)
		}
		if ch := receive(t, changes); ch.Change != Joined || ch.Node.Instance != m.Instance() {
			t.Errorf("second change %+v, want the new instance joined", ch)
		}
	})
}

func TestJoinWaitsForTheTTLOfASilentProcess(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a, b := newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		a.hold(t, "node1", "stopped")
		begun := time.Now()

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := b.Join(ctx, describe("node1")); !errors.Is(err, ErrTaken) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("join within 5s: %v, want taken and deadline exceeded", err)
		}
		if took := time.Since(begun); took > 6*time.Second {
			t.Errorf("refused after %v", took)
		}
		b.join(t, "node1")
		if took := time.Since(begun); took < 29*time.Second || took > 33*time.Second {
			t.Errorf("joined after %v, want the TTL of 30s", took)
		}
	})
}

func TestSilentProcessThatBeatsIsNotTakenOver(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a, b := newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		entry := a.hold(t, "node1", "busy")
		time.AfterFunc(9*time.Second, func() { _, _ = a.kv.Put(context.Background(), "node1", entry) })
		begun := time.Now()
		if _, err := b.Join(t.Context(), describe("node1")); !errors.Is(err, ErrTaken) {
			t.Errorf("join: %v, want taken", err)
		}
		if took := time.Since(begun); took > 12*time.Second {
			t.Errorf("refused after %v, want soon after the beat at 9s", took)
		}
	})
}

// hold writes an entry as a process does that is stopped: it listens and does not answer.
func (p *peer) hold(tb testing.TB, id, instance string) []byte {
	tb.Helper()
	if _, err := p.nc.SubscribeSync(p.aliveSubject(id, instance)); err != nil {
		tb.Fatal(err)
	}
	data, err := encode(Node{ID: id, Instance: instance})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := p.kv.Create(context.Background(), id, data); err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestDisplacedMemberIsTold(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a, b := newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		old := a.join(t, "node1")
		old.unlisten() // as if its connection had been away when the other one asked
		m := b.join(t, "node1")
		begun := time.Now()
		awaitClosed(t, old.Lost())
		if took := time.Since(begun); took > time.Second {
			t.Errorf("told after %v", took)
		}
		var taken *TakenError
		if !errors.As(old.Err(), &taken) || taken.Holder.Instance != m.Instance() {
			t.Errorf("err: %v, want taken by %s", old.Err(), m.Instance())
		}
		if err := old.Leave(t.Context()); err != nil {
			t.Errorf("leave of a displaced member: %v", err)
		}
		if n, _ := b.Lookup("node1"); !n.Online || n.Instance != m.Instance() {
			t.Errorf("the displaced member took the entry with it: %+v", n)
		}
	})
}

func TestOfManyProcessesThatJoinAtOnceOneDoes(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	const processes = 8
	var wg sync.WaitGroup
	results := make(chan error, processes)
	for range processes {
		p := newPeer(t, srv, Config{})
		wg.Go(func() {
			_, err := p.Join(t.Context(), describe("node1"))
			results <- err
		})
	}
	wg.Wait()
	close(results)
	joined := 0
	for err := range results {
		if err == nil {
			joined++
		} else if !errors.Is(err, ErrTaken) {
			t.Errorf("join: %v", err)
		}
	}
	if joined != 1 {
		t.Errorf("%d processes joined, want 1", joined)
	}
}

func TestLeaveIsIdempotentAndEndsTheAnswers(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	p := newPeer(t, srv, Config{})
	m := p.join(t, "node1", "Order")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := m.Leave(t.Context()); err != nil {
				t.Errorf("leave: %v", err)
			}
		})
	}
	wg.Wait()
	m.Beat()
	if _, err := p.nc.Request(p.aliveSubject("node1", m.Instance()), nil, time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("asked after leave: %v, want no responders", err)
	}
	p.await(t, "offline", online())
	again := p.join(t, "node1", "Order")
	if err := m.Leave(t.Context()); err != nil {
		t.Errorf("leave again: %v", err)
	}
	if n, _ := p.Lookup("node1"); !n.Online || n.Instance != again.Instance() {
		t.Errorf("leave again took the next member's entry: %+v", n)
	}
}

func TestJoinRefusesWhatOthersWouldNotRead(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	p := newPeer(t, srv, Config{})
	for name, node := range map[string]Node{
		"empty ID":     {},
		"dot in ID":    {ID: "a.b"},
		"bad instance": {ID: "a", Instance: "*"},
		"empty kind":   {ID: "a", Kinds: []string{""}},
		"too big":      {ID: "a", Metadata: map[string]string{"x": strings.Repeat("x", maxEntry)}},
	} {
		if _, err := p.Join(t.Context(), func() Node { return node }); err == nil {
			t.Errorf("%s: joined", name)
		}
	}
	if len(p.Nodes()) != 0 {
		t.Errorf("nodes: %+v", p.Nodes())
	}
}

func TestJoinOnAClosedConnectionFails(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	p := newPeer(t, srv, Config{})
	p.nc.Close()
	if _, err := p.Join(context.Background(), describe("node1")); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("join: %v, want connection closed", err)
	}
}

func TestDecideJoin(t *testing.T) {
	t.Parallel()
	node, other := &Node{Instance: "a"}, &Node{Instance: "b"}
	for _, tt := range []struct {
		name   string
		now    holder
		before *holder
		want   joinStep
	}{
		{"nothing there", holder{}, nil, write},
		{"garbage there", holder{rev: 7}, nil, write},
		{"holder answers", holder{node, 7, alive}, nil, refuse},
		{"nobody listens", holder{node, 7, nobody}, nil, write},
		{"nobody listens any more", holder{node, 7, nobody}, &holder{node, 7, silent}, write},
		{"silent", holder{node, 7, silent}, nil, wait},
		{"still silent", holder{node, 7, silent}, &holder{node, 7, silent}, wait},
		{"silent but beats", holder{node, 8, silent}, &holder{node, 7, silent}, refuse},
		{"another silent one", holder{other, 8, silent}, &holder{node, 7, silent}, wait},
	} {
		if got := decideJoin(tt.now, tt.before); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestDecideBeat(t *testing.T) {
	t.Parallel()
	mine, other := Node{Instance: "mine"}, Node{Instance: "other"}
	for _, tt := range []struct {
		name  string
		node  Node
		valid bool
		rev   uint64
		want  beatStep
	}{
		{"own write whose answer was lost", mine, true, 8, adopt},
		{"own write, old replica", mine, true, 6, adopt},
		{"garbage", Node{}, false, 8, adopt},
		{"another process", other, true, 8, displaced},
		{"whom we took over from, old replica", other, true, 6, stale},
	} {
		if got := decideBeat(tt.node, tt.valid, tt.rev, "mine", 7); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
