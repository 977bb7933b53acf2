package framework

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/idempotency"
)

// Send stores req, waits for its answer and returns it. Its deadline is that of ctx, else
// Config.RequestTimeout from now. When it passes, the request is withdrawn, by the compare-and-set
// that handlers claim it with: either no node ever runs it, or one has started, finishes, and the
// answer can be had by sending again with the same ID.
//
// Errors: [*Rejection] and [*RemoteError] are answers of the handler, [*NoReplyError] says that
// there is none yet, [ErrKeyReused] that the ID was used for another payload; [*ConfigError],
// [*TooLargeError] and [ErrClosed] mean that nothing was sent.
func Send[Q RequestOf[R], R any](ctx context.Context, n *Node, req Q, opts ...SendOption) (R, error) {
	return send[Q, R](ctx, n, specOf[Q](), req, opts)
}

// SendBatch sends reqs together and returns their answers by index, with a [*BatchError] for those
// without one.
func SendBatch[Q RequestOf[R], R any](ctx context.Context, n *Node, reqs []Q, opts ...SendOption) ([]R, error) {
	return sendBatch[Q, R](ctx, n, specOf[Q](), reqs, opts)
}

func send[Q, R any](ctx context.Context, n *Node, s *typeSpec, req Q, opts []SendOption) (r R, err error) {
	call := sendConfig(opts)
	out, err := outgoing(s, req, &call, false)
	if err != nil {
		return r, err
	}
	answer, err := n.send(ctx, out, &call)
	if err != nil {
		return r, err
	}
	return decodeAnswer[R](n, s, answer, out.ID)
}

func sendBatch[Q, R any](ctx context.Context, n *Node, s *typeSpec, reqs []Q, opts []SendOption) ([]R, error) {
	call := sendConfig(opts)
	answers := make([]R, len(reqs))
	outs, failed := outgoingBatch(s, reqs, &call)
	if len(failed) > 0 || len(outs) == 0 {
		return answers, batchError(failed)
	}
	replies, failed := n.sendAll(ctx, outs, &call)
	for i, out := range outs {
		if failed[i] != nil {
			continue
		}
		r, err := decodeAnswer[R](n, s, replies[i], out.ID)
		if err != nil {
			failed[i] = err
		}
		answers[i] = r
	}
	return answers, batchError(failed)
}

func sendConfig(opts []SendOption) (call callConfig) {
	for _, o := range opts {
		if o != nil {
			o.applySend(&call)
		}
	}
	return call
}

// decodeAnswer turns the bytes of an answer into an R, or into the error that it is.
func decodeAnswer[R any](n *Node, s *typeSpec, answer reply, id string) (r R, err error) {
	if err := answer.failure(s.kind, id); err != nil {
		return r, err
	}
	codec, err := n.codecs.reading(answer.ContentType, n.codecs.writing(s.kind, s))
	if err != nil {
		return r, fmt.Errorf("answer to %s %s: %w", s.kind, id, err)
	}
	target := any(&r)
	if t := reflect.TypeFor[R](); t.Kind() == reflect.Pointer { // the codec gets the *T, never a **T
		p := reflect.New(t.Elem())
		target = p.Interface()
		reflect.ValueOf(&r).Elem().Set(p)
	}
	if err := decode(codec, answer.Data, target); err != nil {
		return r, fmt.Errorf("decode answer to %s %s: %w", s.kind, id, err)
	}
	return r, nil
}

// send stores one request and waits for its answer.
func (n *Node) send(ctx context.Context, out *Outgoing, opts *callConfig) (reply, error) {
	if err := n.usable(); err != nil {
		return reply{}, err
	}
	ctx, cancel := n.withDeadline(ctx)
	defer cancel()
	if err := n.address(out, opts); err != nil {
		return reply{}, n.refused(out, err)
	}
	inherit(ctx, out)
	err := n.publish(ctx, out)
	w := out.request.call
	if w == nil {
		return reply{}, n.refused(out, unsent(out, err))
	}
	if err != nil && !mayBeStored(err) {
		n.calls.done(w)
		return reply{}, n.refused(out, err)
	}
	return n.await(ctx, out, opts)
}

// sendAll stores several requests, pipelined, and waits for their answers.
func (n *Node) sendAll(ctx context.Context, outs []*Outgoing, opts *callConfig) ([]reply, map[int]error) {
	replies, failed := make([]reply, len(outs)), map[int]error{}
	if err := n.usable(); err != nil {
		failed[0] = err
		return replies, spread(failed, len(outs))
	}
	ctx, cancel := n.withDeadline(ctx)
	defer cancel()
	for _, out := range outs {
		if err := n.address(out, opts); err != nil {
			failed[0] = err
			for _, out := range outs {
				_ = n.refused(out, err)
			}
			return replies, spread(failed, len(outs))
		}
	}
	parcels, failed := n.packAll(ctx, outs)
	n.storeAll(ctx, parcels, failed)
	for i, out := range outs {
		err, w := failed[i], out.request.call
		switch {
		case w == nil:
			failed[i] = n.refused(out, unsent(out, err))
			continue
		case err != nil && !mayBeStored(err):
			n.calls.done(w)
			_ = n.refused(out, err)
			continue
		}
		delete(failed, i)
		if replies[i], err = n.await(ctx, out, opts); err != nil {
			failed[i] = err
		}
	}
	return replies, failed
}

// spread gives every entry of a batch the error of the first.
func spread(failed map[int]error, n int) map[int]error {
	for i := range n {
		failed[i] = failed[0]
	}
	return failed
}

// unsent is the error of a request that never got as far as being sent.
func unsent(out *Outgoing, err error) error {
	if err == nil {
		return fmt.Errorf("send %s: a publish middleware did not pass the request on", out.Kind)
	}
	return err
}

// mayBeStored says whether a request may be in the stream although storing it reported an error.
func mayBeStored(err error) bool {
	return errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func (n *Node) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, n.cfg.RequestTimeout)
}

// address decides which node a request goes to; "" is whichever has room.
func (n *Node) address(out *Outgoing, opts *callConfig) error {
	out.request = &outgoingRequest{token: rand.Text()}
	switch {
	case opts.toNode:
		out.request.node, out.request.pinned = opts.node, opts.node
		if !n.reachable(opts.node) {
			return n.noReply(out, Unknown, ErrNodeGone)
		}
	case opts.roundRobin:
		if id, ok := n.registry.Next(out.Kind); ok {
			out.request.node = id
		}
	}
	return nil
}

func (n *Node) reachable(node string) bool {
	info, ok := n.registry.Lookup(node)
	return ok && info.Online && !info.Draining
}

// noReply is the error of a request without an answer.
func (n *Node) noReply(out *Outgoing, state RequestState, err error) error {
	return &NoReplyError{
		Kind: out.Kind, ID: out.ID, Node: out.request.pinned, Err: err, State: state,
		Handlers: len(n.registry.Handling(out.Kind)),
	}
}

// await waits for the answer to a request that is, or may be, stored.
func (n *Node) await(ctx context.Context, out *Outgoing, opts *callConfig) (reply, error) {
	w := out.request.call
	r, err := n.answer(ctx, out, opts)
	if err == nil {
		n.calls.done(w)
		if opts.reply != nil {
			*opts.reply = ReplyInfo{Node: r.Node, Attempts: r.Attempts, Replayed: r.Token != w.token && r.Status != replyReused}
		}
	}
	if done := out.request.parcel.kind.requested; done != nil {
		done(requestOutcome(r, err), time.Since(w.since))
	}
	return r, err
}

// refused tells the hook of a request that nobody will answer, and returns its error.
func (n *Node) refused(out *Outgoing, err error) error {
	if done := n.requestHooks(KindRef{Kind: out.Kind, QoS: out.QoS}); done != nil {
		done(requestOutcome(reply{}, err), 0)
	}
	return err
}

func requestOutcome(r reply, err error) string {
	switch {
	case err != nil && errors.As(err, new(*NoReplyError)):
		return "no_reply"
	case err != nil:
		return "error"
	case r.Status == replyReused:
		return "key_reused"
	default:
		return string(r.Status)
	}
}

// answer waits until there is an answer, or the deadline has passed, or the chosen node is gone. A
// request that went to one node of many is offered to all when that one leaves or does not take it.
func (n *Node) answer(ctx context.Context, out *Outgoing, opts *callConfig) (reply, error) {
	w := out.request.call
	r := n.routed(out, opts)
	defer r.timer.Stop()
	for {
		changed := r.changed()
		if r.gone() {
			switch {
			case !opts.toNode:
				r.offerToAll(ctx)
			case !n.finishes(ctx, out):
				return n.giveUp(out, ErrNodeGone)
			}
		}
		select {
		case answer := <-w.answer:
			return answer, nil
		case <-changed:
		case <-r.timer.C:
			if !n.taken(ctx, w) { // else that node keeps it, for as long as it is there
				r.offerToAll(ctx)
			}
		case <-ctx.Done():
			return n.giveUp(out, ctx.Err())
		case <-n.ended:
			n.calls.done(w)
			return reply{}, ErrClosed
		}
	}
}

// routed is a request on its way to one node.
type routed struct {
	n     *Node
	out   *Outgoing
	to    string      // the node; "" once every node may take it
	timer *time.Timer // when it should have been taken; never, where the user chose the node
}

func (n *Node) routed(out *Outgoing, opts *callConfig) *routed {
	r := &routed{n: n, out: out, to: out.request.node, timer: time.NewTimer(opts.attempt)}
	if r.to == "" || opts.toNode {
		r.timer.Stop()
	}
	return r
}

// changed is closed when the cluster has changed after this call; nil where that does not matter.
func (r *routed) changed() <-chan struct{} {
	if r.to == "" {
		return nil
	}
	return r.n.registry.Changed()
}

func (r *routed) gone() bool { return r.to != "" && !r.n.reachable(r.to) }

// offerToAll publishes the request again, for any node, under the same ID: the claim lets it run
// once, and the copy that comes second is acknowledged when it is met.
func (r *routed) offerToAll(ctx context.Context) {
	r.to = ""
	r.timer.Stop()
	p := r.out.request.parcel
	again := *p.msg
	again.Subject = p.kind.subject
	stored, err := r.n.publisher.Store(ctx, &again)
	if err != nil {
		if ctx.Err() == nil {
			r.n.log.LogAttrs(ctx, slog.LevelWarn, "request could not be offered to other nodes", kindAttr(r.out.Kind), idAttr(r.out.ID), errAttr(err))
		}
		return
	}
	r.n.discard(ctx, r.out)
	r.out.request.seq = stored.Sequence
}

// discard deletes the stored copy of a request that nobody needs any more: it has been withdrawn, or
// another copy takes its place. Else it would lie in the stream until its node meets it, which may
// never come back. If it cannot be deleted, it does no harm: its claim says that it is not to be run.
func (n *Node) discard(ctx context.Context, out *Outgoing) {
	seq := out.request.seq
	if seq == 0 {
		return
	}
	out.request.seq = 0
	stream, err := n.consumeJS.Stream(ctx, n.names.Requests())
	if err == nil {
		err = stream.DeleteMsg(ctx, seq)
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && ctx.Err() == nil {
		n.log.LogAttrs(ctx, slog.LevelDebug, "copy of a request could not be deleted", kindAttr(out.Kind), idAttr(out.ID), errAttr(err))
	}
}

// finishes says whether the node that a request was sent to drains and has begun it: then the answer
// comes, or the node leaves without. One that has not begun it never will: it is withdrawn.
func (n *Node) finishes(ctx context.Context, out *Outgoing) bool {
	if info, ok := n.registry.Lookup(out.request.node); !ok || !info.Online {
		return false
	}
	rec, _, err := n.claims.Withdraw(ctx, out.request.call.key, out.request.call.token)
	return err == nil && rec.State == idempotency.Running
}

// taken says whether a node has claimed the request.
func (n *Node) taken(ctx context.Context, w *call) bool {
	rec, err := n.claims.Get(ctx, w.key)
	return err == nil && rec.State != idempotency.Withdrawn
}

const withdrawFor = time.Second

// giveUp withdraws a request whose caller waits no longer. If a node was quicker and has finished,
// that is the answer.
func (n *Node) giveUp(out *Outgoing, cause error) (reply, error) {
	w := out.request.call
	ctx, cancel := context.WithTimeout(context.Background(), withdrawFor)
	defer cancel()
	rec, withdrawn, err := n.claims.Withdraw(ctx, w.key, w.token)
	switch {
	case err != nil:
		n.calls.abandon(w)
		return reply{}, n.noReply(out, Unknown, cause)
	case withdrawn:
		n.calls.done(w)
		n.discard(ctx, out)
		return reply{}, n.noReply(out, Unknown, cause)
	}
	if r, ok := storedReply(rec, w.hash); ok {
		return r, nil
	}
	n.calls.done(w)
	return reply{}, n.noReply(out, stateOf(rec), cause)
}
