// Package frameworktest helps to test programs that use package framework: real nodes on a real
// server that lives in the test, and a recorder for code that only publishes.
//
// A node of [NewNode] talks to its server over pipes in memory, so such tests run in parallel and
// need no port. In [FakeTime] an hour of retries passes in a moment.
package frameworktest

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"

	"github.com/catga-go/catga/embedded"
	"github.com/catga-go/catga/framework"
)

// patience bounds everything that these helpers wait for.
const patience = 30 * time.Second

// RegisterClock starts the one goroutine that all embedded servers of the process share. Inside a
// synctest bubble it would keep time from passing, so TestMain calls this before any test runs; the
// func it returns ends the goroutine.
func RegisterClock() (stop func()) {
	ats.Register()
	return ats.Unregister
}

// FakeTime runs f in a testing/synctest bubble in which nodes and servers of this package work:
// time passes when everything waits, so retries, timeouts, leases and IDs that are forgotten take no
// time at all. TestMain has to call [RegisterClock].
//
// Bubbles begin in the year 2000, but the server compares the age of messages with the real time, so
// f is entered at the real time of the start. Past that, streams and buckets do not see their messages
// grow old by MaxAge: a node that vanishes in the bubble is not lost.
//
// It fails a parallel test: the NATS client keeps timers for reuse by the whole process, and those
// may not cross the border of a bubble.
func FakeTime(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Setenv("CATGA_FAKE_TIME", "1") // panics in a parallel test
	dropPools()
	defer dropPools()
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) //nolint:forbidigo // of the bubble's time: it takes none
		f(t)
	})
}

// dropPools empties every sync.Pool: what is in it survives one collection, not two.
func dropPools() {
	runtime.GC()
	runtime.GC()
}

// NewServer starts a JetStream server without a port, on a store that goes with the test.
func NewServer(tb testing.TB) *embedded.Server {
	tb.Helper()
	srv, err := embedded.Start(embedded.Config{
		StoreDir: tb.TempDir(), NoListen: true, MaxStore: 1 << 30, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatalf("start server: %v", err)
	}
	tb.Cleanup(func() {
		if err := srv.Close(); err != nil {
			tb.Errorf("close server: %v", err)
		}
	})
	return srv
}

// Connect connects a node to srv without running it; it is closed with the test. The node is called
// "test" and logs to the test, unless an option says otherwise.
func Connect(tb testing.TB, srv *embedded.Server, options ...func(*framework.Config)) *framework.Node {
	tb.Helper()
	cfg := framework.Config{NodeID: "test", InProcess: srv, Logger: Logger(tb)}
	for _, o := range options {
		o(&cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	node, err := framework.Connect(ctx, cfg)
	if err != nil {
		tb.Fatalf("connect node %s: %v", cfg.NodeID, err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := node.Close(ctx); err != nil {
			tb.Errorf("close node %s: %v", cfg.NodeID, err)
		}
	})
	return node
}

// NewNode connects a node to a server of its own. Register handlers on it, then call [Run].
func NewNode(tb testing.TB, options ...func(*framework.Config)) *framework.Node {
	tb.Helper()
	return Connect(tb, NewServer(tb), options...)
}

// Run runs node until the test ends and returns when it consumes. The func it returns drains the
// node before that, and waits for it.
func Run(tb testing.TB, node *framework.Node) (drain func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	drained := false
	drain = func() {
		cancel()
		if drained {
			return
		}
		drained = true
		if err := <-done; err != nil {
			tb.Errorf("run node: %v", err)
		}
	}
	tb.Cleanup(drain)
	wait, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	if err := node.WaitReady(wait); err != nil {
		tb.Fatalf("node is not ready: %v", err)
	}
	return drain
}

// Logger logs to the test.
func Logger(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}
