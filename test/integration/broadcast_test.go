package integration

import (
	"context"
	"fmt"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type news struct {
	framework.ReliableEvent
	N int `json:"n"`
}

func TestBroadcast_ReachesEveryNode(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	all := nodes(t, srv, "node1", "node2", "node3")
	got := make(map[string]chan news)
	for _, n := range all {
		ch := make(chan news, 1000)
		got[n.Self().ID] = ch
		must(t, framework.Subscribe(n, sink(ch)))
	}
	run(t, all...)
	const events = 100
	for i := range events {
		must(t, framework.Publish(soon(t), all[i%3], news{N: i}))
	}
	for name, ch := range got {
		seen := map[int]int{}
		for range events {
			seen[receive(t, ch).N]++
		}
		acknowledged(t, all[0], "node="+name+":news")
		empty(t, name+" got one more", ch)
		if len(seen) != events {
			t.Errorf("%s got %d different events, want %d", name, len(seen), events)
		}
	}
}

// A node that fails is run again there; the others have nothing to do with it.
func TestBroadcast_FailureOfOneNodeIsItsOwn(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	a, b := connect(t, srv, "a"), connect(t, srv, "b")
	runs := make(chan framework.Info, 100)
	must(t, framework.Subscribe(a, func(ctx context.Context, _ news) error {
		runs <- framework.InfoFrom(ctx)
		return errNotYet
	}, framework.WithRetries(2), framework.WithBackoff(0, 0)), framework.Subscribe(b, infos[news](runs)))
	run(t, a, b)
	must(t, framework.Publish(soon(t), b, news{}))
	deadLetters(t, a, 1)
	acknowledged(t, a, "node=b:news")
	by := map[string]int{}
	for range 4 {
		i := receive(t, runs)
		by[i.Node] = max(by[i.Node], i.Attempt)
	}
	empty(t, "one more run", runs)
	diff(t, "attempts by node", by, map[string]int{"a": 3, "b": 1})
}

func TestGroup_EachEventIsHandledOnceOverItsNodes(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	all := nodes(t, srv, "node1", "node2", "node3")
	got := make(chan string, 10_000)
	for _, n := range all {
		for _, group := range []string{"billing", "mail"} {
			must(t, framework.Subscribe(n, func(ctx context.Context, e news) error {
				i := framework.InfoFrom(ctx)
				if i.Group != group || i.Node != n.Self().ID {
					t.Errorf("info = %+v on %s in %s", i, n.Self().ID, group)
				}
				got <- fmt.Sprint(group, e.N)
				return nil
			}, framework.InGroup(group), framework.WithConcurrency(4)))
		}
	}
	run(t, all...)
	const events = 200
	for i := range events {
		must(t, framework.Publish(soon(t), all[0], news{N: i}))
	}
	seen := map[string]int{}
	for range 2 * events {
		seen[receive(t, got)]++
	}
	acknowledged(t, all[0], "billing:news")
	acknowledged(t, all[0], "mail:news")
	empty(t, "one more", got)
	if len(seen) != 2*events {
		t.Errorf("%d different events over both groups, want %d", len(seen), 2*events)
	}
}

func TestOnEveryNode_TwoOnOneNodeEachHandleEachEvent(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	all := nodes(t, srv, "a", "b")
	got := make(chan framework.Info, 1000)
	for _, n := range all {
		must(t, framework.Subscribe(n, infos[news](got)),
			framework.Subscribe(n, infos[news](got), framework.OnEveryNode("cache")),
			framework.Subscribe(n, infos[news](got), framework.OnEveryNode("audit")))
	}
	run(t, all...)
	for i := range 10 {
		must(t, framework.Publish(soon(t), all[0], news{N: i}))
	}
	by := map[string]int{}
	for range 60 {
		by[receive(t, got).Group]++
	}
	diff(t, "events by group", by, map[string]int{
		"node=a": 10, "node=a=cache": 10, "node=a=audit": 10, "node=b": 10, "node=b=cache": 10, "node=b=audit": 10,
	})
}
