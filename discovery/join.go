package discovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Times of a join.
const (
	aliveTimeout   = time.Second            // for an answer of the process that holds the ID
	joinPause      = 250 * time.Millisecond // between two looks at a silent one
	abandonTimeout = 2 * time.Second        // for taking back the entry of a join that failed
)

// Join registers the node that self describes, begins to beat, and returns once the node is listed
// in this registry's own snapshot. The ID and the instance of the first call of self are kept; an
// empty instance is generated. self is called again for every beat, from one goroutine at a time;
// it must not block.
//
// If the ID is held already, its holder is asked: when it answers, Join fails at once with a
// [*TakenError]. When nobody listens any more, as after a kill, Join takes over at once. When
// somebody listens but is silent, as a stopped process or a broken link, Join waits until the
// holder's entry expires or its connection is given up; if ctx ends before that, the error is both
// a [*TakenError] and the one of ctx. A node that self describes and other nodes would refuse is
// an error, and so is [ErrClosed]. On an error nothing stays registered.
func (r *Registry) Join(ctx context.Context, self func() Node) (*Member, error) {
	if isClosed(r.closing) {
		return nil, fmt.Errorf("join cluster: %w", ErrClosed)
	}
	if self == nil {
		return nil, fmt.Errorf("join cluster: %w", &ConfigError{"self", nil, "want a function"})
	}
	m, data, err := r.newMember(self)
	if err != nil {
		return nil, fmt.Errorf("join cluster: %w", err)
	}
	if err := m.enter(ctx, data); err != nil {
		m.abandon(ctx)
		return nil, fmt.Errorf("join cluster as %s: %w", m.id, err)
	}
	if err := m.start(ctx); err != nil {
		m.stop()
		<-m.stopped
		m.abandon(ctx)
		return nil, fmt.Errorf("join cluster as %s: %w", m.id, err)
	}
	return m, nil
}

func (r *Registry) newMember(self func() Node) (*Member, []byte, error) {
	node := self()
	m := &Member{
		r: r, self: self, id: node.ID, instance: node.Instance,
		beatNow: make(chan struct{}, 1), lost: make(chan struct{}), stopped: make(chan struct{}),
	}
	if m.instance == "" {
		m.instance = nuid.Next()
	}
	data, err := m.describe(node)
	return m, data, err
}

// enter writes the member's first entry, over whatever may be written over. Every attempt reads
// the key, decides, and writes by compare-and-swap on what was read; whoever loses that race looks
// again, and finds the winner.
func (m *Member) enter(ctx context.Context, data []byte) error {
	var before *holder // the last one that was silent
	for {
		found, err := m.look(ctx)
		if err == nil {
			switch decideJoin(found, before) {
			case refuse:
				return m.taken(*found.node)
			case wait:
				before = &found
			case write:
				if err = m.write(ctx, data, found.rev); err == nil {
					return nil
				}
			}
		}
		if err := m.waitToEnter(ctx, before, err); err != nil {
			return err
		}
	}
}

// waitToEnter pauses before the next attempt, and says why there is none.
func (m *Member) waitToEnter(ctx context.Context, before *holder, cause error) error {
	if m.r.nc.IsClosed() || m.r.js.Conn().IsClosed() {
		return nats.ErrConnectionClosed
	}
	select {
	case <-m.r.closing:
		return ErrClosed
	case <-time.After(joinPause):
		return nil
	case <-ctx.Done():
	}
	if before != nil {
		return fmt.Errorf("%w: %w", m.taken(*before.node), ctx.Err())
	}
	return errors.Join(ctx.Err(), cause)
}

// holder is what is found under the key of a node that wants to join.
type holder struct {
	node   *Node // nil if there is no entry, or none of a node
	rev    uint64
	answer answer
}

type joinStep uint8

const (
	write  joinStep = iota // over what was found
	refuse                 // the holder lives
	wait                   // the holder may be dead: look again
)

// decideJoin decides from what is found now and what was found the first time somebody was silent.
// A silent holder that has beaten since then lives: only its answers do not arrive.
func decideJoin(now holder, before *holder) joinStep {
	switch {
	case now.node == nil || now.answer == nobody:
		return write
	case now.answer == alive:
		return refuse
	case before != nil && now.node.Instance == before.node.Instance && now.rev != before.rev:
		return refuse
	}
	return wait
}

// look reads the member's key and asks whoever holds it. An entry of its own counts as one that
// may be written over once this member has written at all: that write's answer was lost. Before,
// it is another member's of the same name, or what is left of it.
func (m *Member) look(ctx context.Context) (holder, error) {
	e, err := m.get(ctx)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return holder{}, nil
	case err != nil:
		return holder{}, err
	}
	node, err := decode(m.id, e.Value(), e.Created())
	if err != nil || (node.Instance == m.instance && m.sub != nil) {
		return holder{rev: e.Revision()}, nil //nolint:nilerr // what is no node holds nothing
	}
	answer, err := m.ask(ctx, &node)
	return holder{node: &node, rev: e.Revision(), answer: answer}, err
}

// write stores the first entry. The member answers before it is registered, so that nobody finds
// the entry and no one behind it.
func (m *Member) write(ctx context.Context, data []byte, rev uint64) error {
	if err := m.listen(ctx); err != nil {
		return err
	}
	stored, err := m.put(ctx, data, rev)
	if err != nil {
		return err
	}
	m.rev, m.last = stored, data
	return nil
}

// start begins to beat and waits until the member is listed.
func (m *Member) start(ctx context.Context) error {
	beating, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = cancel
	select {
	case m.r.joining <- func() { m.run(beating) }:
	case <-m.r.closing:
		cancel()
		close(m.stopped)
		return ErrClosed
	}
	for {
		changed := m.r.Changed()
		if m.listed() {
			return nil
		}
		select {
		case <-changed:
		case <-m.lost:
			return m.Err()
		case <-m.r.closing:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("wait to be listed: %w", ctx.Err())
		}
	}
}

// abandon takes back what a failed join may have written; if that fails too, it expires. Only a
// member that listens has written.
func (m *Member) abandon(ctx context.Context) {
	if m.sub == nil {
		return
	}
	defer m.unlisten()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	_ = m.withdraw(ctx)
}
