package framework

import (
	"context"
	"reflect"
)

// EventType gives a type that cannot embed a marker (generated Protobuf, []byte, types of other
// modules) a kind and a guarantee. Declare it once, beside the type; it is safe for concurrent use.
type EventType[E any] struct{ spec *typeSpec }

// RequestType is the same for requests.
type RequestType[Q, R any] struct{ spec *typeSpec }

// NewEvent declares kind for E. A kind or type that cannot be used is reported by the first call
// with it, as a [*ConfigError].
func NewEvent[E any](kind string, qos QoS, opts ...TypeOption) EventType[E] {
	s := declared(reflect.TypeFor[E](), kind, opts)
	s.qos = qos
	if qos > AtLeastOnce && s.err == nil {
		s.err = &ConfigError{"QoS of " + kind, qos, "is neither AtMostOnce nor AtLeastOnce"}
	}
	return EventType[E]{s}
}

// NewRequest declares kind for Q, answered with R. Errors are reported as by [NewEvent].
func NewRequest[Q, R any](kind string, opts ...TypeOption) RequestType[Q, R] {
	s := declared(reflect.TypeFor[Q](), kind, opts)
	s.qos, s.request = AtLeastOnce, true
	return RequestType[Q, R]{s}
}

func declared(t reflect.Type, kind string, opts []TypeOption) *typeSpec {
	base := t
	if base.Kind() == reflect.Pointer {
		base = base.Elem()
	}
	s := &typeSpec{goType: base, kind: kind}
	_, s.keyed = reflect.TypeAssert[keyed](reflect.New(base))
	for _, o := range opts {
		if o != nil {
			o.applyType(s)
		}
	}
	if s.err == nil {
		s.err = usable(t, base)
	}
	if s.err == nil {
		s.err = checkNames(t.String(), s.kind, s.aliases)
	}
	return s
}

// declaredSpec is the spec of a value that may be the zero EventType or RequestType.
func declaredSpec(s *typeSpec) *typeSpec {
	if s == nil {
		return &typeSpec{err: &ConfigError{"message type", "zero value", "declare it with NewEvent or NewRequest"}}
	}
	return s
}

// Publish does for E what [Publish] does for marked types.
func (t EventType[E]) Publish(ctx context.Context, p Publisher, event E, opts ...PublishOption) error {
	return publish(ctx, p, declaredSpec(t.spec), event, opts)
}

// PublishBatch does for E what [PublishBatch] does for marked types.
func (t EventType[E]) PublishBatch(ctx context.Context, p Publisher, events []E, opts ...PublishOption) error {
	return publishBatch(ctx, p, declaredSpec(t.spec), events, opts)
}

// Subscribe does for E what [Subscribe] does for marked types.
func (t EventType[E]) Subscribe(n *Node, h func(context.Context, E) error, opts ...SubscribeOption) error {
	return subscribe(n, declaredSpec(t.spec), h, opts)
}

// Send does for Q what [Send] does for marked types.
func (t RequestType[Q, R]) Send(ctx context.Context, n *Node, req Q, opts ...SendOption) (R, error) {
	return send[Q, R](ctx, n, declaredSpec(t.spec), req, opts)
}

// SendBatch does for Q what [SendBatch] does for marked types.
func (t RequestType[Q, R]) SendBatch(ctx context.Context, n *Node, reqs []Q, opts ...SendOption) ([]R, error) {
	return sendBatch[Q, R](ctx, n, declaredSpec(t.spec), reqs, opts)
}

// Submit does for Q what [Submit] does for marked types.
func (t RequestType[Q, R]) Submit(ctx context.Context, n *Node, req Q, opts ...SubmitOption) (Ticket[R], error) {
	return submit[Q, R](ctx, n, declaredSpec(t.spec), req, opts)
}

// Ticket does for Q what [TicketFor] does for marked types.
func (t RequestType[Q, R]) Ticket(n *Node, id string) Ticket[R] {
	return Ticket[R]{node: n, spec: declaredSpec(t.spec), id: id}
}

// Handle does for Q what [Handle] does for marked types.
func (t RequestType[Q, R]) Handle(n *Node, h func(context.Context, Q) (R, error), opts ...HandleOption) error {
	return handle(n, declaredSpec(t.spec), h, opts)
}
