package framework

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/catga-go/catga/idempotency"
)

// Submit returns once req is stored. It is not withdrawn when ctx ends; [ExpiresIn] bounds it, at
// most Config.DedupTTL. Its answer is kept for Config.DedupTTL after the handler has finished. On an
// error the ticket is of use only if the error wraps [ErrOutcomeUnknown] or the context's. Where the ID
// was used for another payload, the ticket says so: [ErrKeyReused].
func Submit[Q RequestOf[R], R any](ctx context.Context, n *Node, req Q, opts ...SubmitOption) (Ticket[R], error) {
	return submit[Q, R](ctx, n, specOf[Q](), req, opts)
}

// TicketFor finds a submitted request again, from any process: TicketFor[CreateOrder](node, id).
func TicketFor[Q RequestOf[R], R any](n *Node, id string) Ticket[R] {
	return Ticket[R]{node: n, spec: specOf[Q](), id: id}
}

func submit[Q, R any](ctx context.Context, n *Node, s *typeSpec, req Q, opts []SubmitOption) (Ticket[R], error) {
	var call callConfig
	for _, o := range opts {
		if o != nil {
			o.applySubmit(&call)
		}
	}
	out, err := outgoing(s, req, &call, false)
	if err != nil {
		return Ticket[R]{}, err
	}
	if err := n.usable(); err != nil {
		return Ticket[R]{}, err
	}
	if call.expires > n.cfg.DedupTTL {
		return Ticket[R]{}, &ConfigError{"ExpiresIn", call.expires, fmt.Sprintf("is above Config.DedupTTL, %v: the request could run again after it", n.cfg.DedupTTL)}
	}
	out.request = &outgoingRequest{node: call.node, pinned: call.node}
	if call.toNode && !n.reachable(call.node) {
		return Ticket[R]{}, n.noReply(out, Unknown, ErrNodeGone)
	}
	inherit(ctx, out)
	err = n.publish(ctx, out)
	return Ticket[R]{node: n, spec: s, id: out.ID, hash: out.request.hash()}, err
}

// Ticket is a claim on an answer. It holds no resources: copy it, drop it, keep its ID.
type Ticket[R any] struct {
	node *Node
	spec *typeSpec
	id   string
	hash string // of the payload; "" = not known
}

// ID is what [TicketFor] takes.
func (t Ticket[R]) ID() string { return t.id }

// Wait returns the answer, with the errors of [Send]. It looks for the stored answer, often at first
// and then once a second. An ID that was never submitted, or whose answer has expired, cannot be
// told from one that waits for a node: it is waited for until ctx ends, and then a [*NoReplyError]
// has the State Unknown.
func (t Ticket[R]) Wait(ctx context.Context) (r R, err error) {
	if err := t.check(); err != nil {
		return r, err
	}
	const first, most = 10 * time.Millisecond, time.Second
	ctx, cancel := t.node.withDeadline(ctx)
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	state := Unknown
	for wait := first; ; wait = min(2*wait, most) {
		select {
		case <-timer.C:
			timer.Reset(wait)
		case <-ctx.Done():
			return r, t.noReply(state, ctx.Err())
		case <-t.node.ended:
			return r, ErrClosed
		}
		rec, err := t.record(ctx)
		if err != nil { // the server may be away for a moment; ctx bounds it
			continue
		}
		state = stateOf(rec)
		if answer, ok := storedReply(rec, t.hash); ok {
			return decodeAnswer[R](t.node, t.spec, answer, t.id)
		}
	}
}

// State says where the request is, without waiting.
func (t Ticket[R]) State(ctx context.Context) (RequestState, error) {
	if err := t.check(); err != nil {
		return Unknown, err
	}
	rec, err := t.record(ctx)
	if err != nil {
		return Unknown, fmt.Errorf("state of %s %s: %w", t.spec.kind, t.id, err)
	}
	return stateOf(rec), nil
}

func (t Ticket[R]) check() error {
	switch {
	case t.node == nil:
		return &ConfigError{"Ticket", "zero value", "comes from Submit or TicketFor"}
	case t.spec.err != nil:
		return t.spec.err
	case t.id == "":
		return &ConfigError{"Ticket", t.id, "has no ID"}
	case t.node.closed.Load():
		return ErrClosed
	}
	return nil
}

// record reads the claim's record; the zero Record if there is none.
func (t Ticket[R]) record(ctx context.Context) (idempotency.Record, error) {
	rec, err := t.node.claims.Get(ctx, idempotency.RequestKey(t.spec.kind, t.id))
	if errors.Is(err, idempotency.ErrNotFound) {
		return idempotency.Record{}, nil
	}
	return rec, err
}

func (t Ticket[R]) noReply(state RequestState, err error) error {
	return &NoReplyError{
		Kind: t.spec.kind, ID: t.id, State: state, Err: err,
		Handlers: len(t.node.registry.Handling(t.spec.kind)),
	}
}

// RequestState says what the record of a request holds.
type RequestState string

// The states.
const (
	Unknown RequestState = "unknown" // nothing: not submitted, not taken up yet, withdrawn, or expired
	Running RequestState = "running" // a handler runs, or will be run again
	Done    RequestState = "done"    // there is an answer; a rejection is one
	Failed  RequestState = "failed"  // for good
)

func stateOf(rec idempotency.Record) RequestState {
	switch rec.State {
	case idempotency.Running, idempotency.Failed, idempotency.Released:
		return Running
	case idempotency.Done:
		return Done
	case idempotency.Dead:
		return Failed
	default:
		return Unknown
	}
}
