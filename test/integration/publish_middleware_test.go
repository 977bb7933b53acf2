package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type stamped struct {
	framework.ReliableEvent
	N int `json:"n"`
}

type stampedRequest struct {
	framework.Request[framework.Info]
	N int `json:"n"`
}

// stamp gives each message an ID, a correlation and headers of its own.
func stamp(c *framework.Config) {
	c.PublishMiddleware = []framework.PublishMiddleware{func(next framework.PublishFunc) framework.PublishFunc {
		return func(ctx context.Context, out *framework.Outgoing) error {
			if out.Header == nil {
				out.Header = framework.Header{}
			}
			out.Header.Set("Tenant", "acme")
			out.ID = fmt.Sprintf("%s %v", out.Kind, out.Value)
			out.Correlation = "corr"
			return next(ctx, out)
		}
	}}
}

func TestPublishMiddleware_SetsIDAndHeadersOfEverythingThatIsSent(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t, stamp)
	got := make(chan framework.Info, 100)
	must(t, framework.Subscribe(node, infos[stamped](got)), framework.Subscribe(node, infos[tick](got)),
		framework.Handle(node, func(ctx context.Context, _ stampedRequest) (framework.Info, error) {
			return framework.InfoFrom(ctx), nil
		}))
	run(t, node)
	check := func(i framework.Info, id string) {
		t.Helper()
		if i.ID != id || i.Correlation != "corr" || i.Header.Get("tenant") != "acme" {
			t.Errorf("info = %+v, want what the middleware set", i)
		}
	}
	must(t, framework.Publish(soon(t), node, stamped{N: 1}, framework.WithHeader("h", "v")))
	check(receive(t, got), "stamped {{} 1}")
	must(t, framework.Publish(soon(t), node, tick{N: 1}))
	check(receive(t, got), "tick {{} 1}")
	i, err := framework.Send(soon(t), node, stampedRequest{N: 1})
	must(t, err)
	check(i, "stampedRequest {{} 1}")
	all, err := framework.SendBatch(soon(t), node, []stampedRequest{{N: 2}, {N: 3}})
	must(t, err)
	check(all[0], "stampedRequest {{} 2}")
	check(all[1], "stampedRequest {{} 3}")
	ticket, err := framework.Submit(soon(t), node, stampedRequest{N: 4})
	must(t, err)
	if ticket.ID() != "stampedRequest {{} 4}" {
		t.Errorf("ticket of %q", ticket.ID())
	}
	i, err = ticket.Wait(soon(t))
	must(t, err)
	check(i, "stampedRequest {{} 4}")
	must(t, framework.PublishBatch(soon(t), node, []stamped{{N: 5}, {N: 6}}))
	for range 2 {
		if i := receive(t, got); i.ID != "stamped {{} 5}" && i.ID != "stamped {{} 6}" || i.Header.Get("tenant") != "acme" {
			t.Errorf("of a batch: %+v", i)
		}
	}
	must(t, framework.Publish(soon(t), node, stamped{N: 1})) // has been published
	acknowledged(t, node, "node=test:stamped")
	empty(t, "the ID of the middleware does not deduplicate", got)
}

// What it refuses is not sent, and what it changes is checked like everything else.
func TestPublishMiddleware_MayRefuseAndIsChecked(t *testing.T) {
	t.Parallel()
	broke := errors.New("out of budget")
	for name, tt := range map[string]struct {
		change func(*framework.Outgoing) error
		option string
	}{
		"error":           {func(*framework.Outgoing) error { return broke }, ""},
		"reserved header": {func(o *framework.Outgoing) error { o.Header = framework.Header{"catga-id": {"x"}}; return nil }, "header"},
		"other kind":      {func(o *framework.Outgoing) error { o.Kind = "other"; return nil }, "Outgoing.Kind"},
		"other QoS":       {func(o *framework.Outgoing) error { o.QoS = 1 - o.QoS; return nil }, "Outgoing.Kind"},
		"nothing left":    {func(o *framework.Outgoing) error { o.Value = nil; return nil }, "Outgoing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := frameworktest.NewNode(t, func(c *framework.Config) {
				c.PublishMiddleware = []framework.PublishMiddleware{func(next framework.PublishFunc) framework.PublishFunc {
					return func(ctx context.Context, out *framework.Outgoing) error {
						if err := tt.change(out); err != nil {
							return err
						}
						return next(ctx, out)
					}
				}}
			})
			_, sendErr := framework.Send(soon(t), node, stampedRequest{})
			_, batchErr := framework.SendBatch(soon(t), node, []stampedRequest{{}, {}})
			_, submitErr := framework.Submit(soon(t), node, stampedRequest{})
			for call, err := range map[string]error{
				"Publish": framework.Publish(soon(t), node, stamped{}), "PublishBatch": framework.PublishBatch(soon(t), node, make([]stamped, 2)),
				"Publish QoS 0": framework.Publish(soon(t), node, tick{}), "Send": sendErr, "SendBatch": batchErr, "Submit": submitErr,
			} {
				if tt.option == "" && !errors.Is(err, broke) {
					t.Errorf("%s = %v, want the middleware's error", call, err)
				}
				var config *framework.ConfigError
				if tt.option != "" && (!errors.As(err, &config) || config.Option != tt.option) {
					t.Errorf("%s = %v, want a *ConfigError of %s", call, err, tt.option)
				}
			}
			if e, r := stored(t, node, "CATGA_EVENTS"), stored(t, node, "CATGA_REQUESTS"); e+r != 0 {
				t.Errorf("%d events and %d requests were stored", e, r)
			}
		})
	}
}
