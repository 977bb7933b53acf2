package discovery

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catga-go/catga/internal/natstest"
)

func TestStep(t *testing.T) {
	t.Parallel()
	base := Node{ID: "n", Instance: "a", Online: true, Kinds: []string{"K"}, LastSeen: time.Unix(1, 0)}
	with := func(change func(*Node)) Node {
		n := base
		change(&n)
		return n
	}
	off := func(n *Node) { n.Online = false }
	for _, tt := range []struct {
		name  string
		told  Node
		known bool
		now   Node
		left  bool
		want  ChangeType // "" is nothing
	}{
		{"new", Node{}, false, base, false, Joined},
		{"came and went unseen", Node{}, false, with(off), true, ""},
		{"a beat", base, true, with(func(n *Node) { n.LastSeen = time.Unix(9, 0) }), false, ""},
		{"load", base, true, with(func(n *Node) { n.Load = 0.5 }), false, Updated},
		{"kinds", base, true, with(func(n *Node) { n.Kinds = nil }), false, Updated},
		{"metadata", base, true, with(func(n *Node) { n.Metadata = map[string]string{"a": "b"} }), false, Updated},
		{"drains", base, true, with(func(n *Node) { n.Draining = true }), false, Draining},
		{"drains no more", with(func(n *Node) { n.Draining = true }), true, base, false, Updated},
		{"left", base, true, with(off), true, Left},
		{"lost", base, true, with(off), false, Lost},
		{"still gone", with(off), true, with(off), false, ""},
		{"back", with(off), true, base, false, Joined},
		{"restarted unseen", base, true, with(func(n *Node) { n.Instance = "b" }), false, Left},
		{"restarted unseen and gone", base, true, with(func(n *Node) { n.Instance = "b"; n.Online = false }), false, Lost},
	} {
		change, some := step(tt.told, tt.known, tt.now, tt.left)
		if some != (tt.want != "") || (some && change.Change != tt.want) {
			t.Errorf("%s: %v %q, want %q", tt.name, some, change.Change, tt.want)
		}
	}
}

func TestSlowWatcherGetsTheLatestStateOfEachNode(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a, b := newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		changes := b.Watch(t.Context())
		var beats atomic.Int64
		m := a.joinAs(t, func() Node { return Node{ID: "node1", Version: strconv.FormatInt(beats.Load(), 10)} })
		for i := range int64(50) {
			beats.Store(i + 1)
			m.Beat()
			b.await(t, "beaten", func(nodes []Node) bool { return len(nodes) == 1 && nodes[0].Version == strconv.FormatInt(i+1, 10) })
		}
		synctest.Wait()
		if c := receive(t, changes); c.Change != Joined || c.Node.Version != "50" {
			t.Errorf("change %+v, want joined with version 50", c)
		}
		select {
		case c := <-changes:
			t.Errorf("another change: %+v", c)
		case <-time.After(5 * time.Second):
		}
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	p := newPeer(t, srv, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	changes := p.Watch(ctx)
	cancel()
	awaitClosed(t, changes)
}

func TestWatchBeginsWithNothing(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	p := newPeer(t, srv, Config{})
	p.join(t, "node1")
	changes := p.Watch(t.Context())
	p.join(t, "node2")
	if c := receive(t, changes); c.Node.ID != "node2" {
		t.Errorf("first change %+v, want of node2", c)
	}
}

func TestForgottenNodeIsReportedLostToWhoBelievesItOnline(t *testing.T) {
	t.Parallel()
	w := &watcher{told: map[string]Node{"a": {ID: "a", Online: true}, "b": {ID: "b"}}}
	s := newSnapshot(nil, nil)
	change, some := w.next(s)
	if !some || change.Change != Lost || change.Node.ID != "a" || change.Node.Online {
		t.Fatalf("change %v %+v", some, change)
	}
	w.told["a"] = change.Node
	if change, some = w.next(s); some || len(w.told) != 0 {
		t.Errorf("change %v %+v, told %v", some, change, w.told)
	}
}
