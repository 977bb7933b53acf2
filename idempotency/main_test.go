package idempotency

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const testLease = 4 * time.Second

// bed is a server and the link to it that a test may cut.
type bed struct {
	link  *link
	store *Store
}

// newBed starts a server with a store on it. It works in fake time.
func newBed(tb testing.TB, change ...func(*Config)) *bed {
	tb.Helper()
	srv := natstest.Start(tb)
	l := newLink(srv)
	return &bed{l, l.store(tb, change...)}
}

// another is the same bucket as seen by another process, with a link of its own.
func (b *bed) another(tb testing.TB) *bed {
	tb.Helper()
	l := newLink(b.link.srv.Load())
	return &bed{l, l.store(tb)}
}

// quick makes leases short, and with them the wait for an answer.
func quick(c *Config) { c.Lease = time.Second }

func (b *bed) session(tb testing.TB) *Session {
	tb.Helper()
	return startSession(tb, b.store)
}

func startSession(tb testing.TB, s *Store) *Session {
	tb.Helper()
	se, err := s.StartSession(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Second)
		defer cancel()
		_ = se.End(ctx) // the goroutine is gone in any case
	})
	return se
}

// crash ends the session as a killed process does: nothing is written any more.
func crash(se *Session) {
	se.quit()
	<-se.gone
	se.lease.end()
}

// link connects to a server that may be replaced, and can go dead in either direction.
type link struct {
	srv      atomic.Pointer[server.Server]
	deafUp   atomic.Bool  // what the client writes is dropped
	deafDown atomic.Bool  // what the server writes is dropped
	slowDown atomic.Int64 // nanoseconds that what the server writes is late
	mu       sync.Mutex
	conns    []net.Conn
}

func newLink(srv *server.Server) *link {
	l := &link{}
	l.srv.Store(srv)
	return l
}

func (l *link) store(tb testing.TB, change ...func(*Config)) *Store {
	tb.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(l), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return openStore(tb, natstest.JetStream(tb, nc), change...)
}

func openStore(tb testing.TB, js jetstream.JetStream, change ...func(*Config)) *Store {
	tb.Helper()
	cfg := Config{Bucket: "dedup", Lease: testLease, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&cfg)
	}
	s, err := Open(tb.Context(), js, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// InProcessConn implements [nats.InProcessConnProvider].
func (l *link) InProcessConn() (net.Conn, error) {
	c, err := l.srv.Load().InProcessConn()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	return &linkConn{c, l}, nil
}

// cut makes the link dead without closing it, as a stalled network does.
func (l *link) cut() { l.deafUp.Store(true); l.deafDown.Store(true) }

// heal lets a new connection through.
func (l *link) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
	l.deafUp.Store(false)
	l.deafDown.Store(false)
}

type linkConn struct {
	net.Conn

	link *link
}

func (c *linkConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if late := c.link.slowDown.Load(); late > 0 {
			<-time.After(time.Duration(late))
		}
		if err != nil || !c.link.deafDown.Load() {
			return n, err
		}
	}
}

func (c *linkConn) Write(p []byte) (int, error) {
	if c.link.deafUp.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func mustClaim(tb testing.TB, se *Session, ask Ask, want Verdict) Answer {
	tb.Helper()
	a, err := se.Claim(tb.Context(), ask)
	if err != nil {
		tb.Fatalf("claim %s: %v", ask.Key, err)
	}
	if a.Verdict != want {
		tb.Fatalf("claim %s: verdict %v, want %v; record %+v", ask.Key, a.Verdict, want, a.Record)
	}
	if held := want == Granted || want == Exhausted; held != (a.Claim != nil) {
		tb.Fatalf("claim %s: verdict %v with claim %v", ask.Key, a.Verdict, a.Claim)
	}
	return a
}

func mustFinish(tb testing.TB, c *Claim, fin Finish) {
	tb.Helper()
	if err := c.Finish(tb.Context(), fin); err != nil {
		tb.Fatal(err)
	}
}

func mustGet(tb testing.TB, s *Store, key string) Record {
	tb.Helper()
	rec, err := s.Get(tb.Context(), key)
	if err != nil {
		tb.Fatalf("get %s: %v", key, err)
	}
	return rec
}

// closed says whether ch is closed by now.
func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// advance lets d of fake time pass.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func wantErr(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("error %v, want %v", err, want)
	}
}

func withTimeout(tb testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	tb.Helper()
	return context.WithTimeout(tb.Context(), d)
}
