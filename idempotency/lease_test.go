package idempotency

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLease_EndsOnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lease
		if l.valid() {
			t.Error("a lease never started is valid")
		}
		l.start(time.Now(), time.Second)
		advance(time.Second - 1)
		if !l.valid() {
			t.Error("over before its time")
		}
		advance(1)
		if l.valid() {
			t.Error("valid after its time")
		}
		if l.extend(time.Now(), time.Hour) || l.valid() {
			t.Error("came back")
		}
	})
}

func TestLease_ExtendsFromTheSendingNotTheAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lease
		l.start(time.Now(), 4*time.Second)
		sent := time.Now()
		advance(3 * time.Second)
		if !l.extend(sent.Add(time.Second), 4*time.Second) {
			t.Fatal("not extended")
		}
		if got := time.Until(l.deadline()); got != 2*time.Second {
			t.Errorf("%v left, want 2s", got)
		}
		if l.extend(sent.Add(-4*time.Second), 4*time.Second) || l.valid() {
			t.Error("an extension that is over already is valid")
		}
	})
}

// Walks the race: the renewer has seen the lease valid, it passes, somebody sees it over, and only
// then does the renewer swap in the new end.
func TestLease_SeenOverCannotBeExtended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lease
		l.start(time.Now(), time.Second)
		seen := l.until.Load()
		advance(time.Second)
		if l.valid() || l.until.CompareAndSwap(seen, int64(time.Hour)) || l.valid() {
			t.Error("extended after it was seen over")
		}
	})
}

// One goroutine extends and many look: once anybody has seen the lease over, nobody sees it valid.
func TestLease_OverForOneIsOverForAll(t *testing.T) {
	t.Parallel()
	for range 50 {
		var l lease
		var over atomic.Bool
		var wg sync.WaitGroup
		l.start(time.Now(), time.Millisecond)
		wg.Go(func() {
			for l.extend(time.Now(), time.Duration(time.Now().Nanosecond()%50_000)) {
			}
			over.Store(true)
		})
		for range 4 {
			wg.Go(func() {
				for was := false; !was; {
					was = over.Load()
					if l.valid() && was {
						t.Error("valid after it was seen over")
					}
					if !was && !l.valid() {
						over.Store(true)
					}
				}
			})
		}
		wg.Wait()
	}
}
