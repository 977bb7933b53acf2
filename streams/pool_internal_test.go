package streams

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/internal/natstest"
)

// fake is an origin without a loop: it counts released credits, and what is sent goes to a subject.
type fake struct {
	origin
	released atomic.Int64
	sent     chan string
}

func newFake(t *testing.T, ackWait time.Duration) *fake {
	t.Helper()
	nc := natstest.Connect(t, natstest.Start(t))
	f := &fake{sent: make(chan string, 10_000)}
	f.nc, f.base = nc, time.Now()
	f.wait.Store(int64(ackWait))
	f.release = func() { f.released.Add(1) }
	if _, err := nc.Subscribe("ack", func(m *nats.Msg) {
		select {
		case f.sent <- string(m.Data):
		default: // more than a test looks at
		}
	}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fake) delivery() *Delivery {
	d := &Delivery{from: &f.origin, reply: "ack"}
	d.expires.Store(f.now() + f.wait.Load())
	return d
}

func drain(t *testing.T, p *Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestDelivery_OnlyTheFirstSettlementCounts(t *testing.T) {
	t.Parallel()
	f := newFake(t, time.Minute)
	for name, settle := range map[string]struct {
		first func(*Delivery) bool
		want  string
	}{
		"ack":       {(*Delivery).Ack, "+ACK"},
		"nak":       {func(d *Delivery) bool { return d.Nak(0) }, "-NAK"},
		"delay nak": {func(d *Delivery) bool { return d.Nak(1500 * time.Millisecond) }, `-NAK {"delay":1500000000}`},
	} {
		before := f.released.Load()
		d := f.delivery()
		if !settle.first(d) || d.Ack() || d.Nak(0) || d.Renew() || d.Start() {
			t.Errorf("%s: want true once and false after it", name)
		}
		d.Drop()
		if got := <-f.sent; got != settle.want {
			t.Errorf("%s: sent %q, want %q", name, got, settle.want)
		}
		if f.released.Load() != before+1 {
			t.Errorf("%s: released %d credits, want 1", name, f.released.Load()-before)
		}
	}
	d := f.delivery()
	d.Drop()
	if d.Ack() || f.released.Load() != 4 {
		t.Error("Ack after Drop counted")
	}
	if err := f.nc.Flush(); err != nil || len(f.sent) > 0 {
		t.Errorf("%d more messages sent, error %v", len(f.sent), err)
	}
}

func TestDelivery_RaceOfSettlementsReleasesOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t, time.Minute)
	for range 200 {
		d := f.delivery()
		var wg sync.WaitGroup
		var counted atomic.Int64
		for _, settle := range []func() bool{d.Ack, func() bool { return d.Nak(0) }, func() bool { d.Drop(); return false }, d.Ack} {
			wg.Go(func() {
				if settle() {
					counted.Add(1)
				}
			})
		}
		wg.Wait()
		if counted.Load() > 1 {
			t.Fatalf("%d settlements counted", counted.Load())
		}
	}
	if f.released.Load() != 200 {
		t.Errorf("released %d credits, want 200", f.released.Load())
	}
}

func TestDelivery_NothingIsSentLate(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		f := newFake(t, 10*time.Second)
		for name, settle := range map[string]func(*Delivery) bool{
			"ack": (*Delivery).Ack, "nak": func(d *Delivery) bool { return d.Nak(0) }, "renew": (*Delivery).Renew,
		} {
			d := f.delivery()
			natstest.Pass(9500*time.Millisecond + 1) // the last twentieth is for the way
			if settle(d) {
				t.Errorf("%s was sent late", name)
			}
		}
		d := f.delivery()
		natstest.Pass(9 * time.Second)
		if !d.Renew() {
			t.Error("not renewed in time")
		}
		natstest.Pass(9 * time.Second)
		if !d.Ack() {
			t.Error("not acknowledged although renewed")
		}
		synctest.Wait()
		if len(f.sent) != 2 {
			t.Errorf("%d messages sent, want renewal and ack", len(f.sent))
		}
	})
}

func TestDelivery_StartDropsWhatWaitedTooLong(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		for _, tt := range []struct {
			waited time.Duration
			starts bool
			sent   int
		}{
			{0, true, 0},
			{3 * time.Second, true, 0},
			{4 * time.Second, true, 1}, // renewed
			{7900 * time.Millisecond, true, 1},
			{8 * time.Second, false, 0},
			{time.Minute, false, 0},
		} {
			f := newFake(t, 10*time.Second)
			d := f.delivery()
			natstest.Pass(tt.waited)
			starts := d.Start()
			synctest.Wait()
			if starts != tt.starts || len(f.sent) != tt.sent {
				t.Errorf("after %v: starts %v, sent %d; want %v, %d", tt.waited, starts, len(f.sent), tt.starts, tt.sent)
			}
			if dropped := f.released.Load() == 1; dropped == tt.starts {
				t.Errorf("after %v: dropped %v", tt.waited, dropped)
			}
		}
	})
}

func TestDelivery_NothingIsSentWhileDisconnected(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := natstest.Connect(t, srv) // its reconnect buffer would take an ack
	f := &fake{}
	f.nc, f.base, f.release = nc, time.Now(), func() { f.released.Add(1) }
	f.wait.Store(int64(time.Minute))
	down := nc.StatusChanged(nats.RECONNECTING)
	natstest.Stop(srv)
	<-down
	if d := f.delivery(); d.Ack() || f.released.Load() != 1 {
		t.Error("acknowledged without a connection")
	}
}

func TestPool_QueueOverflowKeepsOrderAndLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFake(t, time.Minute)
	const n = 5*queueLength + 7
	hold := make(chan struct{})
	got := make(chan uint64, n)
	p := NewPool(1, func(d *Delivery) {
		<-hold
		got <- d.Sequence
	})
	for i := range n {
		d := f.delivery()
		d.Sequence = uint64(i)
		p.Offer(d) // must not block, although nothing moves
	}
	close(hold)
	for i := range n {
		if seq := <-got; seq != uint64(i) {
			t.Fatalf("ran %d as number %d", seq, i)
		}
	}
	drain(t, p)
	if f.released.Load() != n {
		t.Errorf("released %d credits, want %d", f.released.Load(), n)
	}
}

func TestPool_OffersDuringDrainAreAllSettled(t *testing.T) {
	t.Parallel()
	f := newFake(t, time.Minute)
	for range 20 {
		f.released.Store(0)
		p := NewPool(2, func(d *Delivery) { d.Ack() })
		var wg sync.WaitGroup
		const offers = 4 * 500
		for range 4 {
			wg.Go(func() {
				for range 500 {
					p.Offer(f.delivery())
				}
			})
		}
		drain(t, p)
		wg.Wait()
		if f.released.Load() != offers {
			t.Fatalf("released %d credits, want %d", f.released.Load(), offers)
		}
	}
}

func TestPool_DrainCountsWhatRuns(t *testing.T) {
	t.Parallel()
	f := newFake(t, time.Minute)
	hold, started := make(chan struct{}), make(chan struct{}, 3)
	p := NewPool(3, func(*Delivery) {
		started <- struct{}{}
		<-hold
	})
	for range 5 {
		p.Offer(f.delivery())
	}
	for range 3 {
		<-started
	}
	if p.Running() != 3 || p.Workers() != 3 {
		t.Errorf("running = %d of %d, want 3 of 3", p.Running(), p.Workers())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		e, ok := p.Drain(ctx).(*DrainError) //nolint:errorlint // it is this or nothing
		if !ok || e.Running != 3 {
			t.Fatalf("Drain = %v, want 3 running", e)
		}
	}
	for range 2 { // what waited went back
		if got := <-f.sent; got != "-NAK" {
			t.Errorf("sent %q, want -NAK", got)
		}
	}
	close(hold)
	drain(t, p)
	drain(t, p)
	if p.Running() != 0 || f.released.Load() != 5 {
		t.Errorf("running %d, released %d", p.Running(), f.released.Load())
	}
	p.Offer(f.delivery())
	if f.released.Load() != 6 {
		t.Error("an offer after the drain was not handed back")
	}
}

func TestPool_RenewsWhatRunsAlsoDuringADrain(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		f := newFake(t, 6*time.Second)
		p := NewPool(2, func(d *Delivery) {
			natstest.Pass(time.Minute)
			if !d.Ack() {
				t.Error("the ack wait ran out")
			}
		})
		p.Offer(f.delivery())
		natstest.Pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := p.Drain(ctx); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := len(f.sent) - 1; n < 15 || n > 30 {
			t.Errorf("renewed %d times in a minute, want about every 2 to 3 s", n)
		}
	})
}
