package integration

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

func TestRequest_ThatFailsIsRetriedWhileItsCallerWaits(t *testing.T) {
	for name, opts := range map[string][]framework.SendOption{"any node": nil, "ToNode": {framework.ToNode("worker")}} {
		t.Run(name, func(t *testing.T) {
			natstest.FakeTime(t, func(t *testing.T) {
				srv := frameworktest.NewServer(t)
				caller, worker := connect(t, srv, "caller"), connect(t, srv, "worker")
				var attempts []int
				must(t, framework.Handle(worker, func(ctx context.Context, _ work) (string, error) {
					attempts = append(attempts, framework.InfoFrom(ctx).Attempt)
					switch len(attempts) {
					case 1:
						return "", errNotYet // again after the backoff, in its slot
					case 2:
						return "", framework.RetryAfter(errNotYet, time.Minute) // leaves the slot, as a schedule
					case 3:
						panic("not yet")
					}
					return "done", nil
				}))
				frameworktest.Run(t, worker)
				handling(t, caller, "work", 1)
				began := time.Now()
				var info framework.ReplyInfo
				got, err := framework.Send(within(t, time.Hour), caller, work{}, append(opts, framework.WithID("x"), framework.WithReply(&info))...)
				if err != nil || got != "done" || info != (framework.ReplyInfo{Node: "worker", Attempts: 4}) {
					t.Errorf("Send = %q, %+v, %v", got, info, err)
				}
				if took := time.Since(began); took < time.Minute || took > 2*time.Minute {
					t.Errorf("it took %v", took)
				}
				if len(attempts) != 4 || attempts[0] != 1 || attempts[1] != 2 || attempts[2] != 3 || attempts[3] != 4 {
					t.Errorf("attempts %v", attempts)
				}
				drainedOff(t, caller)
			})
		})
	}
}

func TestRequest_SentAgainBetweenTwoRetriesTakesPartInThem(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		caller, worker := connect(t, srv, "caller"), connect(t, srv, "worker")
		var attempts []int
		must(t, framework.Handle(worker, func(ctx context.Context, _ work) (string, error) {
			attempts = append(attempts, framework.InfoFrom(ctx).Attempt)
			return "", framework.RetryAfter(errNotYet, time.Minute)
		}, framework.WithRetries(2)))
		frameworktest.Run(t, worker)
		first := sending(within(t, time.Hour), caller, work{}, framework.WithID("x"))
		natstest.Pass(10 * time.Second)
		second := sending(within(t, time.Hour), caller, work{}, framework.WithID("x"))
		for _, r := range []result[string]{receiveWithin(t, first, time.Hour), receiveWithin(t, second, time.Hour)} {
			remote, ok := errors.AsType[*framework.RemoteError](r.err)
			if !ok || remote.Attempts != 3 {
				t.Errorf("answer = %+v, want a *RemoteError after 3 attempts", r)
			}
		}
		if len(attempts) != 3 {
			t.Errorf("attempts %v, want 3 of both together", attempts)
		}
		drainedOff(t, caller)
	})
}

type bulky struct{ framework.Request[string] }

func TestRequest_AnswerThatCannotBeStoredIsAFailure(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	var runs counter
	must(t, framework.Handle(node, func(context.Context, bulky) (string, error) {
		runs.Add(1)
		return strings.Repeat("x", 2<<20), nil
	}))
	frameworktest.Run(t, node)
	_, err := framework.Send(soon(t), node, bulky{})
	if _, ok := errors.AsType[*framework.RemoteError](err); !ok {
		t.Fatalf("Send = %v, want a *RemoteError", err)
	}
	contains(t, err, "answer cannot be stored")
	drainedOff(t, node)
	if n := runs.Load(); n != 1 {
		t.Errorf("ran %d times: another run gives the same answer", n)
	}
}
