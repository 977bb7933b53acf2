package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// How long a publisher tries. Together the tries end before the duplicate window of the stream of
// events does (30 s), so that a second copy is recognized.
const (
	tryPatience = 2 * time.Second        // for the first acknowledgement, while connected; twice that for the second, …
	patience    = 20 * time.Second       // for all tries of a message whose outcome is in doubt
	sweepTick   = 250 * time.Millisecond // how often waiting calls are looked at
	storeWindow = 4096                   // messages of one StoreAll in flight
)

// errBusy: the table of calls is full.
var errBusy = errors.New("too many messages in flight")

// A Publisher stores messages in streams and knows that they are stored. It is safe for use by any
// number of goroutines; a message must not be changed while it is being stored. One goroutine of its
// own follows the connection and ends what waits too long.
type Publisher struct {
	nc     *nats.Conn
	names  Names
	logger *slog.Logger
	inbox  string // begins the reply subject of every message; a token follows
	sub    *nats.Subscription
	base   time.Time // where now counts from
	calls  calls
	link   atomic.Pointer[link] // state of the connection; written by the owner
	awake  atomic.Bool          // the owner looks at the waiting calls regularly
	warned atomic.Int64         // now of the last warning about a full stream
	closed atomic.Bool
	kick   chan struct{} // 1 long: wakes the owner
	quit   chan struct{} // closed by Close
	done   chan struct{} // closed when the owner has left
}

// link says whether it makes sense to send; changed is closed when another link has replaced it.
type link struct {
	ready   bool // connected, or closed: no waiting helps
	changed chan struct{}
}

// NewPublisher makes a publisher on nc. The names are those of the dead letters. A nil logger means
// slog.Default(). While nc is disconnected, the first copy of a message may wait in its reconnect
// buffer; later copies are sent only while it is connected. Call Close when done.
func NewPublisher(nc *nats.Conn, names Names, logger *slog.Logger) (*Publisher, error) {
	if logger == nil {
		logger = slog.Default()
	}
	p := &Publisher{
		nc:     nc,
		names:  names,
		logger: logger,
		inbox:  nc.NewInbox() + ".",
		base:   time.Now(),
		kick:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	status := nc.StatusChanged()
	p.link.Store(&link{ready: ready(nc), changed: make(chan struct{})})
	sub, err := nc.Subscribe(p.inbox+"*", p.receive)
	if err == nil {
		p.sub = sub
		err = sub.SetPendingLimits(-1, -1) // the table of calls bounds it
	}
	if err != nil {
		nc.RemoveStatusListener(status)
		return nil, fmt.Errorf("subscribe acknowledgements: %w", err)
	}
	go p.own(status)
	return p, nil
}

func ready(nc *nats.Conn) bool { return nc.IsConnected() || nc.IsClosed() }

// Close ends the publisher. What is being stored then ends with an [*UnknownOutcomeError], and what
// is stored later with [ErrPublisherClosed]. It does not touch the connection. It may be called twice.
func (p *Publisher) Close() {
	if p.closed.CompareAndSwap(false, true) {
		close(p.quit)
	}
	<-p.done
}

// Store stores msg and returns when the server has said so, with nil, or when it is certain that it
// will not:
//
//   - a refusal of the server (an error that holds a *jetstream.APIError), or a [*TooLargeError];
//   - an [*UnknownOutcomeError] when it may be stored and 3 further tries, with the same headers, in
//     at most 20 s did not tell; also when ctx ends, or Close is called, after it was sent;
//   - otherwise the last cause, when it was certainly not stored: nobody listens on the subject for
//     20 s, no connection, ctx ended.
//
// While a stream or an account is full it waits for room until ctx ends. It never changes msg.
func (p *Publisher) Store(ctx context.Context, msg *nats.Msg) (Stored, error) {
	first := job{msg: msg, began: p.now()}
	stored, err := p.try(ctx, &first)
	if err == nil {
		return stored, nil
	}
	j := first // only this copy lives on the heap
	j.err = err
	p.persist(ctx, []*job{&j})
	return j.stored, j.err
}

// StoreAll stores msgs as Store does, pipelined: they are sent in order without waiting for each
// other. Both results are by index; the errors are nil if every one is. A message that needs a second
// try is stored after those behind it.
func (p *Publisher) StoreAll(ctx context.Context, msgs []*nats.Msg) ([]Stored, []error) {
	all := make([]job, len(msgs))
	jobs := make([]*job, len(msgs))
	for i, msg := range msgs {
		all[i] = job{msg: msg, began: p.now()}
		jobs[i] = &all[i]
	}
	p.round(ctx, jobs)
	p.persist(ctx, jobs)

	stored := make([]Stored, len(msgs))
	var errs []error
	for i := range all {
		stored[i] = all[i].stored
		if all[i].err != nil {
			if errs == nil {
				errs = make([]error, len(msgs))
			}
			errs[i] = all[i].err
		}
	}
	return stored, errs
}

func (p *Publisher) now() time.Duration { return time.Since(p.base) }

// persist tries again what has failed and may yet succeed, until nothing is left of jobs.
func (p *Publisher) persist(ctx context.Context, jobs []*job) {
	for {
		var delay time.Duration
		left := jobs[:0]
		for _, j := range jobs {
			if j.err == nil {
				continue
			}
			wait, more := j.after(judgeStore(j.err), p.now())
			if !more || ctx.Err() != nil {
				j.err = j.final(ctx.Err())
				continue
			}
			delay = max(delay, wait)
			left = append(left, j)
		}
		if jobs = left; len(jobs) == 0 {
			return
		}
		p.warn(ctx, jobs[0])
		if !p.pause(ctx, delay, jobs[0].began+patience) {
			for _, j := range jobs {
				j.err = j.final(ctx.Err())
			}
			return
		}
		p.round(ctx, jobs)
	}
}

// warn tells, once in 10 s, why publishers wait.
func (p *Publisher) warn(ctx context.Context, j *job) {
	if judgeStore(j.err) != full {
		return
	}
	now, last := int64(p.now()), p.warned.Load()
	if (last == 0 || now-last > int64(10*time.Second)) && p.warned.CompareAndSwap(last, now) {
		p.logger.WarnContext(ctx, "no room to store messages, publishers wait",
			slog.String("subject", j.msg.Subject), slog.Any("err", j.err))
	}
}

// pause waits for delay, and then for the connection, at most until limit. It reports false if that
// did not come in time or ctx ended: then another copy must not be sent.
func (p *Publisher) pause(ctx context.Context, delay, limit time.Duration) bool {
	timer := time.NewTimer(jitter(delay))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.quit:
	case <-ctx.Done():
		return false
	}
	timer.Reset(max(limit-p.now(), 0))
	for {
		link := p.link.Load()
		if link.ready {
			return true
		}
		select {
		case <-link.changed:
		case <-timer.C:
			return false
		case <-p.quit:
			return true // to be refused
		case <-ctx.Done():
			return false
		}
	}
}

// round sends jobs in order and collects the answers. At most storeWindow are in flight; when the
// table of calls is full it first takes in its own answers, so that rounds do not wait for each other.
func (p *Publisher) round(ctx context.Context, jobs []*job) {
	waiting := 0 // jobs[waiting:i] are in flight, or failed at once
	for i := 0; i < len(jobs); {
		j := jobs[i]
		if i-waiting >= storeWindow {
			p.collect(ctx, jobs[waiting])
			waiting++
			continue
		}
		j.err = p.send(ctx, j)
		if errors.Is(j.err, errBusy) && waiting < i {
			p.collect(ctx, jobs[waiting])
			waiting++
			continue
		}
		i++
	}
	for _, j := range jobs[waiting:] {
		p.collect(ctx, j)
	}
}

// try sends one message and waits for the answer.
func (p *Publisher) try(ctx context.Context, j *job) (Stored, error) {
	if err := p.send(ctx, j); err != nil {
		return Stored{}, err
	}
	return p.await(ctx, j)
}

func (p *Publisher) collect(ctx context.Context, j *job) {
	if j.call != nil {
		j.stored, j.err = p.await(ctx, j)
	}
}

// send writes the message of j and leaves the call in j, or returns why it was not sent.
func (p *Publisher) send(ctx context.Context, j *job) error {
	if err := ctx.Err(); err != nil {
		return &unsentError{err}
	}
	if p.closed.Load() {
		return &unsentError{ErrPublisherClosed}
	}
	c := p.calls.take()
	if c == nil {
		return errBusy
	}
	c.limit.Store(int64(j.began + patience))
	c.wait.Store(int64(tryPatience) * int64(j.doubts+1))
	c.since.Store(int64(p.now()))
	use := c.use.Add(1)
	out := nats.Msg{Subject: j.msg.Subject, Reply: p.reply(c.index, use), Header: j.msg.Header, Data: j.msg.Data}
	if err := p.nc.PublishMsg(&out); err != nil {
		if !c.use.CompareAndSwap(use, use+1) {
			<-c.answer // the owner has given it up meanwhile
		}
		p.calls.give(c)
		return p.explain(err, j.msg)
	}
	j.call, j.use = c, use
	j.tries++
	// Close marks the publisher before its owner ends what waits: either the owner finds this call,
	// or it is seen here that there is no owner any more.
	if p.closed.Load() {
		c.resolve(use, answer{err: ErrPublisherClosed})
	}
	if !p.awake.Load() {
		p.wake()
	}
	return nil
}

func (p *Publisher) reply(index, use uint64) string {
	var b [96]byte
	return string(appendToken(append(b[:0], p.inbox...), index, use))
}

func (p *Publisher) explain(err error, msg *nats.Msg) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return &TooLargeError{Size: wireSize(msg), Limit: p.nc.MaxPayload()}
	}
	return &unsentError{err}
}

// wireSize is what the server compares with its limit.
func wireSize(msg *nats.Msg) int64 {
	size := len(msg.Data)
	if len(msg.Header) > 0 {
		size += len("NATS/1.0\r\n") + len("\r\n")
		for key, values := range msg.Header {
			for _, value := range values {
				size += len(key) + len(": ") + len(value) + len("\r\n")
			}
		}
	}
	return int64(size)
}

// await takes the answer to what send has sent.
func (p *Publisher) await(ctx context.Context, j *job) (Stored, error) {
	c := j.call
	j.call = nil
	var a answer
	select {
	case a = <-c.answer:
	case <-ctx.Done():
		if c.use.CompareAndSwap(j.use, j.use+1) {
			p.calls.give(c)
			return Stored{}, ctx.Err()
		}
		a = <-c.answer // it came at the same moment
	}
	p.calls.give(c)
	if a.err != nil {
		return Stored{}, a.err
	}
	return readAck(a.msg)
}

// receive is the callback of the acknowledgements.
func (p *Publisher) receive(m *nats.Msg) {
	if len(m.Subject) <= len(p.inbox) {
		return
	}
	index, use, ok := parseToken(m.Subject[len(p.inbox):])
	if !ok || index >= p.calls.grown.Load() || use%2 == 0 {
		return
	}
	p.calls.at(index).resolve(use, answer{msg: m})
}

// wake has the owner look at the waiting calls.
func (p *Publisher) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}
