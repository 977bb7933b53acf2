package streams_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
	"github.com/catga-go/catga/streams"
)

func event(data string) *nats.Msg {
	return &nats.Msg{Subject: names.Event("A"), Data: []byte(data)}
}

func withID(id string) *nats.Msg {
	m := event(id)
	m.Header = nats.Header{"Nats-Msg-Id": {id}}
	return m
}

func TestStore_SaysWhereTheMessageIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(names.Event("A"), "1")
	got := b.store(names.Event("A"), "2")
	if want := (streams.Stored{Stream: "CATGA_EVENTS", Sequence: 2}); got != want {
		t.Errorf("Store = %+v, want %+v", got, want)
	}
}

func TestStore_SameIDIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.pub.Store(t.Context(), withID("x"))
	must(t, err)
	got, err := b.pub.Store(t.Context(), withID("x"))
	must(t, err)
	if want := (streams.Stored{Stream: names.Events(), Sequence: 1, Duplicate: true}); got != want {
		t.Errorf("Store = %+v, want %+v", got, want)
	}
}

func TestStore_LeavesTheMessageAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := event("x")
	_, err := b.pub.Store(t.Context(), m)
	must(t, err)
	if diff := cmp.Diff(event("x"), m, cmp.AllowUnexported(nats.Msg{})); diff != "" {
		t.Errorf("message changed:\n%s", diff)
	}
}

func TestStore_TooLargeIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limit := b.publish.MaxPayload()
	fits := &nats.Msg{Subject: names.Event("A"), Header: nats.Header{"K": {"v"}}}
	fits.Data = make([]byte, limit-int64(len("NATS/1.0\r\nK: v\r\n\r\n")))
	_, err := b.pub.Store(t.Context(), fits)
	must(t, err)
	fits.Data = append(fits.Data, 0)
	_, err = b.pub.Store(t.Context(), fits)
	if e := as[*streams.TooLargeError](t, err); e.Size != limit+1 || e.Limit != limit {
		t.Errorf("error = %+v, want size %d over limit %d", e, limit+1, limit)
	}
	b.store(names.Event("A"), "the connection is still good")
}

func TestStore_RefusalIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := event("x")
	m.Header = nats.Header{"Nats-Expected-Last-Sequence": {"99"}}
	_, err := b.pub.Store(t.Context(), m)
	if e := as[*jetstream.APIError](t, err); e.ErrorCode != 10071 {
		t.Errorf("error = %v, want 10071", err)
	}
	if _, unknown := errors.AsType[*streams.UnknownOutcomeError](err); unknown {
		t.Errorf("error = %v: the outcome of a refusal is known", err)
	}
}

func TestStoreAll_KeepsOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	msgs := make([]*nats.Msg, 10_000) // more than one call has in flight
	want := make([]streams.Stored, len(msgs))
	for i := range msgs {
		msgs[i] = event(strconv.Itoa(i))
		want[i] = streams.Stored{Stream: names.Events(), Sequence: uint64(i + 1)}
	}
	got, errs := b.pub.StoreAll(t.Context(), msgs)
	if errs != nil {
		t.Fatal(errs)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("StoreAll (-want +got):\n%s", diff)
	}
}

func TestStoreAll_ErrorsAreByIndex(t *testing.T) {
	t.Parallel()
	b := setup(t)
	large := event(strings.Repeat("x", int(b.publish.MaxPayload())+1))
	got, errs := b.pub.StoreAll(t.Context(), []*nats.Msg{event("1"), large, event("3")})
	if len(errs) != 3 || errs[0] != nil || errs[2] != nil {
		t.Fatalf("errors = %v, want one, in the middle", errs)
	}
	_ = as[*streams.TooLargeError](t, errs[1])
	if got[0].Sequence != 1 || got[2].Sequence != 2 {
		t.Errorf("StoreAll = %+v, want sequences 1 and 2 around the error", got)
	}
	if none, errs := b.pub.StoreAll(t.Context(), nil); len(none) != 0 || errs != nil {
		t.Errorf("StoreAll(nil) = %v, %v", none, errs)
	}
}

func TestStore_ManyGoroutines(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var wg sync.WaitGroup
	var seen sync.Map
	for i := range 1000 {
		wg.Go(func() {
			for j := range 5 {
				s, err := b.pub.Store(t.Context(), event(fmt.Sprint(i, j)))
				if err != nil {
					t.Error(err)
				} else if _, twice := seen.LoadOrStore(s.Sequence, true); twice {
					t.Errorf("sequence %d given twice", s.Sequence)
				}
			}
		})
	}
	wg.Wait()
	if s := b.store(names.Event("A"), "last"); s.Sequence != 5001 {
		t.Errorf("last sequence = %d, want 5001", s.Sequence)
	}
}

func TestStore_SurvivesServerRestarts(t *testing.T) {
	t.Parallel()
	b, restart := setupTCP(t)
	var wg sync.WaitGroup
	var stored atomic.Int64
	stop := make(chan struct{})
	for g := range 20 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := b.pub.Store(context.Background(), withID(fmt.Sprintf("%d-%d", g, i))); err != nil {
					t.Errorf("Store %d of %d: %v", i, g, err)
					return
				}
				stored.Add(1)
			}
		})
	}
	progress := func() {
		t.Helper()
		want := stored.Load() + 100
		eventually(t, func() bool { return stored.Load() >= want })
	}
	for range 2 {
		progress()
		restart()
	}
	progress()
	close(stop)
	wg.Wait()
	s, err := natstest.JetStream(t, b.publish).Stream(t.Context(), names.Events())
	must(t, err)
	if got := s.CachedInfo().State.Msgs; got != uint64(stored.Load()) {
		t.Errorf("%d messages in the stream, %d stored", got, stored.Load())
	}
}

// deaf subscribes to a subject without ever answering: what is stored there has no known outcome.
func deaf(t *testing.T, nc *nats.Conn) (subject string, copies *atomic.Int64) {
	t.Helper()
	copies = new(atomic.Int64)
	_, err := nc.Subscribe("deaf", func(*nats.Msg) { copies.Add(1) })
	must(t, err)
	must(t, nc.Flush())
	return "deaf", copies
}

func TestStore_WithoutAnswerIsUnknownWithin20s(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		subject, copies := deaf(t, b.consume)
		began := time.Now()
		_, err := b.pub.Store(context.Background(), &nats.Msg{Subject: subject})
		e := as[*streams.UnknownOutcomeError](t, err)
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second+300*time.Millisecond {
			t.Errorf("took %v, want at most 20s", took)
		}
		synctest.Wait()
		if e.Tries != 4 || copies.Load() != 4 {
			t.Errorf("%d tries, %d copies, want 4 of both", e.Tries, copies.Load())
		}
	})
}

func TestStore_ContextEndsAfterSendingIsUnknown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	subject, _ := deaf(t, b.consume)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := b.pub.Store(ctx, &nats.Msg{Subject: subject})
	if e := as[*streams.UnknownOutcomeError](t, err); e.Tries != 1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want an unknown outcome after 1 try and the deadline", err)
	}
	_, err = b.pub.Store(ctx, event("x"))
	if _, unknown := errors.AsType[*streams.UnknownOutcomeError](err); unknown || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want only the deadline: nothing was sent", err)
	}
	if s := b.store(names.Event("A"), "y"); s.Sequence != 1 {
		t.Errorf("sequence = %d, want 1: nothing was sent before", s.Sequence)
	}
}

func TestStore_WithoutStreamIsAPlainErrorWithin20s(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		began := time.Now()
		_, err := b.pub.Store(context.Background(), &nats.Msg{Subject: "nobody.listens"})
		if _, unknown := errors.AsType[*streams.UnknownOutcomeError](err); unknown || !errors.Is(err, jetstream.ErrNoStreamResponse) {
			t.Errorf("error = %v, want no response, and a known outcome", err)
		}
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second+300*time.Millisecond {
			t.Errorf("took %v, want about 20s", took)
		}
	})
}

func TestStore_StreamThatAppearsInTimeIsWaitedFor(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		time.AfterFunc(9*time.Second, func() { // as long as an election may take
			_, err := b.js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "LATE", Subjects: []string{"late"}})
			if err != nil {
				t.Error(err)
			}
		})
		_, err := b.pub.Store(context.Background(), &nats.Msg{Subject: "late"})
		must(t, err)
	})
}

func TestStore_ServerGoneEndsWithin20s(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		natstest.Stop(b.srv)
		began := time.Now()
		_, err := b.pub.Store(context.Background(), event("x"))
		_ = as[*streams.UnknownOutcomeError](t, err) // it lies in the reconnect buffer
		if took := time.Since(began); took > 20*time.Second+300*time.Millisecond {
			t.Errorf("took %v, want at most 20s", took)
		}
		unbuffered := b.publisher(b.consume)
		_, err = unbuffered.Store(context.Background(), event("x"))
		if _, unknown := errors.AsType[*streams.UnknownOutcomeError](err); unknown || !errors.Is(err, nats.ErrReconnectBufExceeded) {
			t.Errorf("error = %v, want a known outcome without a buffer", err)
		}
	})
}

func TestClose_EndsWhatWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	subject, copies := deaf(t, b.consume)
	p := b.publisher(b.publish)
	ended := make(chan error)
	go func() {
		_, err := p.Store(context.Background(), &nats.Msg{Subject: subject})
		ended <- err
	}()
	eventually(t, func() bool { return copies.Load() == 1 })
	p.Close()
	err := receive(t, ended)
	if _ = as[*streams.UnknownOutcomeError](t, err); !errors.Is(err, streams.ErrPublisherClosed) {
		t.Errorf("error = %v, want closed", err)
	}
	_, err = p.Store(context.Background(), event("x"))
	if _, unknown := errors.AsType[*streams.UnknownOutcomeError](err); unknown || !errors.Is(err, streams.ErrPublisherClosed) {
		t.Errorf("error = %v, want only closed", err)
	}
	p.Close()
}

func TestStore_OnAClosedConnectionFailsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	subject, copies := deaf(t, b.consume)
	ended := make(chan error)
	go func() {
		_, err := b.pub.Store(context.Background(), &nats.Msg{Subject: subject})
		ended <- err
	}()
	eventually(t, func() bool { return copies.Load() == 1 })
	b.publish.Close()
	err := receive(t, ended)
	if _ = as[*streams.UnknownOutcomeError](t, err); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("error = %v, want connection closed", err)
	}
	if _, err := b.pub.Store(context.Background(), event("x")); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("error = %v, want connection closed", err)
	}
}

// small is a server with room for little.
func small(t *testing.T) *bench {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 4 << 20, NoLog: true, NoSigs: true,
	})
	must(t, err)
	srv.Start()
	t.Cleanup(func() { natstest.Stop(srv) })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("server not ready")
	}
	return on(t, srv, natstest.Connect(t, srv), natstest.Connect(t, srv))
}

func TestStore_FullStorageIsWaitedFor(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := small(t)
		big := event(strings.Repeat("x", 512<<10))
		var err error
		for err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
			_, err = b.pub.Store(ctx, big)
			cancel()
		}
		if e := as[*jetstream.APIError](t, err); e.ErrorCode != 10023 || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error = %v, want 10023 and the deadline", err)
		}
		if _, unknown := errors.AsType[*streams.UnknownOutcomeError](err); unknown {
			t.Errorf("error = %v: it is known that it is not stored", err)
		}

		time.AfterFunc(25*time.Second, func() {
			if s, err := b.js.Stream(context.Background(), names.Events()); err != nil || s.Purge(context.Background()) != nil {
				t.Error("not purged", err)
			}
		})
		_, err = b.pub.Store(context.Background(), big)
		must(t, err)
	})
}

func TestSchedule_IsSentByTheServerInTime(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		got := make(chan *streams.Delivery, 1)
		b.loop(b.pool(1, func(d *streams.Delivery) { got <- d; d.Ack() }), nil)
		at := time.Now().Add(90*time.Second + 250*time.Millisecond)
		m := &nats.Msg{
			Subject: names.SchedEvent("g", "A", "0123"),
			Header:  nats.Header{"Catga-Id": {"x"}, "Nats-Msg-Id": {"x"}},
			Data:    []byte("payload"),
		}
		must(t, b.pub.Schedule(t.Context(), m, names.Retry("g", "A"), at))
		if len(m.Header) != 2 {
			t.Errorf("Schedule changed the message: %v", m.Header)
		}
		select {
		case d := <-got:
			if late := time.Since(at); late < 0 || late > 100*time.Millisecond {
				t.Errorf("came %v after its time", late)
			}
			if d.Subject != names.Retry("g", "A") || string(d.Data) != "payload" || d.Header.Get("Catga-Id") != "x" {
				t.Errorf("delivery = %s %v %s", d.Subject, d.Header, d.Data)
			}
		case <-time.After(5 * time.Minute):
			t.Fatal("nothing came")
		}
	})
}
