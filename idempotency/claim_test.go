package idempotency

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
)

// Every row of the table of states, on a real server: what another session is told.
func TestClaim_AfterWhateverHappenedToTheKey(t *testing.T) { //nolint:paralleltest // fake time runs alone
	type scene struct {
		*bed

		t     *testing.T
		first *Session
		ask   Ask
	}
	held := func(s scene) *Claim { return mustClaim(s.t, s.first, s.ask, Granted).Claim }
	for _, tt := range []struct { //nolint:paralleltest // fake time runs alone
		name   string
		before func(s scene)
		want   Verdict
		kills  int
		fails  int
	}{
		{"nothing", func(scene) {}, Granted, 0, 0},
		{"running in a living session", func(s scene) { held(s) }, Busy, 0, 0},
		{"running in an ended session", func(s scene) {
			held(s)
			if err := s.first.End(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
		}, Granted, 1, 0},
		{"running in a killed session, lease not passed", func(s scene) {
			held(s)
			crash(s.first)
			advance(testLease - time.Second)
		}, Busy, 0, 0},
		{"running in a killed session, lease passed", func(s scene) {
			held(s)
			crash(s.first)
			advance(testLease + time.Second)
		}, Granted, 1, 0},
		{"done", func(s scene) { mustFinish(s.t, held(s), Finish{State: Done}) }, WasDone, 0, 0},
		{"dead", func(s scene) { mustFinish(s.t, held(s), Finish{State: Dead, Error: "no"}) }, WasDead, 0, 0},
		{"failed", func(s scene) { mustFinish(s.t, held(s), Finish{State: Failed}) }, Granted, 0, 1},
		{"failed twice", func(s scene) {
			mustFinish(s.t, held(s), Finish{State: Failed})
			mustFinish(s.t, held(s), Finish{State: Failed})
		}, Granted, 0, 2},
		{"released", func(s scene) { mustFinish(s.t, held(s), Finish{State: Released}) }, Granted, 0, 0},
		{"this call withdrawn", func(s scene) { mustWithdraw(s.t, s.store, s.ask.Key, s.ask.Call, true) }, WasWithdrawn, 0, 0},
		{"another call withdrawn", func(s scene) { mustWithdraw(s.t, s.store, s.ask.Key, "other", true) }, Granted, 0, 0},
		{"another payload done", func(s scene) {
			mustFinish(s.t, mustClaim(s.t, s.first, Ask{Key: s.ask.Key, Hash: "other"}, Granted).Claim, Finish{State: Done})
		}, Reused, 0, 0},
		{"another payload running", func(s scene) { mustClaim(s.t, s.first, Ask{Key: s.ask.Key, Hash: "other"}, Granted) }, Reused, 0, 0},
		{"an event's first run done", func(s scene) { mustRecord(s.t, s.first, s.ask, Finish{State: Done}) }, WasDone, 0, 0},
		{"an event's first run failed", func(s scene) { mustRecord(s.t, s.first, s.ask, Finish{State: Failed}) }, Granted, 0, 1},
		{"expired", func(s scene) {
			mustFinish(s.t, held(s), Finish{State: Done, TTL: time.Minute})
			advance(time.Minute + time.Second)
		}, Granted, 0, 0},
		{"overwritten with something else", func(s scene) {
			held(s)
			putRaw(s.t, s.bed, s.ask.Key, "something else")
		}, Granted, 0, 0},
		{"deleted with the tools", func(s scene) {
			held(s)
			deleteRaw(s.t, s.bed, s.ask.Key)
		}, Granted, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			natstest.FakeTime(t, func(t *testing.T) {
				b := newBed(t)
				s := scene{b, t, b.session(t), Ask{Key: "r.K.1", Hash: "h", Call: "call", MaxKills: 3}}
				tt.before(s)
				second := b.another(t).session(t)
				a := mustClaim(t, second, s.ask, tt.want)
				if tt.want == Granted && (a.Claim.Kills() != tt.kills || a.Claim.Fails() != tt.fails || a.Claim.Key() != s.ask.Key) {
					t.Errorf("claim of %s counts %d kills and %d fails, want %d and %d", a.Claim.Key(), a.Claim.Kills(), a.Claim.Fails(), tt.kills, tt.fails)
				}
				if a.Claim != nil {
					mustFinish(t, a.Claim, Finish{State: Done, Result: []byte("r")})
					if rec := mustGet(t, b.store, s.ask.Key); rec.State != Done || string(rec.Result) != "r" || rec.Session != second.ID() {
						t.Errorf("record %+v, want done by the second", rec)
					}
				}
			})
		})
	}
}

func putRaw(tb testing.TB, b *bed, key, value string) {
	tb.Helper()
	kv, err := b.store.bucket.js.KeyValue(tb.Context(), "dedup")
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := kv.PutString(tb.Context(), key, value); err != nil {
		tb.Fatal(err)
	}
}

func deleteRaw(tb testing.TB, b *bed, key string) {
	tb.Helper()
	kv, err := b.store.bucket.js.KeyValue(tb.Context(), "dedup")
	if err != nil {
		tb.Fatal(err)
	}
	if err := kv.Delete(tb.Context(), key); err != nil {
		tb.Fatal(err)
	}
}

func mustWithdraw(tb testing.TB, s *Store, key, call string, want bool) Record {
	tb.Helper()
	rec, ok, err := s.Withdraw(tb.Context(), key, call)
	if err != nil || ok != want {
		tb.Fatalf("withdraw %s of %s: %v, %v; want %v; record %+v", call, key, ok, err, want, rec)
	}
	return rec
}

func mustRecord(tb testing.TB, se *Session, ask Ask, fin Finish) Record {
	tb.Helper()
	rec, err := se.Record(tb.Context(), ask, fin)
	if err != nil {
		tb.Fatal(err)
	}
	return rec
}

func TestClaim_SecondOfOneSessionIsBusyUntilTheFirstIsFinished(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	se := b.session(t)
	c := mustClaim(t, se, Ask{Key: "k", Hash: "h"}, Granted).Claim
	mustClaim(t, se, Ask{Key: "k", Hash: "h"}, Busy)
	mustClaim(t, se, Ask{Key: "k", Hash: "other"}, Reused)
	mustClaim(t, se, Ask{Key: "k2"}, Granted)
	mustFinish(t, c, Finish{State: Released})
	mustFinish(t, mustClaim(t, se, Ask{Key: "k", Hash: "h"}, Granted).Claim, Finish{State: Done})
	mustClaim(t, se, Ask{Key: "k", Hash: "h"}, WasDone)
}

// A busy key may still be answered when its record is final or its call withdrawn.
func TestClaim_WithdrawnCallIsToldSoWhileAnotherRuns(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	se := b.session(t)
	mustWithdraw(t, b.store, "k", "c1", true)
	c := mustClaim(t, se, Ask{Key: "k", Call: "c2"}, Granted).Claim
	mustClaim(t, se, Ask{Key: "k", Call: "c1"}, WasWithdrawn)
	mustFinish(t, c, Finish{State: Failed})
	mustClaim(t, se, Ask{Key: "k", Call: "c1"}, WasWithdrawn)
	mustFinish(t, mustClaim(t, se, Ask{Key: "k", Call: "c2"}, Granted).Claim, Finish{State: Done})
	mustClaim(t, se, Ask{Key: "k", Call: "c1"}, WasDone)
}

func TestClaim_TakesFailuresKnownFromElsewhere(t *testing.T) {
	t.Parallel()
	se := newBed(t).session(t)
	c := mustClaim(t, se, Ask{Key: "k", Fails: 2}, Granted).Claim
	if c.Fails() != 2 {
		t.Errorf("%d fails, want 2", c.Fails())
	}
	mustFinish(t, c, Finish{State: Failed, Error: "third"})
	a := mustClaim(t, se, Ask{Key: "k", Fails: 1}, Granted)
	if a.Claim.Fails() != 3 || a.Record.Error != "third" {
		t.Errorf("record %+v, want 3 fails, the record's", a.Record)
	}
}

// Sessions die one after another while they run the same key.
func TestClaim_KillsCountToTheLimitAcrossSessions(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		ask := Ask{Key: "k", MaxKills: 3}
		for kills := range 3 {
			se := b.session(t)
			if c := mustClaim(t, se, ask, Granted).Claim; c.Kills() != kills {
				t.Fatalf("%d kills, want %d", c.Kills(), kills)
			}
			crash(se)
			advance(testLease + time.Second)
		}
		giver := b.session(t)
		mustClaim(t, giver, ask, Exhausted)
		crash(giver) // before it has finished it as dead
		advance(testLease + time.Second)

		next := b.session(t)
		c := mustClaim(t, next, ask, Exhausted).Claim
		mustFinish(t, c, Finish{State: Released}) // a drain in between does not forget it either
		c = mustClaim(t, next, ask, Exhausted).Claim
		mustFinish(t, c, Finish{State: Dead, Error: "killed 3 processes"})
		if a := mustClaim(t, next, ask, WasDead); a.Record.Error != "killed 3 processes" || a.Record.Kills != 4 {
			t.Errorf("record %+v", a.Record)
		}
	})
}

// After an outcome it never learned, a session finds its own record and goes on with it.
func TestClaim_SessionTakesUpItsOwnOrphan(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t, quick)
		se := b.session(t)
		b.link.deafDown.Store(true)
		ctx, cancel := withTimeout(t, 100*time.Millisecond)
		defer cancel()
		_, err := se.Claim(ctx, Ask{Key: "k"})
		wantErr(t, err, ErrUnknown)
		b.link.heal()
		if rec := mustGet(t, b.store, "k"); rec.State != Running || rec.Session != se.ID() {
			t.Fatalf("record %+v, want the orphan", rec)
		}
		c := mustClaim(t, se, Ask{Key: "k"}, Granted).Claim
		if c.Kills() != 0 || c.Fails() != 0 {
			t.Errorf("counts %+v", c.record)
		}
		mustFinish(t, c, Finish{State: Done})
	})
}

// A claim whose answer is lost is found stored, not written again; a write that is lost is repeated.
func TestClaim_BecomesKnownAfterTheLinkWasDead(t *testing.T) { //nolint:paralleltest // fake time runs alone
	for _, tt := range []struct { //nolint:paralleltest // fake time runs alone
		name   string
		dead   func(*link)
		stored bool
	}{
		{"the answer is lost", func(l *link) { l.deafDown.Store(true) }, true},
		{"the write is lost", func(l *link) { l.cut() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			natstest.FakeTime(t, func(t *testing.T) {
				b := newBed(t, quick)
				se, witness := b.session(t), b.another(t).store
				tt.dead(b.link)
				var before Record
				heal := time.AfterFunc(300*time.Millisecond, func() {
					before, _ = witness.Get(t.Context(), "k")
					b.link.heal()
				})
				defer heal.Stop()
				a := mustClaim(t, se, Ask{Key: "k"}, Granted)
				if tt.stored != (a.Record.Revision == before.Revision) {
					t.Errorf("claimed %+v; stored while the link was dead: %+v", a.Record, before)
				}
				mustFinish(t, a.Claim, Finish{State: Done})
				if b.store.Stats().Unsettled == 0 {
					t.Error("no outcome was unknown")
				}
			})
		})
	}
}

func TestClaim_OneWinnerAmongRacers(t *testing.T) {
	t.Parallel()
	const racers, keys = 20, 50
	b := newBed(t)
	var sessions []*Session
	for range 4 {
		sessions = append(sessions, b.another(t).session(t))
	}
	var won [keys]atomic.Int64
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			for k := range keys {
				a, err := sessions[i%len(sessions)].Claim(t.Context(), Ask{Key: fmt.Sprintf("r.K.%d", k)})
				switch {
				case err != nil:
					t.Error(err)
				case a.Verdict == Granted:
					won[k].Add(1)
				case a.Verdict != Busy:
					t.Errorf("verdict %v", a.Verdict)
				}
			}
		})
	}
	wg.Wait()
	for k := range won {
		if n := won[k].Load(); n != 1 {
			t.Errorf("key %d: %d winners", k, n)
		}
	}
}

// All racers prove the death of the same session and one of them takes over.
func TestClaim_OneWinnerAmongRacersForADeadSession(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		dead := b.session(t)
		mustClaim(t, dead, Ask{Key: "k"}, Granted)
		crash(dead)
		advance(testLease + time.Second)
		var won, kills atomic.Int64
		var wg sync.WaitGroup
		for range 10 {
			se := b.another(t).session(t)
			wg.Go(func() {
				a, err := se.Claim(t.Context(), Ask{Key: "k"})
				if err != nil {
					t.Error(err)
				}
				if a.Verdict == Granted {
					won.Add(1)
					kills.Add(int64(a.Claim.Kills()))
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || kills.Load() != 1 {
			t.Errorf("%d winners with %d kills, want 1 and 1", won.Load(), kills.Load())
		}
	})
}

func TestClaim_RefusesKeysThatNoneCanHave(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	se := b.session(t)
	for _, key := range []string{"", "a b", "_s." + se.ID()} {
		_, claimErr := se.Claim(t.Context(), Ask{Key: key})
		_, recordErr := se.Record(t.Context(), Ask{Key: key}, Finish{State: Done})
		_, getErr := b.store.Get(t.Context(), key)
		_, _, withdrawErr := b.store.Withdraw(t.Context(), key, "c")
		for _, err := range []error{claimErr, recordErr, getErr, withdrawErr} {
			if _, ok := errors.AsType[*KeyError](err); !ok {
				t.Errorf("key %q: %v, want a *KeyError", key, err)
			}
		}
	}
}

func TestGet_SaysWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	_, err := b.store.Get(t.Context(), "k")
	wantErr(t, err, ErrNotFound)
	putRaw(t, b, "k", "garbage")
	_, err = b.store.Get(t.Context(), "k")
	var bad *UndecodableError
	if !errors.As(err, &bad) || bad.Key != "k" || bad.Revision == 0 {
		t.Errorf("error %v, want an *UndecodableError", err)
	}
	if n := b.store.Stats().Undecodable; n != 1 {
		t.Errorf("%d undecodable, want 1", n)
	}
	deleteRaw(t, b, "k")
	_, err = b.store.Get(t.Context(), "k")
	wantErr(t, err, ErrNotFound)
}

// A refusal says that the expected revision is not the last. The server says it too when it could
// not look, so that only a read tells.
func TestPut_TellsConflictsFromOtherRefusals(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	put := func(cas uint64) error {
		_, err := b.store.bucket.put(t.Context(), "k", []byte("v"), cas, 0)
		return err
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	wantErr(t, put(0), errConflict)
	wantErr(t, put(99), errConflict)
	var open *unsettledError
	for _, tt := range []struct {
		code      int
		errorCode jetstream.ErrorCode
		unsettled bool
	}{{503, 10023, true}, {503, 10077, true}, {500, 10047, true}, {500, 10009, true}, {429, 10167, true}, {409, 10158, true}, {400, 10165, false}, {400, 10060, false}} {
		err := b.store.bucket.classify("k", nil, fmt.Errorf("nats: %w", &jetstream.APIError{Code: tt.code, ErrorCode: tt.errorCode}))
		if errors.As(err, &open) != tt.unsettled || errors.Is(err, errConflict) {
			t.Errorf("code %d: %v", tt.errorCode, err)
		}
	}
}
