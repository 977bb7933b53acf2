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

type bake struct {
	framework.Request[string]
	What string `json:"what"`
}

func stateIs[R any](t *testing.T, ticket framework.Ticket[R], want framework.RequestState) {
	t.Helper()
	if got, err := ticket.State(soon(t)); err != nil || got != want {
		t.Errorf("state = %q, %v; want %q", got, err, want)
	}
}

func TestSubmit_AnswerIsFetchedByTicketFromAnotherProcess(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	sender, worker := connect(t, srv, "sender"), connect(t, srv, "worker")
	ticket, err := framework.Submit(soon(t), sender, bake{What: "bread"}, framework.WithID("batch 7"))
	must(t, err)
	if ticket.ID() != "batch 7" {
		t.Errorf("ticket has ID %q", ticket.ID())
	}
	stateIs(t, ticket, framework.Unknown)
	must(t, sender.Close(soon(t))) // nobody who knows of it is left

	started, release := make(chan struct{}), make(chan struct{})
	must(t, framework.Handle(worker, func(_ context.Context, b bake) (string, error) {
		close(started)
		<-release
		return "fresh " + b.What, nil
	}))
	frameworktest.Run(t, worker)
	receive(t, started)
	other := connect(t, srv, "other")
	found := framework.TicketFor[bake](other, "batch 7")
	stateIs(t, found, framework.Running)
	_, err = found.Wait(within(t, 30*time.Millisecond))
	if e := noReply(t, err); e.State != framework.Running || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait while it runs = %+v", e)
	}
	close(release)
	for range 2 { // a ticket is not used up
		if got, err := found.Wait(soon(t)); err != nil || got != "fresh bread" {
			t.Errorf("Wait = %q, %v", got, err)
		}
	}
	stateIs(t, found, framework.Done)
	if _, err := ticket.Wait(soon(t)); !errors.Is(err, framework.ErrClosed) {
		t.Errorf("Wait on the closed node = %v", err)
	}
	var info framework.ReplyInfo
	if got, err := framework.Send(soon(t), other, bake{What: "bread"}, framework.WithID("batch 7"), framework.WithReply(&info)); err != nil || got != "fresh bread" || !info.Replayed {
		t.Errorf("Send with the ID = %q, %+v, %v", got, info, err)
	}
}

func TestSubmit_GeneratesAnIDThatFindsTheAnswer(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	must(t, framework.Handle(node, func(_ context.Context, b bake) (string, error) { return b.What, nil }))
	frameworktest.Run(t, node)
	ticket, err := framework.Submit(soon(t), node, bake{What: "cake"})
	must(t, err)
	if got, err := framework.TicketFor[bake](node, ticket.ID()).Wait(soon(t)); err != nil || got != "cake" {
		t.Errorf("Wait for %q = %q, %v", ticket.ID(), got, err)
	}
}

func TestSubmit_FailuresAreAnswersOfTheTicket(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	must(t, framework.Handle(node, func(_ context.Context, b bake) (string, error) {
		if b.What == "stones" {
			return "", framework.Reject("inedible", b.What)
		}
		return "", errBroken
	}, framework.WithRetries(0)))
	frameworktest.Run(t, node)

	rejected, err := framework.Submit(soon(t), node, bake{What: "stones"})
	must(t, err)
	_, err = rejected.Wait(soon(t))
	var no *framework.Rejection
	if !errors.As(err, &no) || no.Code != "inedible" {
		t.Errorf("Wait = %v, want the rejection", err)
	}
	stateIs(t, rejected, framework.Done)

	failed, err := framework.Submit(soon(t), node, bake{What: "bread"})
	must(t, err)
	_, err = failed.Wait(soon(t))
	var remote *framework.RemoteError
	if !errors.As(err, &remote) || *remote != (framework.RemoteError{Kind: "bake", ID: failed.ID(), Node: "test", Message: errBroken.Error(), Attempts: 1}) {
		t.Errorf("Wait = %+v, want the handler's error", err)
	}
	stateIs(t, failed, framework.Failed)
}

func TestSubmit_IsNotRunAfterExpiresIn(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		sender, worker := connect(t, srv, "sender"), connect(t, srv, "worker")
		short, err := framework.Submit(soon(t), sender, bake{What: "short"}, framework.ExpiresIn(time.Minute))
		must(t, err)
		long, err := framework.Submit(soon(t), sender, bake{What: "long"}, framework.ExpiresIn(time.Hour))
		must(t, err)
		natstest.Pass(2 * time.Minute)
		ran := make(chan string, 10)
		must(t, framework.Handle(worker, func(_ context.Context, b bake) (string, error) {
			ran <- b.What
			return b.What, nil
		}))
		frameworktest.Run(t, worker)
		if got, err := long.Wait(soon(t)); err != nil || got != "long" {
			t.Errorf("the one in time = %q, %v", got, err)
		}
		_, err = short.Wait(soon(t))
		var remote *framework.RemoteError
		if !errors.As(err, &remote) || remote.Attempts != 0 {
			t.Errorf("the expired one = %v, want a *RemoteError after 0 attempts", err)
		}
		stateIs(t, short, framework.Failed)
		if n := stored(t, sender, "CATGA_DEAD"); n != 1 {
			t.Errorf("%d dead letters, want the expired request", n)
		}
		if len(ran) != 1 {
			t.Errorf("%d handlers ran", len(ran))
		}
	})
}

func TestSubmit_TicketOfAnUnknownIDWaitsAndThenSaysSo(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	ticket := framework.TicketFor[bake](node, "never")
	stateIs(t, ticket, framework.Unknown)
	_, err := ticket.Wait(within(t, 30*time.Millisecond))
	if e := noReply(t, err); e.State != framework.Unknown || e.ID != "never" {
		t.Errorf("Wait = %+v", e)
	}
}

func TestSubmit_WithAnotherPayloadForTheIDIsRefusedByTheTicket(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	var runs counter
	must(t, framework.Handle(node, func(_ context.Context, b bake) (string, error) {
		runs.Add(1)
		return b.What, nil
	}))
	frameworktest.Run(t, node)
	bread, err := framework.Submit(soon(t), node, bake{What: "bread"}, framework.WithID("x"))
	must(t, err)
	if got, err := bread.Wait(soon(t)); err != nil || got != "bread" {
		t.Errorf("Wait = %q, %v", got, err)
	}
	cake, err := framework.Submit(soon(t), node, bake{What: "cake"}, framework.WithID("x"))
	must(t, err)
	if got, err := cake.Wait(soon(t)); !errors.Is(err, framework.ErrKeyReused) {
		t.Errorf("Wait for another payload = %q, %v; want %v", got, err, framework.ErrKeyReused)
	}
	again, err := framework.Submit(soon(t), node, bake{What: "bread"}, framework.WithID("x"))
	must(t, err)
	if got, err := again.Wait(soon(t)); err != nil || got != "bread" {
		t.Errorf("Wait for the same payload = %q, %v", got, err)
	}
	drainedOff(t, node)
	if n := runs.Load(); n != 1 {
		t.Errorf("ran %d times", n)
	}
}
