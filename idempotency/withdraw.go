package idempotency

import (
	"context"
	"fmt"
	"slices"
)

// Withdraw takes back one call of a request whose caller waits no longer. It is withdrawn if nothing
// ran under the key so far: then no message that carries the token call is ever run, while other
// messages under the key are. It returns what stands under the key and whether the call is
// withdrawn; if not, a run has started or ended, and the record says how it stands.
//
// The record remembers the newest 64 calls, as long as the bucket keeps it. Withdraw asks the server
// until it knows or ctx ends, then it reports [ErrUnknown] if the call may be withdrawn. It reports
// a [*KeyError] for a key that none can have, or an empty call.
func (s *Store) Withdraw(ctx context.Context, key, call string) (Record, bool, error) {
	if err := checkKey(key); err != nil {
		return Record{}, false, err
	}
	if call == "" || len(call) > maxKeyLength {
		return Record{}, false, &KeyError{key, "the token of the withdrawn call is empty or longer than 1024 bytes"}
	}
	rec, err := s.change(ctx, key, found{}, func(f found) (move, error) { return withdrawing(f, call), nil })
	if err != nil {
		return Record{}, false, fmt.Errorf("withdraw key %s: %w", key, err)
	}
	return rec, rec.withdrew(call), nil
}

// withdrawing plans the withdrawal of call.
func withdrawing(f found, call string) move {
	switch {
	case !f.present:
		return move{act: write, next: Record{State: Withdrawn, Calls: []string{call}}}
	case f.State != Withdrawn, f.withdrew(call):
		return move{act: stop}
	}
	next := f.Record
	next.Calls = append(slices.Clone(f.Calls), call)
	next.Calls = next.Calls[max(0, len(next.Calls)-maxCalls):]
	return move{act: write, next: next}
}
