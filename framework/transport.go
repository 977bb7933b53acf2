package framework

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/idempotency"
	"github.com/catga-go/catga/internal/wire"
	"github.com/catga-go/catga/streams"
)

type took = time.Duration

// parcel is one encoded message, ready to go.
type parcel struct {
	msg    *nats.Msg
	kind   *outKind
	stored bool    // QoS 1
	seq    *uint64 // where a request wants to know its sequence
	index  int     // in its batch
}

// dispatch is the end of the publish middleware: it encodes the message and sends it.
func (n *Node) dispatch(ctx context.Context, out *Outgoing) error {
	p, err := n.pack(out)
	if err != nil {
		return err
	}
	if r := out.request; r != nil && r.token != "" {
		r.call = n.calls.open(r.token, idempotency.RequestKey(out.Kind, out.ID), wire.Hash(p.msg.Data))
	}
	if out.batch != nil {
		*out.batch = append(*out.batch, p)
		return nil
	}
	return n.store(ctx, p)
}

// pack encodes a message and gives it its subject and headers.
func (n *Node) pack(out *Outgoing) (parcel, error) {
	kind, err := n.route(out)
	if err != nil {
		return parcel{}, err
	}
	if err := checkOutgoing(out); err != nil {
		return parcel{}, err
	}
	msg := &nats.Msg{Subject: kind.subject, Data: out.Data}
	contentType := out.ContentType
	if out.Value != nil {
		contentType = kind.contentType
		if msg.Data, err = encode(kind.codec, out.Value); err != nil {
			return parcel{}, fmt.Errorf("encode %s: %w", out.Kind, err)
		}
	}
	if out.ID == "" && out.QoS == AtLeastOnce {
		out.ID = newID()
		out.generated = out.ID
	}
	msg.Header = headers(out, contentType, out.ID == out.generated)
	if err := n.fits(msg, out); err != nil {
		return parcel{}, err
	}
	if r := out.request; r != nil {
		if r.node != "" {
			msg.Subject = n.names.Direct(r.node, out.Kind)
		}
		if r.token != "" {
			setHeader(&msg.Header, wire.Reply, n.calls.inbox(r.token))
		}
		r.parcel = parcel{msg: msg, kind: kind, stored: true, seq: &r.seq}
		return r.parcel, nil
	}
	return parcel{msg: msg, kind: kind, stored: out.QoS == AtLeastOnce}, nil
}

// deadLetterRoom is kept free in what is stored, so that its dead letter, which says more, fits into
// one message, too: 8 KiB, or an eighth where the server's limit is small.
func deadLetterRoom(limit int64) int64 { return min(8<<10, limit/8) }

func (n *Node) fits(msg *nats.Msg, out *Outgoing) error {
	limit := n.conns.publish.MaxPayload()
	if out.QoS == AtLeastOnce {
		limit -= deadLetterRoom(limit)
	}
	if size := int64(msg.Size() - len(msg.Subject)); size > limit {
		return &TooLargeError{Kind: out.Kind, Size: size, Limit: limit}
	}
	return nil
}

// headers are few, because each costs a microsecond: a plain QoS 0 event has none.
func headers(out *Outgoing, contentType string, auto bool) nats.Header {
	h := nats.Header(maps.Clone(out.Header))
	switch {
	case out.ID == "":
	case out.request != nil || out.QoS == AtMostOnce:
		setHeader(&h, wire.ID, escapeID(out.ID)) // requests have no Nats-Msg-Id: the claim is their judge
	case auto:
		setHeader(&h, wire.MsgID, out.ID)
	default:
		// The server deduplicates the IDs of a stream, which holds many kinds.
		setHeader(&h, wire.MsgID, out.Kind+"/"+escapeID(out.ID))
	}
	if contentType != "" && contentType != jsonType {
		setHeader(&h, wire.ContentType, contentType)
	}
	if out.Correlation != "" {
		setHeader(&h, wire.Correlation, escapeID(out.Correlation))
	}
	if out.causation != "" {
		setHeader(&h, wire.Causation, escapeID(out.causation))
	}
	if out.expires > 0 {
		setHeader(&h, wire.ExpiresIn, strconv.FormatInt(out.expires.Milliseconds(), 10))
	}
	return h
}

func setHeader(h *nats.Header, key, value string) {
	if *h == nil {
		*h = make(nats.Header, 4)
	}
	(*h)[key] = []string{value}
}

// newID generates a message ID: marked as automatic, and unique by 128 random bits.
func newID() string { return wire.AutoID + rand.Text() }

func checkOutgoing(out *Outgoing) error {
	switch {
	case out.Value == nil && out.Data == nil:
		return &ConfigError{"Outgoing", out.Kind, "has neither Value nor Data"}
	case len(out.ID) > maxID:
		return &ConfigError{"message id", out.ID, fmt.Sprintf("has %d bytes; at most %d", len(out.ID), maxID)}
	case len(out.Correlation) > maxID:
		return &ConfigError{"correlation id", out.Correlation, fmt.Sprintf("has %d bytes; at most %d", len(out.Correlation), maxID)}
	}
	for key, values := range out.Header {
		for _, value := range values {
			if err := checkHeader(key, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// store sends one parcel and waits for what its QoS promises.
func (n *Node) store(ctx context.Context, p parcel) error {
	start := time.Now()
	if !p.stored {
		err := n.signal(ctx, p)
		p.kind.done(outcomeOf("sent", err), start)
		return err
	}
	stored, err := n.publisher.Store(ctx, p.msg)
	if err != nil {
		p.kind.done("error", start)
		return publishError(p.kind.kind, err)
	}
	p.noteStored(stored, start)
	return nil
}

func (p *parcel) noteStored(s streams.Stored, start time.Time) {
	if p.seq != nil {
		*p.seq = s.Sequence
	}
	p.kind.done(storedAs(s.Duplicate), start)
}

// storeAll sends parcels in order; what fails is noted under its index.
func (n *Node) storeAll(ctx context.Context, parcels []parcel, failed map[int]error) {
	start := time.Now()
	msgs, at := make([]*nats.Msg, 0, len(parcels)), make([]parcel, 0, len(parcels))
	for _, p := range parcels {
		if p.stored {
			msgs, at = append(msgs, p.msg), append(at, p)
			continue
		}
		err := n.signal(ctx, p)
		if err != nil {
			failed[p.index] = err
		}
		p.kind.done(outcomeOf("sent", err), start)
	}
	if len(msgs) == 0 {
		return
	}
	stored, errs := n.publisher.StoreAll(ctx, msgs)
	for i, p := range at {
		if errs != nil && errs[i] != nil {
			failed[p.index] = publishError(p.kind.kind, errs[i])
			p.kind.done("error", start)
			continue
		}
		p.noteStored(stored[i], start)
	}
}

// signal writes a QoS 0 event to the connection.
func (n *Node) signal(ctx context.Context, p parcel) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish %s: %w", p.kind.kind, err)
	}
	err := n.conns.publish.PublishMsg(p.msg)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		return &TooLargeError{Kind: p.kind.kind, Size: int64(p.msg.Size()), Limit: n.conns.publish.MaxPayload()}
	default:
		return fmt.Errorf("publish %s: %w", p.kind.kind, err)
	}
}

func (k *outKind) done(outcome string, start time.Time) {
	if k.published != nil {
		k.published(outcome, time.Since(start))
	}
}

func outcomeOf(success string, err error) string {
	if err != nil {
		return "error"
	}
	return success
}

func storedAs(duplicate bool) string {
	if duplicate {
		return "duplicate"
	}
	return "stored"
}
