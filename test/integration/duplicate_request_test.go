package integration

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type place struct {
	framework.Request[receipt]
	Product string `json:"product"`
}

type receipt struct {
	Number int64  `json:"number"`
	Node   string `json:"node"`
}

type keyedPlace struct {
	framework.Request[receipt]
	Order string `json:"order"`
}

func (p keyedPlace) IdempotencyKey() string { return p.Order }

// placing handles orders on each node and counts the runs of its handlers.
func placing(t *testing.T, runs *counter, nodes ...*framework.Node) {
	t.Helper()
	for _, node := range nodes {
		must(t, framework.Handle(node, func(ctx context.Context, p place) (receipt, error) {
			if p.Product == "none" {
				runs.Add(1)
				return receipt{}, framework.Reject("no_such_product", p.Product)
			}
			return receipt{Number: runs.Add(1), Node: framework.InfoFrom(ctx).Node}, nil
		}))
		frameworktest.Run(t, node)
	}
}

func TestDuplicateRequest_ReturnsTheStoredAnswerWithoutRunning(t *testing.T) {
	t.Parallel()
	var runs counter
	srv := frameworktest.NewServer(t)
	all := nodes(t, srv, "node1", "node2", "node3")
	placing(t, &runs, all...)
	var info framework.ReplyInfo
	first, err := framework.Send(soon(t), all[0], place{Product: "p"}, framework.WithID("order 1: \u00e4 / *"), framework.WithReply(&info))
	must(t, err)
	if info.Replayed {
		t.Error("the first answer counts as replayed")
	}
	ran := info.Node
	for i := range 6 {
		again, err := framework.Send(soon(t), all[i%3], place{Product: "p"}, framework.WithID("order 1: \u00e4 / *"), framework.WithReply(&info))
		must(t, err)
		if again != first || !info.Replayed || info.Node != ran || info.Attempts != 1 {
			t.Errorf("repeat %d = %+v, %+v; want %+v as node %s stored it", i, again, info, first, ran)
		}
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("the handler ran %d times", n)
	}
	drainedOff(t, all[0])
}

func TestDuplicateRequest_ReturnsTheStoredRejection(t *testing.T) {
	t.Parallel()
	var runs counter
	node := frameworktest.NewNode(t)
	placing(t, &runs, node)
	for i := range 2 {
		var info framework.ReplyInfo
		_, err := framework.Send(soon(t), node, place{Product: "none"}, framework.WithID("x"), framework.WithReply(&info))
		var no *framework.Rejection
		if !errors.As(err, &no) || no.Code != "no_such_product" || info.Replayed != (i == 1) {
			t.Errorf("send %d = %v, %+v", i, err, info)
		}
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("the handler ran %d times", n)
	}
}

func TestDuplicateRequest_ReturnsTheStoredFailure(t *testing.T) {
	t.Parallel()
	var runs counter
	node := frameworktest.NewNode(t)
	must(t, framework.Handle(node, func(context.Context, place) (receipt, error) {
		runs.Add(1)
		return receipt{}, framework.Permanent(errBroken)
	}))
	frameworktest.Run(t, node)
	for i := range 2 {
		var info framework.ReplyInfo
		_, err := framework.Send(soon(t), node, place{}, framework.WithID("x"), framework.WithReply(&info))
		want := framework.RemoteError{Kind: "place", ID: "x", Node: "test", Message: errBroken.Error(), Attempts: 1}
		var remote *framework.RemoteError
		if !errors.As(err, &remote) || *remote != want || info.Replayed != (i == 1) {
			t.Errorf("send %d = %+v, %+v", i, err, info)
		}
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("the handler ran %d times", n)
	}
	if n := stored(t, node, "CATGA_DEAD"); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
	drainedOff(t, node)
}

func TestDuplicateRequest_ByIdempotencyKeyOfTheType(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	var runs counter
	must(t, framework.Handle(node, func(context.Context, keyedPlace) (receipt, error) {
		return receipt{Number: runs.Add(1)}, nil
	}))
	frameworktest.Run(t, node)
	got, err := framework.SendBatch(soon(t), node, []keyedPlace{{Order: "a"}, {Order: "b"}, {Order: "a"}})
	must(t, err)
	if got[0] != got[2] || got[0] == got[1] || runs.Load() != 2 {
		t.Errorf("answers %v after %d runs, want a, b, a after 2", got, runs.Load())
	}
	other, err := framework.Send(soon(t), node, keyedPlace{Order: "a"}, framework.WithID("wins over the method"))
	if err != nil || other.Number != 3 {
		t.Errorf("with another ID: %+v, %v", other, err)
	}
}

func TestDuplicateRequest_WaitsForTheFirstOneThatStillRuns(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	started, release := make(chan string, 10), make(chan struct{})
	all := nodes(t, srv, "node1", "node2")
	for _, node := range all {
		must(t, framework.Handle(node, func(ctx context.Context, _ place) (receipt, error) {
			started <- framework.InfoFrom(ctx).Node
			<-release
			return receipt{Number: 1, Node: framework.InfoFrom(ctx).Node}, nil
		}))
		frameworktest.Run(t, node)
	}
	first := sending(soon(t), all[0], place{}, framework.WithID("x"))
	ran := receive(t, started)
	second := sending(soon(t), all[1], place{}, framework.WithID("x"))
	eventually(t, "both requests are stored", func() bool { return stored(t, all[0], "CATGA_REQUESTS") == 2 })
	empty(t, "the second does not wait", second)
	close(release)
	want := receipt{Number: 1, Node: ran}
	if r := receive(t, first); r.err != nil || r.value != want || r.info.Replayed {
		t.Errorf("first = %+v", r)
	}
	if r := receive(t, second); r.err != nil || r.value != want || !r.info.Replayed {
		t.Errorf("second = %+v", r)
	}
	drainedOff(t, all[0])
	empty(t, "it ran again", started)
}

func TestDuplicateRequest_TwentyAtOnceOverThreeNodesRunOnce(t *testing.T) {
	t.Parallel()
	var runs counter
	srv := frameworktest.NewServer(t)
	all := nodes(t, srv, "node1", "node2", "node3")
	placing(t, &runs, all...)
	var group sync.WaitGroup
	answers := make(chan result[receipt], 20)
	ctx := soon(t)
	for i := range cap(answers) {
		group.Go(func() { answers <- <-sending(ctx, all[i%3], place{Product: "p"}, framework.WithID("same")) })
	}
	group.Wait()
	fresh := 0
	for range cap(answers) {
		r := receive(t, answers)
		if r.err != nil || r.value.Number != 1 {
			t.Errorf("answer = %+v", r)
		}
		if !r.info.Replayed {
			fresh++
		}
	}
	if n := runs.Load(); n != 1 || fresh != 1 {
		t.Errorf("the handler ran %d times, %d answers were not replayed; want 1 and 1", n, fresh)
	}
	drainedOff(t, all[0])
}

func TestDuplicateRequest_WithAnotherPayloadIsRefused(t *testing.T) {
	t.Parallel()
	var runs counter
	srv := frameworktest.NewServer(t)
	all := nodes(t, srv, "node1", "node2")
	placing(t, &runs, all...)
	_, err := framework.Send(soon(t), all[0], place{Product: "p"}, framework.WithID("x"))
	must(t, err)
	info := framework.ReplyInfo{Node: "before"}
	_, err = framework.Send(soon(t), all[1], place{Product: "q"}, framework.WithID("x"), framework.WithReply(&info))
	if !errors.Is(err, framework.ErrKeyReused) {
		t.Errorf("another payload = %v, want %v", err, framework.ErrKeyReused)
	}
	contains(t, err, "place", "x")
	if info != (framework.ReplyInfo{}) {
		t.Errorf("info = %+v, want nothing: no node answered", info)
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("the handler ran %d times", n)
	}
	again, err := framework.Send(soon(t), all[1], place{Product: "p"}, framework.WithID("x"))
	if err != nil || again.Number != 1 {
		t.Errorf("the first payload afterwards = %+v, %v", again, err)
	}
	drainedOff(t, all[0])
}

func TestDuplicateRequest_WithAnotherPayloadIsRefusedWhileTheFirstRuns(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	started, release := make(chan struct{}), make(chan struct{})
	must(t, framework.Handle(node, func(context.Context, place) (receipt, error) {
		close(started)
		<-release
		return receipt{Number: 1}, nil
	}))
	frameworktest.Run(t, node)
	first := sending(soon(t), node, place{Product: "p"}, framework.WithID("x"))
	receive(t, started)
	_, err := framework.Send(soon(t), node, place{Product: "q"}, framework.WithID("x"))
	if !errors.Is(err, framework.ErrKeyReused) {
		t.Errorf("another payload = %v, want %v", err, framework.ErrKeyReused)
	}
	close(release)
	if r := receive(t, first); r.err != nil || r.value.Number != 1 {
		t.Errorf("the first = %+v", r)
	}
}

func TestTwoNodesRaceForOneKey_OneRunsIt(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	all := nodes(t, srv, "node1", "node2")
	var runs sync.Map // key → *counter
	for _, node := range all {
		must(t, framework.Handle(node, func(ctx context.Context, _ place) (receipt, error) {
			n, _ := runs.LoadOrStore(framework.InfoFrom(ctx).ID, new(counter))
			return receipt{Number: n.(*counter).Add(1), Node: framework.InfoFrom(ctx).Node}, nil
		}))
		frameworktest.Run(t, node)
	}
	handling(t, all[0], "place", 2)
	handling(t, all[1], "place", 2)
	ctx := soon(t)
	for i := range 20 {
		key := strconv.Itoa(i)
		// Each copy goes to a node of its own, so that both claim the key at the same instant.
		a := sending(ctx, all[0], place{}, framework.WithID(key), framework.ToNode("node1"))
		b := sending(ctx, all[1], place{}, framework.WithID(key), framework.ToNode("node2"))
		ra, rb := receive(t, a), receive(t, b)
		if ra.err != nil || rb.err != nil || ra.value != rb.value || ra.value.Number != 1 || ra.info.Replayed == rb.info.Replayed {
			t.Fatalf("key %s: %+v and %+v", key, ra, rb)
		}
	}
}

func TestRequest_StaysRememberedForTheDedupTTL(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		var runs counter
		node := frameworktest.NewNode(t, func(c *framework.Config) { c.DedupTTL = time.Minute })
		placing(t, &runs, node)
		for _, after := range []time.Duration{0, 59 * time.Second, 2 * time.Second} {
			natstest.Pass(after)
			_, err := framework.Send(soon(t), node, place{Product: "p"}, framework.WithID("x"))
			must(t, err)
		}
		if n := runs.Load(); n != 2 {
			t.Errorf("ran %d times: want once within the minute, and once after it", n)
		}
	})
}
