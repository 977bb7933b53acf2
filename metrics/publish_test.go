package metrics_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catga-go/catga/framework"
)

func TestPublishedMessage_IsCountedByOutcomeAndGuarantee(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		outcome, label string
		qos            framework.QoS
		qosLabel       string
	}{
		{"sent", "sent", framework.AtMostOnce, "0"},
		{"stored", "stored", framework.AtLeastOnce, "1"},
		{"duplicate", "duplicate", framework.AtLeastOnce, "1"},
		{"error", "error", framework.AtLeastOnce, "1"},
		{"something new", "error", framework.AtLeastOnce, "1"},
	} {
		t.Run(tt.outcome, func(t *testing.T) {
			t.Parallel()
			hooks, reg := newHooks(t)
			hooks.Kind(framework.KindRef{Kind: "Shipped", QoS: tt.qos}).Done(tt.outcome, time.Millisecond)
			of := prometheus.Labels{"kind": "Shipped", "qos": tt.qosLabel}
			want(t, reg, 1, "catga_published_messages_total", with(of, "outcome", tt.label))
			want(t, reg, 1, "catga_publish_duration_seconds", of)
		})
	}
}

func TestRequest_IsCountedByOutcome(t *testing.T) {
	t.Parallel()
	for outcome, label := range map[string]string{
		"ok": "ok", "rejected": "rejected", "failed": "failed", "no_reply": "no_reply",
		"key_reused": "key_reused", "error": "error", "something new": "error",
	} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			hooks, reg := newHooks(t)
			hooks.Requests(framework.KindRef{Kind: "Create"}).Done(outcome, time.Millisecond)
			want(t, reg, 1, "catga_requests_total", prometheus.Labels{"kind": "Create", "outcome": label})
			want(t, reg, 1, "catga_request_duration_seconds", prometheus.Labels{"kind": "Create"})
		})
	}
}
