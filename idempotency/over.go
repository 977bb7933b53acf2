package idempotency

import "context"

// liveness is what is known about another session.
type liveness uint8

const (
	unasked liveness = iota
	living
	ended
)

// liveness says whether the session with the given ID is over. An absent key proves nothing, since a
// lagging replica may have answered: a tombstone that could be written there does.
func (s *Store) liveness(ctx context.Context, id string) (liveness, error) {
	key := sessionKey(id)
	f, err := s.look(ctx, key)
	if err != nil {
		return unasked, err
	}
	rec, err := s.change(ctx, key, f, func(f found) (move, error) {
		if f.present && f.State == stateAlive {
			return move{act: stop}, nil
		}
		return bury(f)
	})
	switch {
	case err != nil:
		return unasked, err
	case rec.State == stateAlive:
		return living, nil
	}
	return ended, nil
}
