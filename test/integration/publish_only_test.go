package integration

import (
	"context"
	"errors"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type (
	ask      struct{ framework.Request[string] }
	asked    struct{ framework.ReliableEvent }
	askedNow struct{ framework.Event }
)

// answering handles all three kinds on node.
func answering(t *testing.T, node *framework.Node) <-chan string {
	t.Helper()
	heard := make(chan string, 100)
	must(t,
		framework.Handle(node, func(context.Context, ask) (string, error) { return "answer", nil }),
		framework.Subscribe(node, func(context.Context, asked) error { heard <- "asked"; return nil }),
		framework.Subscribe(node, func(context.Context, askedNow) error { heard <- "askedNow"; return nil }))
	return heard
}

// speaks fails unless node can publish and send.
func speaks(t *testing.T, node *framework.Node, heard <-chan string) {
	t.Helper()
	must(t, framework.Publish(soon(t), node, asked{}))
	if got := receive(t, heard); got != "asked" {
		t.Errorf("heard %s", got)
	}
	must(t, framework.Publish(soon(t), node, askedNow{}))
	if got := receive(t, heard); got != "askedNow" {
		t.Errorf("heard %s", got)
	}
	if got, err := framework.Send(soon(t), node, ask{}); err != nil || got != "answer" {
		t.Errorf("Send = %q, %v", got, err)
	}
	if got, err := framework.Send(soon(t), node, ask{}, framework.RoundRobin()); err != nil || got != "answer" {
		t.Errorf("Send by RoundRobin = %q, %v", got, err)
	}
	ticket, err := framework.Submit(soon(t), node, ask{})
	must(t, err)
	if got, err := ticket.Wait(soon(t)); err != nil || got != "answer" {
		t.Errorf("Wait = %q, %v", got, err)
	}
}

func TestProcessWithoutRun_PublishesAndSends(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	worker := connect(t, srv, "worker")
	heard := answering(t, worker)
	frameworktest.Run(t, worker)
	silent := connect(t, srv, "silent")
	speaks(t, silent, heard)
	for _, node := range silent.Nodes() {
		if node.ID == "silent" {
			t.Errorf("it is listed although it does not run: %+v", node)
		}
	}
	if self := silent.Self(); self.ID != "silent" || self.Online {
		t.Errorf("Self = %+v, want silent, offline", self)
	}
	contains(t, silent.Ready(), "silent", "not run yet")
	must(t, silent.Close(soon(t)))
}

func TestSend_WorksDuringADrainAndAfterIt(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	worker := connect(t, srv, "worker")
	heard := answering(t, worker)
	frameworktest.Run(t, worker)
	drains := connect(t, srv, "drains")
	started, release := make(chan struct{}), make(chan struct{})
	must(t, framework.Handle(drains, func(ctx context.Context, _ work) (string, error) {
		close(started)
		<-release
		return framework.Send(ctx, drains, ask{}) // a handler that finishes may need others
	}))
	stop, ended := running(t, drains)
	handling(t, worker, "work", 1)
	answer := sending(soon(t), worker, work{})
	receive(t, started)
	stop()
	handling(t, worker, "work", 0)
	contains(t, drains.Ready(), "draining")
	speaks(t, drains, heard)
	close(release)
	if r := receive(t, answer); r.err != nil || r.value != "answer" {
		t.Errorf("the handler that sent during the drain = %+v", r)
	}
	must(t, receive(t, ended))
	speaks(t, drains, heard)
	must(t, drains.Close(soon(t)))
	if _, err := framework.Send(soon(t), drains, ask{}); !errors.Is(err, framework.ErrClosed) {
		t.Errorf("Send after Close = %v", err)
	}
}

func TestClose_EndsWaitingCallersWithErrClosed(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	ticket, err := framework.Submit(soon(t), node, ask{})
	must(t, err)
	single := sending(soon(t), node, ask{})
	routed := sending(soon(t), node, ask{}, framework.RoundRobin())
	waiting := make(chan error, 2)
	go func() {
		_, err := ticket.Wait(soon(t))
		waiting <- err
	}()
	go func() {
		_, err := framework.SendBatch(soon(t), node, make([]ask, 2))
		waiting <- err
	}()
	eventually(t, "all are stored", func() bool { return stored(t, node, "CATGA_REQUESTS") == 5 })
	must(t, node.Close(soon(t)))
	for _, err := range []error{receive(t, single).err, receive(t, routed).err, receive(t, waiting), receive(t, waiting)} {
		if !errors.Is(err, framework.ErrClosed) {
			t.Errorf("a waiting caller got %v, want %v", err, framework.ErrClosed)
		}
	}
}
