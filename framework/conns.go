package framework

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// conns are the connections of a node: one to publish, one to consume, so that a flood of deliveries
// does not stand in the way of publishing; or the one it was given, for both.
type conns struct {
	publish, consume *nats.Conn
	given            bool // by the user: never closed here
}

const (
	pingEvery    = 5 * time.Second // two missed pings: a stalled link is noticed in 15s
	reconnectIn  = 250 * time.Millisecond
	publishName  = "publish"
	consumeName  = "consume"
	sharedName   = "shared"
	drainTimeout = 5 * time.Second
)

// dial connects as cfg says. It returns within cfg.ConnectTimeout, or when ctx ends.
func dial(ctx context.Context, cfg *Config, w *watcher) (conns, error) {
	if cfg.Conn != nil {
		if cfg.Conn.IsClosed() {
			return conns{}, &ConfigError{"Conn", "closed", "is a closed connection"}
		}
		w.follow(cfg.Conn, sharedName)
		return conns{publish: cfg.Conn, consume: cfg.Conn, given: true}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout) // for all addresses together
	defer cancel()
	var c conns
	var err error
	if c.publish, err = dialOne(ctx, cfg, w, publishName); err != nil {
		return conns{}, err
	}
	// What a reconnect buffer would send late, acks and naks, harms: refuse it while disconnected.
	if c.consume, err = dialOne(ctx, cfg, w, consumeName, nats.ReconnectBufSize(-1)); err != nil {
		c.publish.Close()
		return conns{}, err
	}
	return c, nil
}

func dialOne(ctx context.Context, cfg *Config, w *watcher, name string, more ...nats.Option) (*nats.Conn, error) {
	opts, err := natsOptions(cfg, w, name)
	if err != nil {
		return nil, err
	}
	type dialed struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan dialed, 1)
	go func() { // nats.Connect takes no context; its own timeout ends it
		nc, err := nats.Connect(cfg.URL, append(opts, more...)...)
		done <- dialed{nc, err}
	}()
	select {
	case d := <-done:
		if d.err != nil {
			return nil, fmt.Errorf("connect to %s: %w", target(cfg), d.err)
		}
		w.follow(d.nc, name)
		return d.nc, nil
	case <-ctx.Done():
		go func() {
			if d := <-done; d.nc != nil {
				d.nc.Close()
			}
		}()
		return nil, fmt.Errorf("connect to %s: %w", target(cfg), ctx.Err())
	}
}

func natsOptions(cfg *Config, w *watcher, name string) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name("catga " + cfg.NodeID + " " + name),
		nats.Timeout(cfg.ConnectTimeout),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(2),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectIn),
		nats.ReconnectJitter(reconnectIn/2, reconnectIn/2),
		nats.DrainTimeout(drainTimeout),
		nats.ErrorHandler(w.asyncError),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { w.lost(name, err) }),
	}
	if cfg.InProcess != nil {
		opts = append(opts, nats.InProcessServer(cfg.InProcess))
	}
	if cfg.TLS != nil {
		opts = append(opts, nats.Secure(cfg.TLS))
	}
	switch {
	case cfg.CredsFile != "":
		if _, err := os.Stat(cfg.CredsFile); err != nil { // it is read at each connect
			return nil, &ConfigError{"CredsFile", cfg.CredsFile, err.Error()}
		}
		opts = append(opts, nats.UserCredentials(cfg.CredsFile))
	case cfg.NKeyFile != "":
		nkey, err := nats.NkeyOptionFromSeed(cfg.NKeyFile)
		if err != nil {
			return nil, &ConfigError{"NKeyFile", cfg.NKeyFile, err.Error()}
		}
		opts = append(opts, nkey)
	case cfg.Token != "":
		opts = append(opts, nats.Token(cfg.Token))
	case cfg.User != "":
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Password))
	}
	return opts, nil
}

// target is where cfg connects to, without the credentials that a URL may hold.
func target(cfg *Config) string {
	if cfg.InProcess != nil {
		return "the server in this process"
	}
	var all []string
	for s := range strings.SplitSeq(cfg.URL, ",") {
		u, err := parseURL(s)
		if err != nil { // validate has said so before
			continue
		}
		if u.User != nil {
			u.User = url.User("xxxxx") // a user alone is a token
		}
		all = append(all, u.String())
	}
	return strings.Join(all, ",")
}

// parseURL reads one server's address as the client does: the scheme may be left away. Its error
// does not repeat the URL, which may hold a password.
func parseURL(s string) (*url.URL, error) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	u, err := url.Parse(s)
	if bad, ok := errors.AsType[*url.Error](err); ok {
		err = bad.Err
	}
	if err == nil && u.Host == "" {
		err = errors.New("names no host")
	}
	return u, err
}

func (c conns) jetStreams(domain string) (publish, consume jetstream.JetStream, err error) {
	open := func(nc *nats.Conn) (jetstream.JetStream, error) {
		if domain != "" {
			return jetstream.NewWithDomain(nc, domain)
		}
		return jetstream.New(nc)
	}
	if publish, err = open(c.publish); err != nil {
		return nil, nil, &ConfigError{"Domain", domain, err.Error()}
	}
	consume, err = open(c.consume)
	return publish, consume, err
}

// close flushes and closes what this node opened.
func (c conns) close(ctx context.Context) error {
	if c.publish == nil {
		return nil
	}
	err := flush(ctx, c.publish)
	if c.given {
		return err
	}
	if other := flush(ctx, c.consume); err == nil {
		err = other
	}
	c.consume.Close()
	c.publish.Close()
	return err
}

// flush waits until the server has everything that was written. Without a connection there is
// nothing that would help.
func flush(ctx context.Context, nc *nats.Conn) error {
	if !nc.IsConnected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// watcher reports what happens to the connections of a node. It starts a goroutine for each, which
// ends when the connection is closed, or with stop.
type watcher struct {
	node        string
	log         *slog.Logger
	hook        func(ConnectionEvent)
	reconnected func() // after a connection has come back
	stop        <-chan struct{}
	running     sync.WaitGroup
}

func (w *watcher) tell(e ConnectionEvent) {
	e.Node = w.node
	if w.hook != nil {
		w.hook(e)
	}
}

func (w *watcher) lost(name string, err error) {
	if err == nil { // closed on purpose
		return
	}
	w.log.LogAttrs(context.Background(), slog.LevelWarn, "connection lost", slog.String("connection", name), errAttr(err))
}

func (w *watcher) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	attrs := []slog.Attr{errAttr(err)}
	if sub != nil {
		attrs = append(attrs, slog.String("subject", sub.Subject))
	}
	w.log.LogAttrs(context.Background(), slog.LevelWarn, "nats reports an error", attrs...)
}

// follow tells the hook what becomes of nc.
func (w *watcher) follow(nc *nats.Conn, name string) {
	status := nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	w.tell(ConnectionEvent{Name: name, Connected: true})
	w.running.Go(func() {
		defer nc.RemoveStatusListener(status)
		up := true
		for {
			select {
			case s, ok := <-status:
				if !ok || s == nats.CLOSED {
					w.tell(ConnectionEvent{Name: name, Err: nc.LastError()})
					return
				}
				up = w.changed(nc, name, up, s == nats.CONNECTED)
			case <-w.stop:
				w.tell(ConnectionEvent{Name: name})
				return
			}
		}
	})
}

func (w *watcher) changed(nc *nats.Conn, name string, was, is bool) bool {
	switch {
	case was && !is:
		w.tell(ConnectionEvent{Name: name, Err: nc.LastError()})
	case !was && is:
		w.log.LogAttrs(context.Background(), slog.LevelInfo, "connection is back", slog.String("connection", name))
		w.tell(ConnectionEvent{Name: name, Connected: true, Reconnect: true})
		w.reconnected()
	}
	return is
}
