package idempotency

import (
	"errors"
	"fmt"
	"sync"
	"testing"
)

func TestWithdraw_RemembersEveryCall(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if _, ok, err := b.store.Withdraw(t.Context(), "k", fmt.Sprint("c", i)); !ok || err != nil {
				t.Errorf("call %d: withdrawn %v, %v", i, ok, err)
			}
		})
	}
	wg.Wait()
	se := b.session(t)
	for i := range 12 {
		mustClaim(t, se, Ask{Key: "k", Call: fmt.Sprint("c", i)}, WasWithdrawn)
	}
	mustClaim(t, se, Ask{Key: "k"}, Granted)
	mustWithdraw(t, b.store, "k", "c0", true)    // it was, and no other run changes that
	mustWithdraw(t, b.store, "k", "late", false) // this one may be the one that runs
}

func TestWithdraw_NotWhatHasRun(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	se := b.session(t)
	for _, state := range []State{Running, Failed, Released, Done, Dead} {
		key := "k." + string(state)
		c := mustClaim(t, se, Ask{Key: key, Call: "c"}, Granted).Claim
		if state != Running {
			mustFinish(t, c, Finish{State: state, Result: []byte("r")})
		}
		if rec := mustWithdraw(t, b.store, key, "c", false); rec.State != state {
			t.Errorf("record %+v, want %s", rec, state)
		}
	}
	putRaw(t, b, "garbage", "x")
	mustWithdraw(t, b.store, "garbage", "c", true)
}

// Either the caller has withdrawn its call or a node runs it, never both and never neither.
func TestWithdraw_RacesWithAClaim(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	se, caller := b.session(t), b.another(t).store
	for i := range 100 {
		ask := Ask{Key: fmt.Sprint("k.", i), Call: "c"}
		var a Answer
		var withdrawn bool
		var claimErr, withdrawErr error
		var wg sync.WaitGroup
		wg.Go(func() { a, claimErr = se.Claim(t.Context(), ask) })
		wg.Go(func() { _, withdrawn, withdrawErr = caller.Withdraw(t.Context(), ask.Key, ask.Call) })
		wg.Wait()
		if err := errors.Join(claimErr, withdrawErr); err != nil {
			t.Fatal(err)
		}
		if withdrawn && a.Verdict != WasWithdrawn || !withdrawn && a.Verdict != Granted {
			t.Errorf("key %d: withdrawn %v and verdict %v", i, withdrawn, a.Verdict)
		}
	}
}

func TestWithdraw_RefusesACallWithoutToken(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	_, _, err := b.store.Withdraw(t.Context(), "k", "")
	if _, ok := errors.AsType[*KeyError](err); !ok {
		t.Errorf("error %v, want a *KeyError", err)
	}
}
