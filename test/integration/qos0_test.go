package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type tick struct {
	framework.Event
	N int `json:"n"`
}

// assets are the states of all streams, but for the nodes' heartbeats and leases: what is left must not
// change where nothing is stored.
func assets(t *testing.T, node *framework.Node) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	list := jetStream(t, node).ListStreams(soon(t), jetstream.WithStreamListSubject(""))
	for info := range list.Info() {
		if name := info.Config.Name; name != "KV_catga_nodes" && name != "KV_catga_dedup" {
			all[name] = info.State.LastSeq
		}
		all[info.Config.Name+" consumers"] = uint64(info.State.Consumers)
	}
	must(t, list.Err())
	return all
}

func TestQoS0_UsesNoStream(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	quiet := func(c *framework.Config) { c.Lease = time.Hour } // so that the claims' bucket stands still
	a, b := connect(t, srv, "a", quiet), connect(t, srv, "b", quiet)
	got := make(chan tick, 1000)
	must(t, framework.Subscribe(a, sink(got)), framework.Subscribe(b, sink(got)))
	run(t, a, b)
	before, claims := assets(t, a), streamState(t, a, "KV_catga_dedup").LastSeq
	for i := range 100 {
		must(t, framework.Publish(soon(t), a, tick{N: i}))
	}
	must(t, framework.PublishBatch(soon(t), a, make([]tick, 100)))
	must(t, framework.Publish(soon(t), a, tick{}, framework.WithID("x"), framework.WithHeader("h", "v")))
	for range 2 * 201 {
		receive(t, got)
	}
	diff(t, "streams", assets(t, a), before)
	if now := streamState(t, a, "KV_catga_dedup").LastSeq; now != claims {
		t.Errorf("%d claims were written", now-claims)
	}
	if len(before) < 5 {
		t.Errorf("streams compared: %v", before)
	}
}

func TestQoS0_WithoutSubscribersIsPublishedAndGone(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	must(t, framework.Publish(soon(t), node, tick{N: 1}))
	got := make(chan tick, 10)
	must(t, framework.Subscribe(node, sink(got)))
	run(t, node)
	must(t, framework.Publish(soon(t), node, tick{N: 2}))
	if e := receive(t, got); e.N != 2 {
		t.Errorf("got %+v, want the event published after the subscription", e)
	}
}

func TestQoS0_HandlerFailureIsOnlyLogged(t *testing.T) {
	var log logText
	var done list[framework.Outcome]
	var runs counter
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t, logged(&log), outcomes(&done))
		before := assets(t, node)
		must(t, framework.Subscribe(node, func(_ context.Context, e tick) error {
			runs.Add(1)
			switch e.N {
			case 1:
				return errors.New("no such luck")
			case 2:
				return framework.RetryAfter(errors.New("later"), time.Second)
			default:
				panic("oh no")
			}
		}))
		frameworktest.Run(t, node)
		for i := range 3 {
			must(t, framework.Publish(soon(t), node, tick{N: i + 1}))
		}
		natstest.Pass(time.Minute)
		diff(t, "streams", assets(t, node), before)
	})
	if runs.Load() != 3 {
		t.Errorf("handler ran %d times, want once per event", runs.Load())
	}
	for _, part := range []string{"no such luck", "later", "oh no"} {
		if len(log.lines(part)) != 1 {
			t.Errorf("log lines with %q: %q", part, log.lines(part))
		}
	}
	if len(log.lines("qos0_test.go:")) == 0 {
		t.Error("the stack of the panic is not logged")
	}
	for _, o := range done.get() {
		var failed *framework.HandlerError
		if o.Verdict != framework.VerdictFailed || o.Reason != "" || o.Attempt != 1 || !errors.As(o.Err, &failed) || failed.Kind != "tick" {
			t.Errorf("outcome = %+v", o)
		}
	}
	if done.len() != 3 {
		t.Errorf("%d outcomes, want 3", done.len())
	}
}

func TestQoS0_UndecodableIsLoggedAndNotRun(t *testing.T) {
	t.Parallel()
	var log logText
	done := make(chan framework.Outcome, 1)
	node := frameworktest.NewNode(t, logged(&log), withHooks(framework.Hooks{Handler: func(framework.HandlerRef) framework.HandlerHooks {
		return framework.HandlerHooks{Started: func() { t.Error("started") }, Done: func(o framework.Outcome) { done <- o }}
	}}))
	must(t, framework.Subscribe(node, func(context.Context, tick) error {
		t.Error("handler ran")
		return nil
	}))
	run(t, node)
	must(t, node.Conn().PublishMsg(foreign("catga.signal.tick", "{")))
	o := receive(t, done)
	if o.Verdict != framework.VerdictFailed || o.Ran != 0 || o.Attempt != 0 {
		t.Errorf("outcome = %+v, want failed without a run", o)
	}
	if len(log.lines("tick")) != 1 {
		t.Errorf("log: %q", log.lines(""))
	}
}

func TestQoS0_GroupShares(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	a, b := connect(t, srv, "a"), connect(t, srv, "b")
	got := make(chan framework.Info, 1000)
	for _, n := range []*framework.Node{a, b} {
		must(t, framework.Subscribe(n, infos[tick](got), framework.InGroup("g")), framework.Subscribe(n, infos[tick](got)))
		run(t, n)
	}
	for i := range 100 {
		must(t, framework.Publish(soon(t), a, tick{N: i}))
	}
	by := map[string]int{}
	for range 300 {
		by[receive(t, got).Group]++
	}
	diff(t, "events by group", by, map[string]int{"g": 100, "node=a": 100, "node=b": 100})
}

func TestQoS0_InfoHasNoIDAndNoTime(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	got := make(chan framework.Info, 1)
	must(t, framework.Subscribe(node, infos[tick](got)))
	run(t, node)
	must(t, framework.Publish(soon(t), node, tick{}))
	diff(t, "info", receive(t, got), framework.Info{Kind: "tick", Group: "node=test", Node: "test", QoS: framework.AtMostOnce, Attempt: 1})
	must(t, framework.Publish(soon(t), node, tick{}, framework.WithID("é 1"), framework.WithCorrelation("c"), framework.WithHeader("h", "v")))
	if i := receive(t, got); i.ID != "é 1" || i.Correlation != "c" || i.Header.Get("H") != "v" {
		t.Errorf("info = %+v, want what its publisher gave it", i)
	}
}
