package idempotency

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/catga-go/catga/internal/natstest"
)

func TestFinish_CountsOnlyFailures(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	se := b.session(t)
	ask := Ask{Key: "k", Hash: "h"}
	for i, tt := range []struct {
		fin  Finish
		want Record
	}{
		{Finish{State: Failed, Error: "one"}, Record{State: Failed, Fails: 1, Error: "one"}},
		{Finish{State: Released}, Record{State: Released, Fails: 1, Error: "one"}},
		{Finish{State: Failed, Error: "two"}, Record{State: Failed, Fails: 2, Error: "two"}},
		{Finish{State: Dead, Error: "enough", Result: []byte("r")}, Record{State: Dead, Fails: 2, Error: "enough", Result: []byte("r")}},
	} {
		mustFinish(t, mustClaim(t, se, ask, Granted).Claim, tt.fin)
		got := mustGet(t, b.store, "k")
		if got.State != tt.want.State || got.Fails != tt.want.Fails || got.Error != tt.want.Error || !bytes.Equal(got.Result, tt.want.Result) || got.Hash != "h" {
			t.Errorf("step %d: record %+v, want %+v", i, got, tt.want)
		}
		if got.Created.IsZero() || got.Revision == 0 {
			t.Errorf("step %d: no time or revision: %+v", i, got)
		}
	}
}

func TestFinish_KeepsTheRecordForItsTTL(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t, func(c *Config) { c.TTL = time.Minute })
		se := b.session(t)
		mustFinish(t, mustClaim(t, se, Ask{Key: "short"}, Granted).Claim, Finish{State: Done, TTL: 1500 * time.Millisecond})
		mustFinish(t, mustClaim(t, se, Ask{Key: "least"}, Granted).Claim, Finish{State: Done, TTL: time.Nanosecond})
		mustFinish(t, mustClaim(t, se, Ask{Key: "long"}, Granted).Claim, Finish{State: Done})
		advance(900 * time.Millisecond)
		mustGet(t, b.store, "least")
		advance(time.Second)
		mustGet(t, b.store, "short") // rounded up to 2s
		advance(2 * time.Second)
		_, err := b.store.Get(t.Context(), "short")
		wantErr(t, err, ErrNotFound)
		_, err = b.store.Get(t.Context(), "least")
		wantErr(t, err, ErrNotFound)
		advance(50 * time.Second)
		mustGet(t, b.store, "long")
		advance(10 * time.Second)
		_, err = b.store.Get(t.Context(), "long")
		wantErr(t, err, ErrNotFound)
	})
}

// What is refused for its size can still be finished, and a result just under the limit is read.
func TestFinish_TooLargeKeepsTheClaim(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	se := b.session(t)
	limit := b.store.bucket.js.Conn().MaxPayload()
	c := mustClaim(t, se, Ask{Key: "k"}, Granted).Claim
	err := c.Finish(t.Context(), Finish{State: Done, Result: make([]byte, limit)})
	var tooLarge *TooLargeError
	if !errors.As(err, &tooLarge) || tooLarge.Key != "k" || tooLarge.Size <= limit || tooLarge.Limit != limit-headroom {
		t.Fatalf("error %v, want a *TooLargeError", err)
	}
	mustClaim(t, se, Ask{Key: "k"}, Busy)
	mustFinish(t, c, Finish{State: Dead, Error: err.Error()})
	mustClaim(t, se, Ask{Key: "k"}, WasDead)

	big := bytes.Repeat([]byte("\nx"), int(limit-headroom-100)/2)
	mustFinish(t, mustClaim(t, se, Ask{Key: "big"}, Granted).Claim, Finish{State: Done, Result: big})
	if a := mustClaim(t, se, Ask{Key: "big"}, WasDone); !bytes.Equal(a.Record.Result, big) {
		t.Errorf("result of %d bytes, want %d", len(a.Record.Result), len(big))
	}
}

func TestFinish_LateAfterATakeoverIsLost(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		zombie, next := b.session(t), b.another(t).session(t)
		late := mustClaim(t, zombie, Ask{Key: "k"}, Granted).Claim
		free := mustClaim(t, zombie, Ask{Key: "free"}, Granted).Claim
		crash(zombie)
		advance(testLease + time.Second)
		c := mustClaim(t, next, Ask{Key: "k"}, Granted).Claim
		for _, state := range []State{Done, Failed, Released, Dead} {
			wantErr(t, late.Finish(t.Context(), Finish{State: state}), ErrLost)
		}
		mustFinish(t, c, Finish{State: Done})
		wantErr(t, late.Finish(t.Context(), Finish{State: Done}), ErrLost)
		// What nobody took over is recorded all the same.
		mustFinish(t, free, Finish{State: Done})
		mustClaim(t, next, Ask{Key: "free"}, WasDone)
	})
}

func TestFinish_TwiceInOneWayIsHarmless(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	se := b.session(t)
	c := mustClaim(t, se, Ask{Key: "k"}, Granted).Claim
	mustFinish(t, c, Finish{State: Failed})
	mustFinish(t, c, Finish{State: Failed})
	if rec := mustGet(t, b.store, "k"); rec.Fails != 1 {
		t.Errorf("%d fails, want 1", rec.Fails)
	}
	wantErr(t, c.Finish(t.Context(), Finish{State: Done}), ErrLost)
	next := mustClaim(t, se, Ask{Key: "k"}, Granted).Claim
	wantErr(t, c.Finish(t.Context(), Finish{State: Failed}), ErrLost)
	mustClaim(t, se, Ask{Key: "k"}, Busy) // the old claim did not let go of the new one
	mustFinish(t, next, Finish{State: Done})
}

func TestFinish_RefusesWhatEndsNoRun(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	se := b.session(t)
	c := mustClaim(t, se, Ask{Key: "k"}, Granted).Claim
	for _, state := range []State{"", Running, Withdrawn, stateAlive, "finished"} {
		_, recordErr := se.Record(t.Context(), Ask{Key: "k2"}, Finish{State: state})
		for _, err := range []error{c.Finish(t.Context(), Finish{State: state}), recordErr} {
			var bad *FinishError
			if !errors.As(err, &bad) || bad.State != state {
				t.Errorf("state %q: %v, want a *FinishError", state, err)
			}
		}
	}
	mustFinish(t, c, Finish{State: Done})
}

// A record that was forgotten or destroyed while the run went on is written anew.
func TestFinish_RestoresWhatIsGone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		lose func(t *testing.T, b *bed)
	}{
		{"deleted", func(t *testing.T, b *bed) { t.Helper(); deleteRaw(t, b, "k") }},
		{"overwritten", func(t *testing.T, b *bed) { t.Helper(); putRaw(t, b, "k", "something else") }},
		{"purged", func(t *testing.T, b *bed) {
			t.Helper()
			if err := b.store.bucket.stream.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			c := mustClaim(t, b.session(t), Ask{Key: "k"}, Granted).Claim
			tt.lose(t, b)
			mustFinish(t, c, Finish{State: Done, Result: []byte("r")})
			if rec := mustGet(t, b.store, "k"); rec.State != Done || string(rec.Result) != "r" {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

func TestRecord_WritesOnlyWhereNothingStands(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	se, other := b.session(t), b.session(t)
	rec := mustRecord(t, se, Ask{Key: "fails", Fails: 2, Hash: "h"}, Finish{State: Failed, Error: "e"})
	if rec.State != Failed || rec.Fails != 3 || rec.Session != se.ID() || rec.Revision == 0 {
		t.Errorf("record %+v, want failed a third time", rec)
	}
	rec = mustRecord(t, other, Ask{Key: "fails"}, Finish{State: Done})
	if rec.State != Failed || rec.Session != se.ID() {
		t.Errorf("record %+v, want the first one's", rec)
	}
	c := mustClaim(t, other, Ask{Key: "fails", Hash: "h"}, Granted).Claim
	if rec = mustRecord(t, se, Ask{Key: "fails"}, Finish{State: Done}); rec.State != Running {
		t.Errorf("record %+v, want the running one", rec)
	}
	mustFinish(t, c, Finish{State: Done})

	mustRecord(t, se, Ask{Key: "done"}, Finish{State: Done})
	if rec = mustRecord(t, other, Ask{Key: "done"}, Finish{State: Failed}); rec.State != Done {
		t.Errorf("record %+v, want done", rec)
	}
	putRaw(t, b, "garbage", "x")
	if rec = mustRecord(t, se, Ask{Key: "garbage"}, Finish{State: Done}); rec.State != Done {
		t.Errorf("record %+v, want done", rec)
	}
}
