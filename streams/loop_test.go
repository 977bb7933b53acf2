package streams_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
	"github.com/catga-go/catga/internal/provision"
	"github.com/catga-go/catga/streams"
)

// run is what a handler of these tests has seen.
type run struct {
	data      string
	seq       uint64
	delivered uint64
	fresh     bool
}

// recorder records and then acknowledges.
func recorder(size int) (chan run, func(*streams.Delivery)) {
	runs := make(chan run, size)
	return runs, func(d *streams.Delivery) {
		runs <- run{string(d.Data), d.Sequence, d.Delivered, d.Fresh()}
		d.Ack()
	}
}

func (b *bench) storeMany(from, to int) {
	b.tb.Helper()
	for i := from; i < to; i++ {
		b.store(names.Event("A"), strconv.Itoa(i))
	}
}

// settled waits until the durable has nothing pending any more.
func (b *bench) settled() {
	b.tb.Helper()
	eventually(b.tb, func() bool {
		c, err := b.js.Consumer(context.Background(), names.Events(), names.Durable("g", "A"))
		return err == nil && c.CachedInfo().NumAckPending == 0 && c.CachedInfo().NumPending == 0
	})
}

func TestLoop_DeliversEverythingOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	runs, record := recorder(2000)
	l := b.loop(b.pool(4, record), nil)
	const n = 1000
	b.storeMany(0, n)
	seen := map[string]int{}
	for range n {
		seen[receive(t, runs).data]++
	}
	b.settled()
	if len(seen) != n || len(runs) > 0 {
		t.Errorf("%d different messages and %d more runs, want %d and none", len(seen), len(runs), n)
	}
	if l.Held() != 0 {
		t.Errorf("held = %d after all is settled", l.Held())
	}
}

func TestDelivery_CarriesWhatTheServerKnows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := make(chan *streams.Delivery, 1)
	b.loop(b.pool(1, func(d *streams.Delivery) { d.Ack(); got <- d }), nil)
	m := event("data")
	m.Header = nats.Header{"K": {"v"}}
	before := time.Now()
	_, err := b.pub.Store(t.Context(), m)
	must(t, err)
	d := receive(t, got)
	s, err := b.js.Stream(t.Context(), names.Events())
	must(t, err)
	raw, err := s.GetMsg(t.Context(), 1)
	must(t, err)
	want := streams.Delivery{
		Subject: "catga.event.A", Header: nats.Header{"K": {"v"}}, Data: []byte("data"),
		Stream: "CATGA_EVENTS", Sequence: 1, Delivered: 1, Published: raw.Time, Created: s.CachedInfo().Created.UnixNano(),
	}
	same := d.Subject == want.Subject && cmp.Equal(d.Header, want.Header) && string(d.Data) == "data" &&
		d.Stream == want.Stream && d.Sequence == 1 && d.Delivered == 1 && d.Published.Equal(want.Published) && d.Created == want.Created
	if !same {
		t.Errorf("delivery = %+v, want %+v", d, &want)
	}
	if d.Arrived.Before(before) || !d.Fresh() {
		t.Errorf("arrived %v, fresh %v; want after %v and fresh", d.Arrived, d.Fresh(), before)
	}
}

func TestLoop_NewGroupStartsWithTheNextMessageUnlessFromStart(t *testing.T) {
	t.Parallel()
	for _, fromStart := range []bool{false, true} {
		t.Run(strconv.FormatBool(fromStart), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.storeMany(0, 1)
			runs, record := recorder(10)
			b.loop(b.pool(1, record), func(c *streams.LoopConfig) { c.FromStart = fromStart })
			b.storeMany(1, 2)
			want := []run{{"1", 2, 1, true}}
			if fromStart { // what was there before the loop is not fresh
				want = []run{{"0", 1, 1, false}, {"1", 2, 1, true}}
			}
			var got []run
			for range want {
				got = append(got, receive(t, runs))
			}
			b.settled()
			if !slices.Equal(got, want) || len(runs) > 0 {
				t.Errorf("runs = %v and %d more, want %v", got, len(runs), want)
			}
		})
	}
}

func TestLoop_PrefetchedNeighboursOfASlowHandlerRunOnce(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		runs := make(chan run, 100)
		b.loop(b.pool(1, func(d *streams.Delivery) {
			natstest.Pass(700 * time.Millisecond) // 16 of them: five ack waits
			runs <- run{string(d.Data), d.Sequence, d.Delivered, d.Fresh()}
			d.Ack()
		}), func(c *streams.LoopConfig) { c.AckWait, c.Credits = 2*time.Second, 9 })
		b.storeMany(0, 16)
		natstest.Pass(5 * time.Minute)
		seen := map[string]int{}
		for len(runs) > 0 {
			seen[receive(t, runs).data]++
		}
		for data, n := range seen {
			if n != 1 {
				t.Errorf("message %s ran %d times", data, n)
			}
		}
		if len(seen) != 16 {
			t.Errorf("%d messages ran, want 16", len(seen))
		}
	})
}

func TestLoop_LongHandlerIsRenewed(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		runs := make(chan bool, 100)
		b.loop(b.pool(2, func(d *streams.Delivery) {
			natstest.Pass(10 * time.Minute)
			runs <- d.Ack()
		}), func(c *streams.LoopConfig) { c.AckWait = 15 * time.Second })
		b.storeMany(0, 1)
		natstest.Pass(time.Hour)
		if len(runs) != 1 || !<-runs {
			t.Errorf("%d more runs, want one, acknowledged in time", len(runs))
		}
	})
}

func TestDelivery_NakComesBackAfterItsDelay(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		var times []time.Time
		done := make(chan uint64)
		b.loop(b.pool(1, func(d *streams.Delivery) {
			times = append(times, time.Now())
			switch d.Delivered {
			case 1:
				d.Nak(3 * time.Second)
			case 2:
				d.Nak(0)
			default:
				d.Ack()
				done <- d.Delivered
			}
		}), nil)
		b.storeMany(0, 1)
		if n := receive(t, done); n != 3 {
			t.Errorf("acknowledged at delivery %d, want 3", n)
		}
		if first := times[1].Sub(times[0]); first < 3*time.Second || first > 3*time.Second+50*time.Millisecond {
			t.Errorf("came back after %v, want 3s", first)
		}
		if second := times[2].Sub(times[1]); second > 50*time.Millisecond {
			t.Errorf("came back after %v, want at once", second)
		}
	})
}

func TestLoop_TwoShareADurable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var both sync.WaitGroup // nobody goes on before each has something
	both.Add(2)
	var handled atomic.Int64
	for range 2 {
		var first sync.Once
		b.loop(b.pool(2, func(d *streams.Delivery) {
			first.Do(both.Done)
			both.Wait()
			if d.Ack() {
				handled.Add(1)
			}
		}), func(c *streams.LoopConfig) { c.Credits = 4 })
	}
	b.storeMany(0, 300)
	b.settled()
	if n := handled.Load(); n != 300 {
		t.Errorf("%d messages handled, want 300", n)
	}
}

func TestDrain_HandsPrefetchedMessagesOverAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release := make(chan struct{})
	started := make(chan string, 20)
	pool := b.pool(1, func(d *streams.Delivery) {
		started <- string(d.Data)
		<-release
		d.Ack()
	})
	l := b.loop(pool, func(c *streams.LoopConfig) { c.AckWait, c.Credits = time.Minute, 10 })
	b.storeMany(0, 20)
	first := receive(t, started)
	eventually(t, func() bool { return l.Held() == 10 })
	runs, record := recorder(100)
	b.loop(b.pool(4, record), func(c *streams.LoopConfig) { c.AckWait = time.Minute })

	l.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := pool.Drain(ctx)
	if e := as[*streams.DrainError](t, err); e.Running != 1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want one handler still running", err)
	}
	got := map[string]bool{}
	for range 19 { // long before the ack wait is over
		got[receive(t, runs).data] = true
	}
	if len(got) != 19 || got[first] {
		t.Errorf("%d messages on the other node, with the running one: %v; want the other 19", len(got), got[first])
	}
	close(release)
	must(t, pool.Drain(t.Context()))
	b.settled()
	if len(started) != 0 || len(runs) != 0 {
		t.Errorf("%d and %d more runs", len(started), len(runs))
	}
}

func TestStop_UnderLoadLosesAndDelaysNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	runs, record := recorder(10_000)
	b.loop(b.pool(2, record), func(c *streams.LoopConfig) { c.AckWait, c.Credits = time.Minute, 8 })
	const n = 2000
	go func() {
		for i := range n {
			if _, err := b.pub.Store(context.Background(), event(strconv.Itoa(i))); err != nil {
				t.Error(err)
			}
		}
	}()
	var stopped atomic.Bool
	for range 4 {
		pool := b.pool(2, func(d *streams.Delivery) { record(d) })
		l := b.newLoop(pool, func(c *streams.LoopConfig) {
			c.AckWait, c.Credits = time.Minute, 64
			c.Pool = func(*streams.Delivery) *streams.Pool {
				if stopped.Load() {
					t.Error("offered after Stop")
				}
				return pool
			}
		})
		stopped.Store(false)
		must(t, l.Start(t.Context()))
		for range 100 {
			receive(t, runs)
		}
		l.Stop()
		stopped.Store(true)
		must(t, pool.Drain(t.Context()))
		if l.Held() != 0 {
			t.Errorf("held = %d after stop and drain", l.Held())
		}
	}
	for range n - 400 {
		receive(t, runs)
	}
	b.settled()
}

func TestLoop_DeletedConsumerIsRecreatedAtItsFloor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	runs, record := recorder(10_000)
	infos := make(chan streams.Info, 1000)
	b.loop(b.pool(4, record), func(c *streams.LoopConfig) {
		c.InfoInterval = 20 * time.Millisecond
		c.OnInfo = func(i streams.Info) { infos <- i }
	})
	b.storeMany(0, 200)
	for range 200 {
		receive(t, runs)
	}
	b.settled()
	floor := uint64(0)
	for floor < 200 {
		floor = receive(t, infos).AckFloor
	}
	stop := make(chan struct{})
	var sent sync.WaitGroup
	n := 200
	sent.Go(func() {
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := b.pub.Store(context.Background(), event(strconv.Itoa(n))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	stopped := sync.OnceFunc(func() { close(stop); sent.Wait() })
	defer stopped()
	seen := map[string]int{}
	for range 3 {
		for range 100 {
			seen[receive(t, runs).data]++
		}
		for deleted := false; !deleted; { // what was received before may be used up before it is there again
			err := b.js.DeleteConsumer(t.Context(), names.Events(), names.Durable("g", "A"))
			deleted = err == nil
			if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				t.Fatal(err)
			}
			seen[receive(t, runs).data]++
		}
	}
	for range 100 {
		seen[receive(t, runs).data]++
	}
	stopped()
	for len(seen) < n-200 {
		r := receive(t, runs)
		seen[r.data]++
		if r.seq <= 200 {
			t.Errorf("ran sequence %d again, which is below the floor", r.seq)
		}
	}
}

func TestLoop_WhatComesAgainAfterRecreationIsNotFresh(t *testing.T) {
	t.Parallel()
	b := setup(t)
	runs := make(chan run, 100)
	polled := make(chan struct{})
	b.loop(b.pool(1, func(d *streams.Delivery) {
		runs <- run{string(d.Data), d.Sequence, d.Delivered, d.Fresh()}
		d.Ack()
	}), func(c *streams.LoopConfig) { // the floor stays what it was at the start
		c.InfoInterval = time.Hour
		c.OnInfo = func(streams.Info) { close(polled) }
	})
	receive(t, polled)
	b.storeMany(0, 2)
	if got, want := []run{receive(t, runs), receive(t, runs)}, []run{{"0", 1, 1, true}, {"1", 2, 1, true}}; !slices.Equal(got, want) {
		t.Fatalf("runs = %v, want %v", got, want)
	}
	b.settled()
	must(t, b.js.DeleteConsumer(t.Context(), names.Events(), names.Durable("g", "A")))
	if got, want := []run{receive(t, runs), receive(t, runs)}, []run{{"0", 1, 1, false}, {"1", 2, 1, false}}; !slices.Equal(got, want) {
		t.Errorf("runs = %v, want %v", got, want)
	}
	b.storeMany(2, 3)
	if got, want := receive(t, runs), (run{"2", 3, 1, true}); got != want {
		t.Errorf("run = %v, want %v", got, want)
	}
}

func TestLoop_RecreatedConsumerOfANewGroupSkipsWhatWasBeforeIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.storeMany(0, 3)
	runs, record := recorder(10)
	b.loop(b.pool(1, record), nil)
	must(t, b.js.DeleteConsumer(t.Context(), names.Events(), names.Durable("g", "A")))
	b.storeMany(3, 4)
	if r := receive(t, runs); r.seq != 4 {
		t.Errorf("run %v, want only what was stored after the group began", r)
	}
}

func TestLoop_FlowsAgainAfterAServerRestart(t *testing.T) {
	t.Parallel()
	b, restart := setupTCP(t)
	runs := make(chan run, 100)
	hold := make(chan struct{})
	b.loop(b.pool(2, func(d *streams.Delivery) {
		runs <- run{string(d.Data), d.Sequence, d.Delivered, d.Fresh()}
		if string(d.Data) == "0" && d.Delivered == 1 {
			<-hold
		}
		d.Ack()
	}), func(c *streams.LoopConfig) { c.AckWait = time.Second })
	b.storeMany(0, 2)
	receive(t, runs)
	receive(t, runs)
	restart()
	close(hold)
	b.storeMany(2, 3)
	for { // "0" may come again; it is never fresh then
		r := receive(t, runs)
		if r.data == "2" {
			break
		}
		if r.fresh {
			t.Errorf("run %v is fresh after a restart", r)
		}
	}
	// New messages are fresh again once the watermark is read.
	eventually(t, func() bool {
		b.storeMany(3, 4)
		for {
			if r := receive(t, runs); r.data == "3" {
				return r.fresh
			}
		}
	})
}

// A server that crashes may forget what was acknowledged and deliver it again, as a first delivery.
func TestLoop_WhatAForgetfulServerSendsAgainIsNotFresh(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := natstest.Listen(t, dir, 0)
	b := on(t, srv, dial(t, srv), dial(t, srv, nats.ReconnectBufSize(-1)))
	runs, record := recorder(100)
	b.loop(b.pool(1, record), func(c *streams.LoopConfig) { c.FromStart = true })
	b.storeMany(0, 3)
	for i := range 3 {
		if r := receive(t, runs); !r.fresh || r.seq != uint64(i+1) {
			t.Fatalf("run %v, want fresh", r)
		}
	}
	addr := srv.Addr().String()
	natstest.Stop(srv)
	states, err := filepath.Glob(filepath.Join(dir, "jetstream", "$G", "streams", names.Events(), "obs", "*", "o.dat"))
	must(t, err)
	if len(states) != 1 {
		t.Fatalf("state files %v, want one", states)
	}
	must(t, os.Remove(states[0]))
	natstest.Listen(t, dir, portOf(t, addr))
	for i := range 3 {
		r := receive(t, runs)
		if want := (run{strconv.Itoa(i), uint64(i + 1), 1, false}); r != want {
			t.Errorf("run %v, want %v", r, want)
		}
	}
	b.storeMany(3, 4)
	if r := receive(t, runs); !r.fresh {
		t.Errorf("run %v, want fresh", r)
	}
}

func TestLoop_RecreatedStreamFlows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	runs, record := recorder(100)
	b.loop(b.pool(1, record), func(c *streams.LoopConfig) { c.InfoInterval = 20 * time.Millisecond })
	b.storeMany(0, 5)
	for range 5 {
		receive(t, runs)
	}
	must(t, b.js.DeleteStream(t.Context(), names.Events()))
	must(t, streams.Provision(t.Context(), b.js, streams.Config{Namespace: ns}))
	b.storeMany(5, 6)
	if r := receive(t, runs); r.data != "5" || r.seq != 1 {
		t.Errorf("run %v, want the first of the new stream", r)
	}
}

func TestLoop_WorkQueueSharedByKindAndDirect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	runs := make(chan string, 10)
	pool := b.pool(1, func(d *streams.Delivery) {
		runs <- d.Subject
		d.Ack()
	})
	request := func(durable, filter string) func(*streams.LoopConfig) {
		return func(c *streams.LoopConfig) {
			c.Stream, c.Durable, c.FilterSubjects = names.Requests(), durable, []string{filter}
		}
	}
	b.loop(pool, request(names.Durable("handlers", "acme.v1.Ship"), names.Request("acme.v1.Ship")))
	b.loop(pool, request(names.DirectDurable("node1"), names.DirectAll("node1")))
	for _, subject := range []string{names.Request("acme.v1.Ship"), names.Direct("node1", "acme.v1.Ship")} {
		b.store(subject, "x")
		if got := receive(t, runs); got != subject {
			t.Errorf("ran %s, want %s", got, subject)
		}
	}
	eventually(t, func() bool { // a work queue keeps nothing that is done
		s, err := b.js.Stream(t.Context(), names.Requests())
		return err == nil && s.CachedInfo().State.Msgs == 0
	})
}

func TestLoop_InfoTellsBacklogAndAge(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		infos := make(chan streams.Info, 1000)
		hold := make(chan struct{})
		b.loop(b.pool(1, func(d *streams.Delivery) {
			<-hold
			d.Ack()
		}), func(c *streams.LoopConfig) {
			c.Credits = 2
			c.OnInfo = func(i streams.Info) { infos <- i }
		})
		b.storeMany(0, 5)
		natstest.Pass(time.Minute)
		var last streams.Info
		for len(infos) > 0 {
			last = <-infos
		}
		if last.NumPending != 3 || last.NumAckPending != 2 || last.AckFloor != 0 {
			t.Errorf("info = %+v, want 3 pending and 2 unacknowledged", last)
		}
		if last.Oldest < 50*time.Second || last.Oldest > time.Minute {
			t.Errorf("oldest = %v, want about a minute", last.Oldest)
		}
		close(hold)
		natstest.Pass(time.Minute)
		for len(infos) > 0 {
			last = <-infos
		}
		if last.NumPending != 0 || last.NumAckPending != 0 || last.AckFloor != 5 || last.Oldest != 0 {
			t.Errorf("info = %+v, want all done", last)
		}
	})
}

func TestLoop_IdleForHoursThenFlows(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		runs, record := recorder(10)
		b.loop(b.pool(1, record), func(c *streams.LoopConfig) {
			c.OnError = func(err error) { t.Error(err) } // pulls that run out are no error
		})
		natstest.Pass(time.Hour)
		b.storeMany(0, 1)
		receive(t, runs)
	})
}

// The server says nothing to a pull beyond MaxWaiting: only the missing heartbeats tell.
func TestLoop_FlowsWhenItsPullsWereDroppedSilently(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		runs, record := recorder(100)
		lost := make(chan error, 100)
		crowded := func(c *streams.LoopConfig) { c.MaxWaiting = 1 }
		first := b.loop(b.pool(1, record), crowded)
		b.loop(b.pool(1, record), func(c *streams.LoopConfig) {
			crowded(c)
			c.OnError = func(err error) { lost <- err }
		})
		natstest.Pass(time.Minute)
		first.Stop()
		if e := as[*streams.PullError](t, receive(t, lost)); e.Status != "" {
			t.Errorf("error = %v, want a lost pull", e)
		}
		natstest.Pass(time.Minute)
		b.storeMany(0, 1)
		receive(t, runs)
	})
}

func TestLoop_KeepsToWhatOthersSetWhileItRuns(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		waits := make(chan time.Duration, 100)
		pool := b.pool(1, func(d *streams.Delivery) {
			waits <- d.AckWait()
			d.Ack()
		})
		b.loop(pool, nil)
		natstest.Pass(time.Minute)
		c, err := b.js.Consumer(t.Context(), names.Events(), names.Durable("g", "A"))
		must(t, err)
		cfg := c.CachedInfo().Config
		cfg.AckWait, cfg.MaxRequestBatch, cfg.MaxRequestExpires = 3*time.Second, 2, 4*time.Second
		_, err = b.js.UpdateConsumer(t.Context(), names.Events(), cfg)
		must(t, err)
		natstest.Pass(time.Minute)
		b.storeMany(0, 20)
		for range 20 {
			if wait := receive(t, waits); wait != 3*time.Second {
				t.Errorf("ack wait = %v, want the 3s of the server", wait)
			}
		}
	})
}

func TestLoop_UpdatesTheAckWaitOfAnExistingDurable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := b.pool(1, func(d *streams.Delivery) { d.Ack() })
	b.loop(pool, func(c *streams.LoopConfig) { c.FromStart = true })
	b.loop(pool, func(c *streams.LoopConfig) {
		c.AckWait, c.FilterSubjects = 3*time.Second, []string{names.Event("A"), names.Event("OldA")}
	})
	c, err := b.js.Consumer(t.Context(), names.Events(), names.Durable("g", "A"))
	must(t, err)
	cfg := c.CachedInfo().Config
	wantFilters := []string{names.Event("A"), names.Retry("g", "A"), names.Event("OldA")}
	if cfg.AckWait != 3*time.Second || cfg.DeliverPolicy != jetstream.DeliverAllPolicy || !slices.Equal(cfg.FilterSubjects, wantFilters) {
		t.Errorf("config = %+v, want ack wait 3s, deliver all as created, filters %v", cfg, wantFilters)
	}
	if cfg.MaxDeliver != -1 || cfg.MaxAckPending != 10_000 || cfg.MaxWaiting != 2_048 || cfg.AckPolicy != jetstream.AckExplicitPolicy {
		t.Errorf("config = %+v, want explicit acks and the bounds of the design", cfg)
	}
}

func TestStart_InVerifyModeNeedsTheDurable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := b.pool(1, func(d *streams.Delivery) { d.Ack() })
	l := b.newLoop(pool, func(c *streams.LoopConfig) { c.Mode = provision.Verify })
	if e := as[*provision.MissingError](t, l.Start(t.Context())); e.Consumer != "g:A" {
		t.Errorf("error = %v, want consumer g:A missing", e)
	}
	l.Stop()
	b.loop(pool, nil)
	b.loop(pool, func(c *streams.LoopConfig) { c.Mode = provision.Verify })
}

func TestStart_WithoutServerFailsWithTheContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := b.newLoop(b.pool(1, func(*streams.Delivery) {}), nil)
	natstest.Stop(b.srv)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := l.Start(ctx); err == nil {
		t.Error("started without a server")
	}
	l.Stop()
}

func TestStop_WithoutServerReturns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := b.loop(b.pool(1, func(*streams.Delivery) {}), nil)
	natstest.Stop(b.srv)
	done := make(chan bool)
	go func() { l.Stop(); l.Stop(); done <- true }()
	receive(t, done)
}

func TestNewLoop_RefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, cfg := range map[string]streams.LoopConfig{
		"nothing":    {},
		"no filter":  {Stream: "S", Durable: "d", Credits: 1, Pool: func(*streams.Delivery) *streams.Pool { return nil }},
		"no credits": {Stream: "S", Durable: "d", FilterSubjects: []string{"a"}, Pool: func(*streams.Delivery) *streams.Pool { return nil }},
		"no pool":    {Stream: "S", Durable: "d", FilterSubjects: []string{"a"}, Credits: 1},
	} {
		if _, err := streams.NewLoop(b.consume, b.js, cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestLoop_WithinADomain(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, JetStreamDomain: "hub", StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	})
	must(t, err)
	srv.Start()
	t.Cleanup(func() { natstest.Stop(srv) })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("server not ready")
	}
	b := on(t, srv, natstest.Connect(t, srv), natstest.Connect(t, srv))
	b.js, err = jetstream.NewWithDomain(b.consume, "hub")
	must(t, err)
	runs, record := recorder(10)
	b.loop(b.pool(1, record), nil)
	b.storeMany(0, 1)
	if got, want := receive(t, runs), (run{"0", 1, 1, true}); got != want {
		t.Errorf("run = %v, want %v", got, want)
	}
}

func TestLoop_UnknownPoolHandsBack(t *testing.T) { //nolint:paralleltest // fake time: see natstest.FakeTime
	natstest.FakeTime(t, func(t *testing.T) {
		b := setup(t)
		runs, record := recorder(10)
		pool := b.pool(1, record)
		b.loop(pool, func(c *streams.LoopConfig) {
			c.Pool = func(d *streams.Delivery) *streams.Pool {
				if d.Delivered < 3 {
					return nil
				}
				return pool
			}
		})
		began := time.Now()
		b.storeMany(0, 1)
		if r := receive(t, runs); r.delivered != 3 || time.Since(began) < 2*time.Second {
			t.Errorf("run %v after %v, want delivery 3 after two seconds", r, time.Since(began))
		}
	})
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	var port int
	_, err := fmt.Sscanf(addr, "127.0.0.1:%d", &port)
	must(t, err)
	return port
}
