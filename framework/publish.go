package framework

import (
	"context"
	"errors"
	"time"

	"github.com/catga-go/catga/internal/wire"
)

// A Publisher takes outgoing messages. A [*Node] is one, frameworktest.Recorder is another: code
// that only publishes asks for a Publisher and can be tested without a server.
type Publisher interface {
	// PublishMessages sends msgs in order. For one message it returns its error; for several a
	// *BatchError with the indexes of those that failed.
	PublishMessages(ctx context.Context, msgs ...*Outgoing) error
}

// Outgoing is one message on its way out: what publish middleware sees and may change, and the
// untyped way in for gateways. Give it a Kind, a QoS, and Value (encoded by the kind's codec) or
// Data (sent as it is, with ContentType). It belongs to the node until the call returns.
type Outgoing struct {
	Kind        string
	QoS         QoS
	ID          string // "" = generated
	Correlation string // "" = inherited from the handled message, if any
	Value       any
	Data        []byte
	ContentType string // of Data; "" means application/json
	Header      Header

	spec      *typeSpec
	generated string // ID that the node has given it: sent again, it is the same message
	causation string
	expires   time.Duration
	request   *outgoingRequest // nil for events
	batch     *[]parcel        // where dispatch leaves it instead of sending; nil outside a batch
}

// outgoingRequest is what only requests have.
type outgoingRequest struct {
	node   string // "" = any
	pinned string // the node, where the user chose it
	token  string // of the call that waits for the answer; "" = nobody waits
	call   *call  // set by dispatch
	parcel parcel // set by dispatch
	seq    uint64 // where it is stored; 0 = not known
}

// hash is the fingerprint of the payload; "" where a middleware kept the request.
func (r *outgoingRequest) hash() string {
	if r.parcel.msg == nil {
		return ""
	}
	return wire.Hash(r.parcel.msg.Data)
}

// Publish sends event. A QoS 0 event is written to the connection, and nobody learns whether it
// arrives. A QoS 1 event is stored when Publish returns nil. What happened before an error is
// unknown if it wraps [ErrOutcomeUnknown] or the context's error; publishing again with the same ID
// is always safe. Other errors, a [*ConfigError] or [*TooLargeError] among them, mean that nothing
// was stored. When the server has no room, Publish waits for it until ctx ends.
func Publish[E AnyEvent](ctx context.Context, p Publisher, event E, opts ...PublishOption) error {
	return publish(ctx, p, specOf[E](), event, opts)
}

// PublishBatch sends events in order and pipelined, not atomically: it returns nil, or a
// [*BatchError] by index, and what is not named there is stored.
func PublishBatch[E AnyEvent](ctx context.Context, p Publisher, events []E, opts ...PublishOption) error {
	return publishBatch(ctx, p, specOf[E](), events, opts)
}

func publish[E any](ctx context.Context, p Publisher, s *typeSpec, event E, opts []PublishOption) error {
	var call callConfig
	for _, o := range opts {
		if o != nil {
			o.applyPublish(&call)
		}
	}
	out, err := outgoing(s, event, &call, false)
	if err != nil {
		return err
	}
	if p == nil {
		return errNoPublisher()
	}
	return p.PublishMessages(ctx, out)
}

func publishBatch[E any](ctx context.Context, p Publisher, s *typeSpec, events []E, opts []PublishOption) error {
	var call callConfig
	for _, o := range opts {
		if o != nil {
			o.applyPublish(&call)
		}
	}
	outs, failed := outgoingBatch(s, events, &call)
	if len(failed) > 0 {
		return batchError(failed) // nothing is sent if anything cannot be
	}
	if len(outs) == 0 {
		return nil
	}
	if p == nil {
		return batchError(spread(map[int]error{0: errNoPublisher()}, len(outs)))
	}
	err := p.PublishMessages(ctx, outs...)
	if _, batch := errors.AsType[*BatchError](err); err != nil && !batch { // of one message, or of the call itself
		return batchError(spread(map[int]error{0: err}, len(outs)))
	}
	return err
}

func errNoPublisher() error {
	return &ConfigError{"publisher", nil, "is nil; it is a node of Connect, or another Publisher"}
}

// outgoing makes the checked message of one call.
func outgoing[M any](s *typeSpec, message M, call *callConfig, batch bool) (*Outgoing, error) {
	if err := call.check(batch); err != nil {
		return nil, err
	}
	out, err := prepare(s, message)
	if err != nil {
		return nil, err
	}
	return out, call.apply(out)
}

func outgoingBatch[M any](s *typeSpec, messages []M, call *callConfig) ([]*Outgoing, map[int]error) {
	outs, failed := make([]*Outgoing, len(messages)), map[int]error{}
	for i, m := range messages {
		out, err := outgoing(s, m, call, true)
		if err != nil {
			failed[i] = err
		}
		outs[i] = out
	}
	return outs, failed
}

// PublishMessages makes the node a [Publisher]: it runs the publish middleware, encodes and sends.
// It works from Connect to Close, during a drain and after it, too.
func (n *Node) PublishMessages(ctx context.Context, msgs ...*Outgoing) error {
	if err := n.usable(); err != nil {
		return err
	}
	for i, out := range msgs {
		if out == nil {
			return &ConfigError{"message", i, "is nil"}
		}
	}
	if len(msgs) == 1 {
		inherit(ctx, msgs[0])
		return n.publish(ctx, msgs[0])
	}
	return n.publishAll(ctx, msgs)
}

// publishAll runs the middleware for each message in turn, then sends all of them, pipelined.
func (n *Node) publishAll(ctx context.Context, outs []*Outgoing) error {
	parcels, failed := n.packAll(ctx, outs)
	n.storeAll(ctx, parcels, failed)
	return batchError(failed)
}

func (n *Node) packAll(ctx context.Context, outs []*Outgoing) ([]parcel, map[int]error) {
	failed, parcels := map[int]error{}, make([]parcel, 0, len(outs))
	for i, out := range outs {
		var packed []parcel
		inherit(ctx, out)
		out.batch = &packed
		err := n.publish(ctx, out)
		out.batch = nil
		if err != nil {
			failed[i] = err
			continue
		}
		for _, p := range packed { // none where a middleware kept the message
			p.index = i
			parcels = append(parcels, p)
		}
	}
	return parcels, failed
}

// inherit gives a message sent by a handler the correlation of the handled one, and its ID as the
// cause.
func inherit(ctx context.Context, out *Outgoing) {
	info, ok := ctx.Value(infoKey{}).(*Info)
	if !ok {
		return
	}
	out.causation = info.ID
	if out.Correlation != "" {
		return
	}
	out.Correlation = info.Correlation
	if out.Correlation == "" {
		out.Correlation = info.ID
	}
}
