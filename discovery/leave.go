package discovery

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// withdrawTries bounds the attempts to withdraw an entry while the server answers with errors.
const withdrawTries = 4

// Leave stops beating and withdraws the entry, so that the node is offline everywhere at once. It
// returns nil when the entry is gone, or was not this member's any more. On an error the entry
// expires by itself. Leave may be called again, and by several callers at once.
func (m *Member) Leave(ctx context.Context) error {
	m.stop()
	select {
	case <-m.stopped:
	case <-ctx.Done():
		return fmt.Errorf("leave cluster as %s: %w", m.id, ctx.Err())
	}
	defer m.unlisten()
	if err := m.withdraw(ctx); err != nil {
		return fmt.Errorf("leave cluster as %s: %w", m.id, err)
	}
	return nil
}

// withdraw removes the entry if it is ours. It reads nothing that changes once the loop has
// stopped, so that it may run twice at once: one of the two finds the entry gone.
func (m *Member) withdraw(ctx context.Context) error {
	if isClosed(m.lost) {
		return nil
	}
	rev := m.rev
	for failed := 0; ; failed++ {
		err := m.remove(ctx, rev)
		if err == nil || failed == withdrawTries {
			return err
		}
		if ended := pauseFor(ctx, backoff(failed)); ended != nil {
			return errors.Join(ended, err)
		}
		rev = 0 // it has moved, or the answer was lost: look
	}
}

// remove purges the entry at rev; at 0, at the revision where it is found to be ours. A purge
// without a revision would be one of anybody's entry.
func (m *Member) remove(ctx context.Context, rev uint64) error {
	if rev != 0 {
		return m.purge(ctx, rev)
	}
	e, err := m.get(ctx)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil
	case err != nil:
		return err
	case !m.mine(e):
		return nil
	}
	return m.purge(ctx, e.Revision())
}

func (m *Member) mine(e jetstream.KeyValueEntry) bool {
	node, err := decode(m.id, e.Value(), e.Created())
	return err == nil && node.Instance == m.instance
}

// purge withdraws the entry. What marks the place goes after a while too.
func (m *Member) purge(ctx context.Context, rev uint64) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := m.r.kv.Purge(ctx, m.id, jetstream.LastRevision(rev), jetstream.PurgeTTL(m.r.cfg.markerTTL())); err != nil {
		return fmt.Errorf("withdraw entry: %w", err)
	}
	return nil
}
