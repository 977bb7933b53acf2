package streams

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// recreatePause is waited before a deleted consumer is created again. The server says that it is deleted
// while it still removes its files: a new one of the same name would find the old one's state, and
// leave what was unacknowledged waiting for its ack wait.
const recreatePause = 250 * time.Millisecond

// owner is the state of the goroutine that pulls.
type owner struct {
	l         *Loop
	need      trouble // not yet given to the tender
	repairing bool    // the tender is at it
	attempts  int     // repairs since something good was heard
	linger    *time.Timer
	retry     *time.Timer
	waiting   bool // retry runs
}

// own runs until ctx ends.
func (l *Loop) own(ctx context.Context, status chan nats.Status) {
	defer func() { l.ended <- struct{}{} }()
	defer l.from.nc.RemoveStatusListener(status)
	beat := time.NewTicker(max(l.cfg.Heartbeat/2, time.Millisecond))
	defer beat.Stop()
	o := owner{l: l, linger: stoppedTimer(), retry: stoppedTimer()}
	defer o.linger.Stop()
	defer o.retry.Stop()

	o.connection(false)
	o.step(false)
	defer l.from.watched.Store(false)
	for {
		force := false
		select {
		case <-ctx.Done():
			return
		case s := <-status:
			o.connection(broken(s))
		case <-beat.C:
			o.connection(false) // a status event may have been dropped
			o.lost()
		case <-l.kick:
		case <-o.linger.C:
			// Cleared before the look at the credits: a release that did not wake us because it saw
			// the flag has changed its count before.
			l.lingering.Store(false)
			force = true
		case <-o.retry.C:
			o.waiting = false
		case err := <-l.repaired:
			o.mended(err)
		}
		o.step(force)
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// broken reports an event that says that a connection is lost, or was: by the time it is read there
// may be a new one.
func broken(s nats.Status) bool { return s == nats.RECONNECTING || s == nats.DISCONNECTED }

// connection follows the connection's state; broke says that it was lost meanwhile. What was asked
// for over a connection that broke will not come.
func (o *owner) connection(broke bool) {
	l := o.l
	was, up := l.from.up.Load(), l.from.nc.IsConnected()
	l.from.up.Store(up)
	if broke || (was && !up) {
		l.report(troubled|voided, nil)
	}
	if up && (broke || !was) {
		o.attempts, o.waiting = 0, false
		o.retry.Stop()
	}
	if up || !was {
		return
	}
	if l.from.nc.IsClosed() {
		l.cfg.OnError(nats.ErrConnectionClosed)
	}
}

// lost gives up pulls of which nothing has been heard for two heartbeats. The server drops a pull
// silently when too many wait, or when the consumer's leader is gone.
func (o *owner) lost() {
	l := o.l
	if !l.from.up.Load() {
		return
	}
	limit := l.from.now() - int64(2*l.cfg.Heartbeat+l.cfg.Heartbeat/10)
	for i := range l.slots {
		s := &l.slots[i]
		if s.asked.Load() > 0 && s.heard.Load() < limit {
			s.abandon()
			l.report(troubled, &PullError{Durable: l.cfg.Durable, Reason: "no heartbeat"})
		}
	}
}

// mended takes note of the end of a repair.
func (o *owner) mended(err error) {
	o.repairing = false
	if err == nil {
		return
	}
	o.need |= troubled | missing
	o.delay()
	o.l.complain(err)
}

// step does whatever can be done now: have trouble mended, or pull.
func (o *owner) step(force bool) {
	l := o.l
	if t := trouble(l.troubles.Swap(0)); t != 0 {
		o.note(t)
	}
	if !l.from.up.Load() || o.repairing || o.waiting {
		return
	}
	if o.need != 0 {
		o.attempts++
		o.repairing = true
		l.repair <- o.need // has room: one repair at a time
		o.need = 0
		return
	}
	o.pull(force)
}

// note takes in what has been reported since the last step, and decides when to mend it.
func (o *owner) note(t trouble) {
	l := o.l
	gone := t&missing != 0 && o.need&missing == 0
	o.need |= t
	if t&voided != 0 {
		for i := range l.slots {
			l.slots[i].abandon()
		}
	}
	if l.healthy.Swap(false) {
		o.attempts = 0
	}
	if cause := l.cause.Swap(nil); cause != nil {
		if o.attempts > 0 && cause.Status == statusNoResponder {
			o.need |= missing // twice in a row: perhaps there is no such consumer
		}
		l.complain(cause)
	}
	o.delay()
	if gone {
		o.postpone(recreatePause)
	}
}

// delay puts the next repair off, the longer the more have been tried without success. The first is
// immediate.
func (o *owner) delay() {
	if o.waiting || o.repairing || o.attempts == 0 {
		return
	}
	o.postpone(jitter(backoff(o.attempts, 10*time.Millisecond, time.Second)))
}

func (o *owner) postpone(d time.Duration) {
	o.waiting = true
	o.retry.Reset(d)
}

// backoff is base, doubled n-1 times, up to limit. n counts from 1.
func backoff(n int, base, limit time.Duration) time.Duration {
	d := base
	for range min(max(n, 1)-1, 32) {
		if d >= limit {
			break
		}
		d *= 2
	}
	return min(d, limit)
}

// pull asks for what the credits allow.
func (o *owner) pull(force bool) {
	l := o.l
	for i := range l.slots {
		s := &l.slots[i]
		if s.asked.Load() != 0 {
			continue
		}
		asked, idle := l.open()
		credits, held := int64(l.cfg.Credits), l.held.Load()
		batch, linger := plan(credits, held, asked, idle)
		switch {
		case linger && force:
			batch = credits - held - asked
		case linger:
			if !l.lingering.Swap(true) {
				o.linger.Reset(lingerTime)
			}
			return
		}
		if batch <= 0 || !o.ask(s, batch) {
			return
		}
	}
}

// ask opens a pull in an idle slot.
func (o *owner) ask(s *slot, batch int64) bool {
	l := o.l
	expires := 6 * l.cfg.Heartbeat
	if limit := l.tended.maxExpires.Load(); limit > 0 {
		expires = min(expires, time.Duration(limit))
	}
	if limit := l.tended.maxBatch.Load(); limit > 0 {
		batch = min(batch, limit)
	}
	s.number.Add(1)
	s.heard.Store(l.from.now())
	s.asked.Store(batch)
	err := l.from.nc.PublishRequest(l.next, s.reply(), pullRequest(batch, expires, min(l.cfg.Heartbeat, expires/2)))
	if err == nil {
		return true
	}
	s.abandon()
	l.report(troubled, &PullError{Durable: l.cfg.Durable, Reason: err.Error()})
	o.connection(false)
	return false
}

func pullRequest(batch int64, expires, heartbeat time.Duration) []byte {
	b := append(make([]byte, 0, 80), `{"batch":`...)
	b = strconv.AppendInt(b, batch, 10)
	b = append(b, `,"expires":`...)
	b = strconv.AppendInt(b, int64(expires), 10)
	b = append(b, `,"idle_heartbeat":`...)
	b = strconv.AppendInt(b, int64(heartbeat), 10)
	return append(b, '}')
}

// complain passes an error on, unless it only says that the loop ends.
func (l *Loop) complain(err error) {
	if !errors.Is(err, context.Canceled) {
		l.cfg.OnError(err)
	}
}

// jitter is d, give or take a fifth.
func jitter(d time.Duration) time.Duration {
	return d*4/5 + rand.N(max(d*2/5, 1)) //nolint:gosec // spreads load; nothing is secret
}
