package integration

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
	"github.com/catga-go/catga/streams"
)

type doomedEvent struct {
	framework.ReliableEvent
	Text string `json:"text"`
}

type doomedRequest struct {
	framework.Request[string]
	Text string `json:"text"`
}

var errDoomed = errors.New("disk on fire")

func TestRetriesAreBounded_DeadLetterHasOriginalBytesHeadersAndReason(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		var runs, settled list[time.Time]
		node := frameworktest.NewNode(t, withHooks(framework.Hooks{Handler: func(framework.HandlerRef) framework.HandlerHooks {
			return framework.HandlerHooks{Done: func(framework.Outcome) { settled.add(time.Now()) }}
		}}))
		must(t, framework.Subscribe(node, func(context.Context, doomedEvent) error {
			runs.add(time.Now())
			return errDoomed
		}, framework.InGroup("billing")))
		frameworktest.Run(t, node)
		began := time.Now()
		must(t, framework.Publish(soon(t), node, doomedEvent{Text: "a < b & ü"}, framework.WithID("order 1/ü"),
			framework.WithHeader("x-Trace", "abc"), framework.WithCorrelation("corr")))

		natstest.Pass(10 * time.Minute)
		if n := runs.len(); n != 4 { // the default: 3 retries
			t.Errorf("the handler ran %d times, want 4", n)
		}
		got := deadLetters(t, node, 1)[0]
		want := streams.DeadLetter{
			Group: "billing", Kind: "doomedEvent", ID: "order 1/ü", Reason: framework.ReasonError, Error: errDoomed.Error(), Node: "test",
			Attempts: 4, Subject: "catga.event.doomedEvent", Stream: "CATGA_EVENTS", Sequence: 1,
		}
		if string(got.Data) != `{"text":"a < b & ü"}` {
			t.Errorf("data = %s", got.Data)
		}
		original := messages(t, node, "CATGA_EVENTS")[0]
		for key, values := range original.Header {
			if !slices.Equal(got.Header[key], values) {
				t.Errorf("header %s = %q, want %q", key, got.Header[key], values)
			}
		}
		if len(got.Header) != len(original.Header) || got.Header["x-Trace"] == nil {
			t.Errorf("headers = %v, want %v", got.Header, original.Header)
		}
		if !got.Published.Equal(original.Time) || got.Failed.Before(runs.get()[3]) || got.Failed.Sub(began) > time.Minute {
			t.Errorf("published %v, failed %v; was stored %v, ran last %v", got.Published, got.Failed, original.Time, runs.get()[3])
		}
		got.Data, got.Header, got.Published, got.Failed = nil, nil, time.Time{}, time.Time{}
		diff(t, "dead letter", got, want)
		acknowledged(t, node, "billing:doomedEvent")
	})
}

func TestRetries_AreDelayedByTheBackoff(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t)
		var runs list[time.Time]
		must(t, framework.Subscribe(node, func(context.Context, doomedEvent) error {
			runs.add(time.Now())
			return errDoomed
		}, framework.WithRetries(6), framework.WithBackoff(2*time.Second, 20*time.Second)))
		frameworktest.Run(t, node)
		must(t, framework.Publish(soon(t), node, doomedEvent{}))
		natstest.Pass(10 * time.Minute)
		at := runs.get()
		if len(at) != 7 {
			t.Fatalf("ran %d times, want 7", len(at))
		}
		for i, seconds := range []int{2, 4, 8, 16, 20, 20} {
			most := time.Duration(seconds) * time.Second
			if got := at[i+1].Sub(at[i]); got < most/2 || got > most+time.Second {
				t.Errorf("retry %d came after %v, want %v to %v", i+1, got, most/2, most)
			}
		}
	})
}

// What each way to fail for good leaves behind.
func TestFailureForGood_IsDeadLetteredWithItsReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, reason, text string
		runs               int
		fail               func() error
	}{
		{"permanent", framework.ReasonPermanent, "disk on fire", 1, func() error { return framework.Permanent(errDoomed) }},
		{"wrapped permanent", framework.ReasonPermanent, "save: disk on fire", 1, func() error { return wrap("save", framework.Permanent(errDoomed)) }},
		{"rejection has its code as reason", "no such user", "no such user: gone for good", 1, func() error { return framework.Reject("no such user", "gone for good") }},
		{"last retry", framework.ReasonError, "disk on fire", 2, func() error { return errDoomed }},
		{"retry after", framework.ReasonError, "disk on fire", 2, func() error { return framework.RetryAfter(errDoomed, time.Millisecond) }},
		{"several lines", framework.ReasonPermanent, "one two", 1, func() error { return framework.Permanent(errors.New("one\ntwo")) }},
		{"panic", framework.ReasonPanic, "panic: oh no", 2, func() error { panic("oh no") }},
		{"panic with an error", framework.ReasonPanic, "panic: disk on fire", 2, func() error { panic(errDoomed) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var runs counter
			node := frameworktest.NewNode(t)
			must(t, framework.Subscribe(node, func(context.Context, doomedEvent) error {
				runs.Add(1)
				return tt.fail()
			}, framework.WithRetries(1), framework.WithBackoff(0, 0)))
			run(t, node)
			must(t, framework.Publish(soon(t), node, doomedEvent{Text: "x"}))
			got := deadLetters(t, node, 1)[0]
			if got.Reason != tt.reason || !strings.HasPrefix(got.Error, tt.text) || got.Attempts != tt.runs || string(got.Data) != `{"text":"x"}` {
				t.Errorf("dead letter = %+v", got)
			}
			if panicked := tt.reason == framework.ReasonPanic; panicked != strings.Contains(got.Error, "dead_letter_test.go:") {
				t.Errorf("is there a stack: %v, want %v: %s", !panicked, panicked, got.Error)
			}
			acknowledged(t, node, "node=test:doomedEvent")
			if n := int(runs.Load()); n != tt.runs {
				t.Errorf("ran %d times, want %d", n, tt.runs)
			}
		})
	}
}

func TestUndecodable_IsDeadLetteredAtOnceWithoutRunning(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*nats.Msg{
		"bad JSON":             foreign("catga.event.doomedEvent", `{"text":`),
		"wrong type":           foreign("catga.event.doomedEvent", `{"text":7}`),
		"nothing":              foreign("catga.event.doomedEvent", ``),
		"unknown content type": foreign("catga.event.doomedEvent", `{}`, "Content-Type", "application/x-unheard-of"),
		"request":              foreign("catga.request.doomedRequest", `"text"`, "Catga-Id", "r"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := frameworktest.NewNode(t)
			must(t, framework.Subscribe(node, func(context.Context, doomedEvent) error {
				t.Error("handler ran")
				return nil
			}), framework.Handle(node, func(context.Context, doomedRequest) (string, error) {
				t.Error("handler ran")
				return "", nil
			}))
			run(t, node)
			must(t, node.Conn().PublishMsg(m))
			got := deadLetters(t, node, 1)[0]
			if got.Reason != framework.ReasonUndecodable || got.Error == "" || got.Attempts != 0 || string(got.Data) != string(m.Data) || got.ID == "" {
				t.Errorf("dead letter = %+v", got)
			}
			diff(t, "headers", got.Header, m.Header)
		})
	}
}

// The dead letter is there before the message is let go: where it cannot be written, the message
// stays, and the handler is run again rather than anything lost.
func TestDeadLetterCannotBeStored_MessageIsKept(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t)
		js := jetStream(t, node)
		dead, err := js.Stream(soon(t), "CATGA_DEAD")
		must(t, err)
		closed := dead.CachedInfo().Config
		closed.MaxMsgSize = 1 // so that the server refuses every dead letter
		_, err = js.UpdateStream(soon(t), closed)
		must(t, err)
		must(t, framework.Handle(node, func(context.Context, doomedRequest) (string, error) {
			return "", framework.Permanent(errDoomed)
		}))
		frameworktest.Run(t, node)
		_, err = framework.Submit(soon(t), node, doomedRequest{Text: "x"}, framework.WithID("r"))
		must(t, err)

		natstest.Pass(5 * time.Minute)
		if n := stored(t, node, "CATGA_REQUESTS"); n != 1 {
			t.Fatalf("%d requests are stored, want the one whose dead letter could not be written", n)
		}
		closed.MaxMsgSize = -1
		_, err = js.UpdateStream(soon(t), closed)
		must(t, err)
		natstest.Pass(time.Minute)
		if got := deadLetters(t, node, 1)[0]; got.ID != "r" || got.Reason != framework.ReasonPermanent {
			t.Errorf("dead letter = %+v", got)
		}
		drainedOff(t, node)
	})
}

func TestRequestFailsForGood_CallerIsToldAndDeadLetterIsStored(t *testing.T) {
	t.Parallel()
	var rejected *framework.Rejection
	var failed *framework.RemoteError
	node := frameworktest.NewNode(t)
	must(t, framework.Handle(node, func(_ context.Context, q doomedRequest) (string, error) {
		switch q.Text {
		case "reject":
			return "", framework.Reject("sold_out", "no more")
		case "panic":
			panic("oh no")
		default:
			return "", errDoomed
		}
	}, framework.WithRetries(1), framework.WithBackoff(0, 0)))
	run(t, node)
	if _, err := framework.Send(soon(t), node, doomedRequest{Text: "reject"}); !errors.As(err, &rejected) || *rejected != (framework.Rejection{Code: "sold_out", Message: "no more"}) {
		t.Errorf("rejected: %v", err)
	}
	if n := streamState(t, node, "CATGA_DEAD").Msgs; n != 0 {
		t.Errorf("a rejected request left %d dead letters", n)
	}
	if _, err := framework.Send(soon(t), node, doomedRequest{Text: "fail"}); !errors.As(err, &failed) || failed.Message != errDoomed.Error() || failed.Attempts != 2 || failed.Node != "test" {
		t.Errorf("failed: %v", err)
	}
	if _, err := framework.Send(soon(t), node, doomedRequest{Text: "panic"}); !errors.As(err, &failed) || failed.Message != "panic: oh no" {
		t.Errorf("panicked: %v (the caller is told the value and not the stack)", err)
	}
	letters := deadLetters(t, node, 2)
	if letters[0].Reason != framework.ReasonError || letters[1].Reason != framework.ReasonPanic || letters[0].Group != "requests" || string(letters[0].Data) != `{"text":"fail"}` {
		t.Errorf("dead letters = %+v", letters)
	}
	drainedOff(t, node)
}
