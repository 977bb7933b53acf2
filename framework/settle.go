package framework

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/idempotency"
	"github.com/catga-go/catga/internal/wire"
	"github.com/catga-go/catga/streams"
)

// settle acts on an outcome, and is the only place that does: it records, replies, acknowledges,
// hands back, reschedules and dead-letters. Each step is written before the one that relies on it,
// so a crash between two of them repeats steps and never skips one. It returns the outcome that came
// about: what cannot be written down is left to the server, which delivers it again.
func (n *Node) settle(r *run, o outcome) outcome {
	ctx := n.settling
	switch o.fate {
	case fateDone:
		return n.settleDone(ctx, r, o)
	case fateRejected:
		return n.settleAnswer(ctx, r, o, n.rejection(r, o.err))
	case fateRetry:
		return n.settleRetry(ctx, r, o)
	case fateBury:
		return n.settleDead(ctx, r, o)
	case fateAnswered:
		n.reply(r, r.answer)
		r.Ack()
	case fateReused:
		n.reply(r, reply{Status: replyReused, Token: r.token}.encode())
		r.Ack()
	case fateBusy:
		r.Nak(o.after)
	case fateExpired:
		if err := n.finish(ctx, r, idempotency.Finish{State: idempotency.Released}); err != nil {
			r.Drop()
			return left(err)
		}
		r.Ack()
	case fateOpened:
		if err := n.finish(ctx, r, idempotency.Finish{State: idempotency.Released}); err != nil {
			r.Drop()
			return left(err)
		}
		r.Nak(0)
	case fateLeft:
		n.leave(ctx, r)
	}
	return o
}

// leave says nothing to the server. A claim is opened if that is possible, else it ends with its
// session.
func (n *Node) leave(ctx context.Context, r *run) {
	_ = n.finish(ctx, r, idempotency.Finish{State: idempotency.Released}) // it has logged why not
	r.Drop()
}

func left(err error) outcome { return outcome{fate: fateLeft, err: err} }

func (n *Node) settleDone(ctx context.Context, r *run, o outcome) outcome {
	if !r.h.spec.request {
		return n.settleHandled(ctx, r, o)
	}
	answer, err := n.response(r)
	if err != nil {
		return n.settleDead(ctx, r, bury(ReasonUndecodable, err))
	}
	return n.settleAnswer(ctx, r, o, answer)
}

// settleHandled records that an event is done, then acknowledges it.
func (n *Node) settleHandled(ctx context.Context, r *run, o outcome) outcome {
	fin := idempotency.Finish{State: idempotency.Done, TTL: n.recordTTL(r)}
	switch {
	case r.claim != nil:
		if err := n.finish(ctx, r, fin); err != nil {
			r.Drop()
			return left(err)
		}
	case !r.h.cfg.hasDedup || r.h.cfg.dedup > 0:
		rec, err := r.lease.session.Record(ctx, r.ask(), fin)
		if err != nil || rec.State != idempotency.Done { // else whoever claimed it decides
			r.Drop()
			return left(err)
		}
	}
	r.Ack()
	return o
}

// settleAnswer stores the answer of a request, sends it, and acknowledges, in this order.
func (n *Node) settleAnswer(ctx context.Context, r *run, o outcome, answer []byte) outcome {
	err := n.finish(ctx, r, idempotency.Finish{State: idempotency.Done, Result: answer, TTL: n.recordTTL(r)})
	var large *idempotency.TooLargeError
	switch {
	case errors.As(err, &large):
		return n.settleDead(ctx, r, bury(ReasonPermanent, fmt.Errorf("the answer cannot be stored: %w", err)))
	case err != nil: // taken over, or the server is away: whoever runs it again answers
		r.Drop()
		return left(err)
	}
	n.reply(r, answer)
	r.Ack()
	return o
}

// response encodes what the handler returned.
func (n *Node) response(r *run) ([]byte, error) {
	value := r.in.response
	if value == nil { // a middleware answered in the handler's place
		value = r.h.newResponse()
	}
	data, err := encode(r.h.codec, value)
	if err != nil {
		return nil, fmt.Errorf("encode the answer to %s: %w", r.kind, err)
	}
	answer := reply{Status: replyOK, Token: r.token, Node: n.cfg.NodeID, Attempts: r.attempt(), Data: data}
	if t := r.h.codec.ContentType(); t != jsonType {
		answer.ContentType = t
	}
	return answer.encode(), nil
}

func (n *Node) rejection(r *run, err error) []byte {
	answer := reply{Status: replyRejected, Token: r.token, Node: n.cfg.NodeID, Attempts: r.attempt()}
	if no := (*Rejection)(nil); errors.As(err, &no) {
		answer.Code, answer.Message = no.Code, no.Message
	}
	return answer.encode()
}

// shortDelay is up to where a failed message waits in its delivery slot. Longer delays leave the
// consumer, as a schedule of the server's.
const shortDelay = 5 * time.Second

// settleRetry counts the failure, then has the message delivered again.
func (n *Node) settleRetry(ctx context.Context, r *run, o outcome) outcome {
	if err := n.countFailure(ctx, r, o.err); err != nil {
		r.Drop()
		return left(err)
	}
	if o.after <= shortDelay {
		r.Nak(o.after)
		return o
	}
	if err := n.schedule(ctx, r, o.after); err != nil {
		n.log.LogAttrs(ctx, slog.LevelWarn, "retry could not be scheduled; it comes after the ack wait instead", append(r.attrs(), errAttr(err))...)
		r.Drop()
		return o
	}
	r.Ack()
	return o
}

// countFailure writes one failure more into the record.
func (n *Node) countFailure(ctx context.Context, r *run, cause error) error {
	fin := idempotency.Finish{State: idempotency.Failed, Error: cause.Error()}
	if r.claim != nil {
		return n.finish(ctx, r, fin)
	}
	rec, err := r.lease.session.Record(ctx, r.ask(), fin)
	if err == nil && rec.State != idempotency.Failed {
		return idempotency.ErrLost // claimed by another node meanwhile, which decides
	}
	return err
}

// schedule has the server publish the message again after d, for this group only. It is written
// after the record: after a crash in between the message is delivered again too early, not counted
// twice.
func (n *Node) schedule(ctx context.Context, r *run, d time.Duration) error {
	token := wire.Token(r.id)
	msg := &nats.Msg{Header: again(r, d), Data: r.Data}
	target := r.Subject
	if r.h.spec.request {
		msg.Subject = n.names.SchedRequest(r.kind, token)
	} else {
		target = n.names.Retry(r.h.ref.Group, r.kind)
		msg.Subject = n.names.SchedEvent(r.h.ref.Group, r.kind, token)
	}
	return n.publisher.Schedule(ctx, msg, target, time.Now().Add(d))
}

// again is the headers of a message that is sent once more after d: its ID where the server does not
// deduplicate by it, how often it has failed, this time included, and what will be left of its time:
// the copy's own begins anew.
func again(r *run, d time.Duration) nats.Header {
	h := make(nats.Header, len(r.Header)+2)
	for key, values := range r.Header {
		if !strings.HasPrefix(key, wire.ReservedNATS) {
			h[key] = values
		}
	}
	h[wire.ID] = []string{r.wireID(r.h.spec.request)}
	h[wire.Fails] = []string{strconv.Itoa(r.fails + 1)}
	if r.expiresIn > 0 {
		left := r.expiresIn - time.Since(r.Published) - d // above 0, or it would not be retried
		h[wire.ExpiresIn] = []string{strconv.FormatInt(left.Milliseconds(), 10)}
	}
	return h
}

// settleDead writes the dead letter, then the record, then tells the caller, then lets go.
func (n *Node) settleDead(ctx context.Context, r *run, o outcome) outcome {
	if err := n.publisher.Bury(ctx, n.deadLetter(r, o)); err != nil {
		n.log.LogAttrs(ctx, slog.LevelError, "dead letter could not be written; the message is delivered again",
			append(r.attrs(), errAttr(err))...)
		n.leave(ctx, r)
		return left(err)
	}
	var answer []byte
	if r.h.spec.request {
		answer = reply{
			Status: replyFailed, Token: r.token, Node: n.cfg.NodeID, Attempts: r.runs(), Message: o.err.Error(),
		}.encode()
	}
	if err := n.recordDead(ctx, r, o, answer); err != nil {
		r.Drop()
		return left(err)
	}
	n.reply(r, answer)
	r.Ack()
	return o
}

// runs is how often the handler ran in all.
func (r *run) runs() int {
	if r.started {
		return r.attempt()
	}
	return r.fails + r.kills
}

func (n *Node) recordDead(ctx context.Context, r *run, o outcome, answer []byte) error {
	fin := idempotency.Finish{State: idempotency.Dead, Result: answer, Error: o.err.Error(), TTL: n.recordTTL(r)}
	if r.claim != nil {
		return n.finish(ctx, r, fin)
	}
	_, err := r.lease.session.Record(ctx, r.ask(), fin)
	return err
}

func (n *Node) deadLetter(r *run, o outcome) streams.DeadLetter {
	text := o.err.Error()
	if p := (*PanicError)(nil); errors.As(o.err, &p) {
		text += "\n" + string(p.Stack)
	}
	return streams.DeadLetter{
		Group: r.h.ref.Group, Kind: r.kind, ID: r.id, Reason: o.reason, Error: text,
		Node: n.cfg.NodeID, Attempts: r.runs(), Subject: r.Subject, Stream: r.Stream,
		Sequence: r.Sequence, Published: r.Published, Failed: time.Now(), Header: r.Header, Data: r.Data,
	}
}

// finish ends the claim. It is repeated until the server has answered or the node is gone.
func (n *Node) finish(ctx context.Context, r *run, fin idempotency.Finish) error {
	if r.claim == nil {
		return nil
	}
	err := r.claim.Finish(ctx, fin)
	if err != nil && ctx.Err() == nil {
		n.log.LogAttrs(ctx, slog.LevelWarn, "end of a run could not be recorded", append(r.attrs(), errAttr(err))...)
	}
	return err
}

// reply sends an answer to the caller, if one waits. It is a core message and may be lost: the
// caller also looks at the record.
func (n *Node) reply(r *run, answer []byte) {
	if r.reply == "" || len(answer) == 0 {
		return
	}
	if err := n.conns.consume.Publish(r.reply, answer); err != nil {
		n.log.LogAttrs(n.settling, slog.LevelDebug, "reply not sent; the caller finds it in the record", append(r.attrs(), errAttr(err))...)
	}
}

// recordTTL is how long the end of the run is remembered: never for less than twice the ack wait, after
// which a message whose acknowledgement was lost has long come back.
func (n *Node) recordTTL(r *run) time.Duration {
	ttl := n.cfg.EventDedupTTL
	switch {
	case r.h.cfg.hasDedup && r.h.cfg.dedup > 0:
		ttl = r.h.cfg.dedup
	case r.h.spec.request || r.userID:
		ttl = n.cfg.DedupTTL
	}
	return min(max(ttl, 2*r.h.cfg.ackWait), n.cfg.DedupTTL)
}
