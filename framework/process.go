package framework

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/catga-go/catga/idempotency"
	"github.com/catga-go/catga/internal/wire"
	"github.com/catga-go/catga/streams"
)

// run is one message being worked on: what process finds out and settle acts on.
type run struct {
	arrival

	h       *handler
	lease   *lease
	check   string             // of the claim, as hooks name it
	claim   *idempotency.Claim // nil: an event's first run, or nothing was granted
	fails   int                // failed runs before
	kills   int                // runs before that ended with their process
	started bool
	ran     time.Duration
	in      Incoming
	answer  []byte // fateAnswered: the stored reply; settle fills it for the others
}

// attempt is the run that is going on or has ended, counted from 1.
func (r *run) attempt() int { return r.fails + r.kills + 1 }

// consume handles one delivery from end to end. It is what a pool's workers call.
func (n *Node) consume(h *handler, d *streams.Delivery) {
	r := &run{arrival: h.read(d), h: h}
	r.fails = r.arrival.fails
	began := time.Now()
	o := n.process(r)
	o = n.settle(r, o)
	n.report(r, o, began)
}

// process takes the claim, runs the handler under it, and says what should become of the message.
// It talks to the claim store and to the handler, never to the streams: that is settle's.
func (n *Node) process(r *run) outcome {
	if r.lease = n.currentLease(r); r.lease == nil {
		return outcome{fate: fateLeft}
	}
	if o, over := r.outlived(time.Since(r.Published), n.cfg.DedupTTL); over {
		return o
	}
	if r.needsClaim() {
		if o, granted := n.claimFor(r); !granted {
			return o
		}
	}
	if o, over := r.late(time.Since(r.Published)); over {
		return o
	}
	if r.kills > 0 { // what has killed before runs alone, so that its neighbours are not blamed
		return n.alone(func() outcome { return n.execute(r) })
	}
	return n.execute(r)
}

// outlived says whether a request is older than records are kept: it may have run before, and
// nothing would tell. Where a Send waited for it, its caller is long gone.
func (r *run) outlived(age, records time.Duration) (outcome, bool) {
	switch {
	case !r.h.spec.request || age <= records:
		return outcome{}, false
	case r.reply != "":
		return outcome{fate: fateExpired}, true
	default:
		return bury(ReasonExpired, fmt.Errorf("stored %v ago, not started within the dedup TTL of %v", age.Round(time.Second), records)), true
	}
}

// late says whether the message is past what its publisher gave it with ExpiresIn.
func (r *run) late(age time.Duration) (outcome, bool) {
	switch {
	case r.expiresIn == 0 || age <= r.expiresIn:
		return outcome{}, false
	case r.h.spec.request:
		return bury(ReasonExpired, fmt.Errorf("stored %v ago, to be started within %v", age.Round(time.Millisecond), r.expiresIn)), true
	default:
		return outcome{fate: fateExpired}, true
	}
}

// needsClaim says whether the record has to be read and claimed before the handler runs. Requests
// always; an event only if it may have run before, or may be published again at any time.
func (r *run) needsClaim() bool {
	switch {
	case r.h.spec.request, r.Delivered > 1, r.fails > 0:
		return true
	case r.h.cfg.hasDedup && r.h.cfg.dedup == 0:
		return false
	default:
		return r.userID || !r.Fresh()
	}
}

// ask is the question to the claim store.
func (r *run) ask() idempotency.Ask {
	ask := idempotency.Ask{Key: r.key(r.h), Fails: r.arrival.fails, MaxKills: r.h.cfg.retries + 1}
	if r.h.spec.request {
		ask.Hash, ask.Call = wire.Hash(r.Data), r.token
	}
	return ask
}

// claimFor claims the message. If the claim is not granted, the outcome says why not.
func (n *Node) claimFor(r *run) (outcome, bool) {
	answer, err := r.lease.session.Claim(r.lease.ctx, r.ask())
	if err != nil {
		r.check = "error"
		n.logClaim(r, err)
		return outcome{fate: fateLeft, err: err}, false
	}
	r.claim, r.fails, r.kills = answer.Claim, max(r.fails, answer.Record.Fails), answer.Record.Kills
	switch answer.Verdict {
	case idempotency.Granted:
		r.check = "new"
		return outcome{}, true
	case idempotency.Exhausted:
		r.check = "new"
		return bury(ReasonCrashed, fmt.Errorf("%d processes died while they handled it", r.kills)), false
	case idempotency.Busy:
		r.check = "in_progress"
		return outcome{fate: fateBusy, after: busyDelay(r.Delivered)}, false
	case idempotency.WasWithdrawn:
		r.check = "duplicate"
		return outcome{fate: fateExpired}, false
	case idempotency.Reused:
		r.check = "duplicate"
		return outcome{fate: fateReused}, false
	default: // done, dead
		r.check, r.answer = "duplicate", answer.Record.Result
		return outcome{fate: fateAnswered}, false
	}
}

// busyDelay is when to look again for what runs elsewhere: 100ms, doubled up to a second.
func busyDelay(delivered uint64) time.Duration {
	return min(time.Second, 100*time.Millisecond<<min(delivered, 8)>>1)
}

// execute decodes the message and runs the handler.
func (n *Node) execute(r *run) outcome {
	r.in = Incoming{Info: r.info(r.h, r.attempt())}
	if err := n.decodeInto(r); err != nil {
		return bury(ReasonUndecodable, err)
	}
	ctx := context.WithValue(r.lease.ctx, infoKey{}, &r.in.Info)
	if r.h.cfg.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.h.cfg.timeout)
		defer cancel()
	}
	err := r.invoke(ctx)
	cause := context.Cause(r.lease.ctx)
	o := decide(ended{
		err: err, fails: r.fails, request: r.h.spec.request,
		drained: errors.Is(cause, ErrDraining), lost: errors.Is(cause, ErrLeaseLost),
	}, policy{r.h.cfg.retries, r.h.cfg.backoff})
	if o.fate == fateRetry {
		if late, over := r.late(time.Since(r.Published) + o.after); over {
			late.err = errors.Join(o.err, late.err)
			return late
		}
	}
	return o
}

func (n *Node) decodeInto(r *run) error {
	codec, err := n.codecs.reading(first(r.Delivery, wire.ContentType), r.h.codec)
	if err != nil {
		return err
	}
	r.in.message = r.h.newMessage()
	if err := decode(codec, r.Data, r.in.message); err != nil {
		return fmt.Errorf("decode %s: %w", r.kind, err)
	}
	return nil
}

// invoke runs the handler between its hooks.
func (r *run) invoke(ctx context.Context) error {
	if r.h.hooks.Started != nil {
		r.h.hooks.Started()
	}
	start := time.Now()
	err := r.h.run(ctx, &r.in)
	r.started, r.ran = true, max(time.Since(start), 1)
	return err
}

// report tells hooks and log what became of the delivery.
func (n *Node) report(r *run, o outcome, began time.Time) {
	var failed error
	if o.err != nil && r.started {
		failed = &HandlerError{Kind: r.kind, ID: r.id, Group: r.h.ref.Group, Node: r.h.ref.Node, Attempt: r.attempt(), Err: o.err}
	}
	n.logOutcome(r, o)
	if r.h.hooks.Done == nil {
		return
	}
	done := Outcome{
		Verdict: verdicts[o.fate], Reason: o.class, Check: r.check, Ran: r.ran,
		Latency: max(began.Sub(r.Published), 0), Err: failed, Redelivery: r.Delivered > 1,
	}
	if r.started {
		done.Attempt = r.attempt()
	}
	r.h.hooks.Done(done)
}

func (n *Node) logClaim(r *run, err error) {
	if r.lease.ctx.Err() != nil {
		return // the node stops, or has said that its lease is lost
	}
	n.log.LogAttrs(r.lease.ctx, slog.LevelWarn, "claim failed; the message is delivered again after the ack wait", append(r.attrs(), errAttr(err))...)
}

// logOutcome writes a line for what somebody may have to look at: a warning for each retry, an error
// for each dead letter. What went well is a debug line.
func (n *Node) logOutcome(r *run, o outcome) {
	level, text := slog.LevelDebug, "message settled"
	switch o.fate {
	case fateRetry:
		level, text = slog.LevelWarn, "handler failed; the message is run again"
	case fateBury:
		level, text = slog.LevelError, "message dead-lettered"
	case fateExpired:
		level, text = slog.LevelInfo, "message not run: expired or withdrawn"
	case fateReused:
		level, text = slog.LevelWarn, "request refused: its id was used with a different payload"
	case fateDone, fateRejected, fateAnswered, fateBusy, fateOpened, fateLeft:
	}
	ctx := context.Background()
	if !n.log.Enabled(ctx, level) {
		return
	}
	attrs := append(r.attrs(), slog.String("verdict", string(verdicts[o.fate])), slog.Int("attempt", r.attempt()))
	if o.fate == fateRetry {
		attrs = append(attrs, slog.Duration("after", o.after))
	}
	if o.class != "" {
		attrs = append(attrs, slog.String("reason", o.reason))
	}
	if o.err != nil {
		attrs = append(attrs, errAttr(o.err))
	}
	if p := (*PanicError)(nil); errors.As(o.err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	n.log.LogAttrs(ctx, level, text, attrs...) //nolint:sloglint // one of five literals above
}

func (r *run) attrs() []slog.Attr {
	return []slog.Attr{kindAttr(r.kind), slog.String("group", r.h.ref.Group), idAttr(r.id), slog.Uint64("seq", r.Sequence)}
}

func kindAttr(kind string) slog.Attr { return slog.String("kind", kind) }
func idAttr(id string) slog.Attr     { return slog.String("msg_id", id) }
func errAttr(err error) slog.Attr    { return slog.Any("err", err) }
