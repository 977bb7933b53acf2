package provision

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// changes collects what differs: the first field that has to change.
type changes struct {
	stream, consumer string
	first            *MismatchError
}

func (c *changes) mismatch(field string, have, want any) *MismatchError {
	return &MismatchError{Stream: c.stream, Consumer: c.consumer, Field: field, Have: have, Want: want}
}

func (c *changes) note(field string, have, want any) {
	if c.first == nil {
		c.first = c.mismatch(field, have, want)
	}
}

// set makes *have what is wanted.
func set[T comparable](c *changes, field string, have *T, want T) {
	if *have != want {
		c.note(field, *have, want)
		*have = want
	}
}

// on switches a feature on, never off.
func (c *changes) on(field string, have *bool, want bool) {
	if want {
		set(c, field, have, true)
	}
}

// raise lifts a limit to want; 0 or less is no limit, which is more than any.
func raise[T int | int32 | int64 | time.Duration](c *changes, field string, have *T, want T) {
	if want > 0 && *have > 0 && *have < want {
		set(c, field, have, want)
	}
}

// atLeast lifts a number to want; 0 or less is a default of the server, which is less than want.
func atLeast[T cmp.Ordered](c *changes, field string, have *T, want T) {
	if *have < want {
		set(c, field, have, want)
	}
}

// mergeStream returns have with what want asks for, the first field that this changes (nil if none),
// and an error if something cannot be changed.
func mergeStream(have, want jetstream.StreamConfig) (jetstream.StreamConfig, *MismatchError, error) {
	c := &changes{stream: want.Name}
	if err := c.fixed(have, want); err != nil {
		return have, nil, err
	}
	have.Subjects = addSubjects(c, "subjects", have.Subjects, want.Subjects)
	set(c, "discard", &have.Discard, want.Discard)
	set(c, "discard_new_per_subject", &have.DiscardNewPerSubject, want.DiscardNewPerSubject)
	set(c, "no_ack", &have.NoAck, want.NoAck)

	raise(c, "max_bytes", &have.MaxBytes, want.MaxBytes)
	raise(c, "max_msgs", &have.MaxMsgs, want.MaxMsgs)
	raise(c, "max_msg_size", &have.MaxMsgSize, want.MaxMsgSize)
	if strings.HasPrefix(want.Name, "KV_") {
		set(c, "max_age", &have.MaxAge, want.MaxAge)
		set(c, "max_msgs_per_subject", &have.MaxMsgsPerSubject, max(want.MaxMsgsPerSubject, 1))
		set(c, "subject_delete_marker_ttl", &have.SubjectDeleteMarkerTTL, want.SubjectDeleteMarkerTTL)
	} else {
		raise(c, "max_age", &have.MaxAge, want.MaxAge)
		raise(c, "max_msgs_per_subject", &have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
		atLeast(c, "subject_delete_marker_ttl", &have.SubjectDeleteMarkerTTL, want.SubjectDeleteMarkerTTL)
	}
	if have.MaxAge > 0 { // the server refuses a window that is longer
		have.Duplicates, want.Duplicates = min(have.Duplicates, have.MaxAge), min(want.Duplicates, have.MaxAge)
	}
	atLeast(c, "duplicate_window", &have.Duplicates, want.Duplicates)
	atLeast(c, "max_consumers", &have.MaxConsumers, want.MaxConsumers)
	atLeast(c, "num_replicas", &have.Replicas, want.Replicas)

	c.on("allow_rollup_hdrs", &have.AllowRollup, want.AllowRollup)
	c.on("deny_delete", &have.DenyDelete, want.DenyDelete)
	c.on("deny_purge", &have.DenyPurge, want.DenyPurge)
	c.on("allow_direct", &have.AllowDirect, want.AllowDirect)
	c.on("allow_msg_ttl", &have.AllowMsgTTL, want.AllowMsgTTL)
	c.on("allow_msg_schedules", &have.AllowMsgSchedules, want.AllowMsgSchedules)
	c.on("allow_atomic", &have.AllowAtomicPublish, want.AllowAtomicPublish)
	c.on("allow_batched", &have.AllowBatchPublish, want.AllowBatchPublish)

	if have.Compression == jetstream.NoCompression {
		set(c, "compression", &have.Compression, want.Compression)
	}
	if have.Description == "" {
		have.Description = want.Description // not worth an update of its own
	}
	have.Metadata = addMetadata(c, have.Metadata, want.Metadata)
	return have, c.first, nil
}

// fixed compares what a server does not change, or not back.
func (c *changes) fixed(have, want jetstream.StreamConfig) error {
	switch {
	case have.Mirror != nil:
		return c.mismatch("mirror", have.Mirror.Name, "none")
	case have.Sealed:
		return c.mismatch("sealed", true, false)
	case have.Storage != want.Storage:
		return c.mismatch("storage", have.Storage, want.Storage)
	case have.Retention != want.Retention:
		return c.mismatch("retention", have.Retention, want.Retention)
	case have.PersistMode != want.PersistMode:
		return c.mismatch("persist_mode", have.PersistMode, want.PersistMode)
	case have.AllowMsgCounter != want.AllowMsgCounter:
		return c.mismatch("allow_msg_counter", have.AllowMsgCounter, want.AllowMsgCounter)
	case have.DenyDelete && !want.DenyDelete:
		return c.mismatch("deny_delete", true, false)
	case have.DenyPurge && !want.DenyPurge:
		return c.mismatch("deny_purge", true, false)
	}
	return nil
}

// mergeConsumer does for a consumer what mergeStream does for a stream.
func mergeConsumer(stream string, have, want jetstream.ConsumerConfig) (jetstream.ConsumerConfig, *MismatchError, error) {
	c := &changes{stream: stream, consumer: want.Durable}
	if have.AckPolicy != want.AckPolicy {
		return have, nil, c.mismatch("ack_policy", have.AckPolicy, want.AckPolicy)
	}
	have.FilterSubject, have.FilterSubjects = "", addSubjects(c, "filter_subjects", filters(have), filters(want))
	if len(want.BackOff) == 0 && len(have.BackOff) > 0 {
		c.note("backoff", have.BackOff, want.BackOff)
		have.BackOff = nil // its first entry would replace the ack wait
	}
	if want.AckWait > 0 {
		set(c, "ack_wait", &have.AckWait, want.AckWait)
	}
	if want.MaxDeliver != 0 {
		set(c, "max_deliver", &have.MaxDeliver, want.MaxDeliver)
	}
	set(c, "headers_only", &have.HeadersOnly, want.HeadersOnly)
	raise(c, "max_ack_pending", &have.MaxAckPending, want.MaxAckPending)
	if want.InactiveThreshold == 0 {
		set(c, "inactive_threshold", &have.InactiveThreshold, 0)
	}
	raise(c, "inactive_threshold", &have.InactiveThreshold, want.InactiveThreshold)
	have.Metadata = addMetadata(c, have.Metadata, want.Metadata)
	return have, c.first, nil
}

// filters are the filters of a consumer in either form; none stands for everything.
func filters(cfg jetstream.ConsumerConfig) []string {
	if cfg.FilterSubject != "" {
		return []string{cfg.FilterSubject}
	}
	return cfg.FilterSubjects
}

// addSubjects returns have and those of want that no subject of have covers, in place of those of
// have that they cover. An empty list of filters covers everything; an empty list of a stream's
// subjects does not occur.
func addSubjects(c *changes, field string, have, want []string) []string {
	if len(have) == 0 && c.consumer != "" {
		return have
	}
	merged := slices.Clone(have)
	for _, w := range want {
		if slices.ContainsFunc(merged, func(h string) bool { return covers(h, w) }) {
			continue
		}
		merged = slices.DeleteFunc(merged, func(h string) bool { return covers(w, h) })
		merged = append(merged, w)
	}
	if !slices.Equal(merged, have) {
		c.note(field, have, want)
	}
	return merged
}

// covers reports whether every subject that matches narrow matches wide.
func covers(wide, narrow string) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, token := range w {
		switch {
		case token == ">":
			return len(n) > i
		case i >= len(n) || n[i] == ">":
			return false
		case token != "*" && token != n[i]:
			return false
		}
	}
	return len(w) == len(n)
}

func addMetadata(c *changes, have, want map[string]string) map[string]string {
	merged := maps.Clone(have)
	for key, value := range want {
		if merged[key] == value {
			continue
		}
		if merged == nil {
			merged = map[string]string{}
		}
		c.note("metadata", have[key], value)
		merged[key] = value
	}
	return merged
}
