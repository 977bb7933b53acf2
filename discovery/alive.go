package discovery

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// answer is what came back from the process that holds the ID.
type answer uint8

const (
	silent answer = iota // somebody listens, but did not answer in time
	nobody               // nobody listens
	alive                // it answered
)

// aliveSubject is where an instance of a node answers whether it is there.
func (r *Registry) aliveSubject(id, instance string) string {
	return r.cfg.Namespace + ".alive." + id + "." + instance
}

// listen has this member answer, from the moment it returns nil. Listening twice is harmless.
func (m *Member) listen(ctx context.Context) error {
	if m.sub != nil {
		return nil
	}
	sub, err := m.r.nc.Subscribe(m.r.aliveSubject(m.id, m.instance), func(q *nats.Msg) {
		_ = q.Respond(nil) // who asked asks again
	})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	m.sub = sub
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := m.r.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// unlisten ends the answers; ending them twice is harmless.
func (m *Member) unlisten() {
	if m.sub != nil {
		_ = m.sub.Unsubscribe() // fails only when it has ended already
	}
}

// ask asks the process that wrote the entry whether it is there.
func (m *Member) ask(ctx context.Context, node *Node) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
	defer cancel()
	_, err := m.r.nc.RequestWithContext(ctx, m.r.aliveSubject(node.ID, node.Instance), nil)
	switch {
	case err == nil:
		return alive, nil
	case errors.Is(err, nats.ErrNoResponders):
		return nobody, nil
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, nats.ErrTimeout):
		return silent, nil
	}
	return silent, fmt.Errorf("ask holder: %w", err)
}
