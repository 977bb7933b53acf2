package streams

import (
	"errors"
	"log/slog"
	"time"

	"github.com/catga-go/catga/internal/provision"
)

// Defaults of a [LoopConfig].
const (
	defaultAckWait       = 15 * time.Second
	defaultMaxAckPending = 10_000
	defaultMaxWaiting    = 2_048
	defaultInfoInterval  = 5 * time.Second
	defaultHeartbeat     = 5 * time.Second
)

// LoopConfig describes a durable and how one process consumes from it.
type LoopConfig struct {
	Stream            string        // required
	Durable           string        // required; see [Names.Durable]
	FilterSubjects    []string      // required
	FromStart         bool          // a new durable starts with what is stored, not with what comes; implied on a work queue
	AckWait           time.Duration // 0 means 15 s
	MaxAckPending     int           // over all nodes; 0 means 10,000
	MaxWaiting        int           // open pulls over all nodes, fixed at creation; 0 means 2,048
	InactiveThreshold time.Duration // after which the server deletes an unused durable; 0 means never

	Credits      int                   // required: how many messages the process holds at most, workers and prefetch together
	Pool         func(*Delivery) *Pool // required: whose delivery it is; nil hands it back with a delay of 1 s. Must not block
	InfoInterval time.Duration         // of OnInfo and of the floor that a deleted durable is recreated from; 0 means 5 s
	Heartbeat    time.Duration         // of an idle pull; a silence of 2 means it is lost; 0 means 5 s
	OnInfo       func(Info)            // may be nil; called by one goroutine, must not block
	OnError      func(error)           // may be nil; called by two goroutines, must not block. The loop goes on by itself
	Logger       *slog.Logger          // nil means slog.Default()
	Mode         provision.Mode        // Verify: the durable must exist
}

func (c *LoopConfig) check() error {
	switch {
	case c.Stream == "":
		return errors.New("check loop: no stream")
	case c.Durable == "":
		return errors.New("check loop: no durable")
	case len(c.FilterSubjects) == 0:
		return errors.New("check loop: no filter subjects")
	case c.Credits < 1:
		return errors.New("check loop: credits below 1")
	case c.Pool == nil:
		return errors.New("check loop: no pool")
	}
	c.AckWait = orDefault(c.AckWait, defaultAckWait)
	c.MaxAckPending = orDefault(c.MaxAckPending, defaultMaxAckPending)
	c.MaxWaiting = orDefault(c.MaxWaiting, defaultMaxWaiting)
	c.InfoInterval = orDefault(c.InfoInterval, defaultInfoInterval)
	c.Heartbeat = orDefault(c.Heartbeat, defaultHeartbeat)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.OnError == nil {
		c.OnError = func(error) {}
	}
	return nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
