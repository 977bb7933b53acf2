package integration

import (
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type entry struct {
	framework.ReliableEvent
	N int `json:"n"`
}

func TestLateGroup_BeginsWithTheNextEvent(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	a := connect(t, srv, "a")
	must(t, framework.Publish(soon(t), a, entry{N: 1}))
	got := make(chan entry, 10)
	must(t, framework.Subscribe(a, sink(got), framework.InGroup("late")))
	run(t, a)
	must(t, framework.Publish(soon(t), a, entry{N: 2}))
	if e := receive(t, got); e.N != 2 {
		t.Errorf("got %+v, want the event after the group's birth", e)
	}
	acknowledged(t, a, "late:entry")
	empty(t, "got one more", got)
}

func TestLateGroup_FromStartBeginsWithTheOldest(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	a := connect(t, srv, "a")
	for i := range 20 {
		must(t, framework.Publish(soon(t), a, entry{N: i}))
	}
	got := make(chan entry, 100)
	must(t, framework.Subscribe(a, sink(got), framework.InGroup("late"), framework.FromStart()))
	run(t, a)
	must(t, framework.Publish(soon(t), a, entry{N: 20}))
	seen := map[int]int{}
	for range 21 {
		seen[receive(t, got).N]++
	}
	acknowledged(t, a, "late:entry")
	empty(t, "got one more", got)
	if len(seen) != 21 {
		t.Errorf("got %v, want each event once", seen)
	}
}

// The position of a group is kept while none of its nodes runs, and FromStart does not move it.
func TestGroup_KeepsItsPositionWhileNobodyRuns(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	publisher := connect(t, srv, "publisher")
	got := make(chan entry, 100)
	for round := range 3 {
		n := connect(t, srv, "worker")
		must(t, framework.Subscribe(n, sink(got), framework.InGroup("g"), framework.FromStart()))
		must(t, framework.Publish(soon(t), publisher, entry{N: round})) // while nobody runs
		drain := frameworktest.Run(t, n)
		if e := receive(t, got); e.N != round {
			t.Errorf("round %d: got %+v", round, e)
		}
		acknowledged(t, publisher, "g:entry")
		drain()
		must(t, n.Close(soon(t)))
	}
	empty(t, "got one more", got)
}

// The same for a node's own group, as long as Config.ForgetAfter.
func TestOwnGroup_KeepsItsPositionWhileTheNodeIsAway(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	publisher := connect(t, srv, "publisher")
	got := make(chan entry, 100)
	for round := range 2 {
		n := connect(t, srv, "worker")
		must(t, framework.Subscribe(n, sink(got)))
		drain := frameworktest.Run(t, n)
		if round > 0 {
			if e := receive(t, got); e.N != 0 {
				t.Errorf("after the restart: %+v, want what was published meanwhile", e)
			}
		}
		drain()
		must(t, n.Close(soon(t)), framework.Publish(soon(t), publisher, entry{N: round}))
	}
}
