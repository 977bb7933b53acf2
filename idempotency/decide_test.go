package idempotency

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	const me, other = "me", "other"
	ask := Ask{Key: "k", Hash: "h1", Call: "c1", Fails: 1}
	rec := func(s State, session string) found {
		return found{present: true, Record: Record{State: s, Session: session, Nonce: "n", Kills: 2, Fails: 3, Hash: "h1", Error: "e", Calls: []string{"c0"}}}
	}
	with := func(f found, change func(*Record)) found {
		change(&f.Record)
		return f
	}
	kept := decision{step: take, next: Record{State: Running, Kills: 2, Fails: 3, Hash: "h1", Error: "e", Calls: []string{"c0"}}}
	killed := kept
	killed.next.Kills = 3
	fresh := decision{step: take, next: Record{State: Running, Fails: 1, Hash: "h1"}}
	says := func(v Verdict) decision { return decision{step: answer, verdict: v} }

	for _, tt := range []struct {
		name   string
		found  found
		busy   bool
		holder liveness
		want   decision
	}{
		{"an absent key is taken, with the failures known from elsewhere", found{}, false, unasked, fresh},
		{"what is no record is replaced", found{Record: Record{Revision: 7}, garbage: errNoLine}, false, unasked, fresh},
		{"failed keeps its counts", rec(Failed, other), false, unasked, kept},
		{"released keeps its counts", rec(Released, other), false, unasked, kept},
		{"withdrawn is taken by another call", rec(Withdrawn, ""), false, unasked, kept},
		{"withdrawn is not taken by the withdrawn call", with(rec(Withdrawn, ""), func(r *Record) { r.Calls = []string{"c1"} }), false, unasked, says(WasWithdrawn)},
		{"a withdrawn call does not wait for a later one", with(rec(Running, other), func(r *Record) { r.Calls = []string{"c1"} }), false, unasked, says(WasWithdrawn)},
		{"a withdrawn call does not run after a later one failed", with(rec(Failed, other), func(r *Record) { r.Calls = []string{"c1"} }), false, unasked, says(WasWithdrawn)},
		{"running elsewhere asks whether the session is over", rec(Running, other), false, unasked, decision{step: prove}},
		{"running in a living session is busy", rec(Running, other), false, living, says(Busy)},
		{"running in an ended session counts a kill", rec(Running, other), false, ended, killed},
		{"running here, but nobody is at it, counts nothing", rec(Running, me), false, unasked, kept},
		{"running here, and somebody is at it", rec(Running, me), true, unasked, says(Busy)},
		{"absent, but somebody here is at it", found{}, true, unasked, says(Busy)},
		{"failed, but somebody here is at it", rec(Failed, me), true, unasked, says(Busy)},
		{"running in an ended session, but somebody here is at it", rec(Running, other), true, ended, says(Busy)},
		{"done", rec(Done, other), false, unasked, says(WasDone)},
		{"done, though somebody here is still at it", rec(Done, me), true, unasked, says(WasDone)},
		{"dead", rec(Dead, other), false, unasked, says(WasDead)},
		{"another payload before done", with(rec(Done, other), func(r *Record) { r.Hash = "h2" }), false, unasked, says(Reused)},
		{"another payload before running", with(rec(Running, other), func(r *Record) { r.Hash = "h2" }), false, unasked, says(Reused)},
		{"another payload before busy", with(rec(Running, me), func(r *Record) { r.Hash = "h2" }), true, unasked, says(Reused)},
		{"an unknown payload is not compared, and becomes known", with(rec(Failed, other), func(r *Record) { r.Hash = "" }), false, unasked, kept},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := decide(tt.found, ask, me, tt.busy, tt.holder)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(decision{})); diff != "" {
				t.Errorf("decide (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGrant_TheLimitIsTheFirstCountNotRun(t *testing.T) {
	t.Parallel()
	for kills, want := range []Verdict{Granted, Granted, Granted, Exhausted, Exhausted} {
		if got := grant(Record{Kills: kills}, Ask{MaxKills: 3}); got != want {
			t.Errorf("%d kills of 3: %v, want %v", kills, got, want)
		}
	}
	if got := grant(Record{Kills: 1000}, Ask{}); got != Granted {
		t.Errorf("no limit: %v, want granted", got)
	}
}

func TestWithdrawing(t *testing.T) {
	t.Parallel()
	var full []string
	for i := range maxCalls {
		full = append(full, string(rune('0'+i)))
	}
	for _, tt := range []struct {
		name  string
		found found
		want  act
		calls int
	}{
		{"absent", found{}, write, 1},
		{"no record", found{garbage: errNoLine}, write, 1},
		{"withdrawn for another call", found{present: true, Record: Record{State: Withdrawn, Calls: []string{"c0"}}}, write, 2},
		{"withdrawn for as many calls as fit", found{present: true, Record: Record{State: Withdrawn, Calls: full}}, write, maxCalls},
		{"withdrawn before", found{present: true, Record: Record{State: Withdrawn, Calls: []string{"c1"}}}, stop, 0},
		{"running", found{present: true, Record: Record{State: Running}}, stop, 0},
		{"released", found{present: true, Record: Record{State: Released}}, stop, 0},
		{"failed", found{present: true, Record: Record{State: Failed}}, stop, 0},
		{"done", found{present: true, Record: Record{State: Done}}, stop, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := withdrawing(tt.found, "c1")
			if m.act != tt.want || len(m.next.Calls) != tt.calls {
				t.Fatalf("move %+v, want act %v with %d calls", m, tt.want, tt.calls)
			}
			if m.act == write && !m.next.withdrew("c1") {
				t.Errorf("calls %v lack the newest", m.next.Calls)
			}
		})
	}
}
