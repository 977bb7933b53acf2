package discovery

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/internal/natstest"
)

func TestGarbageInTheBucketIsNoNode(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	var logged syncBuffer
	a := newPeer(t, srv, Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	a.join(t, "node1")
	for key, m := range map[string]*nats.Msg{
		"empty":      {},
		"json":       {Data: []byte(`{"nodeId":"node1","instance":"i"}`)},
		"status":     {Header: nats.Header{"Status": {"503"}}},
		"a.b":        {Data: []byte(`{"nodeId":"a.b","instance":"i"}`)},
		"x~y":        {Data: []byte(`[]`)},
		"marker":     {Header: nats.Header{markerReason: {"Nonsense"}}},
		"heartbeat":  {Header: nats.Header{"Status": {"100"}}},
		"big":        {Data: []byte(strings.Repeat("x", maxEntry))},
		"operation":  {Header: nats.Header{kvOperation: {"WHAT"}}},
		"deep":       {Data: []byte(strings.Repeat("[", 20_000))},
		"wrongtypes": {Data: []byte(`{"nodeId":1}`)},
	} {
		m.Subject = "$KV.catga_nodes." + key
		if _, err := a.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	a.join(t, "node2") // what came before it has been read when this returns
	b := newPeer(t, srv, Config{})
	for _, p := range []*peer{a, b} {
		if !online("node1", "node2")(p.Nodes()) || len(p.Nodes()) != 2 {
			t.Errorf("nodes %+v", p.Nodes())
		}
	}
	if n := strings.Count(logged.String(), "no node in registry bucket"); n != 1 {
		t.Errorf("warned %d times, want once", n)
	}
}

// syncBuffer is a log that two goroutines may write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestOverwrittenOrRemovedEntryComesBackSoon(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a, b := newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		m := a.join(t, "node1")
		b.await(t, "online", online("node1"))
		changes := b.Watch(t.Context())
		for name, harm := range map[string]func() error{
			"overwritten": func() error { _, err := b.kv.Put(t.Context(), "node1", []byte("x")); return err },
			"deleted":     func() error { return b.kv.Delete(t.Context(), "node1") },
			"purged":      func() error { return b.kv.Purge(t.Context(), "node1") },
		} {
			begun := time.Now()
			if err := harm(); err != nil {
				t.Fatal(err)
			}
			for {
				if c := receive(t, changes); c.Change == Joined {
					break
				}
			}
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("%s: back after %v", name, took)
			}
		}
		if m.Err() != nil {
			t.Errorf("member: %v", m.Err())
		}
	})
}

func TestEntryWithoutExpiryIsNotBelievedForEver(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a := newPeer(t, srv, cfg)
		a.join(t, "node1", "Order")
		m := nats.NewMsg("$KV.catga_nodes.ghost")
		m.Header.Set("Nats-TTL", "never")
		m.Data = []byte(`{"nodeId":"ghost","instance":"g","kinds":["Order"]}`)
		if _, err := a.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		a.await(t, "ghost there", online("ghost", "node1"))
		begun := time.Now()
		a.awaitWithin(t, 10*time.Minute, "ghost gone", online("node1"))
		if took := time.Since(begun); took > 76*time.Second {
			t.Errorf("given up after %v, want two and a half TTLs", took)
		}
		b := newPeer(t, srv, cfg) // who comes later believes it for as long
		b.awaitWithin(t, 10*time.Minute, "ghost gone", online("node1"))
	})
}

func TestRemovedBucketIsMadeAnewAndFilled(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv, cfg := natstest.Start(t), Config{}
		a, b := newPeer(t, srv, cfg), newPeer(t, srv, cfg)
		members := []*Member{a.join(t, "node1"), b.join(t, "node2")}
		a.await(t, "online", online("node1", "node2"))
		if err := a.js.DeleteStream(t.Context(), streamName("catga_nodes")); err != nil {
			t.Fatal(err)
		}
		natstest.Pass(time.Second) // the followers notice and read the new bucket
		for _, p := range []*peer{a, b} {
			p.await(t, "online again", online("node1", "node2"))
		}
		c := newPeer(t, srv, cfg)
		c.await(t, "in the new bucket", online("node1", "node2"))
		for _, m := range members {
			if m.Err() != nil {
				t.Errorf("member: %v", m.Err())
			}
		}
	})
}
