package discovery

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catga-go/catga/internal/natstest"
)

// local is a registry without a server, into which the test publishes.
func local(nodes ...Node) *Registry {
	r := &Registry{}
	s := newSnapshot(nil, nil)
	s.handling, s.moved = map[string]group{}, make(chan struct{})
	r.current.Store(s)
	r.publish(newSnapshot(nodes, make([]bool, len(nodes))))
	return r
}

func three() []Node {
	nodes := make([]Node, 3)
	for i := range nodes {
		nodes[i] = Node{ID: fmt.Sprintf("node%d", i+1), Instance: "i", Online: true, Kinds: []string{"A", "B"}}
	}
	return nodes
}

func TestRoundRobinIsExactlyEven(t *testing.T) {
	t.Parallel()
	r := local(three()...)
	const callers, turns = 6, 500
	var counts [3]atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range turns {
				id, _ := r.Next("A")
				counts[id[4]-'1'].Add(1)
			}
		})
	}
	wg.Wait()
	for i := range counts {
		if got := counts[i].Load(); got != callers*turns/3 {
			t.Errorf("node%d: %d turns, want %d", i+1, got, callers*turns/3)
		}
	}
	if _, ok := r.Next("C"); ok {
		t.Error("a node for a kind that nobody handles")
	}
}

func TestRoundRobinGoesOnWhenTheMembershipChanges(t *testing.T) {
	t.Parallel()
	r := local(three()...)
	r.Next("A")
	nodes := three()
	nodes[1].Draining = true
	r.publish(newSnapshot(nodes, make([]bool, 3)))
	var got []string
	for range 3 {
		id, _ := r.Next("A")
		got = append(got, id)
	}
	if !equal(got, []string{"node3", "node1", "node3"}) {
		t.Errorf("turns %v", got)
	}
}

func TestBeatsKeepTheGroupsAndTheChangedChannel(t *testing.T) {
	t.Parallel()
	r := local(three()...)
	changed := r.Changed()
	nodes := three()
	nodes[0].Load, nodes[0].LastSeen = 0.5, time.Now()
	r.publish(newSnapshot(nodes, make([]bool, 3)))
	if isClosed(changed) {
		t.Error("a beat closed Changed")
	}
	nodes = three()
	nodes[0].Kinds = []string{"A"}
	r.publish(newSnapshot(nodes, make([]bool, 3)))
	if !isClosed(changed) || isClosed(r.Changed()) {
		t.Error("other kinds did not close Changed, or the next one too")
	}
	if got := r.Handling("B"); !equal(got, []string{"node2", "node3"}) {
		t.Errorf("handling B: %v", got)
	}
}

func TestAppendingToHandlingHarmsNobody(t *testing.T) {
	t.Parallel()
	r := local(three()...)
	_ = append(r.Handling("A"), "intruder")
	if got := r.Handling("A"); !equal(got, []string{"node1", "node2", "node3"}) {
		t.Errorf("handling: %v", got)
	}
}

func TestReadersDuringChangesSeeWholeSnapshots(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	a, b := newPeer(t, srv, Config{}), newPeer(t, srv, Config{})
	stay := b.join(t, "stay", "Order")
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for !isClosed(done) {
				changed := b.Changed()
				if id, ok := b.Next("Order"); !ok || (id != "stay" && id != "guest") {
					t.Errorf("next: %q, %v", id, ok)
					return
				}
				for _, n := range b.Nodes() {
					if n.ID == "" || n.Instance == "" {
						t.Errorf("half a node: %+v", n)
					}
				}
				_, _, _ = b.Handling("Order"), changed, stay.Err()
			}
		})
	}
	for range 20 {
		m := a.join(t, "guest", "Order")
		b.await(t, "guest there", online("guest", "stay"))
		stay.Beat()
		if err := m.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.await(t, "guest gone", online("stay"))
	}
	close(done)
	readers.Wait()
}

func BenchmarkNext(b *testing.B) {
	r := local(three()...)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Next("A")
		}
	})
}

// BenchmarkNextMutex is what Next replaces: the same behind a read-write lock.
func BenchmarkNextMutex(b *testing.B) {
	var mu sync.RWMutex
	r := local(three()...)
	s := r.current.Load()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.RLock()
			s.next("A")
			mu.RUnlock()
		}
	})
}

func TestReadersDoNotAllocate(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts the whole process
	r := local(three()...)
	if got := testing.AllocsPerRun(100, func() {
		r.Next("A")
		r.Handling("B")
		r.Nodes()
		r.Lookup("node2")
		r.Changed()
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
