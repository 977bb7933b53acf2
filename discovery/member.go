package discovery

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// A Member is this process's own entry in the registry. One goroutine beats for it until it
// leaves, is displaced, or the registry closes.
type Member struct {
	r        *Registry
	self     func() Node
	id       string
	instance string
	sub      *nats.Subscription // answers whether this instance is alive
	stop     context.CancelFunc // ends the loop

	rev  uint64 // of the last entry known to be ours; the loop's until stopped is closed
	last []byte // that entry
	err  error  // set before lost is closed

	beatNow chan struct{} // one signal is as good as many
	lost    chan struct{}
	stopped chan struct{}
}

// Instance names this life of the node: what self gave, or what was generated.
func (m *Member) Instance() string { return m.instance }

// Beat has the node described and written soon, because something about it has changed. It never
// blocks; calls that come before the beat is made are one. It does nothing after [Member.Leave].
func (m *Member) Beat() { wake(m.beatNow) }

// Lost is closed when another process has taken the node ID. This node has to stop what it does
// under that ID.
func (m *Member) Lost() <-chan struct{} { return m.lost }

// Err returns nil until [Member.Lost] is closed, then a [*TakenError].
func (m *Member) Err() error {
	if !isClosed(m.lost) {
		return nil
	}
	return m.err
}

// run beats until ctx ends, the registry closes or the ID is lost.
func (m *Member) run(ctx context.Context) {
	defer close(m.stopped)
	defer m.stop()
	connected := m.r.js.Conn().StatusChanged(nats.CONNECTED)
	defer m.r.js.Conn().RemoveStatusListener(connected)
	changed := m.r.Changed() // first: a change before the look of pace is seen by it
	next := time.NewTimer(m.pace())
	defer next.Stop()
	for failed := 0; m.awaitBeat(ctx, next.C, connected, &changed); {
		err := m.beat(ctx)
		if taken := (*TakenError)(nil); errors.As(err, &taken) {
			m.lose(ctx, taken)
			return
		}
		failed = m.reschedule(ctx, next, err, failed)
	}
	if isClosed(m.r.closing) {
		m.unlisten()
	}
}

// awaitBeat returns true when it is time to beat: the heartbeat is due, somebody asked, the
// connection is back, or the registry has come to list this member no more. A change that comes
// while a beat is being made is not missed: changed is the channel from before that beat. That the
// member is not listed is looked at after a change only, so that a registry that does not see the
// bucket for a while does not make it beat without end.
func (m *Member) awaitBeat(ctx context.Context, due <-chan time.Time, connected <-chan nats.Status, changed *<-chan struct{}) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-m.r.closing:
			return false
		case <-due:
			return true
		case <-connected:
			return true
		case <-m.beatNow:
			return true
		case <-*changed:
			*changed = m.r.Changed()
			if !m.listed() {
				return true
			}
		}
	}
}

// unlistedBeat is the time between beats while the registry does not list the member: the entry may
// have been removed again before anybody saw it.
const unlistedBeat = time.Second

// reschedule sets the next beat: soon after a failure, because every beat missed counts.
func (m *Member) reschedule(ctx context.Context, next *time.Timer, err error, failed int) int {
	if err == nil {
		next.Reset(m.pace())
		return 0
	}
	if failed == 0 && ctx.Err() == nil {
		m.r.log.LogAttrs(ctx, slog.LevelWarn, "heartbeat not written",
			slog.String("node", m.id), slog.Any("error", err))
	}
	next.Reset(min(backoff(failed+2), m.r.cfg.Heartbeat))
	return failed + 1
}

func (m *Member) pace() time.Duration {
	if m.listed() {
		return m.r.cfg.Heartbeat
	}
	return min(unlistedBeat, m.r.cfg.Heartbeat)
}

// lose ends the membership: another process has it.
func (m *Member) lose(ctx context.Context, err error) {
	m.unlisten()
	m.err = err
	close(m.lost)
	m.r.log.LogAttrs(ctx, slog.LevelError, "node ID lost", slog.String("node", m.id), slog.Any("error", err))
}

// listed says whether the registry's own snapshot shows this member online.
func (m *Member) listed() bool {
	node, ok := m.r.Lookup(m.id)
	return ok && node.Online && node.Instance == m.instance
}

func (m *Member) taken(by Node) *TakenError {
	return &TakenError{ID: m.id, Instance: m.instance, Holder: by}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
