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

func TestLeaseLost_EndsHandlersAndAnotherNodeTakesOver(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		wire := &link{server: srv}
		caller, cutOff, other := connect(t, srv, "caller"), connect(t, srv, "cutOff", over(wire)), connect(t, srv, "other")
		started, causes := make(chan struct{}), make(chan error, 10)
		var returned time.Time
		must(t, framework.Handle(cutOff, func(ctx context.Context, _ work) (string, error) {
			close(started)
			<-ctx.Done()
			returned = time.Now()
			causes <- context.Cause(ctx)
			return "", ctx.Err()
		}))
		frameworktest.Run(t, cutOff)
		handling(t, caller, "work", 1)
		answer := sending(within(t, time.Hour), caller, work{})
		receive(t, started)
		var tookOver time.Time
		must(t, framework.Handle(other, func(context.Context, work) (string, error) {
			tookOver = time.Now()
			return "other", nil
		}))
		frameworktest.Run(t, other)
		must(t, cutOff.Ready())

		began := time.Now()
		wire.cut()
		if cause := receive(t, causes); !errors.Is(cause, framework.ErrLeaseLost) {
			t.Errorf("the handler's context ended because of %v, want %v", cause, framework.ErrLeaseLost)
		}
		if took := returned.Sub(began); took > 10*time.Second {
			t.Errorf("the handler was told after %v, with a lease of 10s", took)
		}
		if err := cutOff.Ready(); err == nil {
			t.Error("a node that is cut off is ready")
		}
		if r := receive(t, answer); r.err != nil || r.value != "other" || r.info.Attempts != 2 {
			t.Errorf("answer = %+v", r)
		}
		if tookOver.Before(returned) {
			t.Errorf("it ran on the other node %v before it had ended on the first", returned.Sub(tookOver))
		}

		wire.mend()
		eventually(t, "the node has a new lease", func() bool { return cutOff.Ready() == nil })
		drainedOff(t, caller)
	})
}

func TestLeaseLost_NodeGoesOnWithANewLease(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		wire := &link{server: srv}
		caller, node := connect(t, srv, "caller"), connect(t, srv, "node", over(wire))
		var runs counter
		must(t, framework.Handle(node, func(context.Context, work) (string, error) {
			runs.Add(1)
			return "done", nil
		}))
		frameworktest.Run(t, node)
		for range 3 {
			wire.cut()
			natstest.Pass(25 * time.Second)
			wire.mend()
			if got, err := framework.Send(within(t, time.Minute), caller, work{}); err != nil || got != "done" {
				t.Errorf("after the outage: %q, %v", got, err)
			}
		}
		if n := runs.Load(); n != 3 {
			t.Errorf("ran %d times", n)
		}
	})
}

func TestLeaseLost_HandlerThatFinishesInTimeIsNotRunAgain(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		wire := &link{server: srv}
		caller, node := connect(t, srv, "caller"), connect(t, srv, "node", over(wire))
		var runs counter
		started, release := make(chan struct{}, 10), make(chan struct{})
		must(t, framework.Handle(node, func(context.Context, work) (string, error) {
			runs.Add(1)
			started <- struct{}{}
			<-release // whatever becomes of the context
			return "done", nil
		}))
		frameworktest.Run(t, node)
		answer := sending(within(t, time.Hour), caller, work{})
		receive(t, started)
		wire.cut()
		natstest.Pass(25 * time.Second) // of fake time: the lease is lost, and nobody takes over
		close(release)
		wire.mend()
		if r := receive(t, answer); r.err != nil || r.value != "done" || r.info.Attempts != 1 {
			t.Errorf("answer = %+v", r)
		}
		drainedOff(t, caller)
		if n := runs.Load(); n != 1 {
			t.Errorf("ran %d times", n)
		}
	})
}
