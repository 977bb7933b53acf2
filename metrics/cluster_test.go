package metrics_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catga-go/catga/framework"
)

func TestNodes_AreCountedByState(t *testing.T) {
	t.Parallel()
	hooks, reg := newHooks(t)
	state := func(s string) prometheus.Labels { return prometheus.Labels{"state": s} }

	hooks.Nodes([]framework.NodeInfo{
		{ID: "a", Online: true},
		{ID: "b", Online: true},
		{ID: "c", Online: true, Draining: true},
		{ID: "d", Draining: true}, // left while draining: gone is gone
		{ID: "e"},
		{ID: "f"},
	})
	want(t, reg, 2, "catga_nodes", state("up"))
	want(t, reg, 1, "catga_nodes", state("draining"))
	want(t, reg, 3, "catga_nodes", state("offline"))

	hooks.Nodes(nil)
	want(t, reg, 0, "catga_nodes", state("up"))
	want(t, reg, 0, "catga_nodes", state("draining"))
	want(t, reg, 0, "catga_nodes", state("offline"))
}

func TestLag_IsThatOfTheLastPoll(t *testing.T) {
	t.Parallel()
	hooks, reg := newHooks(t)
	of := prometheus.Labels{"group": "billing", "kind": "Shipped"}
	for _, lag := range []framework.GroupLag{
		{Kind: "Shipped", Group: "billing", Pending: 900, AckPending: 32, OldestAge: 90 * time.Second},
		{Kind: "Shipped", Group: "billing", Pending: 3, AckPending: 2, OldestAge: 1500 * time.Millisecond},
	} {
		hooks.Lag(lag)
	}
	want(t, reg, 3, "catga_consumer_pending", of)
	want(t, reg, 2, "catga_consumer_ack_pending", of)
	want(t, reg, 1.5, "catga_consumer_oldest_age_seconds", of)
}

func TestConnection_IsDownWhileLostAndCountsReturns(t *testing.T) {
	t.Parallel()
	hooks, reg := newHooks(t)
	conn := func(node, name string) prometheus.Labels { return prometheus.Labels{"node": node, "connection": name} }
	for _, step := range []struct {
		event                 framework.ConnectionEvent
		connected, reconnects float64
	}{
		{framework.ConnectionEvent{Connected: true}, 1, 0},
		{framework.ConnectionEvent{Connected: false}, 0, 0},
		{framework.ConnectionEvent{Connected: false, Reconnect: true}, 0, 0},
		{framework.ConnectionEvent{Connected: true, Reconnect: true}, 1, 1},
	} {
		step.event.Node, step.event.Name = "node1", "publish"
		hooks.Connection(step.event)
		want(t, reg, step.connected, "catga_nats_connected", conn("node1", "publish"))
		want(t, reg, step.reconnects, "catga_nats_reconnects_total", conn("node1", "publish"))
	}

	hooks.Connection(framework.ConnectionEvent{Node: "node2", Name: "publish"})
	want(t, reg, 0, "catga_nats_connected", conn("node2", "publish"))
	want(t, reg, 1, "catga_nats_connected", conn("node1", "publish")) // another node's loss is not this one's
}

func TestBuildInfo_NamesTheVersionOfGo(t *testing.T) {
	t.Parallel()
	_, reg := newHooks(t)
	families, err := reg.Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	for _, family := range families {
		if family.GetName() != "catga_build_info" {
			continue
		}
		for _, pair := range family.GetMetric()[0].GetLabel() {
			if pair.GetName() == "goversion" && pair.GetValue() == runtime.Version() {
				return
			}
		}
	}
	t.Errorf("no catga_build_info with goversion=%q", runtime.Version())
}
