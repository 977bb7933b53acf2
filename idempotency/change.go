package idempotency

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Store is a bucket of records. See [Open].
type Store struct {
	bucket bucket
	lease  time.Duration
	log    *slog.Logger
}

// Stats counts what a [Store] met since it was opened.
type Stats struct {
	Undecodable int64 // reads of values that are no records
	InFlight    int64 // writes refused because another one to the key was not applied yet; tried again
	Unsettled   int64 // writes whose outcome was unknown at first: timeouts, disconnects, no leader
}

// Stats returns the counts so far.
func (s *Store) Stats() Stats {
	c := s.bucket.counts
	return Stats{c.undecodable.Load(), c.inFlight.Load(), c.unsettled.Load()}
}

// Get returns what stands under key. It asks again while the server does not answer, until ctx ends.
// It may be a little behind the last write. The error is [ErrNotFound] when there is nothing, an
// [*UndecodableError] when there is no record, a [*KeyError] for a key that none can have.
func (s *Store) Get(ctx context.Context, key string) (Record, error) {
	if err := checkKey(key); err != nil {
		return Record{}, err
	}
	f, err := s.look(ctx, key)
	switch {
	case err != nil:
		return Record{}, fmt.Errorf("get key %s: %w", key, err)
	case f.garbage != nil:
		return Record{}, &UndecodableError{Key: key, Revision: f.Revision, Err: f.garbage}
	case !f.present:
		return Record{}, ErrNotFound
	}
	return f.Record, nil
}

// look reads key until the server answers or ctx ends.
func (s *Store) look(ctx context.Context, key string) (found, error) {
	for try := 1; ; try++ {
		f, err := s.bucket.read(ctx, key)
		if err == nil || closedFor(err) {
			return f, err
		}
		if stop := pause(ctx, try); stop != nil {
			return found{}, errors.Join(stop, err)
		}
	}
}

// move is what a plan wants done about what it was shown.
type move struct {
	act  act
	next Record        // for write
	ttl  time.Duration // for write; 0 is the bucket's
}

type act uint8

const (
	stop  act = iota // what was shown is the outcome
	write            // replace what was shown by next
	again            // what was shown is out of date: look again
)

// plan says what to do about what stands under a key. It is asked again after every write that did
// not succeed, and has to recognise its own.
type plan func(found) (move, error)

// change does what p wants until p is satisfied, and returns what then stands under key: the outcome
// of every write is followed up until it is known or ctx ends. The first thing p is shown is f,
// known or assumed.
func (s *Store) change(ctx context.Context, key string, f found, p plan) (Record, error) {
	unsettled := false
	for try := 0; ; try++ {
		m, err := p(f)
		if err != nil || m.act == stop {
			return f.Record, err
		}
		if m.act == write {
			rev, err := s.write(ctx, key, m, f.Revision)
			var open *unsettledError
			switch {
			case err == nil:
				m.next.Revision, m.next.Created = rev, time.Time{}
				return m.next, nil
			case errors.As(err, &open):
				unsettled = true
			case !errors.Is(err, errConflict):
				return Record{}, mark(err, unsettled)
			}
		}
		if f, err = s.lookAgain(ctx, key, try); err != nil {
			return Record{}, mark(err, unsettled)
		}
	}
}

func (s *Store) write(ctx context.Context, key string, m move, cas uint64) (uint64, error) {
	value, err := m.next.encode()
	if err != nil {
		return 0, err
	}
	return s.bucket.put(ctx, key, value, cas, m.ttl)
}

// lookAgain reads at once after the first try: it lost a race, and what won is there.
func (s *Store) lookAgain(ctx context.Context, key string, try int) (found, error) {
	if try > 0 {
		if err := pause(ctx, try); err != nil {
			return found{}, err
		}
	}
	return s.look(ctx, key)
}

// mark adds to err that a write before it may have been stored.
func mark(err error, unsettled bool) error {
	if unsettled {
		return errors.Join(ErrUnknown, err)
	}
	return err
}
