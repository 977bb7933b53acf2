package metrics_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type shipped struct {
	framework.ReliableEvent
	OrderID string
}

func (shipped) Kind() string { return "Shipped" }

type create struct {
	framework.Request[framework.None]
	ProductID string
}

func (create) Kind() string { return "Create" }

func TestRealNode_FillsTheMetrics(t *testing.T) {
	t.Parallel()
	hooks, reg := newHooks(t)
	seen := make(chan string, 64) // more than the test causes
	hooks = framework.JoinHooks(hooks, reporting(seen))
	node := frameworktest.NewNode(t, func(c *framework.Config) { c.NodeID, c.Hooks = "node1", hooks })
	err := errors.Join(
		framework.Subscribe(node, func(context.Context, shipped) error {
			return framework.Permanent(errors.New("no such address"))
		}, framework.InGroup("billing")),
		framework.Handle(node, func(context.Context, create) (framework.None, error) { return framework.None{}, nil }),
	)
	if err != nil {
		t.Fatal(err)
	}
	frameworktest.Run(t, node)

	if err := framework.Publish(t.Context(), node, shipped{OrderID: "o-1"}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second is a repeat: answered from the record
		if _, err := framework.Send(t.Context(), node, create{ProductID: "p-1"}, framework.WithID("c-1")); err != nil {
			t.Fatal(err)
		}
	}
	await(t, seen, map[string]int{"published": 1, "requested": 2, "settled": 3, "one node": 1})

	event := prometheus.Labels{"group": "billing", "kind": "Shipped"}
	want(t, reg, 1, "catga_published_messages_total", prometheus.Labels{"kind": "Shipped", "qos": "1", "outcome": "stored"})
	want(t, reg, 1, "catga_consumed_messages_total", with(event, "outcome", "dead"))
	want(t, reg, 1, "catga_dead_letters_total", with(event, "reason", "permanent"))
	want(t, reg, 1, "catga_process_duration_seconds", event)
	want(t, reg, 1, "catga_delivery_latency_seconds", event)
	want(t, reg, 0, "catga_handler_inflight", with(event, "node", "node1"))
	want(t, reg, 2, "catga_requests_total", prometheus.Labels{"kind": "Create", "outcome": "ok"})
	want(t, reg, 1, "catga_idempotency_checks_total", prometheus.Labels{"result": "new"})
	want(t, reg, 1, "catga_idempotency_checks_total", prometheus.Labels{"result": "duplicate"})
	want(t, reg, 1, "catga_nodes", prometheus.Labels{"state": "up"})
	want(t, reg, 1, "catga_nats_connected", prometheus.Labels{"node": "node1", "connection": "publish"})
}

// reporting says what other hooks, joined before it, have been told.
func reporting(seen chan<- string) framework.Hooks {
	return framework.Hooks{
		Handler: func(framework.HandlerRef) framework.HandlerHooks {
			return framework.HandlerHooks{Done: func(framework.Outcome) { seen <- "settled" }}
		},
		Kind: func(k framework.KindRef) framework.PublishHooks {
			return framework.PublishHooks{Done: func(string, time.Duration) {
				if k.Kind == "Shipped" {
					seen <- "published"
				}
			}}
		},
		Requests: func(framework.KindRef) framework.RequestHooks {
			return framework.RequestHooks{Done: func(string, time.Duration) { seen <- "requested" }}
		},
		Nodes: func(nodes []framework.NodeInfo) {
			if len(nodes) == 1 {
				seen <- "one node"
			}
		},
	}
}

// await waits until each event has been seen as often as wanted.
func await(t *testing.T, seen <-chan string, wanted map[string]int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	missing := 0
	for _, n := range wanted {
		missing += n
	}
	for missing > 0 {
		select {
		case event := <-seen:
			if wanted[event] > 0 {
				wanted[event]--
				missing--
			}
		case <-deadline:
			t.Fatalf("still missing: %v", wanted)
		}
	}
}
