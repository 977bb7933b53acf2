package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/embedded"
)

// keeper sees to it that a NATS server runs on a port of this machine, together with the keepers of
// other processes. One of them hosts it, the others hold a connection to it. When that breaks,
// whoever gets the lock on the store hosts it next, and the others find it there.
type keeper struct {
	port     int
	store    string
	patience time.Duration // how long find bears with what holds the port or the lock, and serves nobody
	log      *slog.Logger
}

const (
	probeTimeout = time.Second
	findPause    = 100 * time.Millisecond // between two looks at a server that is about to come or to go
	findPatience = 15 * time.Second
)

// errForeign reports a port that is held by something that never became a usable server.
var errForeign = errors.New("something holds it that does not serve")

func (k *keeper) url() string { return fmt.Sprintf("nats://localhost:%d", k.port) }

// tenure is a server that is there: hosted by this process, or watched over a connection.
type tenure struct {
	server *embedded.Server
	over   <-chan struct{} // closed when the server is gone
	end    func() error
}

// find returns a server, this process's own if there is no other.
func (k *keeper) find(ctx context.Context) (*tenure, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, k.patience, errForeign)
	defer cancel()
	for {
		t, err := k.watch()
		if err == nil || errors.Is(err, nats.ErrAuthorization) {
			return t, err
		}
		t, err = k.host()
		if !k.taken(err) {
			return t, err
		}
		if pause(ctx, findPause) != nil {
			return nil, fmt.Errorf("find a server on port %d: %w: %w", k.port, context.Cause(ctx), err)
		}
	}
}

// watch connects to the server that is there.
func (k *keeper) watch() (*tenure, error) {
	over := make(chan struct{})
	nc, err := nats.Connect(k.url(), nats.Name("demo keeper"), nats.NoReconnect(), nats.Timeout(probeTimeout),
		nats.ClosedHandler(func(*nats.Conn) { close(over) }))
	if err != nil {
		return nil, fmt.Errorf("find a server on port %d: %w", k.port, err)
	}
	return &tenure{over: over, end: func() error { nc.Close(); <-over; return nil }}, nil
}

// host starts a server on the store.
func (k *keeper) host() (*tenure, error) {
	srv, err := embedded.Start(embedded.Config{Port: k.port, StoreDir: k.store, Logger: k.log})
	if err != nil {
		return nil, fmt.Errorf("host a server on port %d: %w", k.port, err)
	}
	k.log.Info("no nats server was there, hosting it in this process", slog.String("url", k.url()))
	return &tenure{server: srv, over: srv.Done(), end: srv.Close}, nil
}

// taken says that another process was quicker, or has not let go yet.
func (*keeper) taken(err error) bool {
	_, locked := errors.AsType[*embedded.LockedError](err)
	_, port := errors.AsType[*embedded.PortTakenError](err)
	return locked || port
}

// keep follows the tenure t by others until ctx ends, and ends the one it has then.
func (k *keeper) keep(ctx context.Context, t *tenure) error {
	for {
		select {
		case <-ctx.Done():
			return t.end()
		case <-t.over:
		}
		if t.server == nil {
			k.log.WarnContext(ctx, "the nats server is gone", slog.String("url", k.url()))
		}
		if t = k.replace(ctx); t == nil {
			return nil
		}
	}
}

// replace finds the next server, or returns nil when ctx ends before.
func (k *keeper) replace(ctx context.Context) *tenure {
	for ctx.Err() == nil {
		t, err := k.find(ctx)
		if err == nil {
			return t
		}
		if ctx.Err() == nil {
			k.log.WarnContext(ctx, "no nats server yet", slog.String("err", err.Error()))
			_ = pause(ctx, findPause)
		}
	}
	return nil
}
