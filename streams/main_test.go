package streams_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
	"github.com/catga-go/catga/streams"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const ns = "catga"

var names = streams.NewNames(ns)

// patience is how long a test waits for an event before it fails.
const patience = 20 * time.Second

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// bench is a server with the streams, and two connections as a node has them.
type bench struct {
	tb      testing.TB
	srv     *server.Server
	publish *nats.Conn
	consume *nats.Conn
	js      jetstream.JetStream // of consume
	pub     *streams.Publisher
}

func setup(tb testing.TB) *bench {
	tb.Helper()
	srv := natstest.Start(tb)
	return on(tb, srv, natstest.Connect(tb, srv), natstest.Connect(tb, srv, nats.ReconnectBufSize(-1)))
}

// setupTCP is setup with a listener, so that the server can be restarted under the connections.
func setupTCP(tb testing.TB) (b *bench, restart func()) {
	tb.Helper()
	dir := tb.TempDir()
	srv := natstest.Listen(tb, dir, 0)
	port := srv.Addr().(*net.TCPAddr).Port
	b = on(tb, srv, dial(tb, srv), dial(tb, srv, nats.ReconnectBufSize(-1)))
	return b, func() {
		natstest.Stop(b.srv)
		b.srv = natstest.Listen(tb, dir, port)
	}
}

func dial(tb testing.TB, srv *server.Server, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(srv.ClientURL(), append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))...)
	must(tb, err)
	tb.Cleanup(nc.Close)
	return nc
}

func on(tb testing.TB, srv *server.Server, publish, consume *nats.Conn) *bench {
	tb.Helper()
	b := &bench{tb: tb, srv: srv, publish: publish, consume: consume, js: natstest.JetStream(tb, consume)}
	must(tb, streams.Provision(tb.Context(), b.js, streams.Config{Namespace: ns}))
	b.pub = b.publisher(publish)
	return b
}

func (b *bench) publisher(nc *nats.Conn) *streams.Publisher {
	b.tb.Helper()
	p, err := streams.NewPublisher(nc, names, nil)
	must(b.tb, err)
	b.tb.Cleanup(p.Close)
	return p
}

func (b *bench) store(subject, data string) streams.Stored {
	b.tb.Helper()
	s, err := b.pub.Store(b.tb.Context(), &nats.Msg{Subject: subject, Data: []byte(data)})
	must(b.tb, err)
	return s
}

func (b *bench) pool(workers int, handle func(*streams.Delivery)) *streams.Pool {
	p := streams.NewPool(workers, handle)
	b.tb.Cleanup(func() {
		if err := p.Drain(context.Background()); err != nil {
			b.tb.Error(err)
		}
	})
	return p
}

// loop starts a loop on events of kind "A" for group "g", changed by edit.
func (b *bench) loop(pool *streams.Pool, edit func(*streams.LoopConfig)) *streams.Loop {
	b.tb.Helper()
	l := b.newLoop(pool, edit)
	must(b.tb, l.Start(b.tb.Context()))
	b.tb.Cleanup(l.Stop)
	return l
}

func (b *bench) newLoop(pool *streams.Pool, edit func(*streams.LoopConfig)) *streams.Loop {
	b.tb.Helper()
	cfg := streams.LoopConfig{
		Stream:         names.Events(),
		Durable:        names.Durable("g", "A"),
		FilterSubjects: []string{names.Event("A"), names.Retry("g", "A")},
		Credits:        16,
		Pool:           func(*streams.Delivery) *streams.Pool { return pool },
		OnError:        func(err error) { b.tb.Log("loop:", err) },
	}
	if edit != nil {
		edit(&cfg)
	}
	l, err := streams.NewLoop(b.consume, b.js, cfg)
	must(b.tb, err)
	return l
}

// receive waits for one value.
func receive[T any](tb testing.TB, c <-chan T) T {
	tb.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		tb.Fatal("nothing came")
		panic("unreachable")
	}
}

func as[E error](tb testing.TB, err error) E {
	tb.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		tb.Fatalf("error = %v (%T), want a %T", err, err, e)
	}
	return e
}

// eventually waits until ok.
func eventually(tb testing.TB, ok func() bool) {
	tb.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatal("never happened")
		}
	}
}
