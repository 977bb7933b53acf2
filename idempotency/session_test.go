package idempotency

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/internal/natstest"
)

func TestSession_HoldsItsClaimsForAsLongAsItIsRenewed(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		se, other := b.session(t), b.another(t).session(t)
		c := mustClaim(t, se, Ask{Key: "k"}, Granted).Claim
		for range 60 {
			advance(testLease / 2)
			mustClaim(t, other, Ask{Key: "k"}, Busy)
		}
		mustFinish(t, c, Finish{State: Done})
		mustClaim(t, other, Ask{Key: "k"}, WasDone)
		if closed(se.Lost()) {
			t.Error("lost")
		}
	})
}

// The link goes dead a while after the last renewal: the lease counts from that one.
func TestSession_LostWhenTheLeaseMayHavePassed(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		se, other := b.session(t), b.another(t).session(t)
		mustClaim(t, se, Ask{Key: "k"}, Granted)
		renewed := time.Now()
		advance(testLease / 10)
		b.link.cut()

		// Whenever the key can be taken over, the session already knows that it is lost.
		var lost, taken time.Duration
		for taken == 0 {
			advance(100 * time.Millisecond)
			if lost == 0 && closed(se.Lost()) {
				lost = time.Since(renewed)
			}
			if a, err := other.Claim(t.Context(), Ask{Key: "k"}); err != nil {
				t.Fatal(err)
			} else if a.Verdict == Granted {
				taken = time.Since(renewed)
			}
		}
		if lost != testLease || taken < lost || taken > testLease+time.Second {
			t.Errorf("lost after %v, taken over after %v; want both at %v, in this order", lost, taken, testLease)
		}
		_, err := se.Claim(t.Context(), Ask{Key: "k2"})
		wantErr(t, err, ErrSessionOver)
	})
}

// The answer comes when the lease has passed: the server may have stored the claim after others were
// free to declare the session over.
func TestSession_GrantsNothingAfterItsLease(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		se := b.session(t)
		se.quit() // as if it were paused: no renewal follows
		<-se.gone
		advance(testLease - 200*time.Millisecond)
		b.link.slowDown.Store(int64(500 * time.Millisecond))
		_, err := se.Claim(t.Context(), Ask{Key: "k"})
		wantErr(t, err, ErrSessionOver)
		b.link.slowDown.Store(0)
		if rec := mustGet(t, b.store, "k"); rec.Session != se.ID() {
			t.Errorf("record %+v: the claim was not even written", rec)
		}
		advance(time.Second)
		mustClaim(t, b.another(t).session(t), Ask{Key: "k"}, Granted)
	})
}

func TestSession_LostWhenTheConnectionIsClosed(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		se := b.session(t)
		started := time.Now()
		b.store.bucket.js.Conn().Close()
		<-se.Lost()
		if took := time.Since(started); took != testLease {
			t.Errorf("lost after %v, want the lease", took)
		}
		wantErr(t, se.End(t.Context()), nats.ErrConnectionClosed)
	})
}

// Somebody deletes the session's key with the tools, and another session takes it for over.
func TestSession_LostWhenItMeetsItsTombstone(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		se, other := b.session(t), b.another(t).session(t)
		c := mustClaim(t, se, Ask{Key: "k"}, Granted).Claim
		deleteRaw(t, b, se.key)
		mustClaim(t, other, Ask{Key: "k"}, Granted)
		advance(testLease/4 + time.Millisecond)
		if !closed(se.Lost()) {
			t.Error("not lost after the next renewal")
		}
		_, err := se.Claim(t.Context(), Ask{Key: "k2"})
		wantErr(t, err, ErrSessionOver)
		wantErr(t, c.Finish(t.Context(), Finish{State: Done}), ErrLost)
		if err := se.End(t.Context()); err != nil {
			t.Errorf("end after the loss: %v", err)
		}
	})
}

func TestSession_LivesOnWhenItsKeyIsDeletedOrOverwritten(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		se := b.session(t)
		deleteRaw(t, b, se.key)
		advance(2 * testLease)
		putRaw(t, b, se.key, "something else")
		advance(2 * testLease)
		c := mustClaim(t, se, Ask{Key: "k"}, Granted).Claim
		mustClaim(t, b.another(t).session(t), Ask{Key: "k"}, Busy)
		mustFinish(t, c, Finish{State: Done})
	})
}

func TestSession_AfterItsEndNobodyWaits(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		se, other := b.session(t), b.another(t).session(t)
		mustClaim(t, se, Ask{Key: "k"}, Granted)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if err := se.End(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := se.End(t.Context()); err != nil {
			t.Errorf("end again: %v", err)
		}
		if closed(se.Lost()) {
			t.Error("lost by its end")
		}
		_, err := se.Claim(t.Context(), Ask{Key: "k"})
		wantErr(t, err, ErrSessionOver)
		a := mustClaim(t, other, Ask{Key: "k"}, Granted)
		if a.Claim.Kills() != 1 {
			t.Errorf("%d kills, want 1", a.Claim.Kills())
		}
	})
}

func TestSession_StaysOverAfterItsTombstoneExpired(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		se, other := b.session(t), b.another(t).session(t)
		mustClaim(t, se, Ask{Key: "k"}, Granted)
		if err := se.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		advance(tombstoneTTL + time.Minute)
		if f, err := b.store.look(t.Context(), se.key); err != nil || f.present {
			t.Fatalf("tombstone %+v, %v: want it gone", f, err)
		}
		mustClaim(t, other, Ask{Key: "k"}, Granted)
	})
}

// The goroutine is gone even if the server cannot be told, as the end of the fake time shows.
func TestSession_EndWithoutAServerOnlyStops(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		se := b.session(t)
		b.link.cut()
		ctx, cancel := withTimeout(t, 3*time.Second)
		defer cancel()
		if err := se.End(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnknown) {
			t.Errorf("end: %v, want the deadline and the unknown outcome", err)
		}
		if !closed(se.gone) {
			t.Error("still running")
		}
	})
}

func TestStartSession_GivesUpWithItsContext(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		b.link.cut()
		ctx, cancel := withTimeout(t, time.Minute)
		defer cancel()
		_, err := b.store.StartSession(ctx)
		wantErr(t, err, context.DeadlineExceeded)
	})
}

// The session outlives the context it was started with.
func TestStartSession_DoesNotDependOnItsContext(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		ctx, cancel := context.WithCancel(t.Context())
		se, err := b.store.StartSession(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		advance(3 * testLease)
		mustClaim(t, se, Ask{Key: "k"}, Granted)
		if err := se.End(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
