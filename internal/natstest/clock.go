package natstest

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	_ "unsafe" // for go:linkname
)

// The server reads the age of messages off a clock of its own, which one goroutine of the process
// sets ten times a second. In a synctest bubble, where it is the year 2000, that clock makes every
// message with a maximum age look expired at once, and the goroutine cannot live in a bubble. So the
// tests of this module keep the clock themselves: it shows the bubble's time while one runs.

//go:linkname serverTime github.com/nats-io/nats-server/v2/server/ats.utime
var serverTime atomic.Int64 //nolint:gochecknoglobals // the server's

//go:linkname serverClocks github.com/nats-io/nats-server/v2/server/ats.refs
var serverClocks atomic.Int64 //nolint:gochecknoglobals // the server's

const tick = 100 * time.Millisecond

// fakeClock says that a bubble sets serverTime, and not the goroutine of keepClock.
var fakeClock atomic.Bool //nolint:gochecknoglobals // there is one server clock per process

// keepClock takes the server's clock over. The func it returns ends that.
func keepClock() (stop func()) {
	serverClocks.Add(1) // so the server starts no goroutine
	serverTime.Store(time.Now().UnixNano())
	stopTicking := setClock(func() bool { return !fakeClock.Load() })
	return func() {
		stopTicking()
		serverClocks.Add(-1)
	}
}

// setClock sets the server's clock to the present, of the bubble or of the world, while mine says so.
func setClock(mine func() bool) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(tick)
		defer t.Stop()
		for {
			select {
			case now := <-t.C:
				if mine() {
					serverTime.Store(now.UnixNano())
				}
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// FakeTime runs f in a synctest bubble in which embedded servers of [Start] live in the bubble's
// time, the ages of messages included. It runs alone: it fails a parallel test, since the clock is one
// for all, and the NATS client keeps timers for reuse, which may not cross the border of a bubble. The
// package's TestMain has to call [Main].
func FakeTime(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Setenv("CATGA_FAKE_TIME", "1") // panics in a parallel test
	fakeClock.Store(true)
	defer fakeClock.Store(false)
	dropPools()
	defer dropPools()
	synctest.Test(t, func(t *testing.T) {
		serverTime.Store(time.Now().UnixNano())
		t.Cleanup(setClock(func() bool { return true })) // ends after the cleanups of f, which stop the servers
		f(t)
	})
}

// dropPools empties every sync.Pool: what is in it survives one collection, not two.
func dropPools() {
	runtime.GC()
	runtime.GC()
}

// Pass lets d of a bubble's time go by: everything that is due in it happens.
func Pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // of fake time: it takes none
}
