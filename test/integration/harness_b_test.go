package integration

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/embedded"
	"github.com/catga-go/catga/framework"
)

var errCut = errors.New("the link is cut")

// link is a nats.InProcessConnProvider whose connections a test can cut. It works in a bubble.
type link struct {
	server *embedded.Server

	mute string // what is published to subjects that begin so never arrives; "" = all arrives

	lock sync.Mutex
	down bool
	open []net.Conn
}

func (l *link) InProcessConn() (net.Conn, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.down {
		return nil, errCut
	}
	c, err := l.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	l.open = append(l.open, c)
	if l.mute != "" {
		c = &muted{Conn: c, subjects: l.mute}
	}
	return c, nil
}

// muted loses what the client publishes to some subjects. It reads the client's protocol frame by
// frame, in whatever portions they are written.
type muted struct {
	net.Conn

	subjects string
	rest     []byte // of a frame that is not complete yet
}

func (m *muted) Write(b []byte) (int, error) {
	m.rest = append(m.rest, b...)
	var out []byte
	for {
		frame, rest, ok := cutFrame(m.rest)
		if !ok {
			break
		}
		fields := strings.Fields(string(frame[:bytes.IndexByte(frame, '\n')]))
		if len(fields) < 2 || !strings.HasSuffix(fields[0], "PUB") || !strings.HasPrefix(fields[1], m.subjects) {
			out = append(out, frame...)
		}
		m.rest = rest
	}
	if _, err := m.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// cutFrame cuts the first frame, a line and for PUB and HPUB a payload, off b.
func cutFrame(b []byte) (frame, rest []byte, ok bool) {
	end := bytes.IndexByte(b, '\n') + 1
	if end == 0 {
		return nil, b, false
	}
	if fields := strings.Fields(string(b[:end])); len(fields) > 1 && strings.HasSuffix(fields[0], "PUB") {
		size, _ := strconv.Atoi(fields[len(fields)-1])
		end += size + len("\r\n")
	}
	if len(b) < end {
		return nil, b, false
	}
	return b[:end], b[end:], true
}

// cut breaks every connection and refuses new ones until mend.
func (l *link) cut() {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.down = true
	for _, c := range l.open {
		_ = c.Close()
	}
	l.open = nil
}

func (l *link) mend() {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.down = false
}

// over is an option: connect over l.
func over(l *link) func(*framework.Config) {
	return func(c *framework.Config) { c.InProcess = l }
}

// at is an option: connect over the network.
func at(url string) func(*framework.Config) {
	return func(c *framework.Config) { c.InProcess, c.URL = nil, url }
}

// lease is an option: how long a dead process keeps its claims.
func lease(d time.Duration) func(*framework.Config) {
	return func(c *framework.Config) { c.Lease = d }
}

// result is what a call in the background has returned.
type result[R any] struct {
	value R
	info  framework.ReplyInfo
	err   error
}

// sending sends in the background.
func sending[Q framework.RequestOf[R], R any](ctx context.Context, n *framework.Node, q Q, opts ...framework.SendOption) <-chan result[R] {
	done := make(chan result[R], 1)
	go func() {
		var r result[R]
		r.value, r.err = framework.Send(ctx, n, q, append(opts, framework.WithReply(&r.info))...)
		done <- r
	}()
	return done
}

// running runs node in the background; its end comes on the channel. stop ends its context.
func running(t *testing.T, node *framework.Node) (stop context.CancelFunc, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	must(t, node.WaitReady(soon(t)))
	return cancel, done
}

// nodes connects one node for each name.
func nodes(t *testing.T, srv *embedded.Server, names ...string) []*framework.Node {
	t.Helper()
	all := make([]*framework.Node, len(names))
	for i, name := range names {
		all[i] = connect(t, srv, name)
	}
	return all
}

// jetStream is JetStream on the connection of node.
func jetStream(t *testing.T, node *framework.Node) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(node.Conn())
	must(t, err)
	return js
}

// stored is how many messages a stream holds.
func stored(t *testing.T, node *framework.Node, stream string) uint64 {
	t.Helper()
	s, err := jetStream(t, node).Stream(soon(t), stream)
	must(t, err)
	return s.CachedInfo().State.Msgs
}

// drainedOff waits until no request is stored any more: all have been acknowledged.
func drainedOff(t *testing.T, node *framework.Node) {
	t.Helper()
	eventually(t, "all requests are acknowledged", func() bool { return stored(t, node, "CATGA_REQUESTS") == 0 })
}

// within is a context with a deadline of its own.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// noReply fails unless err is a NoReplyError, and returns it.
func noReply(t *testing.T, err error) *framework.NoReplyError {
	t.Helper()
	var e *framework.NoReplyError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *NoReplyError", err)
	}
	return e
}

// empty fails if there is something in ch.
func empty[T any](t *testing.T, what string, ch <-chan T) {
	t.Helper()
	select {
	case v := <-ch:
		t.Errorf("%s: %+v", what, v)
	default:
	}
}

// contains fails unless err says all of parts.
func contains(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not mention %q", err, part)
		}
	}
}

// receiveWithin is receive with a patience of its own, for fake time.
func receiveWithin[T any](t *testing.T, ch <-chan T, d time.Duration) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(d):
		var zero T
		t.Fatalf("nothing received within %v", d)
		return zero
	}
}
