package integration

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type quote struct {
	framework.Request[price]
	Product string `json:"product"`
	Count   int    `json:"count"`
}

type price struct {
	Cents int    `json:"cents"`
	For   string `json:"for"`
}

type touch struct {
	framework.Request[framework.None]
	Name string `json:"name"`
}

type lookUp struct {
	framework.Request[*price]
	Product string `json:"product"`
}

type unheard struct{ framework.Request[string] }

var errBroken = errors.New("the machine is broken")

// quoting answers quotes, by what is asked for.
func quoting(t *testing.T, node *framework.Node) {
	t.Helper()
	must(t, framework.Handle(node, func(_ context.Context, q quote) (price, error) {
		switch q.Product {
		case "sold out":
			return price{}, framework.Reject("sold_out", "no more of it")
		case "broken":
			return price{}, framework.Permanent(errBroken)
		case "flaky":
			return price{}, errBroken
		case "panic":
			panic("at the till")
		}
		return price{Cents: 100 * q.Count, For: q.Product}, nil
	}, framework.WithRetries(1), framework.WithBackoff(time.Millisecond, time.Millisecond)))
}

func TestRequest_IsAnsweredWithTheHandlersResponse(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	caller, worker := connect(t, srv, "caller"), connect(t, srv, "worker")
	quoting(t, worker)
	touched := make(chan string, 1)
	must(t,
		framework.Handle(worker, func(_ context.Context, m *touch) (framework.None, error) {
			touched <- m.Name
			return framework.None{}, nil
		}),
		framework.Handle(worker, func(_ context.Context, m lookUp) (*price, error) {
			return &price{Cents: 7, For: m.Product}, nil
		}))
	frameworktest.Run(t, worker)

	var info framework.ReplyInfo
	got, err := framework.Send(soon(t), caller, quote{Product: "<pear> & \u00e4", Count: 3}, framework.WithReply(&info))
	must(t, err)
	if want := (price{Cents: 300, For: "<pear> & \u00e4"}); got != want {
		t.Errorf("answer = %+v, want %+v", got, want)
	}
	if want := (framework.ReplyInfo{Node: "worker", Attempts: 1}); info != want {
		t.Errorf("info = %+v, want %+v", info, want)
	}

	// T and *T are one message, on either side.
	got, err = framework.Send(soon(t), caller, &quote{Product: "plum", Count: 1})
	must(t, err)
	if want := (price{Cents: 100, For: "plum"}); got != want {
		t.Errorf("answer to a pointer = %+v, want %+v", got, want)
	}
	if _, err := framework.Send(soon(t), caller, touch{Name: "t"}); err != nil {
		t.Errorf("Request[None] = %v", err)
	}
	if got := receive(t, touched); got != "t" {
		t.Errorf("handler of *touch got %q", got)
	}
	found, err := framework.Send(soon(t), caller, &lookUp{Product: "fig"})
	must(t, err)
	if diff := cmp.Diff(&price{Cents: 7, For: "fig"}, found); diff != "" {
		t.Errorf("answer of a pointer type (-want +got):\n%s", diff)
	}
	drainedOff(t, caller)
}

func TestSendBatch_AnswersByIndexAndNamesWhatFailed(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	quoting(t, node)
	frameworktest.Run(t, node)
	got, err := framework.SendBatch(soon(t), node, []quote{{Product: "a", Count: 1}, {Product: "sold out"}, {Product: "b", Count: 2}, {Product: "broken"}})
	if diff := cmp.Diff([]price{{100, "a"}, {}, {200, "b"}, {}}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	var batch *framework.BatchError
	if !errors.As(err, &batch) || len(batch.Failed) != 2 {
		t.Fatalf("error = %v, want a *BatchError with two entries", err)
	}
	var no *framework.Rejection
	if !errors.As(batch.Failed[1], &no) || no.Code != "sold_out" {
		t.Errorf("entry 1 = %v, want the rejection", batch.Failed[1])
	}
	var remote *framework.RemoteError
	if !errors.As(batch.Failed[3], &remote) {
		t.Errorf("entry 3 = %v, want a *RemoteError", batch.Failed[3])
	}
	if !errors.As(err, &no) || !errors.As(err, &remote) {
		t.Errorf("errors.As does not look into %v", err)
	}
	all, err := framework.SendBatch(soon(t), node, []quote{{Product: "c", Count: 3}, {Product: "d", Count: 4}})
	if diff := cmp.Diff([]price{{300, "c"}, {400, "d"}}, all); diff != "" || err != nil {
		t.Errorf("a batch without failures: %v (-want +got):\n%s", err, diff)
	}
	if all, err := framework.SendBatch(soon(t), node, []quote{}); len(all) != 0 || err != nil {
		t.Errorf("an empty batch = %v, %v", all, err)
	}
}

func TestRequest_FailureReachesTheCallerAsItsKind(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	quoting(t, node)
	frameworktest.Run(t, node)

	var info framework.ReplyInfo
	_, err := framework.Send(soon(t), node, quote{Product: "sold out"}, framework.WithReply(&info))
	var no *framework.Rejection
	if !errors.As(err, &no) || *no != (framework.Rejection{Code: "sold_out", Message: "no more of it"}) {
		t.Errorf("Reject reached the caller as %v", err)
	}
	if want := (framework.ReplyInfo{Node: "test", Attempts: 1}); info != want {
		t.Errorf("info of a rejection = %+v, want %+v", info, want)
	}
	if dead := stored(t, node, "CATGA_DEAD"); dead != 0 {
		t.Errorf("a rejected request left %d dead letters", dead)
	}

	for _, tt := range []struct {
		product, message string
		attempts         int
	}{
		{"broken", errBroken.Error(), 1},
		{"flaky", errBroken.Error(), 2},
		{"panic", "panic: at the till", 2},
	} {
		_, err := framework.Send(soon(t), node, quote{Product: tt.product}, framework.WithID(tt.product), framework.WithReply(&info))
		want := framework.RemoteError{Kind: "quote", ID: tt.product, Node: "test", Message: tt.message, Attempts: tt.attempts}
		var remote *framework.RemoteError
		if !errors.As(err, &remote) || *remote != want {
			t.Errorf("%s reached the caller as %+v, want %+v", tt.product, err, want)
		}
		if info.Attempts != tt.attempts || info.Node != "test" || info.Replayed {
			t.Errorf("info of %s = %+v", tt.product, info)
		}
		if err != nil && strings.Contains(err.Error(), "goroutine") {
			t.Errorf("the stack has left the node: %v", err)
		}
	}
	if dead := stored(t, node, "CATGA_DEAD"); dead != 3 {
		t.Errorf("%d dead letters, want 3", dead)
	}
	drainedOff(t, node)
}

func TestRequest_WithoutAnAnswerSaysHowManyNodesHandleTheKind(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	caller, worker := connect(t, srv, "caller"), connect(t, srv, "worker")
	started, release := make(chan struct{}), make(chan struct{})
	must(t, framework.Handle(worker, func(context.Context, quote) (price, error) {
		close(started)
		<-release
		return price{Cents: 1}, nil
	}))
	frameworktest.Run(t, worker)
	defer close(release)
	handling(t, caller, "quote", 1)

	_, err := framework.Send(within(t, 50*time.Millisecond), caller, unheard{})
	e := noReply(t, err)
	if e.Handlers != 0 || e.State != framework.Unknown || e.Kind != "unheard" || e.ID == "" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody handles it: %+v", e)
	}

	ctx, giveUp := context.WithCancel(t.Context())
	answer := sending(ctx, caller, quote{})
	receive(t, started)
	giveUp()
	r := receive(t, answer)
	e = noReply(t, r.err)
	if e.Handlers != 1 || e.State != framework.Running || !errors.Is(r.err, context.Canceled) {
		t.Errorf("its handler is slow: %+v", e)
	}
	if r.info != (framework.ReplyInfo{}) {
		t.Errorf("info without an answer = %+v", r.info)
	}
}
