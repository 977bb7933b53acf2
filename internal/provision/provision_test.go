package provision_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
	"github.com/catga-go/catga/internal/provision"
)

func TestMain(m *testing.M) { natstest.Main(m) }

func limits(subjects ...string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "S", Subjects: subjects, Storage: jetstream.FileStorage, Replicas: 1,
		MaxAge: time.Hour, Duplicates: 30 * time.Second, MaxConsumers: 5000,
		AllowDirect: true, AllowMsgTTL: true, AllowMsgSchedules: true, AllowRollup: true,
	}
}

func worker() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: "billing:Order", FilterSubjects: []string{"a.>"}, DeliverPolicy: jetstream.DeliverNewPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: 15 * time.Second, MaxDeliver: -1, MaxAckPending: 1000, MaxWaiting: 2048,
	}
}

func connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	return natstest.JetStream(t, natstest.Connect(t, natstest.Start(t)))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStream_IsCreatedAndThenLeftAlone(t *testing.T) {
	t.Parallel()
	js := connect(t)
	first, err := provision.Stream(t.Context(), js, limits("a.>"), provision.Create)
	must(t, err)
	second, err := provision.Stream(t.Context(), js, limits("a.>"), provision.Create)
	must(t, err)
	_, err = provision.Stream(t.Context(), js, limits("a.>"), provision.Verify)
	must(t, err)
	if diff := cmp.Diff(first.CachedInfo().Config, second.CachedInfo().Config); diff != "" {
		t.Errorf("the second call changed the stream:\n%s", diff)
	}
}

func TestStream_WhatAnOperatorAddedStays(t *testing.T) {
	t.Parallel()
	js := connect(t)
	operator := limits("a.>", "extra.>")
	operator.MaxAge, operator.MaxBytes, operator.Description = 2*time.Hour, 1<<20, "mine"
	operator.AllowMsgSchedules, operator.AllowMsgTTL, operator.MaxConsumers = false, false, 0
	operator.Metadata = map[string]string{"owner": "ops"}
	_, err := js.CreateStream(t.Context(), operator)
	must(t, err)

	s, err := provision.Stream(t.Context(), js, limits("a.>", "b.>"), provision.Create)
	must(t, err)
	got := s.CachedInfo().Config
	want := operator
	want.Subjects = []string{"a.>", "extra.>", "b.>"}
	want.AllowMsgSchedules, want.AllowMsgTTL, want.MaxConsumers = true, true, 5000
	if got.Metadata["owner"] != "ops" {
		t.Errorf("metadata = %v, want owner ops kept", got.Metadata)
	}
	got.Metadata, want.Metadata = nil, nil
	got.MaxMsgs, got.MaxMsgsPerSubject, got.MaxMsgSize = 0, 0, 0 // the server writes -1
	got.ConsumerLimits, got.FirstSeq = want.ConsumerLimits, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stream config (-want +got):\n%s", diff)
	}
}

func TestStream_ImmutableDifferenceIsNamed(t *testing.T) {
	t.Parallel()
	js := connect(t)
	other := limits("a.>")
	other.Retention = jetstream.WorkQueuePolicy
	_, err := js.CreateStream(t.Context(), other)
	must(t, err)

	_, err = provision.Stream(t.Context(), js, limits("a.>"), provision.Create)
	if mismatch, ok := errors.AsType[*provision.MismatchError](err); !ok || mismatch.Field != "retention" || mismatch.Stream != "S" {
		t.Errorf("error = %v, want a mismatch of retention of S", err)
	}
}

func TestStream_VerifyChangesNothing(t *testing.T) {
	t.Parallel()
	js := connect(t)
	_, err := provision.Stream(t.Context(), js, limits("a.>"), provision.Verify)
	if missing, ok := errors.AsType[*provision.MissingError](err); !ok || missing.Stream != "S" {
		t.Errorf("error = %v, want S missing", err)
	}
	_, err = js.CreateStream(t.Context(), limits("other.>"))
	must(t, err)
	_, err = provision.Stream(t.Context(), js, limits("a.>"), provision.Verify)
	if mismatch, ok := errors.AsType[*provision.MismatchError](err); !ok || mismatch.Field != "subjects" {
		t.Errorf("error = %v, want a mismatch of subjects", err)
	}
	s, err := js.Stream(t.Context(), "S")
	must(t, err)
	if got := s.CachedInfo().Config.Subjects; !cmp.Equal(got, []string{"other.>"}) {
		t.Errorf("subjects = %v, want them untouched", got)
	}
}

func TestStreamAndConsumer_ManyAtOnceAllSucceed(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	const nodes = 8
	done := make(chan error, nodes)
	for range nodes {
		js := natstest.JetStream(t, natstest.Connect(t, srv))
		go func() {
			_, err := provision.Stream(t.Context(), js, limits("a.>", "b.>"), provision.Create)
			if err == nil {
				_, err = provision.Consumer(t.Context(), js, "S", worker(), provision.Create)
			}
			done <- err
		}()
	}
	for range nodes {
		must(t, <-done)
	}
}

func TestStream_WithoutJetStreamIsAClearErrorWithinTheDeadline(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true})
	must(t, err)
	srv.Start()
	t.Cleanup(func() { natstest.Stop(srv) })
	js := natstest.JetStream(t, natstest.Connect(t, srv))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = provision.Stream(ctx, js, limits("a.>"), provision.Create)
	if _, ok := errors.AsType[*provision.UnavailableError](err); !ok {
		t.Errorf("error = %v, want an UnavailableError", err)
	}
}

func TestConsumer_ExistingGoesOnWhereItIs(t *testing.T) {
	t.Parallel()
	js := connect(t)
	_, err := provision.Stream(t.Context(), js, limits("a.>", "b.>"), provision.Create)
	must(t, err)
	first, err := provision.Consumer(t.Context(), js, "S", worker(), provision.Create)
	must(t, err)

	again := worker()
	again.DeliverPolicy, again.FilterSubjects, again.AckWait = jetstream.DeliverAllPolicy, []string{"b.>"}, time.Minute
	second, err := provision.Consumer(t.Context(), js, "S", again, provision.Create)
	must(t, err)
	want := first.CachedInfo().Config
	want.FilterSubject, want.FilterSubjects, want.AckWait = "", []string{"a.>", "b.>"}, time.Minute
	if diff := cmp.Diff(want, second.CachedInfo().Config); diff != "" {
		t.Errorf("consumer config (-want +got):\n%s", diff)
	}
}

func TestConsumer_OfAMissingStreamNamesTheStream(t *testing.T) {
	t.Parallel()
	_, err := provision.Consumer(t.Context(), connect(t), "S", worker(), provision.Create)
	if missing, ok := errors.AsType[*provision.MissingError](err); !ok || missing.Stream != "S" || missing.Consumer != "" {
		t.Errorf("error = %v, want stream S missing", err)
	}
}
