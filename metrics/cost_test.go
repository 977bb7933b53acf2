package metrics_test

import (
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
)

//nolint:paralleltest // AllocsPerRun counts the allocations of the whole process.
func TestMessage_AllocatesNothing(t *testing.T) {
	hooks, _ := newHooks(t)
	perMessage := messagePath(hooks)
	for range 1000 { // native buckets come into being with the first value in them
		perMessage()
	}
	if allocs := testing.AllocsPerRun(1000, perMessage); allocs != 0 {
		t.Errorf("%v allocations per message, want 0", allocs)
	}
}

func BenchmarkMessage(b *testing.B) {
	hooks, _ := newHooks(b)
	perMessage := messagePath(hooks)
	b.ReportAllocs()
	for b.Loop() {
		perMessage()
	}
}

// messagePath is all that metrics do for one request: sent, published, and handled badly.
func messagePath(hooks framework.Hooks) func() {
	kind := hooks.Kind(framework.KindRef{Kind: "Create", QoS: framework.AtLeastOnce})
	request := hooks.Requests(framework.KindRef{Kind: "Create", QoS: framework.AtLeastOnce})
	handler := hooks.Handler(billing("Create"))
	step := 0
	return func() {
		step = (step + 1) % 100
		took := time.Duration(step+1) * 700 * time.Microsecond // many buckets
		kind.Done("stored", took)
		handler.Started()
		handler.Done(framework.Outcome{
			Verdict: framework.VerdictDead, Reason: "no such reason", Check: "new", Attempt: 4,
			Ran: took, Latency: took, Redelivery: true,
		})
		request.Done("failed", took)
	}
}
