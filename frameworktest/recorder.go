package frameworktest

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/catga-go/catga/framework"
)

// A Recorder is a [framework.Publisher] that keeps what is published instead of sending it. The zero
// Recorder is ready to use, and safe for concurrent use.
type Recorder struct {
	// Err, if it is not nil, decides which messages fail: they are not recorded. Set it before use.
	Err func(*framework.Outgoing) error

	messages atomic.Pointer[[]*framework.Outgoing]
}

// PublishMessages records msgs. As a node does, it returns the error of a single message as it is,
// and those of several in a [*framework.BatchError].
func (r *Recorder) PublishMessages(ctx context.Context, msgs ...*framework.Outgoing) error {
	failed := map[int]error{}
	for i, m := range msgs {
		if err := r.record(ctx, m); err != nil {
			failed[i] = err
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(msgs) == 1:
		return failed[0]
	default:
		return &framework.BatchError{Failed: failed}
	}
}

func (r *Recorder) record(ctx context.Context, m *framework.Outgoing) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.Err != nil {
		if err := r.Err(m); err != nil {
			return err
		}
	}
	for {
		old := r.messages.Load()
		var next []*framework.Outgoing
		if old != nil {
			next = slices.Clone(*old)
		}
		next = append(next, m)
		if r.messages.CompareAndSwap(old, &next) {
			return nil
		}
	}
}

// Messages are the recorded messages in order.
func (r *Recorder) Messages() []*framework.Outgoing {
	if all := r.messages.Load(); all != nil {
		return slices.Clone(*all)
	}
	return nil
}

// Published are the recorded messages of type E, in order, published as E or *E.
func Published[E any](r *Recorder) []E {
	var events []E
	for _, m := range r.Messages() {
		switch v := m.Value.(type) {
		case E:
			events = append(events, v)
		case *E:
			events = append(events, *v)
		}
	}
	return events
}
