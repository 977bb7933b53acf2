package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// beatTries bounds the writes of one beat. Each failed one is followed by a look at the key, so
// more are needed only while somebody else writes it too, or a replica answers with old entries.
const beatTries = 5

// beat writes the member's entry over its last one. A [*TakenError] means that the ID is another
// process's now; any other error, that the beat has to be repeated.
func (m *Member) beat(ctx context.Context) error {
	if !m.r.js.Conn().IsConnected() {
		return nats.ErrDisconnected // the next one is made when the connection is back
	}
	data := m.data(ctx)
	for try := range beatTries {
		rev, err := m.put(ctx, data, m.rev)
		if err == nil {
			m.rev, m.last = rev, data
			return nil
		}
		if !wasRevision(err) {
			return err
		}
		if err := m.resolve(ctx, try == beatTries-1); err != nil {
			return err
		}
		if err := pauseFor(ctx, backoff(try)); err != nil {
			return err
		}
	}
	return fmt.Errorf("write entry: revision conflict %d times", beatTries)
}

// resolve finds out why the entry was not the one this member wrote last, and on what the next
// write has to be based.
func (m *Member) resolve(ctx context.Context, final bool) error {
	e, err := m.get(ctx)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		m.rev = 0 // expired while nothing could be written
		return nil
	}
	if err != nil {
		return err
	}
	node, err := decode(m.id, e.Value(), e.Created())
	switch decideBeat(node, err == nil, e.Revision(), m.instance, m.rev) {
	case adopt:
		m.rev = e.Revision()
	case displaced:
		return m.taken(node)
	case stale:
		if final { // the same old answer every time is no old answer: the bucket was made anew
			return m.taken(node)
		}
	}
	return nil
}

type beatStep uint8

const (
	adopt     beatStep = iota // write over it
	displaced                 // another process has the ID
	stale                     // a replica's answer from before our last write: look again
)

// decideBeat decides about an entry that is not at the revision ours was.
func decideBeat(node Node, valid bool, rev uint64, instance string, ours uint64) beatStep {
	switch {
	case !valid || node.Instance == instance:
		return adopt // something that is no node, or a write of ours whose answer was lost
	case rev < ours:
		return stale
	}
	return displaced
}

// data describes the node as it is now. What cannot be encoded is reported, and the last entry
// written again: the node lives, whatever it says about itself.
func (m *Member) data(ctx context.Context) []byte {
	data, err := m.describe(m.self())
	if err == nil {
		return data
	}
	m.r.log.LogAttrs(ctx, slog.LevelError, "node entry not updated", slog.String("node", m.id), slog.Any("error", err))
	return m.last
}

func (m *Member) describe(node Node) ([]byte, error) {
	node.ID, node.Instance = m.id, m.instance
	return encode(node)
}

// put writes the entry if the key is at rev; 0 means that there is none. Nothing but the bucket's
// own TTL limits it, so no beat can make a key permanent.
func (m *Member) put(ctx context.Context, data []byte, rev uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var stored uint64
	var err error
	if rev == 0 {
		stored, err = m.r.kv.Create(ctx, m.id, data)
	} else {
		stored, err = m.r.kv.Update(ctx, m.id, data, rev)
	}
	if err != nil {
		return 0, fmt.Errorf("write entry: %w", err)
	}
	return stored, nil
}

func (m *Member) get(ctx context.Context) (jetstream.KeyValueEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	e, err := m.r.kv.Get(ctx, m.id)
	if err != nil {
		return nil, fmt.Errorf("read entry: %w", err)
	}
	return e, nil
}

// wasRevision says whether a write failed because the key was not at the revision expected, or
// may not have been: a replicated stream says so too while another write is under way.
func wasRevision(err error) bool {
	return errors.Is(err, jetstream.ErrKeyRevisionMismatch) || errors.Is(err, jetstream.ErrKeyExists)
}
