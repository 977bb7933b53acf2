package integration

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

func verify(c *framework.Config) { c.Provision = framework.Verify }

func TestVerify_MissingAssetIsAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	for _, missing := range []string{"CATGA_EVENTS", "CATGA_REQUESTS", "CATGA_DEAD", "KV_catga_dedup", "KV_catga_nodes"} {
		srv := frameworktest.NewServer(t)
		owner := connect(t, srv, "owner")
		must(t, owner.Close(soon(t))) // it would make anew what is deleted
		nc, err := nats.Connect("", nats.InProcessServer(srv))
		must(t, err)
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		must(t, err, js.DeleteStream(soon(t), missing))
		node, err := framework.Connect(soon(t), framework.Config{InProcess: srv, Provision: framework.Verify, Logger: frameworktest.Logger(t)})
		if err == nil {
			_ = node.Close(soon(t))
		}
		var absent *framework.MissingError
		if !errors.As(err, &absent) || absent.Stream != missing || absent.Consumer != "" {
			t.Errorf("Connect without %s = %v, want a *MissingError that names it", missing, err)
		}
		contains(t, err, missing)
		if _, err := js.Stream(soon(t), missing); err == nil {
			t.Errorf("%s was created by a node that may only check", missing)
		}
	}
}

func TestVerify_MissingConsumerFailsRunAndIsNamed(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	connect(t, srv, "owner")
	node := connect(t, srv, "node", verify)
	must(t, framework.Subscribe(node, func(context.Context, task) error { return nil }, framework.InGroup("g")))
	err := node.Run(soon(t))
	var absent *framework.MissingError
	if !errors.As(err, &absent) || absent.Stream != "CATGA_EVENTS" || absent.Consumer != "g:task" {
		t.Errorf("Run = %v, want a *MissingError that names the consumer", err)
	}
}

func TestVerify_WorksOnWhatOthersHaveMade(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	for i, options := range [][]func(*framework.Config){nil, {verify}, {verify}} {
		node := connect(t, srv, "node", options...)
		heard := make(chan int, 10)
		must(t,
			framework.Handle(node, func(context.Context, work) (string, error) { return "done", nil }),
			framework.Subscribe(node, func(_ context.Context, m task) error { heard <- m.N; return nil }, framework.InGroup("g")))
		drain := frameworktest.Run(t, node)
		must(t, framework.Publish(soon(t), node, task{N: i}))
		if got := receive(t, heard); got != i {
			t.Errorf("heard %d, want %d", got, i)
		}
		if got, err := framework.Send(soon(t), node, work{}); err != nil || got != "done" {
			t.Errorf("Send = %q, %v", got, err)
		}
		if got, err := framework.Send(soon(t), node, work{}, framework.ToNode("node")); err != nil || got != "done" {
			t.Errorf("ToNode = %q, %v", got, err)
		}
		drain()
		must(t, node.Close(soon(t)))
	}
}
