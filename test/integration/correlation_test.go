package integration

import (
	"context"
	"strings"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type (
	chainRequest struct {
		framework.Request[framework.None]
	}
	chainEvent struct {
		framework.ReliableEvent
		Batch bool `json:"batch"`
	}
	chainSignal struct {
		framework.Event
	}
	chainLater struct {
		framework.Request[framework.None]
	}
)

// A request's handler publishes, whose handlers publish and submit: the correlation goes all the way,
// and each message knows what caused it.
func TestCorrelation_IsInheritedAndTheCauseIsNamed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options     []framework.SendOption
		correlation string // "" = the ID of the first message
	}{
		"given":                  {[]framework.SendOption{framework.WithID("first"), framework.WithCorrelation("trip 1/ü")}, "trip 1/ü"},
		"ID of the first":        {[]framework.SendOption{framework.WithID("erste ü")}, "erste ü"},
		"generated ID of it too": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := frameworktest.NewNode(t)
			got := make(chan framework.Info, 10)
			see := func(ctx context.Context) framework.Info {
				i := framework.InfoFrom(ctx)
				got <- i
				return i
			}
			must(t,
				framework.Handle(node, func(ctx context.Context, _ chainRequest) (framework.None, error) {
					see(ctx)
					return framework.None{}, framework.Publish(ctx, node, chainEvent{})
				}),
				framework.Subscribe(node, func(ctx context.Context, e chainEvent) error {
					see(ctx)
					if e.Batch {
						return nil
					}
					if err := framework.PublishBatch(ctx, node, []chainEvent{{Batch: true}, {Batch: true}}); err != nil {
						return err
					}
					if err := framework.Publish(ctx, node, chainSignal{}, framework.WithID("signal")); err != nil {
						return err
					}
					_, err := framework.Submit(ctx, node, chainLater{}, framework.WithCorrelation("my own"))
					return err
				}),
				framework.Subscribe(node, func(ctx context.Context, _ chainSignal) error { see(ctx); return nil }),
				framework.Handle(node, func(ctx context.Context, _ chainLater) (framework.None, error) {
					see(ctx)
					return framework.None{}, nil
				}),
			)
			run(t, node)
			_, err := framework.Send(soon(t), node, chainRequest{}, tt.options...)
			must(t, err)
			by := map[string][]framework.Info{}
			for range 6 {
				i := receive(t, got)
				by[i.Kind] = append(by[i.Kind], i)
			}
			request, event := by["chainRequest"][0], by["chainEvent"][0]
			want := tt.correlation
			if want == "" {
				want = request.ID
			}
			if request.Causation != "" || name == "given" && request.Correlation != tt.correlation {
				t.Errorf("request: %+v", request)
			}
			if event.Causation != request.ID || event.Correlation != want || event.ID == "" {
				t.Errorf("event: %+v, caused by %q in %q", event, request.ID, want)
			}
			for _, i := range append(by["chainEvent"][1:], by["chainSignal"]...) {
				if i.Causation != event.ID || i.Correlation != want {
					t.Errorf("%s: %+v, want cause %q in %q", i.Kind, i, event.ID, want)
				}
			}
			if l := by["chainLater"][0]; l.Causation != event.ID || l.Correlation != "my own" {
				t.Errorf("with a correlation of its own: %+v", l)
			}
		})
	}
}

func TestInfo_OutsideAHandlerIsZero(t *testing.T) {
	t.Parallel()
	if i := framework.InfoFrom(t.Context()); i.ID != "" || i.Attempt != 0 || i.Header.Get("x") != "" {
		t.Errorf("info = %+v", i)
	}
	ctx := framework.ContextWithInfo(t.Context(), framework.Info{ID: "id", Attempt: 2})
	if i := framework.InfoFrom(ctx); i.ID != "id" || i.Attempt != 2 {
		t.Errorf("info = %+v", i)
	}
}

// Any string is an ID, a correlation and an event's key, and arrives as it was.
func TestAnyString_IsAnID(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	got := make(chan framework.Info, 1)
	must(t, framework.Subscribe(node, infos[paid](got)), framework.Subscribe(node, infos[chainSignal](got)),
		framework.Handle(node, func(ctx context.Context, _ stampedRequest) (framework.Info, error) {
			i := framework.InfoFrom(ctx)
			got <- i
			return i, nil
		}))
	run(t, node)
	for _, id := range []string{
		"a", " ", "  padded  ", "with space", "a:b", "a.b.>", "*", "paid/1", "~generated?", "100%", "%41", "größe", "日本語", "\x00\r\n\t", "\xff\xfe", "😀",
		"/", "..", strings.Repeat("long ", 200), strings.Repeat("ü", 512),
	} {
		must(t, framework.Publish(soon(t), node, paid{}, framework.WithID(id), framework.WithCorrelation(id)))
		if i := receive(t, got); i.ID != id || i.Correlation != id {
			t.Errorf("event: %q arrived as %q, %q", id, i.ID, i.Correlation)
		}
		must(t, framework.Publish(soon(t), node, chainSignal{}, framework.WithID(id), framework.WithCorrelation(id)))
		if i := receive(t, got); i.ID != id || i.Correlation != id {
			t.Errorf("QoS 0: %q arrived as %q, %q", id, i.ID, i.Correlation)
		}
		var reply framework.ReplyInfo
		for try := range 2 {
			_, err := framework.Send(soon(t), node, stampedRequest{}, framework.WithID(id), framework.WithCorrelation(id), framework.WithReply(&reply))
			if err != nil || reply.Replayed != (try == 1) {
				t.Errorf("request %q, try %d: replayed %v, %v", id, try, reply.Replayed, err)
			}
		}
		if i := receive(t, got); i.ID != id || i.Correlation != id {
			t.Errorf("request: %q arrived as %q, %q", id, i.ID, i.Correlation)
		}
		must(t, framework.Publish(soon(t), node, paid{}, framework.WithID(id))) // again: a duplicate
	}
	acknowledged(t, node, "node=test:paid")
	empty(t, "handled again", got)
}
