package integration

import (
	"context"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type (
	reserve     struct{ framework.Request[string] }
	charge      struct{ framework.Request[string] }
	wasReserved struct{ framework.ReliableEvent }
	wasCharged  struct{ framework.ReliableEvent }
)

func TestOneID_UsedForTwoKindsIsHandledForBoth(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	handled := make(chan string, 10)
	note := func(ctx context.Context) { handled <- framework.InfoFrom(ctx).Kind + " " + framework.InfoFrom(ctx).ID }
	must(t,
		framework.Handle(node, func(ctx context.Context, _ reserve) (string, error) { note(ctx); return "reserved", nil }),
		framework.Handle(node, func(ctx context.Context, _ charge) (string, error) { note(ctx); return "charged", nil }),
		framework.Subscribe(node, func(ctx context.Context, _ wasReserved) error { note(ctx); return nil }),
		framework.Subscribe(node, func(ctx context.Context, _ wasCharged) error { note(ctx); return nil }))
	frameworktest.Run(t, node)

	one := framework.WithID("order 1")
	if got, err := framework.Send(soon(t), node, reserve{}, one); got != "reserved" {
		t.Errorf("reserve = %q, %v", got, err)
	}
	if got, err := framework.Send(soon(t), node, charge{}, one); got != "charged" {
		t.Errorf("charge = %q, %v", got, err)
	}
	must(t,
		framework.Publish(soon(t), node, wasReserved{}, one),
		framework.Publish(soon(t), node, wasCharged{}, one))
	seen := map[string]int{}
	for range 4 {
		seen[receive(t, handled)]++
	}
	for _, kind := range []string{"reserve", "charge", "wasReserved", "wasCharged"} {
		if seen[kind+" order 1"] != 1 {
			t.Errorf("%s was handled %d times: %v", kind, seen[kind+" order 1"], seen)
		}
	}
}
