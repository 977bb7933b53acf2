package integration

import (
	"context"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type offer struct {
	framework.ReliableEvent
	N int `json:"n"`
}

func TestExpiresIn_EventThatIsTooOldIsDroppedAndCounted(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		publisher := connect(t, srv, "publisher", calm)
		must(t, framework.Publish(soon(t), publisher, offer{N: 1}, framework.ExpiresIn(time.Minute)),
			framework.Publish(soon(t), publisher, offer{N: 2}, framework.ExpiresIn(time.Minute), framework.WithID("two")),
			framework.Publish(soon(t), publisher, offer{N: 3}, framework.ExpiresIn(time.Hour)),
			framework.Publish(soon(t), publisher, offer{N: 4}))
		natstest.Pass(2 * time.Minute)
		var done list[framework.Outcome]
		var ran list[int]
		node := connect(t, srv, "late", outcomes(&done), calm)
		must(t, framework.Subscribe(node, func(_ context.Context, e offer) error {
			ran.add(e.N)
			return nil
		}, framework.FromStart(), framework.WithConcurrency(1)))
		frameworktest.Run(t, node)
		natstest.Pass(time.Minute)
		verdicts := map[framework.Verdict]int{}
		for _, o := range done.get() {
			verdicts[o.Verdict]++
			if o.Verdict == framework.VerdictExpired && (o.Ran != 0 || o.Attempt != 0 || o.Reason != "") {
				t.Errorf("outcome of an expired event: %+v", o)
			}
		}
		diff(t, "verdicts", verdicts, map[framework.Verdict]int{framework.VerdictExpired: 2, framework.VerdictOK: 2})
		sum := 0
		for _, n := range ran.get() {
			sum += n
		}
		if ran.len() != 2 || sum != 7 {
			t.Errorf("ran %v, want 3 and 4", ran.get())
		}
		acknowledged(t, node, "node=late:offer")
		if n := streamState(t, node, "CATGA_DEAD").Msgs; n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestExpiresIn_CountsFromThePublishAlsoWhenARetryIsScheduled(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t, calm)
		var ran list[int]
		must(t, framework.Subscribe(node, func(ctx context.Context, _ offer) error {
			ran.add(framework.InfoFrom(ctx).Attempt)
			return framework.RetryAfter(errNotYet, 6*time.Minute)
		}))
		frameworktest.Run(t, node)
		must(t, framework.Publish(soon(t), node, offer{N: 1}, framework.ExpiresIn(10*time.Minute)))
		natstest.Pass(20 * time.Minute)
		diff(t, "attempts", ran.get(), []int{1, 2})
	})
}
