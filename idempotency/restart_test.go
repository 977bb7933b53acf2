package idempotency

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
)

// restarting is a bed whose server can be restarted on its store.
type restarting struct {
	*bed

	dir string
}

func newRestarting(t *testing.T) *restarting {
	t.Helper()
	dir := t.TempDir()
	l := newLink(natstest.StartOn(t, dir))
	return &restarting{&bed{l, l.store(t)}, dir}
}

func (r *restarting) restart(t *testing.T) {
	t.Helper()
	natstest.Stop(r.link.srv.Load())
	r.link.srv.Store(natstest.StartOn(t, r.dir))
}

func TestRestart_BetweenClaimAndFinish(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		r := newRestarting(t)
		se := r.session(t)
		mustWithdraw(t, r.store, "withdrawn", "c", true)
		held := mustClaim(t, se, Ask{Key: "held"}, Granted).Claim
		done := mustClaim(t, se, Ask{Key: "done"}, Granted).Claim
		mustFinish(t, mustClaim(t, se, Ask{Key: "before"}, Granted).Claim, Finish{State: Done, Result: []byte("r")})

		r.restart(t)
		mustFinish(t, done, Finish{State: Done})
		other := r.another(t).session(t)
		mustClaim(t, other, Ask{Key: "done"}, WasDone)
		mustClaim(t, other, Ask{Key: "held"}, Busy)
		mustClaim(t, other, Ask{Key: "withdrawn", Call: "c"}, WasWithdrawn)
		if rec := mustGet(t, r.store, "before"); string(rec.Result) != "r" {
			t.Errorf("record %+v", rec)
		}
		mustFinish(t, held, Finish{State: Failed})
		if closed(se.Lost()) {
			t.Error("lost by a restart shorter than the lease")
		}
	})
}

// The server goes away in the middle of many writes: each outcome becomes known, and is right.
func TestRestart_WhileManyClaimAndFinish(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		r := newRestarting(t)
		se := r.session(t)
		const workers = 16
		var stop sync.WaitGroup
		restarted := make(chan struct{})
		finished := make([]int, workers)
		for w := range workers {
			stop.Go(func() {
				for i := 0; !closed(restarted) || i == 0; i++ {
					key := fmt.Sprintf("k.%d.%d", w, i)
					a, err := se.Claim(t.Context(), Ask{Key: key})
					if err != nil || a.Verdict != Granted {
						t.Errorf("claim %s: verdict %v, %v", key, a.Verdict, err)
						return
					}
					if err := a.Claim.Finish(t.Context(), Finish{State: Done, Result: []byte(key)}); err != nil {
						t.Error(err)
						return
					}
					finished[w] = i + 1
				}
			})
		}
		r.restart(t)
		r.restart(t)
		close(restarted)
		stop.Wait()
		for w, n := range finished {
			for i := range n {
				key := fmt.Sprintf("k.%d.%d", w, i)
				if rec := mustGet(t, r.store, key); rec.State != Done || string(rec.Result) != key || rec.Fails+rec.Kills != 0 {
					t.Errorf("record of %s: %+v", key, rec)
				}
			}
		}
	})
}

// The answer to a finish is lost: it is found stored. The write itself is lost: it is repeated.
func TestFinish_BecomesKnownAfterTheLinkWasDead(t *testing.T) { //nolint:paralleltest // fake time runs alone
	for _, tt := range []struct { //nolint:paralleltest // fake time runs alone
		name   string
		dead   func(*link)
		stored bool
	}{
		{"the answer is lost", func(l *link) { l.deafDown.Store(true) }, true},
		{"the write is lost", func(l *link) { l.cut() }, false},
	} {
		for _, state := range []State{Done, Failed} {
			t.Run(tt.name+" as "+string(state), func(t *testing.T) {
				natstest.FakeTime(t, func(t *testing.T) {
					b := newBed(t, quick)
					c := mustClaim(t, b.session(t), Ask{Key: "k"}, Granted).Claim
					witness := b.another(t).store
					tt.dead(b.link)
					ctx, cancel := withTimeout(t, 100*time.Millisecond)
					defer cancel()
					wantErr(t, c.Finish(ctx, Finish{State: state}), ErrUnknown)
					if rec := mustGet(t, witness, "k"); (rec.State == state) != tt.stored {
						t.Fatalf("record %+v, want it finished: %v", rec, tt.stored)
					}
					heal := time.AfterFunc(300*time.Millisecond, b.link.heal)
					defer heal.Stop()
					mustFinish(t, c, Finish{State: state})
					want := 0
					if state == Failed {
						want = 1
					}
					if rec := mustGet(t, witness, "k"); rec.State != state || rec.Fails != want {
						t.Errorf("record %+v, want %s once", rec, state)
					}
				})
			})
		}
	}
}

func TestWithdraw_BecomesKnownAfterTheAnswerWasLost(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t, quick)
		b.link.deafDown.Store(true)
		heal := time.AfterFunc(300*time.Millisecond, b.link.heal)
		defer heal.Stop()
		if rec := mustWithdraw(t, b.store, "k", "c", true); len(rec.Calls) != 1 {
			t.Errorf("record %+v, want one call", rec)
		}
	})
}

// A session that could not hear the answers to its renewals finds them stored and goes on.
func TestSession_OutlivesAShortSilence(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t, func(c *Config) { c.Lease = 2 * time.Second })
		se := b.session(t)
		b.link.deafDown.Store(true)
		until := se.lease.until.Load()
		heal := time.AfterFunc(700*time.Millisecond, b.link.heal) // one renewal was sent at 500ms
		defer heal.Stop()
		mustClaim(t, se, Ask{Key: "k"}, Granted)
		for se.lease.until.Load() == until && !closed(se.Lost()) {
			if err := pause(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		if closed(se.Lost()) {
			t.Error("lost")
		}
	})
}

func TestOpen_FailsWithoutAServer(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		srv := natstest.Start(t)
		js := natstest.JetStream(t, natstest.Connect(t, srv))
		natstest.Stop(srv)
		ctx, cancel := withTimeout(t, 10*time.Second)
		defer cancel()
		if _, err := Open(ctx, js, Config{Bucket: "b"}); err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("error %v, want that of the connection", err)
		}
	})
}
