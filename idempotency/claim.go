package idempotency

import (
	"context"
	"fmt"
)

// Answer is what [Session.Claim] found or did.
type Answer struct {
	Verdict Verdict
	Claim   *Claim // for Granted and Exhausted, else nil
	Record  Record // what stands under the key; with a Claim: its own, with the counts so far
}

// A Claim is the right to run what a key stands for, until [Claim.Finish].
type Claim struct {
	session *Session
	key     string
	record  Record // as it was written; never changed
}

// Key is what was claimed.
func (c *Claim) Key() string { return c.key }

// Kills is how many runs before this one ended because their session was over: crashes, perhaps of
// a neighbour.
func (c *Claim) Kills() int { return c.record.Kills }

// Fails is how many runs before this one failed.
func (c *Claim) Fails() int { return c.record.Fails }

// Claim asks to run what ask.Key stands for. Of all askers one at a time is told [Granted], until it
// finishes or its session is over. When the other verdicts say no they are final, except [Busy].
// [Reused] comes before all others.
//
// Claim asks the server until it knows, or until ctx ends, which it should when the session is lost:
// what it may have written then is this session's, which may claim it again; other sessions are told
// Busy until this one is over. Other errors are [ErrSessionOver], and a [*KeyError] or
// [*TooLargeError] for what can never be claimed.
func (se *Session) Claim(ctx context.Context, ask Ask) (Answer, error) {
	if err := checkKey(ask.Key); err != nil {
		return Answer{}, err
	}
	c := &Claim{session: se, key: ask.Key}
	_, busy := se.inFlight.LoadOrStore(ask.Key, c)
	a, err := se.claim(ctx, ask, c, busy)
	if a.Claim == nil && !busy {
		c.release()
	}
	if err != nil {
		return Answer{}, fmt.Errorf("claim key %s: %w", ask.Key, err)
	}
	return a, nil
}

// claim acts on what decide says. It takes most keys for absent at first, since most are: a new key
// costs one write and no read. A busy one is looked at first; it is never written.
func (se *Session) claim(ctx context.Context, ask Ask, c *Claim, busy bool) (Answer, error) {
	var first found
	if busy {
		var err error
		if first, err = se.store.look(ctx, ask.Key); err != nil {
			return Answer{}, err
		}
	}
	nonce, verdict := se.nonce(), Verdict(0)
	rec, err := se.store.change(ctx, ask.Key, first, func(f found) (move, error) {
		if !se.lease.valid() {
			return move{}, ErrSessionOver
		}
		if f.ours(se.id, nonce) { // stored although it did not look so
			return move{act: stop}, nil
		}
		d, err := se.decide(ctx, f, ask, busy)
		verdict = d.verdict
		if err != nil || d.step != take {
			return move{act: stop}, err
		}
		d.next.Session, d.next.Nonce = se.id, nonce
		return move{act: write, next: d.next}, nil
	})
	switch {
	case err != nil:
		return Answer{}, err
	case rec.Session != se.id || rec.Nonce != nonce:
		return Answer{Verdict: verdict, Record: rec}, nil
	case !se.lease.valid(): // the server may have stored it after the session's key was gone
		return Answer{}, ErrSessionOver
	}
	c.record = rec
	return Answer{Verdict: grant(rec, ask), Claim: c, Record: rec}, nil
}

// decide is the pure decide and, where that needs it, what is known about the holder.
func (se *Session) decide(ctx context.Context, f found, ask Ask, busy bool) (decision, error) {
	d := decide(f, ask, se.id, busy, unasked)
	if d.step != prove {
		return d, nil
	}
	holder, err := se.store.liveness(ctx, f.Session)
	if err != nil {
		return decision{}, err
	}
	return decide(f, ask, se.id, busy, holder), nil
}

// release lets this session claim the key again.
func (c *Claim) release() { c.session.inFlight.CompareAndDelete(c.key, c) }

// ours says whether the claim with this session and nonce wrote the record.
func (r Record) ours(session, nonce string) bool {
	return r.Session == session && r.Nonce == nonce
}
