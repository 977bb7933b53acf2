package integration

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

func TestBadInput_Config(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	for _, tt := range []struct {
		name, field string
		change      func(*framework.Config)
	}{
		{"space in node ID", "NodeID", func(c *framework.Config) { c.NodeID = "node 1" }},
		{"dot in node ID", "NodeID", func(c *framework.Config) { c.NodeID = "node.1" }},
		{"wildcard node ID", "NodeID", func(c *framework.Config) { c.NodeID = "*" }},
		{"node ID with equals", "NodeID", func(c *framework.Config) { c.NodeID = "a=b" }},
		{"long node ID", "NodeID", func(c *framework.Config) { c.NodeID = strings.Repeat("n", 65) }},
		{"non-ASCII node ID", "NodeID", func(c *framework.Config) { c.NodeID = "knöten" }},
		{"upper case namespace", "Namespace", func(c *framework.Config) { c.Namespace = "Shop" }},
		{"digit first in namespace", "Namespace", func(c *framework.Config) { c.Namespace = "1shop" }},
		{"dot in namespace", "Namespace", func(c *framework.Config) { c.Namespace = "shop.eu" }},
		{"space in namespace", "Namespace", func(c *framework.Config) { c.Namespace = " " }},
		{"long namespace", "Namespace", func(c *framework.Config) { c.Namespace = strings.Repeat("n", 33) }},
		{"two replicas", "Replicas", func(c *framework.Config) { c.Replicas = 2 }},
		{"negative replicas", "Replicas", func(c *framework.Config) { c.Replicas = -1 }},
		{"seven replicas", "Replicas", func(c *framework.Config) { c.Replicas = 7 }},
		{"negative connect timeout", "ConnectTimeout", func(c *framework.Config) { c.ConnectTimeout = -time.Second }},
		{"negative age", "EventsMaxAge", func(c *framework.Config) { c.EventsMaxAge = -1 }},
		{"negative size", "EventsMaxBytes", func(c *framework.Config) { c.EventsMaxBytes = -1 }},
		{"negative dedup TTL", "DedupTTL", func(c *framework.Config) { c.DedupTTL = -time.Hour }},
		{"negative event dedup TTL", "EventDedupTTL", func(c *framework.Config) { c.EventDedupTTL = -time.Hour }},
		{"event dedup TTL above the other", "EventDedupTTL", func(c *framework.Config) { c.EventDedupTTL = 25 * time.Hour }},
		{"negative keys", "DedupMaxKeys", func(c *framework.Config) { c.DedupMaxKeys = -1 }},
		{"negative lease", "Lease", func(c *framework.Config) { c.Lease = -time.Second }},
		{"lease of half a second", "Lease", func(c *framework.Config) { c.Lease = 500 * time.Millisecond }},
		{"lease of 1.5 seconds", "Lease", func(c *framework.Config) { c.Lease = 1500 * time.Millisecond }},
		{"negative request timeout", "RequestTimeout", func(c *framework.Config) { c.RequestTimeout = -1 }},
		{"negative heartbeat", "Heartbeat", func(c *framework.Config) { c.Heartbeat = -time.Second }},
		{"node timeout below two heartbeats", "NodeTimeout", func(c *framework.Config) { c.Heartbeat, c.NodeTimeout = 10*time.Second, 19*time.Second }},
		{"negative soft stop", "SoftStop", func(c *framework.Config) { c.SoftStop = -1 }},
		{"negative forget", "ForgetAfter", func(c *framework.Config) { c.ForgetAfter = -1 }},
		{"negative lag interval", "LagInterval", func(c *framework.Config) { c.LagInterval = -1 }},
		{"unknown provision", "Provision", func(c *framework.Config) { c.Provision = 7 }},
		{"nil codec of a kind", "KindCodecs", func(c *framework.Config) { c.KindCodecs = map[string]framework.Codec{"order": nil} }},
		{"codec of a bad kind", "KindCodecs", func(c *framework.Config) { c.KindCodecs = map[string]framework.Codec{"a b": framework.JSON()} }},
		{"two connections", "InProcess", func(c *framework.Config) { c.Conn = &nats.Conn{} }},
		{"missing NKey file", "NKeyFile", func(c *framework.Config) { c.NKeyFile = "no such file" }},
		{"missing creds file", "CredsFile", func(c *framework.Config) { c.CredsFile = "no such file" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := framework.Config{NodeID: "node", InProcess: srv, Logger: frameworktest.Logger(t)}
			tt.change(&cfg)
			node, err := framework.Connect(soon(t), cfg)
			var config *framework.ConfigError
			if !errors.As(err, &config) || config.Option != tt.field || config.Reason == "" || node != nil {
				t.Errorf("Connect = %v, want a *ConfigError of %s", err, tt.field)
			}
			if err != nil && !strings.Contains(err.Error(), tt.field) {
				t.Errorf("error %v does not name %s", err, tt.field)
			}
		})
	}
}

// silent listens and never says a word.
func silent(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return "nats://" + l.Addr().String()
}

// Nobody there is an error within the connect timeout, however many addresses there are.
func TestBadInput_NoNATSReachable(t *testing.T) {
	t.Parallel()
	gone := silent(t)
	const timeout = 300 * time.Millisecond
	for name, url := range map[string]string{
		"nobody listens":      "nats://127.0.0.1:1",
		"nobody answers":      gone,
		"three do not answer": strings.Join([]string{gone, silent(t), silent(t)}, ","),
		"no such host":        "nats://nats.invalid:4222",
		"secret":              "nats://user:secret@127.0.0.1:1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			node, err := framework.Connect(soon(t), framework.Config{NodeID: "node", URL: url, ConnectTimeout: timeout, Logger: frameworktest.Logger(t)})
			took := time.Since(began)
			if err == nil || node != nil || !strings.Contains(err.Error(), "connect to ") {
				t.Errorf("Connect = %v, want an error", err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("error tells the password: %v", err)
			}
			if name != "no such host" && took > 2*timeout { // how long the resolver takes is not ours
				t.Errorf("took %v, want %v", took, timeout)
			}
		})
	}
}

func TestBadInput_ConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx := within(t, 100*time.Millisecond)
	began := time.Now()
	_, err := framework.Connect(ctx, framework.Config{NodeID: "node", URL: silent(t), ConnectTimeout: 10 * time.Second, Logger: frameworktest.Logger(t)})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 3*time.Second {
		t.Errorf("Connect = %v after %v", err, time.Since(began))
	}
}

func TestBadInput_ClosedConn(t *testing.T) {
	t.Parallel()
	nc := natstest.Connect(t, natstest.Start(t))
	nc.Close()
	var config *framework.ConfigError
	if _, err := framework.Connect(soon(t), framework.Config{NodeID: "node", Conn: nc}); !errors.As(err, &config) || config.Option != "Conn" {
		t.Errorf("Connect = %v, want a *ConfigError of Conn", err)
	}
}

// A stream that somebody has made otherwise is left alone and named, with the field.
func TestBadInput_IncompatibleStream(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		have  jetstream.StreamConfig
		parts []string
	}{
		"events in memory":        {jetstream.StreamConfig{Name: "CATGA_EVENTS", Subjects: []string{"catga.event.>"}, Storage: jetstream.MemoryStorage}, []string{"CATGA_EVENTS", "storage"}},
		"requests not a queue":    {jetstream.StreamConfig{Name: "CATGA_REQUESTS", Subjects: []string{"catga.request.>"}}, []string{"CATGA_REQUESTS", "retention"}},
		"dead letters a queue":    {jetstream.StreamConfig{Name: "CATGA_DEAD", Subjects: []string{"catga.dead.>"}, Retention: jetstream.WorkQueuePolicy}, []string{"CATGA_DEAD", "retention"}},
		"claims in memory":        {jetstream.StreamConfig{Name: "KV_catga_dedup", Subjects: []string{"$KV.catga_dedup.>"}, Storage: jetstream.MemoryStorage}, []string{"KV_catga_dedup", "storage"}},
		"subjects of another one": {jetstream.StreamConfig{Name: "THEIRS", Subjects: []string{"catga.event.>"}}, []string{"CATGA_EVENTS", "subjects"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := natstest.Connect(t, natstest.Start(t))
			js := natstest.JetStream(t, nc)
			before, err := js.CreateStream(soon(t), tt.have)
			must(t, err)
			_, err = js.Publish(soon(t), strings.ReplaceAll(tt.have.Subjects[0], ">", "x"), []byte("theirs"))
			must(t, err)
			node, err := framework.Connect(soon(t), framework.Config{NodeID: "node", Conn: nc, Logger: frameworktest.Logger(t)})
			if err == nil || node != nil {
				t.Fatalf("Connect = %v, want an error", err)
			}
			contains(t, err, tt.parts...)
			var mismatch *framework.MismatchError
			if len(tt.parts) == 2 && tt.parts[1] != "subjects" && (!errors.As(err, &mismatch) || mismatch.Stream != tt.parts[0] || mismatch.Field != tt.parts[1]) {
				t.Errorf("Connect = %v, want a *MismatchError of %v", err, tt.parts)
			}
			after, err := js.Stream(soon(t), tt.have.Name)
			must(t, err)
			if info := after.CachedInfo(); info.State.Msgs != 1 || info.Config.Storage != before.CachedInfo().Config.Storage || info.Config.Retention != before.CachedInfo().Config.Retention {
				t.Errorf("the stream was touched: %+v", info)
			}
		})
	}
}
