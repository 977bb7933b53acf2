package streams_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
	"github.com/catga-go/catga/internal/provision"
	"github.com/catga-go/catga/streams"
)

func TestNames_AreThoseOfTheDesign(t *testing.T) {
	t.Parallel()
	n := streams.NewNames("my-shop")
	for got, want := range map[string]string{
		n.Events():                     "MY-SHOP_EVENTS",
		n.Requests():                   "MY-SHOP_REQUESTS",
		n.Dead():                       "MY-SHOP_DEAD",
		n.Signal("A"):                  "my-shop.signal.A",
		n.Event("acme.v1.A"):           "my-shop.event.acme.v1.A",
		n.Retry("g", "A"):              "my-shop.retry.g.A",
		n.Request("A"):                 "my-shop.request.A",
		n.Direct("node1", "A"):         "my-shop.direct.node1.A",
		n.DirectAll("node1"):           "my-shop.direct.node1.>",
		n.SchedEvent("g", "A", "0f"):   "my-shop.sched.event.g.A.0f",
		n.SchedRequest("A", "0f"):      "my-shop.sched.request.A.0f",
		n.DeadLetter("g", "acme.v1.A"): "my-shop.dead.g.acme.v1.A",
		n.Durable("g", "acme.v1.A"):    "g:acme~v1~A",
		n.DirectDurable("node1"):       "direct:node1",
		n.Namespace():                  "my-shop",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestKindOfDirect_IsTheInverseOfDirect(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]string{
		names.Direct("node1", "A"):         "A",
		names.Direct("node1", "acme.v1.A"): "acme.v1.A",
		names.Direct("node11", "A"):        "",
		names.Request("A"):                 "",
		"catga.direct.node1.":              "",
		"catga.direct.node1":               "",
		"catga":                            "",
		"":                                 "",
	} {
		if got, ok := names.KindOfDirect("node1", subject); got != want || ok != (want != "") {
			t.Errorf("KindOfDirect(%q) = %q, %v, want %q", subject, got, ok, want)
		}
	}
}

func TestCheckNamespace(t *testing.T) {
	t.Parallel()
	for ns, want := range map[string]bool{
		"catga": true, "a": true, "my-shop-2": true, strings.Repeat("a", 32): true,
		"": false, "Catga": false, "2shop": false, "-a": false, "a.b": false, "a b": false, "ä": false, strings.Repeat("a", 33): false,
	} {
		if streams.CheckNamespace(ns) != want {
			t.Errorf("CheckNamespace(%q) = %v", ns, !want)
		}
	}
}

func TestProvision_DeclaresTheStreamsOfTheDesign(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Connect(t, natstest.Start(t)))
	cfg := streams.Config{Namespace: ns, EventsMaxAge: time.Hour, EventsMaxBytes: 1 << 30}
	must(t, streams.Provision(t.Context(), js, cfg))
	type shape struct {
		Subjects           []string
		Retention          jetstream.RetentionPolicy
		Storage            jetstream.StorageType
		MaxAge, Duplicates time.Duration
		MaxBytes           int64
		MaxConsumers       int
		Schedules, TTL     bool
		Direct             bool
	}
	want := map[string]shape{
		"CATGA_EVENTS": {
			[]string{"catga.event.>", "catga.retry.>", "catga.sched.event.>"},
			jetstream.LimitsPolicy, jetstream.FileStorage, time.Hour, 30 * time.Second, 1 << 30, 16384, true, true, true,
		},
		"CATGA_REQUESTS": {
			[]string{"catga.request.>", "catga.direct.>", "catga.sched.request.>"},
			jetstream.WorkQueuePolicy, jetstream.FileStorage, 0, 30 * time.Second, -1, 16384, true, true, true,
		},
		"CATGA_DEAD": {
			[]string{"catga.dead.>"},
			jetstream.LimitsPolicy, jetstream.FileStorage, 30 * 24 * time.Hour, 24 * time.Hour, -1, 1024, false, false, true,
		},
	}
	got := map[string]shape{}
	for info := range js.ListStreams(t.Context()).Info() {
		c := info.Config
		got[c.Name] = shape{
			c.Subjects, c.Retention, c.Storage, c.MaxAge, c.Duplicates, c.MaxBytes, c.MaxConsumers,
			c.AllowMsgSchedules, c.AllowMsgTTL, c.AllowDirect,
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	must(t, streams.Provision(t.Context(), js, cfg))
	cfg.Mode = provision.Verify
	must(t, streams.Provision(t.Context(), js, cfg))
}

func TestProvision_ShortAgeAndDefaultAge(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Connect(t, natstest.Start(t)))
	must(t, streams.Provision(t.Context(), js, streams.Config{Namespace: "short", EventsMaxAge: time.Second}))
	must(t, streams.Provision(t.Context(), js, streams.Config{Namespace: "long"}))
	for stream, want := range map[string]time.Duration{"SHORT_EVENTS": time.Second, "LONG_EVENTS": 7 * 24 * time.Hour} {
		s, err := js.Stream(t.Context(), stream)
		must(t, err)
		if got := s.CachedInfo().Config.MaxAge; got != want {
			t.Errorf("max age of %s = %v, want %v", stream, got, want)
		}
	}
}

func TestProvision_RefusesABadNamespace(t *testing.T) {
	t.Parallel()
	err := streams.Provision(context.Background(), nil, streams.Config{Namespace: "No"})
	if _, ok := errors.AsType[*streams.NamespaceError](err); !ok {
		t.Errorf("error = %v, want a NamespaceError", err)
	}
}
