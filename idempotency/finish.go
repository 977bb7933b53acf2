package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Finish says how a run ended.
type Finish struct {
	State  State  // Done, Failed, Released or Dead
	Result []byte // kept with the record, as it is
	Error  string // kept with the record, cut at 4 KiB
	// TTL is how long the record is kept, rounded up to whole seconds; 0 is the bucket's, which is
	// also the most.
	TTL time.Duration
}

// A FinishError reports a [Finish] with a state that ends no run.
type FinishError struct{ State State }

// Error names the state.
func (e *FinishError) Error() string { return fmt.Sprintf("finish as %.32q: no end of a run", e.State) }

// Finish records how the run ended. Failed counts one failure more; the others count nothing.
//
// It is repeated until the server has answered or ctx ends, and lets go of the key in every case but
// two: after a [*TooLargeError] or a [*FinishError] nothing was written and the claim is still held,
// to be finished otherwise. [ErrLost] says that another session has taken over. After [ErrUnknown]
// the record may have been written, or may still be; Finish may be called again, and if the same
// session claims the key it is told what stands. Finishing twice in one way is harmless, in another
// way [ErrLost]. A lost session does not matter: what nobody took over is recorded.
func (c *Claim) Finish(ctx context.Context, fin Finish) error {
	if !fin.State.endsRun() {
		return &FinishError{fin.State}
	}
	last := found{Record: c.record, present: true}
	_, err := c.session.store.change(ctx, c.key, last, func(f found) (move, error) {
		return c.finishing(f, fin)
	})
	if _, tooLarge := errors.AsType[*TooLargeError](err); !tooLarge {
		c.release()
	}
	if err != nil {
		return fmt.Errorf("finish key %s: %w", c.key, err)
	}
	return nil
}

// finishing plans the end of the claim c. A key that is absent was forgotten while the run went on,
// and nobody else claimed it, if the write succeeds.
func (c *Claim) finishing(f found, fin Finish) (move, error) {
	switch {
	case f.present && f.ours(c.record.Session, c.record.Nonce) && f.State == fin.State:
		return move{act: stop}, nil
	case f.Revision == c.record.Revision, f.Revision == 0, f.Revision > c.record.Revision && !f.present:
		return move{act: write, next: ending(c.record, fin), ttl: fin.TTL}, nil
	case f.Revision < c.record.Revision:
		return move{act: again}, nil
	}
	return move{}, ErrLost
}

// Record records how the first run of an event ended, which held no claim: if nothing stands under
// the key, as fin says, with one failure more than ask.Fails for Failed. It returns what then
// stands: its own record, or, if somebody was before it, theirs. The two can be told apart by
// [Record.Session] as long as the session is at the key only once. It needs no valid lease, and
// fails as [Claim.Finish] does.
func (se *Session) Record(ctx context.Context, ask Ask, fin Finish) (Record, error) {
	if err := checkKey(ask.Key); err != nil {
		return Record{}, err
	}
	if !fin.State.endsRun() {
		return Record{}, &FinishError{fin.State}
	}
	next := ending(Record{Session: se.id, Nonce: se.nonce(), Fails: max(ask.Fails, 0), Hash: ask.Hash}, fin)
	rec, err := se.store.change(ctx, ask.Key, found{}, func(f found) (move, error) {
		if f.present {
			return move{act: stop}, nil
		}
		return move{act: write, next: next, ttl: fin.TTL}, nil
	})
	if err != nil {
		return Record{}, fmt.Errorf("record key %s: %w", ask.Key, err)
	}
	return rec, nil
}

// ending is the record that follows r when its run ends.
func ending(r Record, fin Finish) Record {
	next := Record{
		State: fin.State, Session: r.Session, Nonce: r.Nonce, Kills: r.Kills, Fails: r.Fails,
		Hash: r.Hash, Error: fin.Error, Calls: r.Calls, Result: fin.Result,
	}
	switch {
	case fin.State.final():
		next.Calls = nil // whoever asks is answered; nothing runs
	case fin.State == Failed:
		next.Fails++
	case fin.Error == "":
		next.Error = r.Error // given up without blame: the failure before it stays the last
	}
	return next
}

// endsRun says whether a run can end so.
func (s State) endsRun() bool {
	return s.final() || s == Failed || s == Released
}
