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

type flakyEvent struct {
	framework.ReliableEvent
	N int `json:"n"`
}

var errNotYet = errors.New("not yet")

func TestHandlerFailsTwiceThenSucceeds_EventIsHandledOnThirdAttempt(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t, calm)
		attempts := make(chan framework.Info, 10)
		must(t, framework.Subscribe(node, func(ctx context.Context, _ flakyEvent) error {
			info := framework.InfoFrom(ctx)
			attempts <- info
			if info.Attempt < 3 {
				return errNotYet
			}
			return nil
		}))
		frameworktest.Run(t, node)
		must(t, framework.Publish(soon(t), node, flakyEvent{N: 1}))
		first := receive(t, attempts)
		for want := 2; want <= 3; want++ {
			if got := receive(t, attempts); got.Attempt != want || got.ID != first.ID {
				t.Errorf("attempt %d of %s, want %d of %s", got.Attempt, got.ID, want, first.ID)
			}
		}
		natstest.Pass(time.Hour) // of fake time: it is acknowledged and comes no more
		if len(attempts) > 0 {
			t.Errorf("handled again: %+v", <-attempts)
		}
	})
}
