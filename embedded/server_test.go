package embedded_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/embedded"
	"github.com/catga-go/catga/internal/natstest"
)

// A server stands where a framework.Config takes an in-process one.
var _ nats.InProcessConnProvider = (*embedded.Server)(nil)

func TestMain(m *testing.M) { natstest.Main(m) }

func TestServesClientsOnAFreePort(t *testing.T) {
	t.Parallel()
	srv := start(t, embedded.Config{Port: -1})
	if !strings.HasPrefix(srv.URL(), "nats://127.0.0.1:") {
		t.Errorf("url %s, want one on 127.0.0.1", srv.URL())
	}
	put(t, connect(t, srv.URL()))
}

func TestKeepsItsStoreOverARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not", "yet", "there")
	first := start(t, embedded.Config{Port: -1, StoreDir: dir})
	put(t, connect(t, first.URL()))
	closeServer(t, first)

	second := start(t, embedded.Config{Port: -1, StoreDir: dir})
	if got := get(t, connect(t, second.URL())); got != "v" {
		t.Errorf("after the restart %q, want v", got)
	}
	if second.StoreDir() != dir {
		t.Errorf("store %s, want %s", second.StoreDir(), dir)
	}
}

func TestTemporaryStoreIsRemovedByClose(t *testing.T) {
	t.Parallel()
	srv := start(t, embedded.Config{NoListen: true})
	if _, err := os.Stat(srv.StoreDir()); err != nil {
		t.Fatal(err)
	}
	closeServer(t, srv)
	if _, err := os.Stat(srv.StoreDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat %s: %v, want it gone", srv.StoreDir(), err)
	}
}

func TestTemporaryStoreIsRemovedWhenTheStartFails(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	taken := listen(t)
	if _, err := embedded.Start(embedded.Config{Port: taken}); err == nil {
		t.Fatal("started on a taken port")
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestInProcessConnectionsNeedNoPort(t *testing.T) {
	t.Parallel()
	srv := start(t, embedded.Config{NoListen: true})
	if srv.URL() != "" {
		t.Errorf("url %q without a port", srv.URL())
	}
	put(t, connect(t, "", nats.InProcessServer(srv)))

	closeServer(t, srv)
	if _, err := srv.InProcessConn(); !errors.Is(err, embedded.ErrClosed) {
		t.Errorf("in-process connection after close: %v, want ErrClosed", err)
	}
}

func TestStoreServesOneServerAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, embedded.Config{NoListen: true, StoreDir: dir})

	_, err := embedded.Start(embedded.Config{NoListen: true, StoreDir: dir})
	if locked, ok := errors.AsType[*embedded.LockedError](err); !ok || locked.StoreDir != dir {
		t.Errorf("second server on the store: %v, want a LockedError for %s", err, dir)
	}

	closeServer(t, first)
	start(t, embedded.Config{NoListen: true, StoreDir: dir})
}

func TestTakenPortIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	port, dir := listen(t), t.TempDir()
	began := time.Now()
	_, err := embedded.Start(embedded.Config{Port: port, StoreDir: dir})
	if taken, ok := errors.AsType[*embedded.PortTakenError](err); !ok || taken.Port != port || taken.Host != "127.0.0.1" {
		t.Errorf("start on a taken port: %v, want a PortTakenError", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	start(t, embedded.Config{NoListen: true, StoreDir: dir}) // the failed start holds no lock
}

func TestUnusableStoreIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	broken := t.TempDir()
	for _, path := range []string{file, filepath.Join(broken, "jetstream")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, dir, want string }{
		{"a file in its place", file, "make store"},
		{"below a file", filepath.Join(file, "store"), "make store"},
		{"a file where the server puts its data", broken, "storage directory is not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := embedded.Start(embedded.Config{NoListen: true, StoreDir: tt.dir})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("start: %v, want it to say %q", err, tt.want)
			}
		})
	}
}

func TestUnusableConfigNamesTheField(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		field string
		cfg   embedded.Config
	}{
		{"Port", embedded.Config{Port: -2}},
		{"Port", embedded.Config{Port: 65536}},
		{"MaxStore", embedded.Config{MaxStore: -1}},
		{"MaxMemory", embedded.Config{MaxMemory: -1}},
		{"Sync", embedded.Config{Sync: 2}},
		{"Token", embedded.Config{Token: "t", Username: "u", Password: "p"}},
		{"Username", embedded.Config{Username: "u"}},
	} {
		t.Run(tt.field, func(t *testing.T) {
			t.Parallel()
			_, err := embedded.Start(tt.cfg)
			if bad, ok := errors.AsType[*embedded.ConfigError](err); !ok || bad.Field != tt.field {
				t.Errorf("start: %v, want a ConfigError for %s", err, tt.field)
			}
		})
	}
	if _, err := embedded.Start(embedded.Config{Host: "no such host", Port: 1}); err == nil {
		t.Error("started on a host that is none")
	}
}

func TestClientsMustShowTheCredentials(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cfg  embedded.Config
		show nats.Option
	}{
		{"user", embedded.Config{Username: "u", Password: "p"}, nats.UserInfo("u", "p")},
		{"token", embedded.Config{Token: "t"}, nats.Token("t")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Port = -1
			srv := start(t, tt.cfg)
			if _, err := nats.Connect(srv.URL()); !errors.Is(err, nats.ErrAuthorization) {
				t.Errorf("without credentials: %v, want an authorization error", err)
			}
			connect(t, srv.URL(), tt.show)
		})
	}
}

func TestFullStoreRefusesAndTheServerGoesOn(t *testing.T) {
	t.Parallel()
	srv := start(t, embedded.Config{NoListen: true, MaxStore: 64 << 10})
	js := natstest.JetStream(t, connect(t, "", nats.InProcessServer(srv)))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 20 {
		if _, err = js.Publish(t.Context(), "s", make([]byte, 8<<10)); err != nil {
			break
		}
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != 10023 {
		t.Fatalf("publish over the quota: %v, want error code 10023", err)
	}
	if err := natstest.JetStream(t, js.Conn()).DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	put(t, js.Conn())
}

func TestCloseIsOneEndForEveryCaller(t *testing.T) {
	t.Parallel()
	srv := start(t, embedded.Config{Port: -1})
	errs := make(chan error)
	for range 4 {
		go func() { errs <- srv.Close() }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Errorf("close: %v", err)
		}
	}
	select {
	case <-srv.Done():
	default:
		t.Error("Done is open after Close")
	}
}

func TestQuietStartLogsTwoLines(t *testing.T) {
	t.Parallel()
	log := &lines{}
	srv := start(t, embedded.Config{Port: -1, Logger: slog.New(log)})
	closeServer(t, srv)
	want := []string{"INFO nats server started", "INFO nats server stopped"}
	if diff := cmp.Diff(want, log.above(slog.LevelDebug)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// ---------------------------------------------------------------- helpers

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeServer(t, srv) })
	return srv
}

func closeServer(t *testing.T, srv *embedded.Server) {
	t.Helper()
	if err := srv.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func connect(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatalf("connect to %q: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// listen takes a free port for the length of the test.
func listen(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(port)
	return n
}

func put(t *testing.T, nc *nats.Conn) {
	t.Helper()
	kv, err := natstest.JetStream(t, nc).CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
	if err == nil {
		_, err = kv.PutString(t.Context(), "k", "v")
	}
	if err != nil {
		t.Fatalf("put: %v", err)
	}
}

func get(t *testing.T, nc *nats.Conn) string {
	t.Helper()
	kv, err := natstest.JetStream(t, nc).KeyValue(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(t.Context(), "k")
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return string(entry.Value())
}

// lines records what is logged. The server logs from many goroutines.
type lines struct {
	mu      sync.Mutex
	records []slog.Record
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return nil
}

func (l *lines) above(level slog.Level) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Level > level {
			out = append(out, r.Level.String()+" "+r.Message)
		}
	}
	return out
}
