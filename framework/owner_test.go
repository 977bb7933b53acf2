package framework_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type paidEvent struct{ framework.ReliableEvent }

type paidRequest struct {
	framework.Request[framework.None]
}

type paidByAlias struct{ framework.Event }

func (paidEvent) Kind() string            { return "Paid" }
func (paidRequest) Kind() string          { return "Paid" }
func (paidByAlias) KindAliases() []string { return []string{"Paid"} }

func TestKind_OfTwoGoTypesIsRefusedByTheNode(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	if err := framework.Subscribe(node, func(context.Context, paidEvent) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := framework.Publish(t.Context(), node, &paidEvent{}); err != nil {
		t.Errorf("T and *T are one message: %v", err)
	}
	_, sent := framework.Send(t.Context(), node, paidRequest{})
	for name, err := range map[string]error{
		"handle":             framework.Handle(node, func(context.Context, paidRequest) (r framework.None, err error) { return }),
		"send":               sent,
		"subscribe by alias": framework.Subscribe(node, func(context.Context, paidByAlias) error { return nil }),
		"declare":            framework.NewEvent[string]("Paid", framework.AtLeastOnce).Publish(t.Context(), node, "x"),
	} {
		var bad *framework.ConfigError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "paidEvent") || bad.Value != "Paid" {
			t.Errorf("%s: %v, want a *ConfigError that names the kind and its owner", name, err)
		}
	}
}
