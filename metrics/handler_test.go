package metrics_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/catga-go/catga/framework"
)

func TestDeliveryIsCounted_ByWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	type counts struct{ Consumed, Ran, Latency, Redeliveries, Dead, Checks float64 }
	for _, tt := range []struct {
		name    string
		outcome framework.Outcome
		label   string // of consumed messages; the verdict if ""
		reason  string // of dead letters
		check   string
		want    counts
	}{
		{
			name:    "handled",
			outcome: framework.Outcome{Verdict: framework.VerdictOK, Ran: time.Millisecond, Latency: time.Second, Check: "new"},
			check:   "new", want: counts{Consumed: 1, Ran: 1, Latency: 1, Checks: 1},
		},
		{
			name:    "an unknown latency is not observed",
			outcome: framework.Outcome{Verdict: framework.VerdictOK, Ran: time.Millisecond},
			want:    counts{Consumed: 1, Ran: 1},
		},
		{
			name:    "a clock behind is not observed",
			outcome: framework.Outcome{Verdict: framework.VerdictOK, Ran: time.Millisecond, Latency: -time.Second},
			want:    counts{Consumed: 1, Ran: 1},
		},
		{
			name:    "a duplicate ran nothing",
			outcome: framework.Outcome{Verdict: framework.VerdictDuplicate, Check: "duplicate", Redelivery: true},
			check:   "duplicate", want: counts{Consumed: 1, Redeliveries: 1, Checks: 1},
		},
		{
			name:    "a failed run that ended in the dead letters",
			outcome: framework.Outcome{Verdict: framework.VerdictDead, Reason: "permanent", Attempt: 1, Ran: time.Millisecond},
			reason:  "permanent", want: counts{Consumed: 1, Ran: 1, Dead: 1},
		},
		{
			name:    "an event rejected with a code is a dead letter too",
			outcome: framework.Outcome{Verdict: framework.VerdictRejected, Reason: "rejected", Ran: time.Millisecond},
			reason:  "rejected", want: counts{Consumed: 1, Ran: 1, Dead: 1},
		},
		{
			name:    "a rejected request is none",
			outcome: framework.Outcome{Verdict: framework.VerdictRejected, Ran: time.Millisecond},
			want:    counts{Consumed: 1, Ran: 1},
		},
		{
			name:    "values from elsewhere become no labels",
			outcome: framework.Outcome{Verdict: "exploded", Reason: "order 17 is too old", Check: "perhaps"},
			label:   "other", reason: "other", check: "other", want: counts{Consumed: 1, Dead: 1, Checks: 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hooks, reg := newHooks(t)
			handler := hooks.Handler(billing("Shipped"))
			if tt.outcome.Ran > 0 {
				handler.Started()
			}
			handler.Done(tt.outcome)

			label, of := tt.label, prometheus.Labels{"group": "billing", "kind": "Shipped"}
			if label == "" {
				label = string(tt.outcome.Verdict)
			}
			reason, check := tt.reason, tt.check
			if reason == "" {
				reason = "other"
			}
			if check == "" {
				check = "other"
			}
			got := counts{
				Consumed:     valueOf(t, reg, "catga_consumed_messages_total", with(of, "outcome", label)),
				Ran:          valueOf(t, reg, "catga_process_duration_seconds", of),
				Latency:      valueOf(t, reg, "catga_delivery_latency_seconds", of),
				Redeliveries: valueOf(t, reg, "catga_redeliveries_total", of),
				Dead:         valueOf(t, reg, "catga_dead_letters_total", with(of, "reason", reason)),
				Checks:       valueOf(t, reg, "catga_idempotency_checks_total", prometheus.Labels{"result": check}),
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			want(t, reg, 0, "catga_handler_inflight", with(of, "node", "node1"))
		})
	}
}

func TestRunningHandlers_AreInFlightUntilDone(t *testing.T) {
	t.Parallel()
	hooks, reg := newHooks(t)
	handler := hooks.Handler(billing("Shipped"))
	node := prometheus.Labels{"node": "node1", "group": "billing", "kind": "Shipped"}

	handler.Started()
	handler.Started()
	want(t, reg, 2, "catga_handler_inflight", node)
	handler.Done(framework.Outcome{Verdict: framework.VerdictOK, Ran: 1})
	want(t, reg, 1, "catga_handler_inflight", node)
	handler.Done(framework.Outcome{Verdict: framework.VerdictDuplicate}) // never started
	want(t, reg, 1, "catga_handler_inflight", node)
	want(t, reg, 32, "catga_handler_concurrency_limit", node)
}

func TestRegisteredHandler_HasItsCountersAtZero(t *testing.T) {
	t.Parallel()
	hooks, reg := newHooks(t)
	hooks.Handler(billing("Shipped"))
	of := prometheus.Labels{"group": "billing", "kind": "Shipped"}
	for _, verdict := range append(constants(t, "Verdict"), "other") {
		want(t, reg, 0, "catga_consumed_messages_total", with(of, "outcome", verdict))
	}
	for _, reason := range append(constants(t, "Reason"), "other") {
		want(t, reg, 0, "catga_dead_letters_total", with(of, "reason", reason))
	}
	want(t, reg, 0, "catga_redeliveries_total", of)
}

// constants reads the string constants of package framework whose names begin with prefix, so that a
// new one cannot be forgotten here.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob("../framework/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 && strings.HasPrefix(spec.Names[0].Name, prefix) {
				if text, ok := spec.Values[0].(*ast.BasicLit); ok {
					value, _ := strconv.Unquote(text.Value)
					values = append(values, value)
				}
			}
			return true
		})
	}
	if len(values) < 5 {
		t.Fatalf("found only %q in package framework", values)
	}
	return values
}

func TestHistograms_AreNativeAndClassic(t *testing.T) {
	t.Parallel()
	hooks, reg := newHooks(t)
	touchAll(hooks)
	families, err := reg.Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	var seen int
	for _, family := range families {
		h := family.GetMetric()[0].GetHistogram()
		if h == nil {
			continue
		}
		seen++
		if len(h.GetBucket()) == 0 || len(h.GetPositiveSpan()) == 0 {
			t.Errorf("%s has %d classic buckets and %d native spans, want both",
				family.GetName(), len(h.GetBucket()), len(h.GetPositiveSpan()))
		}
	}
	if seen != 4 {
		t.Errorf("saw %d histograms, want 4", seen)
	}
}

func with(labels prometheus.Labels, name, value string) prometheus.Labels {
	all := prometheus.Labels{name: value}
	maps.Copy(all, labels)
	return all
}
