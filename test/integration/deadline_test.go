package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type hurry struct{ framework.Request[string] }

func TestDeadline_RequestThatNobodyTookIsNotRunAfterIt(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		caller := connect(t, srv, "caller")
		began := time.Now()
		waiting := sending(t.Context(), caller, hurry{}, framework.WithID("x")) // without a deadline of its own
		natstest.Pass(10 * time.Second)
		copied := lastRequest(t, caller)
		e := noReply(t, receive(t, waiting).err)
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("gave up after %v, want Config.RequestTimeout of 30s", took)
		}
		if e.State != framework.Unknown || !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("error = %+v", e)
		}
		if n := stored(t, caller, "CATGA_REQUESTS"); n != 0 {
			t.Errorf("%d requests are stored, want none: the one that was given up is of no use to anybody", n)
		}
		must(t, caller.Conn().PublishMsg(copied)) // a copy on its way whose storing the caller never heard of
		eventually(t, "the copy is stored", func() bool { return stored(t, caller, "CATGA_REQUESTS") == 1 })

		late := connect(t, srv, "late")
		ran := make(chan string, 10)
		must(t, framework.Handle(late, func(ctx context.Context, _ hurry) (string, error) {
			ran <- framework.InfoFrom(ctx).ID
			return "ran", nil
		}))
		frameworktest.Run(t, late)
		drainedOff(t, caller)
		natstest.Pass(2 * time.Minute)
		empty(t, "a withdrawn request ran", ran)

		got, err := framework.Send(t.Context(), caller, hurry{}, framework.WithID("x"))
		if err != nil || got != "ran" {
			t.Errorf("the same ID sent again = %q, %v", got, err)
		}
		if len(ran) != 1 {
			t.Errorf("it ran %d times", len(ran))
		}
	})
}

// lastRequest is a copy of the request that was stored last.
func lastRequest(t *testing.T, node *framework.Node) *nats.Msg {
	t.Helper()
	s, err := jetStream(t, node).Stream(soon(t), "CATGA_REQUESTS")
	must(t, err)
	m, err := s.GetMsg(soon(t), s.CachedInfo().State.LastSeq)
	must(t, err)
	return &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
}

func TestDeadline_RequestSentAgainBeforeTheWithdrawnOneIsMetRunsOnce(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		caller, worker := connect(t, srv, "caller"), connect(t, srv, "worker")
		for range 3 {
			_, err := framework.Send(within(t, time.Second), caller, hurry{}, framework.WithID("x"))
			_ = noReply(t, err)
		}
		again := sending(t.Context(), caller, hurry{}, framework.WithID("x"))
		var runs counter
		must(t, framework.Handle(worker, func(context.Context, hurry) (string, error) {
			runs.Add(1)
			return "ran", nil
		}))
		frameworktest.Run(t, worker)
		if r := receive(t, again); r.err != nil || r.value != "ran" || r.info.Replayed {
			t.Errorf("answer = %+v", r)
		}
		drainedOff(t, caller)
		if n := runs.Load(); n != 1 {
			t.Errorf("ran %d times", n)
		}
	})
}

func TestDeadline_RunningHandlerFinishesAndItsAnswerCanBeHadBySendingAgain(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		caller, worker := connect(t, srv, "caller"), connect(t, srv, "worker")
		var runs counter
		must(t, framework.Handle(worker, func(ctx context.Context, _ hurry) (string, error) {
			runs.Add(1)
			select {
			case <-time.After(time.Minute):
				return "slowly", nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		}))
		frameworktest.Run(t, worker)
		_, err := framework.Send(within(t, 5*time.Second), caller, hurry{}, framework.WithID("x"))
		if e := noReply(t, err); e.State != framework.Running || e.Handlers != 1 {
			t.Errorf("error = %+v, want that it runs", e)
		}
		var info framework.ReplyInfo
		got, err := framework.Send(within(t, 2*time.Minute), caller, hurry{}, framework.WithID("x"), framework.WithReply(&info))
		if err != nil || got != "slowly" || !info.Replayed {
			t.Errorf("sent again = %q, %+v, %v", got, info, err)
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("ran %d times", n)
		}
		drainedOff(t, caller)
	})
}
