package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// reading is one consumer from its making to the moment it is given up.
type reading struct {
	f       *follower
	api     string // "$JS.API.CONSUMER."
	path    string // "<stream>.<consumer>"
	inbox   string
	sub     *nats.Subscription
	arrived chan *nats.Msg
	quiet   *time.Timer // fires when nothing has been heard for too long

	pending   uint64 // keys there were when the consumer was made
	delivered uint64
	open      int  // what the pull in progress may still bring
	complete  bool // all that was pending has been seen
	warned    bool // about something that is no entry
}

type pullRequest struct {
	Batch     int           `json:"batch"`
	Expires   time.Duration `json:"expires"`
	Heartbeat time.Duration `json:"idle_heartbeat"`
}

// pull asks for the next batch. One pull is open at a time.
func (r *reading) pull() error {
	request, err := json.Marshal(pullRequest{pullBatch, pullExpires, pullHeartbeat})
	if err != nil {
		return fmt.Errorf("encode pull: %w", err)
	}
	r.open = pullBatch
	if err := r.f.nc.PublishRequest(r.api+"MSG.NEXT."+r.path, r.inbox, request); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	return nil
}

// take handles one message from the inbox.
func (r *reading) take(ctx context.Context, m *nats.Msg) error {
	r.quiet.Reset(silence)
	meta, err := m.Metadata()
	if err != nil { // not a delivery, so it is about the pull
		return r.heed(ctx, m)
	}
	if meta.Sequence.Consumer != r.delivered+1 {
		return fmt.Errorf("%w: delivery %d follows %d", errBroken, meta.Sequence.Consumer, r.delivered)
	}
	r.delivered++
	r.open--
	o, err := recognize(keyPrefix(r.f.cfg.Bucket), m, meta)
	r.warn(ctx, err)
	r.f.tell(ctx, o)
	r.settle(ctx, meta.NumPending)
	if r.open <= 0 {
		return r.pull()
	}
	return nil
}

func (r *reading) heed(ctx context.Context, m *nats.Msg) error {
	switch statusOf(m) {
	case idle:
		r.pending = 0 // it waits, so nothing is left: an entry replaced meanwhile is delivered once, not twice
		r.settle(ctx, 0)
		return nil
	case ended:
		return r.pull()
	case broken:
	}
	return fmt.Errorf("%w: %s %s", errBroken, m.Header.Get("Status"), m.Header.Get("Description"))
}

// settle notes that the bucket was seen just now, and tells the owner when all of it has been.
func (r *reading) settle(ctx context.Context, left uint64) {
	if r.complete {
		r.f.heard = time.Now()
		return
	}
	if r.delivered >= r.pending || (r.delivered > 0 && left == 0) {
		r.complete = true
		r.f.found(ctx)
	}
}

// warn logs the first thing in a reading that is no entry; more of them say nothing new.
func (r *reading) warn(ctx context.Context, err error) {
	if err == nil || r.warned {
		return
	}
	r.warned = true
	r.f.log.LogAttrs(ctx, slog.LevelWarn, "no node in registry bucket",
		slog.String("bucket", r.f.cfg.Bucket), slog.Any("error", err))
}

// close ends the subscription; the consumer goes with the next reading, or by itself.
func (r *reading) close() {
	r.quiet.Stop()
	_ = r.sub.Unsubscribe() // fails only where it has ended with its connection
}

// drop removes the consumer now: this reading ends without a fault.
func (r *reading) drop() { r.f.removeSpent(0) }
