package framework

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/internal/wire"
)

// signalQueue is how many QoS 0 events are at hand for the workers. Behind it the client keeps up to
// 500,000 messages or 64 MiB for each subscription, its defaults; what comes then is dropped and logged.
const signalQueue = 1 << 10

// signals consumes QoS 0 events for one handler: core subscriptions, one queue, a fixed number of
// workers. When it stops, what is at hand is handled if there is time, and what is behind it is gone.
type signals struct {
	subs    []*nats.Subscription // Run's own, as is stopped
	stopped bool
	queue   chan *nats.Msg
	quit    chan struct{} // closed by stop: callbacks wait for room no longer, workers for messages
	busy    atomic.Int64
	workers sync.WaitGroup
	ended   chan struct{} // closed when the workers have ended
}

// newSignals starts the workers of h; ctx is that of its handlers.
func (n *Node) newSignals(ctx context.Context, h *handler) *signals {
	s := &signals{queue: make(chan *nats.Msg, signalQueue), quit: make(chan struct{}), ended: make(chan struct{})}
	for range h.cfg.concurrency {
		s.workers.Go(func() {
			for m := s.next(); m != nil; m = s.next() {
				s.busy.Add(1)
				n.handleSignal(ctx, h, m)
				s.busy.Add(-1)
			}
		})
	}
	go func() {
		s.workers.Wait()
		close(s.ended)
	}()
	return s
}

// start subscribes, and returns when the server knows.
func (s *signals) start(ctx context.Context, n *Node, h *handler) error {
	for _, kind := range h.kinds() {
		sub, err := s.subscribe(n.conns.consume, n.names.Signal(kind), h)
		if err != nil {
			return err
		}
		s.subs = append(s.subs, sub)
	}
	return flush(ctx, n.conns.consume)
}

func (s *signals) subscribe(nc *nats.Conn, subject string, h *handler) (*nats.Subscription, error) {
	take := func(m *nats.Msg) {
		select {
		case s.queue <- m:
		case <-s.quit:
		}
	}
	var sub *nats.Subscription
	var err error
	if h.cfg.scope == sharedGroup {
		sub, err = nc.QueueSubscribe(subject, h.ref.Group, take)
	} else {
		sub, err = nc.Subscribe(subject, take)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return sub, nil
}

// next is the next message at hand; nil when it has stopped and there is none.
func (s *signals) next() *nats.Msg {
	select {
	case m := <-s.queue:
		return m
	case <-s.quit:
	}
	select {
	case m := <-s.queue:
		return m
	default:
		return nil
	}
}

// stop ends the subscriptions and waits for the workers, until ctx ends. It may be called again.
func (s *signals) stop(ctx context.Context) error {
	if !s.stopped {
		s.stopped = true
		for _, sub := range s.subs {
			_ = sub.Unsubscribe() // fails only where there is no subscription any more
		}
		close(s.quit)
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handleSignal runs the handler for one QoS 0 event. A failure is logged, and that is all: nothing
// is stored that could be tried again.
func (n *Node) handleSignal(ctx context.Context, h *handler, m *nats.Msg) {
	in := Incoming{Info: Info{
		Kind: kindOf(m.Subject), Group: h.ref.Group, Node: h.ref.Node, QoS: AtMostOnce, Attempt: 1, Header: Header(m.Header),
		ID:          unescapeID(headerOf(m, wire.ID)),
		Correlation: unescapeID(headerOf(m, wire.Correlation)),
		Causation:   unescapeID(headerOf(m, wire.Causation)),
	}}
	ran, err := n.runSignal(ctx, h, m, &in)
	if err == nil {
		h.doneSignal(Outcome{Verdict: VerdictOK, Attempt: 1, Ran: ran})
		return
	}
	attrs := []slog.Attr{kindAttr(in.Kind), slog.String("group", in.Group), errAttr(err)}
	if p := (*PanicError)(nil); errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	n.log.LogAttrs(ctx, slog.LevelWarn, "handler of a QoS 0 event failed; the event is gone", attrs...)
	failed := Outcome{Verdict: VerdictFailed, Ran: ran}
	if ran > 0 { // else it was not decodable
		failed.Attempt = 1
		failed.Err = &HandlerError{Kind: in.Kind, ID: in.ID, Group: in.Group, Node: in.Node, Attempt: 1, Err: err}
	}
	h.doneSignal(failed)
}

func (n *Node) runSignal(ctx context.Context, h *handler, m *nats.Msg, in *Incoming) (time.Duration, error) {
	codec, err := n.codecs.reading(headerOf(m, wire.ContentType), h.codec)
	if err != nil {
		return 0, err
	}
	in.message = h.newMessage()
	if err := decode(codec, m.Data, in.message); err != nil {
		return 0, err
	}
	ctx = context.WithValue(ctx, infoKey{}, &in.Info)
	if h.cfg.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.cfg.timeout)
		defer cancel()
	}
	if h.hooks.Started != nil {
		h.hooks.Started()
	}
	start := time.Now()
	err = h.run(ctx, in)
	return max(time.Since(start), 1), err
}

func (h *handler) doneSignal(o Outcome) {
	if h.hooks.Done != nil {
		h.hooks.Done(o)
	}
}

func headerOf(m *nats.Msg, key string) string {
	if v := m.Header[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}
