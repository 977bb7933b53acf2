package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/catga-go/catga/framework"
)

// handlerMetrics are the metrics of one handler with their labels resolved.
type handlerMetrics struct {
	consumed     counters
	deadLetters  counters
	checks       counters
	redeliveries prometheus.Counter
	ran, latency prometheus.Observer
	inflight     prometheus.Gauge
}

func (m *metrics) handler(h framework.HandlerRef) framework.HandlerHooks {
	hm := &handlerMetrics{
		consumed:     resolve(m.consumed, []string{h.Group, h.Kind}, "other", verdicts()...),
		deadLetters:  resolve(m.deadLetters, []string{h.Group, h.Kind}, "other", reasons()...),
		checks:       resolve(m.checks, nil, "other", "new", "duplicate", "in_progress", "error"),
		redeliveries: m.redeliveries.WithLabelValues(h.Group, h.Kind),
		ran:          m.processDuration.WithLabelValues(h.Group, h.Kind),
		latency:      m.deliveryLatency.WithLabelValues(h.Group, h.Kind),
		inflight:     m.inflight.WithLabelValues(h.Node, h.Group, h.Kind),
	}
	m.limit.WithLabelValues(h.Node, h.Group, h.Kind).Set(float64(h.Concurrency))
	return framework.HandlerHooks{Started: hm.inflight.Inc, Done: hm.done}
}

func (m *handlerMetrics) done(o framework.Outcome) {
	m.consumed.inc(string(o.Verdict))
	if o.Ran > 0 {
		m.inflight.Dec()
		observe(m.ran, o.Ran)
	}
	if o.Latency > 0 {
		observe(m.latency, o.Latency)
	}
	if o.Redelivery {
		m.redeliveries.Inc()
	}
	if o.Reason != "" {
		m.deadLetters.inc(o.Reason)
	}
	if o.Check != "" {
		m.checks.inc(o.Check)
	}
}

func verdicts() []string {
	return []string{
		string(framework.VerdictOK), string(framework.VerdictRetry), string(framework.VerdictDead),
		string(framework.VerdictDuplicate), string(framework.VerdictRejected), string(framework.VerdictExpired),
		string(framework.VerdictFailed), string(framework.VerdictReturned),
	}
}

func reasons() []string {
	return []string{
		framework.ReasonError, framework.ReasonPanic, framework.ReasonRejected, framework.ReasonPermanent,
		framework.ReasonUndecodable, framework.ReasonUnknownKind, framework.ReasonCrashed, framework.ReasonExpired,
	}
}
