package integration

import (
	"context"
	"errors"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

func TestHeaders_ArriveAndAreReadInAnyCase(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	got := make(chan framework.Info, 10)
	must(t, framework.Subscribe(node, infos[stamped](got)), framework.Subscribe(node, infos[tick](got)),
		framework.Handle(node, func(ctx context.Context, _ stampedRequest) (framework.Info, error) {
			got <- framework.InfoFrom(ctx)
			return framework.Info{}, nil
		}))
	run(t, node)
	headers := []framework.MessageOption{
		framework.WithHeader("x-Tenant", "ACME & söhne"), framework.WithHeader("List", "1"), framework.WithHeader("List", "2"), framework.WithHeader("Empty", ""),
	}
	must(t, framework.Publish(soon(t), node, stamped{}, headers[0], headers[1], headers[2], headers[3]))
	must(t, framework.Publish(soon(t), node, tick{}, headers[0], headers[1], headers[2], headers[3]))
	_, err := framework.Send(soon(t), node, stampedRequest{}, headers[0], headers[1], headers[2], headers[3])
	must(t, err)
	for range 3 {
		h := receive(t, got).Header
		for _, key := range []string{"x-Tenant", "X-TENANT", "x-tenant"} {
			if h.Get(key) != "ACME & söhne" {
				t.Errorf("Get(%s) = %q of %v", key, h.Get(key), h)
			}
		}
		diff(t, "list", h["List"], []string{"1", "2"})
		if h.Get("none") != "" || h["Empty"] == nil {
			t.Errorf("headers = %v", h)
		}
	}
}

func TestBadInput_Header(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	for _, tt := range []struct{ name, key, value string }{
		{"of the server", "Nats-Msg-Id", "1"},
		{"of the server, in other case", "nats-rollup", "all"},
		{"of this project", "Catga-Id", "1"},
		{"of this project, in other case", "CATGA-ANYTHING", "1"},
		{"CloudEvents", "ce-id", "1"},
		{"trace", "traceparent", "1"},
		{"trace state", "TraceState", "1"},
		{"content type", "content-type", "text/plain"},
		{"empty", "", "1"},
		{"space", "a b", "1"},
		{"colon", "a:b", "1"},
		{"line break", "a\r\nb", "1"},
		{"non-ASCII", "größe", "1"},
		{"value with a line break", "a", "1\r\nNats-Rollup: all"},
		{"value with space around", "a", " 1"},
		{"too long", "a", string(make([]byte, 20<<10))},
	} {
		_, send := framework.Send(soon(t), node, stampedRequest{}, framework.WithHeader(tt.key, tt.value))
		_, submit := framework.Submit(soon(t), node, stampedRequest{}, framework.WithHeader(tt.key, tt.value))
		for call, err := range map[string]error{
			"Publish":      framework.Publish(soon(t), node, stamped{}, framework.WithHeader(tt.key, tt.value)),
			"QoS 0":        framework.Publish(soon(t), node, tick{}, framework.WithHeader(tt.key, tt.value)),
			"PublishBatch": framework.PublishBatch(soon(t), node, make([]stamped, 2), framework.WithHeader(tt.key, tt.value)),
			"Send":         send,
			"Submit":       submit,
			"a whole gateway": node.PublishMessages(soon(t), &framework.Outgoing{
				Kind: "stamped", QoS: framework.AtLeastOnce, Data: []byte("{}"), Header: framework.Header{tt.key: {tt.value}},
			}),
		} {
			var config *framework.ConfigError
			if !errors.As(err, &config) || config.Option != "header" && config.Option != "header "+tt.key {
				t.Errorf("%s: %s = %v, want a *ConfigError of the header", tt.name, call, err)
			}
		}
	}
	if e, r := stored(t, node, "CATGA_EVENTS"), stored(t, node, "CATGA_REQUESTS"); e+r != 0 {
		t.Errorf("%d events and %d requests were stored", e, r)
	}
}
