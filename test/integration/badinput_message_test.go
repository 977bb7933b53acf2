package integration

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type (
	spacedKind         struct{ framework.ReliableEvent }
	emptyKind          struct{ framework.ReliableEvent }
	gapKind            struct{ framework.ReliableEvent }
	wildKind           struct{ framework.ReliableEvent }
	fullWildKind       struct{ framework.ReliableEvent }
	longKind           struct{ framework.ReliableEvent }
	umlautKind         struct{ framework.ReliableEvent }
	genericKind[T any] struct{ framework.ReliableEvent }
	badAlias           struct{ framework.ReliableEvent }
	spacedRequest      struct{ framework.Request[int] }
	angryKey           struct{ framework.ReliableEvent }
	notEncodable       struct {
		framework.ReliableEvent
		F float64
	}
)

func (spacedKind) Kind() string         { return "a b" }
func (emptyKind) Kind() string          { return "" }
func (gapKind) Kind() string            { return "a..b" }
func (wildKind) Kind() string           { return "a.*" }
func (fullWildKind) Kind() string       { return ">" }
func (longKind) Kind() string           { return strings.Repeat("k", 129) }
func (umlautKind) Kind() string         { return "größe" }
func (badAlias) KindAliases() []string  { return []string{"a b"} }
func (spacedRequest) Kind() string      { return "a b" }
func (angryKey) IdempotencyKey() string { panic("no key today") }

// configError fails unless err is a ConfigError that names want.
func configError(t *testing.T, what string, err error, want string) {
	t.Helper()
	var config *framework.ConfigError
	if !errors.As(err, &config) || !strings.Contains(config.Option, want) || config.Reason == "" {
		t.Errorf("%s: got %v, want a *ConfigError of %q", what, err, want)
	}
}

// refuses tries everything that can be done with an event of type E.
func refuses[E framework.AnyEvent](t *testing.T, srv *framework.Node, e E, want, text string) {
	t.Helper()
	errs := map[string]error{
		"Publish":      framework.Publish(soon(t), srv, e),
		"PublishBatch": framework.PublishBatch(soon(t), srv, []E{e, e}),
		"Subscribe":    framework.Subscribe(srv, func(context.Context, E) error { return nil }),
	}
	for call, err := range errs {
		configError(t, call, err, want)
		contains(t, err, text)
	}
}

func TestBadInput_Kind(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	refuses(t, node, spacedKind{}, "kind of integration.spacedKind", `" "`)
	refuses(t, node, emptyKind{}, "kind of integration.emptyKind", "empty")
	refuses(t, node, gapKind{}, "kind of integration.gapKind", "empty token")
	refuses(t, node, wildKind{}, "kind of integration.wildKind", `"*"`)
	refuses(t, node, fullWildKind{}, "kind of integration.fullWildKind", `">"`)
	refuses(t, node, longKind{}, "kind of integration.longKind", "128")
	refuses(t, node, umlautKind{}, "kind of integration.umlautKind", `"ö"`)
	refuses(t, node, genericKind[int]{}, "message type", "Kind()")
	refuses(t, node, badAlias{}, "kind alias of integration.badAlias", `" "`)
	refuses(t, node, framework.Event{}, "message type", "bare marker")
	refuses(t, node, framework.ReliableEvent{}, "message type", "bare marker")
	refuses[framework.AnyEvent](t, node, stamped{}, "message type", "interface")
	_, err := framework.Send(soon(t), node, spacedRequest{})
	configError(t, "Send", err, "kind of")
	_, err = framework.SendBatch(soon(t), node, []spacedRequest{{}, {}})
	configError(t, "SendBatch", err, "kind of")
	_, err = framework.Submit(soon(t), node, spacedRequest{})
	configError(t, "Submit", err, "kind of")
	_, err = framework.TicketFor[spacedRequest](node, "1").Wait(soon(t))
	configError(t, "TicketFor", err, "kind of")
	configError(t, "Handle", framework.Handle(node, func(context.Context, spacedRequest) (int, error) { return 0, nil }), "kind of")
	_, err = framework.Send(soon(t), node, framework.Request[int]{})
	configError(t, "Send of a bare marker", err, "message type")
	configError(t, "Run", node.Run(soon(t)), "")
	nothingStored(t, node)
}

func nothingStored(t *testing.T, node *framework.Node) {
	t.Helper()
	if e, r := stored(t, node, "CATGA_EVENTS"), stored(t, node, "CATGA_REQUESTS"); e+r != 0 {
		t.Errorf("%d events and %d requests were stored", e, r)
	}
}

func TestBadInput_Message(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	publish := func(e *stamped) error { return framework.Publish(soon(t), node, e) }
	_, send := framework.Send(soon(t), node, (*stampedRequest)(nil))
	_, submit := framework.Submit(soon(t), node, (*stampedRequest)(nil))
	_, batch := framework.SendBatch(soon(t), node, []*stampedRequest{{}, nil})
	for call, err := range map[string]error{
		"Publish": publish(nil), "QoS 0": framework.Publish(soon(t), node, (*tick)(nil)), "Send": send, "Submit": submit, "SendBatch": batch,
		"PublishBatch": framework.PublishBatch(soon(t), node, []*stamped{{}, nil}), "a gateway": node.PublishMessages(soon(t), nil),
		"one of several of a gateway": node.PublishMessages(soon(t), &framework.Outgoing{Kind: "stamped", QoS: 1, Data: []byte("{}")}, nil),
	} {
		configError(t, call, err, "message")
		contains(t, err, "nil")
	}
	configError(t, "key that panics", framework.Publish(soon(t), node, angryKey{}), "IdempotencyKey")
	configError(t, "over-long ID", framework.Publish(soon(t), node, stamped{}, framework.WithID(strings.Repeat("x", 1025))), "message id")
	configError(t, "over-long correlation", framework.Publish(soon(t), node, stamped{}, framework.WithCorrelation(strings.Repeat("x", 1025))), "correlation id")
	contains(t, framework.Publish(soon(t), node, notEncodable{F: math.NaN()}), "encode notEncodable", "NaN")
	configError(t, "nothing in it", node.PublishMessages(soon(t), &framework.Outgoing{Kind: "stamped", QoS: 1}), "Outgoing")
	configError(t, "kind of a gateway", node.PublishMessages(soon(t), &framework.Outgoing{Kind: "a b", QoS: 1, Data: []byte("{}")}), "Outgoing.Kind")
	configError(t, "QoS of a gateway", node.PublishMessages(soon(t), &framework.Outgoing{Kind: "a", QoS: 7, Data: []byte("{}")}), "Outgoing.QoS")
	configError(t, "zero declaration", framework.EventType[int]{}.Publish(soon(t), node, 1), "message type")
	nothingStored(t, node)
}

func TestBadInput_TooLarge(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	limit := node.Conn().MaxPayload()
	huge := strings.Repeat("x", int(limit))
	must(t, framework.Handle(node, func(context.Context, doomedRequest) (string, error) { return huge, nil }))
	run(t, node)
	_, send := framework.Send(soon(t), node, doomedRequest{Text: huge})
	_, batch := framework.SendBatch(soon(t), node, []doomedRequest{{Text: huge}, {Text: huge}})
	_, submit := framework.Submit(soon(t), node, doomedRequest{Text: huge})
	for call, err := range map[string]error{
		"Publish": framework.Publish(soon(t), node, doomedEvent{Text: huge}),
		"QoS 0":   framework.NewEvent[string]("Text", framework.AtMostOnce).Publish(soon(t), node, huge),
		"Send":    send, "SendBatch": batch, "Submit": submit,
	} {
		var large *framework.TooLargeError
		if !errors.As(err, &large) || large.Limit > limit || large.Limit < limit-8<<10 || large.Size <= limit || large.Kind == "" {
			t.Errorf("%s = %v, want a *TooLargeError", call, err)
		}
	}
	nothingStored(t, node)
	var failed *framework.RemoteError // the answer is too large
	if _, err := framework.Send(soon(t), node, doomedRequest{}); !errors.As(err, &failed) {
		t.Errorf("Send = %v, want a *RemoteError", err)
	}
	if d := deadLetters(t, node, 1)[0]; d.Reason != framework.ReasonPermanent || d.Attempts != 1 {
		t.Errorf("dead letter = %+v", d)
	}
	must(t, framework.Publish(soon(t), node, doomedEvent{Text: "fits"})) // the connection is none the worse
}

// A message that just fits is larger as a dead letter. It is given up all the same, and not run for ever.
func TestBadInput_LargestMessageIsDeadLetteredToo(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	id := strings.Repeat("ü", 512)
	publish := func(size int) error {
		return framework.Publish(soon(t), node, doomedEvent{Text: strings.Repeat("x", size)}, framework.WithID(id), framework.WithHeader("h", "v"))
	}
	room := int(node.Conn().MaxPayload())
	var large *framework.TooLargeError
	if err := publish(room); !errors.As(err, &large) {
		t.Fatalf("got %v, want a *TooLargeError", err)
	}
	room -= int(large.Size - large.Limit)
	if err := publish(room + 1); !errors.As(err, &large) || large.Size != large.Limit+1 {
		t.Errorf("one byte more: %v", err)
	}
	var runs counter
	must(t, framework.Subscribe(node, func(context.Context, doomedEvent) error {
		runs.Add(1)
		return framework.Permanent(errDoomed)
	}))
	run(t, node)
	must(t, publish(room))
	d := deadLetters(t, node, 1)[0]
	if len(d.Data) < room || runs.Load() != 1 || d.ID != id || d.Error != errDoomed.Error() {
		t.Errorf("%d bytes in the dead letter, %d runs, error %q", len(d.Data), runs.Load(), d.Error)
	}
}

func TestBadInput_CallOptions(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	send := func(opts ...framework.SendOption) error {
		_, err := framework.Send(soon(t), node, stampedRequest{}, opts...)
		return err
	}
	submit := func(opts ...framework.SubmitOption) error {
		_, err := framework.Submit(soon(t), node, stampedRequest{}, opts...)
		return err
	}
	batch := func(opts ...framework.SendOption) error {
		_, err := framework.SendBatch(soon(t), node, make([]stampedRequest, 2), opts...)
		return err
	}
	var info framework.ReplyInfo
	for _, tt := range []struct {
		name, option string
		err          error
	}{
		{"empty node", "ToNode", send(framework.ToNode(""))},
		{"malformed node", "ToNode", send(framework.ToNode("a b"))},
		{"wildcard node", "ToNode", submit(framework.ToNode(">"))},
		{"two routes", "RoundRobin", send(framework.ToNode("a"), framework.RoundRobin())},
		{"zero attempt timeout", "WithAttemptTimeout", send(framework.WithAttemptTimeout(0))},
		{"negative attempt timeout", "WithAttemptTimeout", send(framework.WithAttemptTimeout(-1))},
		{"nil reply", "WithReply", send(framework.WithReply(nil))},
		{"reply of a batch", "WithReply", batch(framework.WithReply(&info))},
		{"ID of a batch", "WithID", batch(framework.WithID("1"))},
		{"ID of a batch of events", "WithID", framework.PublishBatch(soon(t), node, make([]stamped, 2), framework.WithID("1"))},
		{"zero expiry", "ExpiresIn", framework.Publish(soon(t), node, stamped{}, framework.ExpiresIn(0))},
		{"negative expiry", "ExpiresIn", submit(framework.ExpiresIn(-time.Second))},
		{"expiry above the records'", "ExpiresIn", submit(framework.ExpiresIn(25 * time.Hour))},
		{"expiry of QoS 0", "ExpiresIn", framework.Publish(soon(t), node, tick{}, framework.ExpiresIn(time.Second))},
		{"ticket of nothing", "Ticket", errorOf(framework.Ticket[int]{}.Wait(soon(t)))},
		{"ticket without an ID", "Ticket", errorOf(framework.TicketFor[stampedRequest](node, "").Wait(soon(t)))},
		{"ticket of no node", "Ticket", errorOf(framework.TicketFor[stampedRequest](nil, "1").State(soon(t)))},
	} {
		configError(t, tt.name, tt.err, tt.option)
	}
	nothingStored(t, node)
}

func errorOf[T any](_ T, err error) error { return err }

// A nil where an option, a node or a publisher belongs is an error or nothing, and never a panic.
func TestBadInput_NilArguments(t *testing.T) {
	t.Parallel()
	var none *framework.Node
	configError(t, "Publish", framework.Publish(soon(t), none, stamped{}), "node")
	configError(t, "Publish to no publisher", framework.Publish(soon(t), nil, stamped{}), "publisher")
	configError(t, "PublishBatch", framework.PublishBatch(soon(t), none, make([]stamped, 2)), "node")
	configError(t, "Send", errorOf(framework.Send(soon(t), none, stampedRequest{})), "node")
	configError(t, "SendBatch", errorOf(framework.SendBatch(soon(t), none, make([]stampedRequest, 2))), "node")
	configError(t, "Submit", errorOf(framework.Submit(soon(t), none, stampedRequest{})), "node")
	configError(t, "Subscribe", framework.Subscribe(none, func(context.Context, stamped) error { return nil }), "node")
	configError(t, "Handle", framework.Handle(none, func(context.Context, transfer) (slip, error) { return slip{}, nil }), "node")

	node := frameworktest.NewNode(t)
	must(t, framework.Publish(soon(t), node, stamped{}, nil), framework.PublishBatch(soon(t), node, make([]stamped, 2), nil),
		framework.Subscribe(node, func(context.Context, stamped) error { return nil }, nil),
		framework.Handle(node, func(context.Context, transfer) (slip, error) { return slip{}, nil }, nil))
	run(t, node)
	_, err := framework.Send(soon(t), node, transfer{}, nil)
	must(t, err, errorOf(framework.SendBatch(soon(t), node, make([]transfer, 2), nil)), errorOf(framework.Submit(soon(t), node, transfer{}, nil)))
}

func TestBadInput_ClosedNode(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	ticket := framework.TicketFor[stampedRequest](node, "1")
	must(t, node.Close(soon(t)))
	for call, err := range map[string]error{
		"Publish":      framework.Publish(soon(t), node, stamped{}),
		"QoS 0":        framework.Publish(soon(t), node, tick{}),
		"PublishBatch": framework.PublishBatch(soon(t), node, make([]stamped, 2)),
		"a gateway":    node.PublishMessages(soon(t), &framework.Outgoing{Kind: "stamped", Data: []byte("{}")}),
		"Send":         errorOf(framework.Send(soon(t), node, stampedRequest{})),
		"SendBatch":    errorOf(framework.SendBatch(soon(t), node, make([]stampedRequest, 2))),
		"Submit":       errorOf(framework.Submit(soon(t), node, stampedRequest{})),
		"Ticket.Wait":  errorOf(ticket.Wait(soon(t))),
		"Ticket.State": errorOf(ticket.State(soon(t))),
		"Handle":       framework.Handle(node, func(context.Context, transfer) (slip, error) { return slip{}, nil }),
		"Subscribe":    framework.Subscribe(node, func(context.Context, stamped) error { return nil }),
		"Run":          node.Run(soon(t)),
		"WaitReady":    node.WaitReady(soon(t)),
		"Ready":        node.Ready(),
	} {
		if !errors.Is(err, framework.ErrClosed) {
			t.Errorf("%s = %v, want ErrClosed", call, err)
		}
	}
	must(t, node.Close(soon(t)))
}
