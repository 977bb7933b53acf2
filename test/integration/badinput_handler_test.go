package integration

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

// Two Go types that claim one kind.
type (
	mineEvent    struct{ framework.ReliableEvent }
	theirsEvent  struct{ framework.ReliableEvent }
	theirsSignal struct{ framework.Event }
	theirsAlias  struct{ framework.ReliableEvent }
	lengthyEvent struct{ framework.ReliableEvent }
)

func (mineEvent) Kind() string            { return "shared" }
func (theirsEvent) Kind() string          { return "shared" }
func (theirsSignal) Kind() string         { return "shared" }
func (theirsAlias) KindAliases() []string { return []string{"shared"} }
func (lengthyEvent) Kind() string         { return strings.Repeat("k", 128) }

func ignore[E any](context.Context, E) error { return nil }

// Every bad registration is an error of its call, and of Run.
func TestBadInput_Registration(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	sub := func(opts ...framework.SubscribeOption) func(*framework.Node) error {
		return func(n *framework.Node) error { return framework.Subscribe(n, ignore[stamped], opts...) }
	}
	signal := func(opts ...framework.SubscribeOption) func(*framework.Node) error {
		return func(n *framework.Node) error { return framework.Subscribe(n, ignore[tick], opts...) }
	}
	handle := func(opts ...framework.HandleOption) func(*framework.Node) error {
		return func(n *framework.Node) error {
			return framework.Handle(n, func(context.Context, transfer) (slip, error) { return slip{}, nil }, opts...)
		}
	}
	after := func(first, second func(*framework.Node) error) func(*framework.Node) error {
		return func(n *framework.Node) error {
			must(t, first(n))
			return second(n)
		}
	}
	for _, tt := range []struct {
		name, option string
		register     func(*framework.Node) error
	}{
		{"empty group", "InGroup", sub(framework.InGroup(""))},
		{"space in group", "InGroup", sub(framework.InGroup("a b"))},
		{"dot in group", "InGroup", sub(framework.InGroup("a.b"))},
		{"wildcard group", "InGroup", sub(framework.InGroup(">"))},
		{"group of a node", "InGroup", sub(framework.InGroup("node=x"))},
		{"long group", "InGroup", sub(framework.InGroup(strings.Repeat("g", 65)))},
		{"group of the requests", "InGroup", sub(framework.InGroup("requests"))},
		{"empty name on every node", "OnEveryNode", sub(framework.OnEveryNode(""))},
		{"bad name on every node", "OnEveryNode", sub(framework.OnEveryNode("a=b"))},
		{"two groups", "group", sub(framework.InGroup("a"), framework.OnEveryNode("b"))},
		{"zero concurrency", "WithConcurrency", sub(framework.WithConcurrency(0))},
		{"negative concurrency", "WithConcurrency", handle(framework.WithConcurrency(-1))},
		{"absurd concurrency", "WithConcurrency", signal(framework.WithConcurrency(1 << 30))},
		{"negative retries", "WithRetries", handle(framework.WithRetries(-1))},
		{"absurd retries", "WithRetries", sub(framework.WithRetries(1 << 30))},
		{"negative backoff", "WithBackoff", sub(framework.WithBackoff(-1, 1))},
		{"backoff that shrinks", "WithBackoff", sub(framework.WithBackoff(2, 1))},
		{"zero timeout", "WithTimeout", sub(framework.WithTimeout(0))},
		{"negative timeout", "WithTimeout", signal(framework.WithTimeout(-1))},
		{"zero ack wait", "WithAckWait", sub(framework.WithAckWait(0))},
		{"negative ack wait", "WithAckWait", handle(framework.WithAckWait(-time.Second))},
		{"ack wait below a second", "WithAckWait", sub(framework.WithAckWait(time.Millisecond))},
		{"negative dedup", "WithDedup", sub(framework.WithDedup(-time.Second))},
		{"dedup below a second", "WithDedup", sub(framework.WithDedup(time.Millisecond))},
		{"dedup above the bucket's", "WithDedup", sub(framework.WithDedup(48 * time.Hour))},
		{"no dedup of requests", "WithDedup", handle(framework.WithDedup(0))},
		{"retries of QoS 0", "WithRetries", signal(framework.WithRetries(1))},
		{"backoff of QoS 0", "WithBackoff", signal(framework.WithBackoff(1, 1))},
		{"ack wait of QoS 0", "WithAckWait", signal(framework.WithAckWait(time.Minute))},
		{"dedup of QoS 0", "WithDedup", signal(framework.WithDedup(time.Minute))},
		{"start of QoS 0", "FromStart", signal(framework.FromStart())},
		{"no handler", "handler of stamped", func(n *framework.Node) error { return framework.Subscribe[stamped](n, nil) }},
		{"no request handler", "handler of transfer", func(n *framework.Node) error { return framework.Handle[transfer, slip](n, nil) }},
		{"name too long for the server", "group", func(n *framework.Node) error {
			return framework.Subscribe(n, ignore[lengthyEvent], framework.OnEveryNode(strings.Repeat("g", 64)))
		}},
		{"two types of one kind", "kind of", after(
			func(n *framework.Node) error { return framework.Subscribe(n, ignore[mineEvent]) },
			func(n *framework.Node) error {
				return framework.Subscribe(n, ignore[theirsEvent], framework.InGroup("g"))
			})},
		{"two guarantees of one kind", "kind of", after(
			func(n *framework.Node) error { return framework.Subscribe(n, ignore[mineEvent]) },
			func(n *framework.Node) error {
				return framework.Subscribe(n, ignore[theirsSignal], framework.InGroup("g"))
			})},
		{"alias of another type's kind", "kind of", after(
			func(n *framework.Node) error { return framework.Publish(soon(t), n, mineEvent{}) },
			func(n *framework.Node) error { return framework.Subscribe(n, ignore[theirsAlias]) })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			node := connect(t, srv, strings.Repeat("n", 60))
			err := tt.register(node)
			configError(t, "the call", err, tt.option)
			if ran := node.Run(soon(t)); !errors.Is(ran, err) {
				t.Errorf("Run = %v, want the error of the registration, %v", ran, err)
			}
		})
	}
}

func TestBadInput_HandlerRegisteredTwice(t *testing.T) {
	t.Parallel()
	handle := func(n *framework.Node) error {
		return framework.Handle(n, func(context.Context, transfer) (slip, error) { return slip{}, nil })
	}
	for name, tt := range map[string]struct {
		register    func(*framework.Node) error
		kind, group string
	}{
		"request": {handle, "transfer", "requests"},
		"event":   {func(n *framework.Node) error { return framework.Subscribe(n, ignore[stamped]) }, "stamped", "node=test"},
		"named event": {func(n *framework.Node) error {
			return framework.Subscribe(n, ignore[*stamped], framework.OnEveryNode("x"))
		}, "stamped", "node=test=x"},
		"group": {func(n *framework.Node) error { return framework.Subscribe(n, ignore[stamped], framework.InGroup("g")) }, "stamped", "g"},
		"QoS 0": {func(n *framework.Node) error { return framework.Subscribe(n, ignore[tick]) }, "tick", "node=test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := frameworktest.NewNode(t)
			err := errors.Join(tt.register(node), tt.register(node))
			var twice *framework.DuplicateHandlerError
			if !errors.As(err, &twice) || twice.Kind != tt.kind || twice.Group != tt.group {
				t.Errorf("got %v, want a *DuplicateHandlerError of %s in %s", err, tt.kind, tt.group)
			}
			if err := node.Run(soon(t)); !errors.As(err, &twice) {
				t.Errorf("Run = %v", err)
			}
		})
	}
}

// One that fails while the node runs is an error of its call; the node goes on.
func TestBadInput_RegistrationWhileRunningIsAnErrorOfItsCallOnly(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	got := make(chan stamped, 1)
	must(t, framework.Subscribe(node, sink(got)))
	run(t, node)
	var twice *framework.DuplicateHandlerError
	if err := framework.Subscribe(node, ignore[stamped]); !errors.As(err, &twice) {
		t.Errorf("got %v, want a *DuplicateHandlerError", err)
	}
	must(t, node.Ready(), framework.Publish(soon(t), node, stamped{}))
	receive(t, got)
}

// The longest names that are accepted work: none of them is too long for the server.
func TestLongestNames_Work(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	long := strings.Repeat("n", 64)
	node := connect(t, srv, long, func(c *framework.Config) { c.Namespace = strings.Repeat("s", 32) })
	kind := strings.Repeat("k", 119) // with the node's name and the group's: 255 characters
	events := framework.NewEvent[int](kind, framework.AtLeastOnce)
	echo := framework.NewRequest[int, int](strings.Repeat("q", 128))
	got, done := make(chan int, 1), make(chan framework.Info, 2)
	must(t, events.Subscribe(node, sink(got), framework.OnEveryNode(strings.Repeat("g", 64))),
		events.Subscribe(node, func(ctx context.Context, _ int) error {
			done <- framework.InfoFrom(ctx)
			if framework.InfoFrom(ctx).Attempt == 1 {
				return framework.RetryAfter(errNotYet, 5100*time.Millisecond)
			}
			return nil
		}, framework.InGroup(long)),
		echo.Handle(node, func(_ context.Context, n int) (int, error) { return n, nil }))
	run(t, node)
	must(t, events.Publish(soon(t), node, 7, framework.WithID(strings.Repeat("ü", 512))))
	if n := receive(t, got); n != 7 {
		t.Errorf("got %d", n)
	}
	receive(t, done)
	handling(t, node, strings.Repeat("q", 128), 1)
	if n, err := echo.Send(soon(t), node, 8, framework.ToNode(long)); n != 8 || err != nil {
		t.Errorf("answer = %d, %v", n, err)
	}
	if n, err := echo.Send(soon(t), node, 9); n != 9 || err != nil {
		t.Errorf("answer = %d, %v", n, err)
	}
	eventually(t, "the retry is a schedule", func() bool {
		s, err := jetStream(t, node).Stream(soon(t), strings.Repeat("S", 32)+"_EVENTS")
		must(t, err)
		return s.CachedInfo().State.Msgs == 2
	})
}
