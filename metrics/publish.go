package metrics

import (
	"time"

	"github.com/catga-go/catga/framework"
)

func (m *metrics) kind(k framework.KindRef) framework.PublishHooks {
	qos := k.QoS.String()
	outcomes := resolve(m.published, []string{k.Kind, qos}, "error", "sent", "stored", "duplicate")
	duration := m.publishDuration.WithLabelValues(k.Kind, qos)
	return framework.PublishHooks{Done: func(outcome string, took time.Duration) {
		outcomes.inc(outcome)
		observe(duration, took)
	}}
}

func (m *metrics) request(k framework.KindRef) framework.RequestHooks {
	outcomes := resolve(m.requests, []string{k.Kind}, "error", "ok", "rejected", "failed", "no_reply", "key_reused")
	duration := m.requestDuration.WithLabelValues(k.Kind)
	return framework.RequestHooks{Done: func(outcome string, took time.Duration) {
		outcomes.inc(outcome)
		observe(duration, took)
	}}
}
