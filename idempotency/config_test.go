package idempotency

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
)

func TestOpen_RefusesBadConfigNamingTheField(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		field string
		cfg   Config
	}{
		{"Bucket", Config{}},
		{"Bucket", Config{Bucket: "a.b"}},
		{"Bucket", Config{Bucket: "a b"}},
		{"Bucket", Config{Bucket: "*"}},
		{"Replicas", Config{Bucket: "b", Replicas: 2}},
		{"Replicas", Config{Bucket: "b", Replicas: -1}},
		{"Lease", Config{Bucket: "b", Lease: time.Millisecond}},
		{"Lease", Config{Bucket: "b", Lease: 1500 * time.Millisecond}},
		{"Lease", Config{Bucket: "b", Lease: -time.Second}},
		{"TTL", Config{Bucket: "b", TTL: -time.Hour}},
		{"TTL", Config{Bucket: "b", TTL: 10 * time.Second}},
		{"MaxKeys", Config{Bucket: "b", MaxKeys: -1}},
		{"MaxKeys", Config{Bucket: "b", MaxKeys: 10}},
	} {
		_, err := Open(t.Context(), nil, tt.cfg)
		var bad *ConfigError
		if !errors.As(err, &bad) || bad.Field != tt.field {
			t.Errorf("%+v: error %v, want a *ConfigError of %s", tt.cfg, err, tt.field)
		}
	}
}

func TestOpen_MakesAKeyValueBucket(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Connect(t, natstest.Start(t)))
	store := openStore(t, js)
	openStore(t, js) // and finds it the second time
	kv, err := js.KeyValue(t.Context(), "dedup")
	if err != nil {
		t.Fatal(err)
	}
	status, err := kv.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.History() != 1 || status.TTL() != 24*time.Hour || status.LimitMarkerTTL() != 0 {
		t.Errorf("history %d, TTL %v, marker TTL %v", status.History(), status.TTL(), status.LimitMarkerTTL())
	}
	se := startSession(t, store)
	mustFinish(t, mustClaim(t, se, Ask{Key: "r.K.1"}, Granted).Claim, Finish{State: Done, Result: []byte("42")})
	entry, err := kv.Get(t.Context(), "r.K.1")
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"st":"done","s":"` + se.ID() + `","n":"2"}` + "\n42"; string(entry.Value()) != want {
		t.Errorf("value %q, want %q", entry.Value(), want)
	}
}

// As the client's own key-value API does for what it writes.
func TestWritePrefix(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		opts jetstream.JetStreamOptions
		want string
	}{
		{jetstream.JetStreamOptions{}, ""},
		{jetstream.JetStreamOptions{APIPrefix: "$JS.API."}, ""},
		{jetstream.JetStreamOptions{Domain: "hub"}, "$JS.hub.API."},
		{jetstream.JetStreamOptions{APIPrefix: "acc.js"}, "acc.js."},
		{jetstream.JetStreamOptions{APIPrefix: "acc.js."}, "acc.js."},
	} {
		if got := writePrefix(tt.opts); got != tt.want {
			t.Errorf("prefix of %+v is %q, want %q", tt.opts, got, tt.want)
		}
	}
}

func TestStore_ReachesABucketOfAnotherDomain(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{
		DontListen: true, StoreDir: t.TempDir(), JetStream: true, JetStreamDomain: "hub", NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { natstest.Stop(srv) })
	nc := natstest.Connect(t, srv)
	for _, open := range []func() (jetstream.JetStream, error){
		func() (jetstream.JetStream, error) { return jetstream.New(nc) },
		func() (jetstream.JetStream, error) { return jetstream.NewWithDomain(nc, "hub") },
		func() (jetstream.JetStream, error) { return jetstream.NewWithAPIPrefix(nc, "$JS.hub.API") },
	} {
		js, err := open()
		if err != nil {
			t.Fatal(err)
		}
		se := startSession(t, openStore(t, js))
		key := "r.K." + se.ID()
		mustFinish(t, mustClaim(t, se, Ask{Key: key}, Granted).Claim, Finish{State: Done})
		mustClaim(t, se, Ask{Key: key}, WasDone)
	}
}

func TestStore_ForgetsTheOldestAtItsBound(t *testing.T) {
	t.Parallel()
	b := newBed(t, func(c *Config) { c.MaxKeys = minMaxKeys })
	se := b.session(t)
	for i := range minMaxKeys + 10 {
		if _, err := se.Record(t.Context(), Ask{Key: fmt.Sprintf("e.g.K.%d", i)}, Finish{State: Done}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.store.Get(t.Context(), "e.g.K.0")
	wantErr(t, err, ErrNotFound)
	mustGet(t, b.store, fmt.Sprintf("e.g.K.%d", minMaxKeys+9))
}

// A session forgotten at the bound writes itself again: nobody has declared it over.
func TestSession_ForgottenAtTheBoundLivesOn(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t, func(c *Config) { c.MaxKeys = minMaxKeys })
		se := b.session(t)
		for i := range minMaxKeys {
			if _, err := se.Record(t.Context(), Ask{Key: fmt.Sprintf("e.g.K.%d", i)}, Finish{State: Done}); err != nil {
				t.Fatal(err)
			}
		}
		if f, err := b.store.look(t.Context(), se.key); err != nil || f.present {
			t.Fatalf("session key %+v, %v: not forgotten", f, err)
		}
		advance(3 * testLease)
		mustClaim(t, se, Ask{Key: "k"}, Granted)
		if closed(se.Lost()) {
			t.Error("lost")
		}
	})
}

func TestStore_FailsOnceTheConnectionIsClosed(t *testing.T) {
	t.Parallel()
	nc := natstest.Connect(t, natstest.Start(t))
	store := openStore(t, natstest.JetStream(t, nc))
	se := startSession(t, store)
	c := mustClaim(t, se, Ask{Key: "k"}, Granted).Claim
	nc.Close()
	_, err := store.Get(t.Context(), "k")
	wantErr(t, err, nats.ErrConnectionClosed)
	_, err = se.Claim(t.Context(), Ask{Key: "k2"})
	wantErr(t, err, nats.ErrConnectionClosed)
	wantErr(t, c.Finish(t.Context(), Finish{State: Done}), nats.ErrConnectionClosed)
	wantErr(t, se.End(t.Context()), nats.ErrConnectionClosed)
}
