package streams

import (
	"time"

	"github.com/nats-io/nats.go"
)

// receive is the callback of a slot's subscription.
func (l *Loop) receive(s *slot, m *nats.Msg) {
	ack, ok := parseAckReply(m.Reply)
	if !ok {
		l.hear(s, m)
		return
	}
	arrived := time.Now()
	now := int64(arrived.Sub(l.from.base))
	s.heard.Store(now)
	if !l.healthy.Load() {
		l.healthy.Store(true)
	}
	d := &Delivery{
		Subject:   m.Subject,
		Header:    m.Header,
		Data:      m.Data,
		Stream:    l.cfg.Stream,
		Sequence:  ack.streamSeq,
		Delivered: ack.delivered,
		Published: time.Unix(0, ack.published),
		Arrived:   arrived,
		Created:   l.created.Load(),
		from:      &l.from,
		reply:     m.Reply,
		fresh:     l.fresh(s, ack),
	}
	d.expires.Store(now + l.from.wait.Load())
	l.held.Add(1)
	if s.arrived() {
		l.wake()
	}
	l.offer(d)
}

func (l *Loop) offer(d *Delivery) {
	if l.stopping.Load() {
		d.Nak(0)
		return
	}
	if p := l.cfg.Pool(d); p != nil {
		p.Offer(d)
		return
	}
	d.Nak(time.Second)
}

// fresh decides [Delivery.Fresh]. Beside the watermark it looks at the order: a server sends what it
// has not sent before in the order of the stream. A first delivery that falls behind an earlier one
// of the same pull comes from a consumer that was created anew or has forgotten.
func (l *Loop) fresh(s *slot, ack ackReply) bool {
	if ack.delivered != 1 {
		return false
	}
	if epoch := l.epoch.Load(); epoch != s.epoch {
		s.epoch, s.last = epoch, 0
	}
	if ack.streamSeq <= s.last {
		l.report(troubled, nil)
		return false
	}
	s.last = ack.streamSeq
	return ack.streamSeq > l.watermark.Load()
}

// hear handles what is not a message: the server's word about a pull.
func (l *Loop) hear(s *slot, m *nats.Msg) {
	if !s.present(m.Subject) {
		return // about a pull given up before
	}
	status, reason := m.Header.Get("Status"), m.Header.Get("Description")
	v := judge(status, reason, m.Header.Get("Nats-Pending-Messages") != "")
	if status == statusHeartbeat {
		s.heard.Store(l.from.now())
		l.healthy.Store(true)
	}
	if !v.ended {
		return
	}
	s.asked.Store(0)
	if v.trouble == 0 {
		l.wake()
		return
	}
	if status == statusNoResponder && reason == "" {
		reason = "no responders"
	}
	l.report(v.trouble, &PullError{Durable: l.cfg.Durable, Status: status, Reason: reason})
}

// report makes the watermark stale at once, before the next message is looked at, and lets the owner
// see to the rest.
func (l *Loop) report(t trouble, cause *PullError) {
	l.epoch.Add(1)
	l.watermark.Store(noFresh)
	if cause != nil {
		l.cause.Store(cause)
	}
	l.troubles.Or(uint32(t))
	l.wake()
}

// setWatermark publishes what was read during epoch. If the watermark has become stale since, either
// the first look sees that, or report's own store of noFresh comes after the one here, or, if it came
// between, the second look sees the epoch moved on and stores noFresh again.
func (l *Loop) setWatermark(epoch, last uint64) {
	if l.epoch.Load() != epoch {
		return
	}
	l.watermark.Store(last)
	if l.epoch.Load() != epoch {
		l.watermark.Store(noFresh)
	}
}
