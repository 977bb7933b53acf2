// Package natstest starts real NATS servers for this module's own tests.
package natstest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// Main runs the tests of a package and then fails it if a goroutine is left. It keeps the server's
// clock: see [FakeTime].
func Main(m *testing.M) {
	stop := keepClock()
	code := m.Run()
	stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Start runs a JetStream server without a port, on a store of its own that goes with the test.
// Connect to it with [Connect]. It works inside a synctest bubble.
func Start(tb testing.TB) *server.Server {
	tb.Helper()
	return StartOn(tb, tb.TempDir())
}

// StartOn is [Start] on a given store, for tests that restart a server.
func StartOn(tb testing.TB, storeDir string) *server.Server {
	tb.Helper()
	return Run(tb, &server.Options{DontListen: true, StoreDir: storeDir})
}

// Listen runs a JetStream server on a free port of the loopback interface. A port other than 0
// or -1 is used as it is, for tests that restart a server under its clients.
func Listen(tb testing.TB, storeDir string, port int) *server.Server {
	tb.Helper()
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return Run(tb, &server.Options{Host: "127.0.0.1", Port: port, StoreDir: storeDir})
}

// Run starts a JetStream server as opts say, but for logs and signals; it goes with the test.
func Run(tb testing.TB, opts *server.Options) *server.Server {
	tb.Helper()
	opts.JetStream, opts.NoLog, opts.NoSigs = true, true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		tb.Fatalf("new server: %v", err)
	}
	srv.Start()
	tb.Cleanup(func() { Stop(srv) })
	if !srv.ReadyForConnections(10 * time.Second) {
		tb.Fatal("server not ready after 10s")
	}
	return srv
}

// Stop shuts srv down and waits until it is gone. Stopping twice is harmless.
func Stop(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

// Connect opens an in-process connection that ends with the test.
func Connect(tb testing.TB, srv *server.Server, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect("", append([]nats.Option{nats.InProcessServer(srv), nats.MaxReconnects(-1)}, opts...)...)
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// JetStream is the JetStream context of nc.
func JetStream(tb testing.TB, nc *nats.Conn) jetstream.JetStream {
	tb.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatalf("jetstream: %v", err)
	}
	return js
}
