package streams

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/provision"
)

// What the streams are declared with. Publishers stop sending again before eventDuplicates ends;
// burying a delivery twice stores it once within deadDuplicates, which outlasts an outage.
const (
	defaultEventsAge = 7 * 24 * time.Hour
	deadAge          = 30 * 24 * time.Hour
	eventDuplicates  = 30 * time.Second
	deadDuplicates   = 24 * time.Hour
	// The server's own default is 1,000 consumers, and 64 nodes that handle 64 kinds have 4,096.
	maxConsumers     = 16_384
	maxDeadConsumers = 1_024
)

// Config says which streams [Provision] makes sure of.
type Config struct {
	Namespace      string         // required; see [CheckNamespace]
	Replicas       int            // of each stream; 0 means 1
	EventsMaxAge   time.Duration  // how long events are kept; 0 means 7 days
	EventsMaxBytes int64          // size of the events' stream, after which the oldest go; 0 means no limit of its own
	Mode           provision.Mode // Verify only checks
}

// A NamespaceError reports a namespace that cannot name streams.
type NamespaceError struct {
	Namespace string
}

func (e *NamespaceError) Error() string {
	return fmt.Sprintf("namespace %q: want a lower-case letter and up to 31 lower-case letters, digits or hyphens", e.Namespace)
}

// Provision makes sure that the three streams of a namespace exist with what this package needs of
// them. It may be called by any number of nodes at once. It retries until ctx ends while a cluster
// settles, never deletes a stream and never takes away what an operator has added: see package
// internal/provision for the rules and the errors.
func Provision(ctx context.Context, js jetstream.JetStream, cfg Config) error {
	if !CheckNamespace(cfg.Namespace) {
		return &NamespaceError{Namespace: cfg.Namespace}
	}
	for _, want := range declare(cfg) {
		if _, err := provision.Stream(ctx, js, want, cfg.Mode); err != nil {
			return err
		}
	}
	return nil
}

// declare is the whole of what exists in JetStream beside consumers and buckets.
func declare(cfg Config) []jetstream.StreamConfig {
	n, ns := NewNames(cfg.Namespace), cfg.Namespace
	events := jetstream.StreamConfig{
		Name:              n.Events(),
		Description:       "QoS 1 events of " + ns,
		Subjects:          []string{ns + ".event.>", ns + ".retry.>", ns + ".sched.event.>"},
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardOld, // schedules exclude DiscardNew
		MaxAge:            cfg.EventsMaxAge,
		MaxBytes:          cfg.EventsMaxBytes,
		Duplicates:        eventDuplicates,
		MaxConsumers:      maxConsumers,
		Replicas:          max(cfg.Replicas, 1),
		AllowDirect:       true,
		AllowMsgTTL:       true,
		AllowMsgSchedules: true,
		AllowRollup:       true, // the server demands it for schedules
	}
	if events.MaxAge <= 0 {
		events.MaxAge = defaultEventsAge
	}
	events.Duplicates = min(events.Duplicates, events.MaxAge) // the server refuses a window beyond the age

	requests := events
	requests.Name = n.Requests()
	requests.Description = "requests of " + ns
	requests.Subjects = []string{ns + ".request.>", ns + ".direct.>", ns + ".sched.request.>"}
	requests.Retention = jetstream.WorkQueuePolicy
	requests.MaxAge, requests.MaxBytes = 0, 0 // nothing acknowledged may vanish
	requests.Duplicates = eventDuplicates     // unused: requests carry no Nats-Msg-Id

	dead := events
	dead.Name = n.Dead()
	dead.Description = "dead letters of " + ns
	dead.Subjects = []string{ns + ".dead.>"}
	dead.MaxAge, dead.MaxBytes = deadAge, 0
	dead.Duplicates = deadDuplicates
	dead.MaxConsumers = maxDeadConsumers
	dead.AllowMsgTTL, dead.AllowMsgSchedules, dead.AllowRollup = false, false, false

	return []jetstream.StreamConfig{events, requests, dead}
}
