package metrics_test

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newHooks returns hooks on a registry of their own.
func newHooks(tb testing.TB) (framework.Hooks, *prometheus.Registry) {
	tb.Helper()
	reg := prometheus.NewPedanticRegistry()
	return hooksOn(tb, reg), reg
}

func hooksOn(tb testing.TB, reg prometheus.Registerer) framework.Hooks {
	tb.Helper()
	hooks, err := metrics.New(reg)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	return hooks
}

// valueOf returns the value of one counter or gauge, or the number of observations of a histogram;
// absent metrics fail the test.
func valueOf(tb testing.TB, reg prometheus.Gatherer, name string, labels prometheus.Labels) float64 {
	tb.Helper()
	families, err := reg.Gather()
	if err != nil {
		tb.Fatalf("gather: %v", err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			got := prometheus.Labels{}
			for _, pair := range m.GetLabel() {
				got[pair.GetName()] = pair.GetValue()
			}
			if !maps.Equal(got, labels) {
				continue
			}
			switch {
			case m.GetCounter() != nil:
				return m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				return m.GetGauge().GetValue()
			default:
				return float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	tb.Fatalf("no metric %s%v", name, labels)
	return 0
}

// want fails the test unless the metric has the value.
func want(tb testing.TB, reg prometheus.Gatherer, value float64, name string, labels prometheus.Labels) {
	tb.Helper()
	if got := valueOf(tb, reg, name, labels); got != value {
		tb.Errorf("%s%v = %v, want %v", name, labels, got, value)
	}
}

func billing(kind string) framework.HandlerRef {
	return framework.HandlerRef{Kind: kind, Group: "billing", Node: "node1", QoS: framework.AtLeastOnce, Concurrency: 32}
}
