package integration

import (
	"context"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type later struct {
	framework.ReliableEvent
	N int `json:"n"`
}

type laterRequest struct {
	framework.Request[string]
	N int `json:"n"`
}

type runAt struct {
	at   time.Time
	info framework.Info
}

// A long delay takes no slot of the group: the message leaves the consumer, as a schedule of the
// server's, and comes back to that group alone.
func TestRetryAfterLong_LeavesTheConsumerAndComesBackToThatGroupOnly(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		a, b := connect(t, srv, "a", calm), connect(t, srv, "b", calm)
		var slow, other list[runAt]
		keep := func(to *list[runAt]) func(context.Context, later) error {
			return func(ctx context.Context, _ later) error {
				to.add(runAt{time.Now(), framework.InfoFrom(ctx)})
				if to == &slow && to.len() < 4 {
					return framework.RetryAfter(errNotYet, 5*time.Minute)
				}
				return nil
			}
		}
		must(t, framework.Subscribe(a, keep(&slow), framework.InGroup("slow")),
			framework.Subscribe(b, keep(&slow), framework.InGroup("slow")),
			framework.Subscribe(a, keep(&other), framework.InGroup("other")), framework.Subscribe(b, keep(&other)))
		run(t, a, b)
		must(t, framework.Publish(soon(t), a, later{N: 7}, framework.WithCorrelation("c"), framework.WithHeader("x-h", "v")))
		natstest.Pass(2 * time.Minute)
		for _, durable := range []string{"slow:later", "other:later", "node=b:later"} {
			if info := consumerInfo(t, a, "CATGA_EVENTS", durable); info.NumAckPending != 0 || info.NumPending != 0 {
				t.Errorf("%s: %d pending, %d to be acknowledged; the retry must wait elsewhere", durable, info.NumPending, info.NumAckPending)
			}
		}
		natstest.Pass(15 * time.Minute)
		runs := slow.get()
		if len(runs) != 4 {
			t.Fatalf("%d runs, want 4", len(runs))
		}
		for i, r := range runs {
			if r.info.Attempt != i+1 || r.info.ID != runs[0].info.ID || r.info.Group != "slow" || r.info.Correlation != "c" || r.info.Header.Get("X-H") != "v" {
				t.Errorf("run %d: %+v", i, r.info)
			}
			if i > 0 {
				if gap := r.at.Sub(runs[i-1].at); gap < 5*time.Minute || gap > 5*time.Minute+2*time.Second {
					t.Errorf("run %d came after %v", i, gap)
				}
			}
		}
		if n := other.len(); n != 2 {
			t.Errorf("the other groups handled it %d times, want once each", n)
		}
		acknowledged(t, a, "slow:later")
		if n := streamState(t, a, "CATGA_DEAD").Msgs; n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestRetryAfter_CountsAsATry(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t, calm)
		var runs list[time.Time]
		must(t, framework.Subscribe(node, func(context.Context, later) error {
			runs.add(time.Now())
			return framework.RetryAfter(errNotYet, time.Duration(runs.len())*time.Minute)
		}, framework.WithRetries(2)))
		frameworktest.Run(t, node)
		must(t, framework.Publish(soon(t), node, later{}, framework.WithID("e 1"), framework.WithHeader("x-h", "v")))
		natstest.Pass(5 * time.Minute)
		d := deadLetters(t, node, 1)[0]
		if runs.len() != 3 || d.Attempts != 3 || d.Reason != framework.ReasonError || d.ID != "e 1" || d.Error != errNotYet.Error() || d.Header["x-h"] == nil {
			t.Errorf("%d runs, dead letter %+v", runs.len(), d)
		}
	})
}

// Also when the record of the message is forgotten while it waits: the count travels with it.
func TestRetryAfter_LongerThanRecordsAreKeptStillCounts(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t, calm, func(c *framework.Config) { c.Lease, c.DedupTTL = 30*time.Second, time.Minute })
		var runs list[framework.Info]
		must(t, framework.Subscribe(node, func(ctx context.Context, _ later) error {
			runs.add(framework.InfoFrom(ctx))
			return framework.RetryAfter(errNotYet, 3*time.Minute)
		}, framework.WithRetries(2)))
		frameworktest.Run(t, node)
		must(t, framework.Publish(soon(t), node, later{}))
		natstest.Pass(10 * time.Minute)
		if d := deadLetters(t, node, 1)[0]; d.Attempts != 3 || runs.len() != 3 {
			t.Errorf("%d runs, dead letter %+v", runs.len(), d)
		}
	})
}

func TestRetryAfterLong_RequestWaitsAsAScheduleAndIsAnswered(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t, calm)
		must(t, framework.Handle(node, func(ctx context.Context, _ laterRequest) (string, error) {
			if framework.InfoFrom(ctx).Attempt < 3 {
				return "", framework.RetryAfter(errNotYet, 4*time.Minute)
			}
			return "at last", nil
		}))
		frameworktest.Run(t, node)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		answered := sending(ctx, node, laterRequest{})
		natstest.Pass(2 * time.Minute)
		if info := consumerInfo(t, node, "CATGA_REQUESTS", "requests:laterRequest"); info.NumAckPending != 0 || info.NumPending != 0 {
			t.Errorf("%d pending, %d to be acknowledged", info.NumPending, info.NumAckPending)
		}
		r := <-answered
		if r.value != "at last" || r.err != nil || r.info.Attempts != 3 {
			t.Errorf("answer = %+v", r)
		}
		if took := time.Since(began); took < 8*time.Minute || took > 8*time.Minute+3*time.Second {
			t.Errorf("answered after %v", took)
		}
		drainedOff(t, node)
	})
}
