package metrics_test

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/metrics"
)

func TestTwoNodesOnOneRegisterer_ShareTheMetrics(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		wrap   func(prometheus.Registerer) prometheus.Registerer
		labels prometheus.Labels
	}{
		{"plain", func(r prometheus.Registerer) prometheus.Registerer { return r }, prometheus.Labels{}},
		{"wrapped with a label", func(r prometheus.Registerer) prometheus.Registerer {
			return prometheus.WrapRegistererWith(prometheus.Labels{"cluster": "blue"}, r)
		}, prometheus.Labels{"cluster": "blue"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			reg := prometheus.NewPedanticRegistry()
			for range 2 {
				node := hooksOn(t, tt.wrap(reg))
				node.Kind(framework.KindRef{Kind: "Shipped", QoS: framework.AtLeastOnce}).Done("stored", time.Millisecond)
			}
			labels := prometheus.Labels{"kind": "Shipped", "qos": "1", "outcome": "stored"}
			maps.Copy(labels, tt.labels)
			want(t, reg, 2, "catga_published_messages_total", labels)
		})
	}
}

func TestManyNodesAtOnce_LoseNoCount(t *testing.T) {
	t.Parallel()
	const nodes, messages = 8, 200
	reg := prometheus.NewPedanticRegistry()
	var all sync.WaitGroup
	for range nodes {
		all.Go(func() {
			hooks, err := metrics.New(reg)
			if err != nil {
				t.Errorf("New: %v", err)
				return
			}
			handler := hooks.Handler(billing("Shipped"))
			for range messages {
				handler.Started()
				handler.Done(framework.Outcome{Verdict: framework.VerdictOK, Ran: time.Millisecond})
			}
		})
	}
	all.Wait()
	of := prometheus.Labels{"group": "billing", "kind": "Shipped", "outcome": "ok"}
	want(t, reg, nodes*messages, "catga_consumed_messages_total", of)
	want(t, reg, 0, "catga_handler_inflight", prometheus.Labels{"node": "node1", "group": "billing", "kind": "Shipped"})
}

func TestNilRegisterer_IsAConfigError(t *testing.T) {
	t.Parallel()
	for name, reg := range map[string]prometheus.Registerer{"nil": nil, "nil registry": (*prometheus.Registry)(nil)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := metrics.New(reg)
			var config *framework.ConfigError
			if !errors.As(err, &config) || config.Option != "registerer" {
				t.Errorf("New(%s) = %v, want a ConfigError about the registerer", name, err)
			}
		})
	}
}

func TestForeignMetricUnderOurName_IsAnErrorAndNothingIsRegistered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		foreign prometheus.Collector
		want    string
	}{
		{"other labels", prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "catga_nodes", Help: "?"}, []string{"colour"}), "catga_nodes"},
		{
			"same labels, other type",
			prometheus.NewCounterVec(prometheus.CounterOpts{Name: "catga_nodes", Help: "Nodes of the cluster by state."}, []string{"state"}),
			"catga_nodes is registered as a *prometheus.CounterVec",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			reg := prometheus.NewPedanticRegistry()
			reg.MustRegister(tt.foreign)
			_, err := metrics.New(reg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("New = %v, want an error with %q", err, tt.want)
			}
			ours := prometheus.NewCounter(prometheus.CounterOpts{Name: "catga_published_messages_total"})
			if reg.Unregister(ours) {
				t.Error("a failed New left catga_published_messages_total registered")
			}
		})
	}
}

func TestOwnRegisterer_LeavesTheDefaultRegistryAlone(t *testing.T) {
	t.Parallel()
	hooks, _ := newHooks(t)
	hooks.Handler(billing("Shipped"))
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "catga_") {
			t.Errorf("default registry has %s", family.GetName())
		}
	}
}

func TestMetricNames_PassTheLinter(t *testing.T) {
	t.Parallel()
	hooks, reg := newHooks(t)
	touchAll(hooks)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatalf("lint: %v", err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// touchAll makes every metric exist.
func touchAll(hooks framework.Hooks) {
	handler := hooks.Handler(billing("Shipped"))
	handler.Started()
	handler.Done(framework.Outcome{
		Verdict: framework.VerdictDead, Reason: "error", Check: "new", Attempt: 4,
		Ran: time.Millisecond, Latency: time.Second, Redelivery: true,
	})
	hooks.Kind(framework.KindRef{Kind: "Shipped", QoS: framework.AtLeastOnce}).Done("stored", time.Millisecond)
	hooks.Requests(framework.KindRef{Kind: "Create", QoS: framework.AtLeastOnce}).Done("ok", time.Millisecond)
	hooks.Nodes([]framework.NodeInfo{{ID: "node1", Online: true}})
	hooks.Lag(framework.GroupLag{Kind: "Shipped", Group: "billing", Pending: 3, AckPending: 2, OldestAge: time.Minute})
	hooks.Connection(framework.ConnectionEvent{Node: "node1", Name: "publish", Connected: true})
}
