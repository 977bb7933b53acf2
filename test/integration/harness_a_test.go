package integration

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/streams"
)

// list collects what handlers and hooks see, from any goroutine. Reading it does not empty it.
type list[T any] struct {
	mu  sync.Mutex
	all []T
}

func (l *list[T]) add(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, v)
}

func (l *list[T]) get() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

func (l *list[T]) len() int { return len(l.get()) }

// streamState is the state of a stream now.
func streamState(t *testing.T, node *framework.Node, stream string) jetstream.StreamState {
	t.Helper()
	s, err := jetStream(t, node).Stream(soon(t), stream)
	must(t, err)
	return s.CachedInfo().State
}

// consumerInfo is what the server knows about a group now.
func consumerInfo(t *testing.T, node *framework.Node, stream, durable string) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := jetStream(t, node).Consumer(soon(t), stream, durable)
	must(t, err)
	return c.CachedInfo()
}

// messages are all messages that a stream holds.
func messages(t *testing.T, node *framework.Node, stream string) []*jetstream.RawStreamMsg {
	t.Helper()
	ctx := soon(t)
	s, err := jetStream(t, node).Stream(ctx, stream)
	must(t, err)
	state := s.CachedInfo().State
	var all []*jetstream.RawStreamMsg
	for seq := state.FirstSeq; state.Msgs > 0 && seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		must(t, err)
		for _, key := range []string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"} {
			delete(m.Header, key) // of the reading, not of the message
		}
		all = append(all, m)
	}
	return all
}

// deadLetters waits until there are want dead letters, and returns all there are.
func deadLetters(t *testing.T, node *framework.Node, want int) []streams.DeadLetter {
	t.Helper()
	eventually(t, "dead letters are stored", func() bool {
		return streamState(t, node, "CATGA_DEAD").Msgs >= uint64(want)
	})
	var all []streams.DeadLetter
	for _, m := range messages(t, node, "CATGA_DEAD") {
		d, err := streams.ParseDead(m.Header, m.Data)
		must(t, err)
		all = append(all, d)
	}
	if len(all) != want {
		t.Fatalf("%d dead letters, want %d: %+v", len(all), want, all)
	}
	return all
}

// acknowledged waits until a group of events has nothing left to do and nothing in its hands.
func acknowledged(t *testing.T, node *framework.Node, durable string) {
	t.Helper()
	eventually(t, durable+" has settled everything", func() bool {
		info := consumerInfo(t, node, "CATGA_EVENTS", durable)
		return info.NumPending == 0 && info.NumAckPending == 0
	})
}

// withHooks is an option of frameworktest.Connect.
func withHooks(h framework.Hooks) func(*framework.Config) {
	return func(c *framework.Config) { c.Hooks = h }
}

// outcomes is an option of frameworktest.Connect: each settled delivery, as the hooks tell it.
func outcomes(to *list[framework.Outcome]) func(*framework.Config) {
	return withHooks(framework.Hooks{Handler: func(framework.HandlerRef) framework.HandlerHooks {
		return framework.HandlerHooks{Done: to.add}
	}})
}

// logged is an option of frameworktest.Connect: the log, as text, of warnings and worse.
func logged(to *logText) func(*framework.Config) {
	return func(c *framework.Config) {
		c.Logger = slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
}

// logText is a log that can be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines are those that hold part.
func (l *logText) lines(part string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(strings.Split(l.text.String(), "\n"), func(s string) bool { return !strings.Contains(s, part) })
}

// sink is an event handler that passes everything on.
func sink[E any](to chan<- E) func(context.Context, E) error {
	return func(_ context.Context, e E) error {
		to <- e
		return nil
	}
}

// infos is an event handler that passes on what InfoFrom says.
func infos[E any](to chan<- framework.Info) func(context.Context, E) error {
	return func(ctx context.Context, _ E) error {
		to <- framework.InfoFrom(ctx)
		return nil
	}
}

// run runs all nodes.
func run(t *testing.T, nodes ...*framework.Node) {
	t.Helper()
	for _, n := range nodes {
		frameworktest.Run(t, n)
	}
}

// foreign is a message of a client that knows nothing of this project.
func foreign(subject, data string, headers ...string) *nats.Msg {
	m := &nats.Msg{Subject: subject, Data: []byte(data)}
	for i := 0; i+1 < len(headers); i += 2 {
		if m.Header == nil {
			m.Header = nats.Header{}
		}
		m.Header[headers[i]] = append(m.Header[headers[i]], headers[i+1])
	}
	return m
}

// diff fails if got is not want.
func diff(t *testing.T, what string, got, want any, opts ...cmp.Option) {
	t.Helper()
	if d := cmp.Diff(want, got, opts...); d != "" {
		t.Errorf("%s: (-want +got)\n%s", what, d)
	}
}

// wrap says what was tried when err happened.
func wrap(what string, err error) error { return fmt.Errorf("%s: %w", what, err) }

// calm is an option for hours of fake time: what a node does by itself, it does seldom.
func calm(c *framework.Config) {
	c.Heartbeat, c.LagInterval, c.Lease = 10*time.Minute, time.Hour, 4*time.Minute
}
