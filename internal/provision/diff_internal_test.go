package provision

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

func stream(edit func(*jetstream.StreamConfig)) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: "S", Subjects: []string{"a.>"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1, MaxConsumers: 5000, Replicas: 3,
		MaxAge: time.Hour, Duplicates: time.Minute,
	}
	if edit != nil {
		edit(&cfg)
	}
	return cfg
}

type edit = func(*jetstream.StreamConfig)

func TestMergeStream(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		have, want, then edit   // then: what it becomes, from have
		field            string // that changes, or that cannot
		fails            bool
	}{
		{name: "the same"},
		{
			name: "missing subject is added", want: func(c *jetstream.StreamConfig) { c.Subjects = []string{"a.>", "b.*"} },
			then: func(c *jetstream.StreamConfig) { c.Subjects = []string{"a.>", "b.*"} }, field: "subjects",
		},
		{
			name: "covered subject is not added", have: func(c *jetstream.StreamConfig) { c.Subjects = []string{">"} },
		},
		{
			name: "wider subject replaces what it covers", have: func(c *jetstream.StreamConfig) { c.Subjects = []string{"a.b", "x"} },
			then: func(c *jetstream.StreamConfig) { c.Subjects = []string{"x", "a.>"} }, field: "subjects",
		},
		{
			name: "longer age and more bytes stay",
			have: func(c *jetstream.StreamConfig) { c.MaxAge, c.MaxBytes = 2*time.Hour, 500 },
			want: func(c *jetstream.StreamConfig) { c.MaxBytes = 100 },
		},
		{name: "no limit stays", have: func(c *jetstream.StreamConfig) { c.MaxAge = 0 }, want: func(c *jetstream.StreamConfig) { c.MaxBytes = 100 }},
		{name: "a limit that is not wanted stays", have: func(c *jetstream.StreamConfig) { c.MaxBytes, c.MaxMsgSize = 100, 50 }},
		{
			name: "shorter age is raised", have: func(c *jetstream.StreamConfig) { c.MaxAge = time.Minute },
			then: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, field: "max_age",
		},
		{
			name: "fewer bytes are raised", have: func(c *jetstream.StreamConfig) { c.MaxBytes = 10 },
			want: func(c *jetstream.StreamConfig) { c.MaxBytes = 100 },
			then: func(c *jetstream.StreamConfig) { c.MaxBytes = 100 }, field: "max_bytes",
		},
		{name: "more replicas stay", have: func(c *jetstream.StreamConfig) { c.Replicas = 5 }},
		{
			name: "replicas are raised", have: func(c *jetstream.StreamConfig) { c.Replicas = 1 },
			then: func(c *jetstream.StreamConfig) { c.Replicas = 3 }, field: "num_replicas",
		},
		{
			name: "consumers without a bound get one", have: func(c *jetstream.StreamConfig) { c.MaxConsumers = -1 },
			then: func(c *jetstream.StreamConfig) { c.MaxConsumers = 5000 }, field: "max_consumers",
		},
		{name: "longer duplicate window stays", have: func(c *jetstream.StreamConfig) { c.Duplicates = 2 * time.Minute }},
		{name: "a feature stays", have: func(c *jetstream.StreamConfig) { c.AllowMsgTTL, c.AllowRollup = true, true }},
		{
			name: "a feature is switched on", want: func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = true },
			then: func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = true }, field: "allow_msg_schedules",
		},
		{
			name: "acks are switched on", have: func(c *jetstream.StreamConfig) { c.NoAck = true },
			then: func(c *jetstream.StreamConfig) { c.NoAck = false }, field: "no_ack",
		},
		{
			name: "discard is as wanted", have: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew },
			then: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, field: "discard",
		},
		{
			name: "a bucket's age is as wanted", have: func(c *jetstream.StreamConfig) { c.Name, c.MaxMsgsPerSubject = "KV_b", 1 },
			want: func(c *jetstream.StreamConfig) { c.Name, c.MaxAge, c.MaxMsgsPerSubject = "KV_b", 10*time.Second, 1 },
			then: func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = 10*time.Second, 10*time.Second }, field: "max_age",
		},
		{
			name: "a bucket's history is as wanted", have: func(c *jetstream.StreamConfig) { c.Name, c.MaxMsgsPerSubject = "KV_b", 64 },
			want: func(c *jetstream.StreamConfig) { c.Name, c.MaxMsgsPerSubject = "KV_b", 1 },
			then: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, field: "max_msgs_per_subject",
		},
		{name: "storage", have: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, field: "storage", fails: true},
		{name: "retention", have: func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, field: "retention", fails: true},
		{name: "deny delete", have: func(c *jetstream.StreamConfig) { c.DenyDelete = true }, field: "deny_delete", fails: true},
		{name: "deny purge", have: func(c *jetstream.StreamConfig) { c.DenyPurge = true }, field: "deny_purge", fails: true},
		{name: "sealed", have: func(c *jetstream.StreamConfig) { c.Sealed = true }, field: "sealed", fails: true},
		{name: "counter", have: func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true }, field: "allow_msg_counter", fails: true},
		{name: "persist mode", have: func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, field: "persist_mode", fails: true},
		{name: "mirror", have: func(c *jetstream.StreamConfig) { c.Mirror = &jetstream.StreamSource{Name: "M"} }, field: "mirror", fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			have, want := stream(tt.have), stream(tt.want)
			got, first, err := mergeStream(have, want)
			if tt.fails {
				if e, ok := errors.AsType[*MismatchError](err); !ok || e.Field != tt.field {
					t.Fatalf("error = %v, want a mismatch of %s", err, tt.field)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			then := stream(tt.have)
			if tt.then != nil {
				tt.then(&then)
			}
			if diff := cmp.Diff(then, got); diff != "" {
				t.Errorf("merged (-want +got):\n%s", diff)
			}
			if (first == nil) != (tt.field == "") || (first != nil && first.Field != tt.field) {
				t.Errorf("changed = %v, want %q", first, tt.field)
			}
			if _, again, err := mergeStream(got, want); again != nil || err != nil {
				t.Errorf("a second merge changes %v, error %v", again, err)
			}
		})
	}
}

func TestMergeConsumer(t *testing.T) {
	t.Parallel()
	base := jetstream.ConsumerConfig{
		Durable: "d", FilterSubjects: []string{"a"}, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 15 * time.Second,
		MaxDeliver: -1, MaxAckPending: 100, MaxWaiting: 2048,
	}
	type edit = func(*jetstream.ConsumerConfig)
	for _, tt := range []struct {
		name             string
		have, want, then edit
		field            string
		fails            bool
	}{
		{name: "the same"},
		{name: "where it started stays", have: func(c *jetstream.ConsumerConfig) {
			c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, 7
		}},
		{name: "waiting pulls stay", have: func(c *jetstream.ConsumerConfig) { c.MaxWaiting = 512 }},
		{name: "more unacknowledged stay", have: func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 1000 }},
		{
			name: "fewer unacknowledged are raised", have: func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 10 },
			then: func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 100 }, field: "max_ack_pending",
		},
		{
			name: "a filter is added to a single one", have: func(c *jetstream.ConsumerConfig) { c.FilterSubject, c.FilterSubjects = "b", nil },
			then: func(c *jetstream.ConsumerConfig) { c.FilterSubject, c.FilterSubjects = "", []string{"b", "a"} }, field: "filter_subjects",
		},
		{name: "no filter covers all", have: func(c *jetstream.ConsumerConfig) { c.FilterSubjects = nil }},
		{
			name: "ack wait is as wanted", have: func(c *jetstream.ConsumerConfig) { c.AckWait = time.Minute },
			then: func(c *jetstream.ConsumerConfig) { c.AckWait = 15 * time.Second }, field: "ack_wait",
		},
		{
			name: "backoff goes", have: func(c *jetstream.ConsumerConfig) { c.BackOff = []time.Duration{1} },
			then: func(c *jetstream.ConsumerConfig) { c.BackOff = nil }, field: "backoff",
		},
		{
			name: "max deliver is as wanted", have: func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 },
			then: func(c *jetstream.ConsumerConfig) { c.MaxDeliver = -1 }, field: "max_deliver",
		},
		{
			name: "never inactive wins", have: func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = time.Hour },
			then: func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = 0 }, field: "inactive_threshold",
		},
		{name: "never inactive stays", want: func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = time.Hour }},
		{name: "ack policy", have: func(c *jetstream.ConsumerConfig) { c.AckPolicy = jetstream.AckAllPolicy }, field: "ack_policy", fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			have, want, then := base, base, base
			for _, e := range []struct {
				cfg  *jetstream.ConsumerConfig
				edit edit
			}{{&have, tt.have}, {&want, tt.want}, {&then, tt.have}, {&then, tt.then}} {
				if e.edit != nil {
					e.edit(e.cfg)
				}
			}
			got, first, err := mergeConsumer("S", have, want)
			if tt.fails {
				if e, ok := errors.AsType[*MismatchError](err); !ok || e.Field != tt.field || e.Consumer != "d" {
					t.Fatalf("error = %v, want a mismatch of %s of consumer d", err, tt.field)
				}
				return
			}
			if diff := cmp.Diff(then, got); diff != "" || err != nil {
				t.Errorf("merged (-want +got), error %v:\n%s", err, diff)
			}
			if (first == nil) != (tt.field == "") || (first != nil && first.Field != tt.field) {
				t.Errorf("changed = %v, want %q", first, tt.field)
			}
		})
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		wide, narrow string
		want         bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a", "a.b", false},
		{"a.b", "a", false},
		{">", "a", true},
		{">", "a.>", true},
		{"a.>", ">", false},
		{"a.>", "a", false},
		{"a.>", "a.b.c", true},
		{"a.*", "a.b", true},
		{"a.*", "a.>", false},
		{"a.*", "a.*", true},
		{"a.b", "a.*", false},
		{"*.b", "a.b", true},
		{"a.>", "a.*", true},
		{"a.*.>", "a.b", false},
	} {
		if covers(tt.wide, tt.narrow) != tt.want {
			t.Errorf("covers(%q, %q) = %v", tt.wide, tt.narrow, !tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		subject := rapid.StringMatching(`[ab*>](\.[ab*>]){0,3}`)
		a, b, c := subject.Draw(t, "a"), subject.Draw(t, "b"), subject.Draw(t, "c")
		if covers(a, b) && covers(b, c) && !covers(a, c) {
			t.Fatal("not transitive")
		}
	})
}
