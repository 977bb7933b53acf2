package streams

import (
	"time"

	"github.com/nats-io/nats.go"
)

// own runs until Close, or until the connection is closed and nothing waits.
func (p *Publisher) own(status chan nats.Status) {
	defer close(p.done)
	defer p.nc.RemoveStatusListener(status)
	tick := time.NewTicker(sweepTick)
	tick.Stop()
	defer tick.Stop()
	p.follow(false)
	for {
		select {
		case s := <-status:
			p.follow(broken(s))
		case <-p.kick:
			p.awake.Store(true)
			tick.Reset(sweepTick)
		case <-tick.C:
			p.follow(false) // a status event may have been dropped
			if p.sweep() == 0 && p.rest() {
				tick.Stop()
			}
		case <-p.quit:
			_ = p.sub.Unsubscribe() // fails only if closed, which is what is wanted
			p.endAll(ErrPublisherClosed)
			return
		}
	}
}

// follow takes note of the connection's state; broke says that it was lost meanwhile. Then nobody
// knows what has become of the messages in flight; when it is back, those that waited in its buffer
// have their time before them.
func (p *Publisher) follow(broke bool) {
	old, now := p.link.Load(), ready(p.nc)
	if old.ready != now {
		p.link.Store(&link{ready: now, changed: make(chan struct{})})
		close(old.changed)
	}
	switch {
	case p.nc.IsClosed(), broke && now, old.ready && !now:
		p.endAll(errDisconnected)
	case !old.ready && now:
		since := int64(p.now())
		p.calls.each(func(c *call, _ uint64) { c.since.Store(since) })
	}
}

func (p *Publisher) endAll(cause error) {
	p.calls.each(func(c *call, use uint64) { c.resolve(use, answer{err: cause}) })
}

// sweep ends calls that have waited too long and returns how many wait on.
func (p *Publisher) sweep() int {
	now, left := int64(p.now()), 0
	connected := p.nc.IsConnected()
	p.calls.each(func(c *call, use uint64) {
		late := now > c.limit.Load() || (connected && now > c.since.Load()+c.wait.Load())
		if !late || !c.resolve(use, answer{err: errNoAnswer}) {
			left++
		}
	})
	return left
}

// rest reports whether the owner may stop looking. A publisher marks its call as waiting before it
// looks at awake, and this clears awake before it looks at the calls: one of the two sees the other.
func (p *Publisher) rest() bool {
	p.awake.Store(false)
	waiting := 0
	p.calls.each(func(*call, uint64) { waiting++ })
	if waiting > 0 {
		p.awake.Store(true)
		return false
	}
	return true
}
