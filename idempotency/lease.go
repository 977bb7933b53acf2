package idempotency

import (
	"sync/atomic"
	"time"
)

// lease is a session's lease by the local monotonic clock. It never outlasts the one the server
// measures, which starts when the server stores what was sent before. One goroutine extends it, any
// may ask. Whoever first sees it passed ends it by swapping in 0: from then on extending fails, so
// that no goroutine is told "over" and another one "still valid" later.
type lease struct {
	base  time.Time
	until atomic.Int64 // nanoseconds after base; 0 when over
}

// start begins the lease that ends d after sent. Before it, the lease is over.
func (l *lease) start(sent time.Time, d time.Duration) {
	l.base = sent
	l.until.Store(int64(d))
}

// valid says whether the lease still runs.
func (l *lease) valid() bool {
	for {
		until := l.until.Load()
		if until == 0 {
			return false
		}
		if int64(time.Since(l.base)) < until {
			return true
		}
		l.until.CompareAndSwap(until, 0) // or it was extended meanwhile: look again
	}
}

// extend lets the lease end d after sent, and says whether it does: not if it is over.
func (l *lease) extend(sent time.Time, d time.Duration) bool {
	for l.valid() {
		until := l.until.Load()
		if until != 0 && l.until.CompareAndSwap(until, int64(sent.Sub(l.base)+d)) {
			return l.valid()
		}
	}
	return false
}

// end ends the lease.
func (l *lease) end() { l.until.Store(0) }

// deadline is when the lease ends as things stand.
func (l *lease) deadline() time.Time { return l.base.Add(time.Duration(l.until.Load())) }
