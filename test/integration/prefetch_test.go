package integration

import (
	"context"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type slowEvent struct {
	framework.ReliableEvent
	N int `json:"n"`
}

type slowRequest struct {
	framework.Request[int]
	N int `json:"n"`
}

// Handlers that last several ack waits: what runs is renewed, and what waits behind it on the same
// node is not run by two nodes.
func TestSlowHandler_PrefetchedNeighboursRunOnceEach(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		var ran list[int]
		options := []framework.HandlerOption{framework.WithConcurrency(4), framework.WithAckWait(5 * time.Second)}
		slow := func(n int) {
			ran.add(n)
			natstest.Pass(17 * time.Second)
		}
		for _, name := range []string{"a", "b"} {
			node := connect(t, srv, name)
			must(t, framework.Subscribe(node, func(ctx context.Context, e slowEvent) error {
				slow(e.N)
				return ctx.Err()
			}, framework.InGroup("g"), options[0], options[1]), framework.Handle(node, func(ctx context.Context, q slowRequest) (int, error) {
				slow(q.N)
				return q.N, ctx.Err()
			}, options[0], options[1]))
			frameworktest.Run(t, node)
		}
		publisher := connect(t, srv, "publisher")
		const each = 24
		for i := range each {
			must(t, framework.Publish(soon(t), publisher, slowEvent{N: i}))
			_, err := framework.Submit(soon(t), publisher, slowRequest{N: each + i})
			must(t, err)
		}
		natstest.Pass(5 * time.Minute)
		acknowledged(t, publisher, "g:slowEvent")
		drainedOff(t, publisher)
		runs := map[int]int{}
		for _, n := range ran.get() {
			runs[n]++
		}
		for n := range 2 * each {
			if runs[n] != 1 {
				t.Errorf("message %d ran %d times, want once", n, runs[n])
			}
		}
		if n := streamState(t, publisher, "CATGA_DEAD").Msgs; n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}
