package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type whoAmI struct{ framework.Request[string] }

func namingItself(t *testing.T, nodes ...*framework.Node) {
	t.Helper()
	for _, node := range nodes {
		must(t, framework.Handle(node, func(ctx context.Context, _ whoAmI) (string, error) {
			return framework.InfoFrom(ctx).Node, nil
		}))
	}
}

func gone(t *testing.T, err error, node string) *framework.NoReplyError {
	t.Helper()
	e := noReply(t, err)
	if !errors.Is(err, framework.ErrNodeGone) || e.Node != node {
		t.Errorf("got %v, want that node %s is gone", err, node)
	}
	return e
}

func TestToNode_IsAnsweredByThatNodeAlone(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	all := nodes(t, srv, "node1", "node2", "node3")
	namingItself(t, all...)
	for _, node := range all {
		frameworktest.Run(t, node)
	}
	handling(t, all[0], "whoAmI", 3)
	for range 5 {
		for _, name := range []string{"node1", "node2", "node3"} {
			if got, err := framework.Send(soon(t), all[0], whoAmI{}, framework.ToNode(name)); err != nil || got != name {
				t.Errorf("ToNode(%s) was answered by %q, %v", name, got, err)
			}
		}
	}
	ticket, err := framework.Submit(soon(t), all[0], whoAmI{}, framework.ToNode("node2"))
	must(t, err)
	if got, err := ticket.Wait(soon(t)); err != nil || got != "node2" {
		t.Errorf("a request submitted to node2 was answered by %q, %v", got, err)
	}
}

func TestToNode_ThatIsNotThereFailsAtOnceAndStoresNothing(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	all := nodes(t, srv, "node1", "node2", "idle")
	namingItself(t, all...)
	frameworktest.Run(t, all[0])
	leave := frameworktest.Run(t, all[1])
	handling(t, all[0], "whoAmI", 2)
	leave()
	handling(t, all[0], "whoAmI", 1)
	for _, name := range []string{"node2", "never", "idle"} { // has left, never was, does not run
		_, err := framework.Send(soon(t), all[0], whoAmI{}, framework.ToNode(name))
		if e := gone(t, err, name); e.State != framework.Unknown || e.Handlers != 1 {
			t.Errorf("ToNode(%s) = %+v", name, e)
		}
		_, err = framework.Submit(soon(t), all[0], whoAmI{}, framework.ToNode(name))
		_ = gone(t, err, name)
		_, err = framework.SendBatch(soon(t), all[0], make([]whoAmI, 2), framework.ToNode(name))
		var batch *framework.BatchError
		if !errors.As(err, &batch) || len(batch.Failed) != 2 {
			t.Errorf("a batch to %s = %v, want both to fail", name, err)
		}
		_ = gone(t, err, name)
	}
	if n := stored(t, all[0], "CATGA_REQUESTS"); n != 0 {
		t.Errorf("%d requests are stored for nodes that are not there", n)
	}
}

func TestToNode_ThatIsLostWhileTheRequestWaitsSaysSoAndItNeverRuns(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		caller, wire := connect(t, srv, "caller"), &link{server: srv}
		target := connect(t, srv, "target", over(wire))
		ran := make(chan string, 10)
		must(t, framework.Handle(target, func(ctx context.Context, _ whoAmI) (string, error) {
			ran <- framework.InfoFrom(ctx).ID
			return "", nil
		}))
		frameworktest.Run(t, target)
		handling(t, caller, "whoAmI", 1)
		wire.cut()
		began := time.Now()
		_, err := framework.Send(within(t, time.Hour), caller, whoAmI{}, framework.ToNode("target"), framework.WithID("lost"))
		if e := gone(t, err, "target"); e.State != framework.Unknown {
			t.Errorf("state = %s, want unknown: it will not run", e.State)
		}
		if took := time.Since(began); took > 45*time.Second {
			t.Errorf("it took %v to see that the node is lost, with a node timeout of 30s", took)
		}
		wire.mend()
		handling(t, caller, "whoAmI", 1)
		_, err = framework.Send(soon(t), caller, whoAmI{}, framework.ToNode("target"), framework.WithID("later"))
		must(t, err)
		drainedOff(t, caller)
		if got := receive(t, ran); got != "later" {
			t.Errorf("request %q ran although its caller was told that it would not", got)
		}
	})
}

func TestToNode_ThatDrainsStillAnswersWhatItHasStarted(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	caller, target := connect(t, srv, "caller"), connect(t, srv, "target")
	started, release := make(chan struct{}), make(chan struct{})
	must(t, framework.Handle(target, func(context.Context, whoAmI) (string, error) {
		close(started)
		<-release
		return "done", nil
	}))
	stop, ended := running(t, target)
	handling(t, caller, "whoAmI", 1)
	answer := sending(soon(t), caller, whoAmI{}, framework.ToNode("target"))
	receive(t, started)
	stop()
	handling(t, caller, "whoAmI", 0) // the caller knows that it drains
	empty(t, "the caller gave up a request that is being handled", answer)
	close(release)
	if r := receive(t, answer); r.err != nil || r.value != "done" {
		t.Errorf("answer = %+v", r)
	}
	must(t, receive(t, ended))
}

func TestToNode_ThatDrainsBeforeItTakesTheRequestSaysSo(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	caller, target := connect(t, srv, "caller"), connect(t, srv, "target")
	started, release := make(chan struct{}, 10), make(chan struct{})
	must(t, framework.Handle(target, func(context.Context, whoAmI) (string, error) {
		started <- struct{}{}
		<-release
		return "done", nil
	}, framework.WithConcurrency(1)))
	stop, ended := running(t, target)
	handling(t, caller, "whoAmI", 1)
	first := sending(soon(t), caller, whoAmI{}, framework.ToNode("target"))
	receive(t, started)
	second := sending(soon(t), caller, whoAmI{}, framework.ToNode("target"))
	eventually(t, "both are stored", func() bool { return stored(t, caller, "CATGA_REQUESTS") == 2 })
	stop()
	if e := gone(t, receive(t, second).err, "target"); e.State != framework.Unknown {
		t.Errorf("state = %s, want unknown: it will not run", e.State)
	}
	close(release)
	if r := receive(t, first); r.err != nil {
		t.Errorf("the first = %+v", r)
	}
	must(t, receive(t, ended))
	empty(t, "the second ran", started)
}
