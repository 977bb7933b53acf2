package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type task struct {
	framework.ReliableEvent
	N int `json:"n"`
}

// seen is one run of a handler.
type seen struct {
	node    string
	n       int
	attempt int
}

// held is what a handler does until release; its context must not end before.
func held(ctx context.Context, release <-chan struct{}) error {
	select {
	case <-release:
		return nil
	case <-ctx.Done():
		return framework.Permanent(fmt.Errorf("told to stop: %w", context.Cause(ctx)))
	}
}

func softStop(d time.Duration) func(*framework.Config) {
	return func(c *framework.Config) { c.SoftStop = d }
}

func TestDrain_InFlightHandlerFinishesAndPrefetchedMessagesGoToOthersAtOnce(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		publisher, drains, other := connect(t, srv, "publisher"), connect(t, srv, "drains"), connect(t, srv, "other")
		runs, started, release := make(chan seen, 100), make(chan struct{}, 100), make(chan struct{})
		must(t, framework.Subscribe(drains, func(ctx context.Context, m task) error {
			started <- struct{}{}
			err := held(ctx, release)
			runs <- seen{"drains", m.N, framework.InfoFrom(ctx).Attempt}
			return err
		}, framework.InGroup("g"), framework.WithConcurrency(4)))
		stop, ended := running(t, drains)
		for n := range 8 { // 4 run, 4 are prefetched
			must(t, framework.Publish(soon(t), publisher, task{N: n}))
		}
		for range 4 {
			receive(t, started)
		}
		natstest.Pass(5 * time.Second) // of fake time: the others have arrived
		must(t, framework.Subscribe(other, func(ctx context.Context, m task) error {
			runs <- seen{"other", m.N, framework.InfoFrom(ctx).Attempt}
			return nil
		}, framework.InGroup("g"), framework.WithConcurrency(4)))
		frameworktest.Run(t, other)
		natstest.Pass(time.Second)
		empty(t, "what is prefetched runs elsewhere", runs)

		began := time.Now()
		stop()
		handled := map[int]seen{}
		for range 4 {
			s := receive(t, runs)
			handled[s.n] = s
			if s.node != "other" || s.attempt != 1 {
				t.Errorf("a prefetched message ran as %+v, want attempt 1 on the other node", s)
			}
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("the prefetched messages ran after %v, want at once", took)
		}
		contains(t, drains.Ready(), "draining")
		empty(t, "Run returned while handlers ran", ended)
		close(release)
		must(t, receive(t, ended))
		for range 4 {
			s := receive(t, runs)
			handled[s.n] = s
			if s.node != "drains" || s.attempt != 1 {
				t.Errorf("a running message ran as %+v", s)
			}
		}
		natstest.Pass(2 * time.Minute)
		empty(t, "something ran twice", runs)
		if len(handled) != 8 {
			t.Errorf("handled %d of 8 messages", len(handled))
		}
		if dead := stored(t, publisher, "CATGA_DEAD"); dead != 0 {
			t.Errorf("%d dead letters", dead)
		}
	})
}

func TestDrain_CallerOfAnInFlightRequestGetsItsAnswer(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	caller, drains, other := connect(t, srv, "caller"), connect(t, srv, "drains"), connect(t, srv, "other")
	started, release := make(chan struct{}, 10), make(chan struct{})
	must(t, framework.Handle(drains, func(ctx context.Context, _ work) (string, error) {
		started <- struct{}{}
		return "drains", held(ctx, release)
	}, framework.WithConcurrency(1)))
	stop, ended := running(t, drains)
	first := sending(soon(t), caller, work{})
	receive(t, started)
	second := sending(soon(t), caller, work{}) // waits in the stream: the node is full
	eventually(t, "the second is stored", func() bool { return stored(t, caller, "CATGA_REQUESTS") == 2 })
	must(t, framework.Handle(other, func(context.Context, work) (string, error) { return "other", nil }))
	frameworktest.Run(t, other)
	stop()
	if r := receive(t, second); r.err != nil || r.value != "other" || r.info != (framework.ReplyInfo{Node: "other", Attempts: 1}) {
		t.Errorf("what waited = %+v", r)
	}
	close(release)
	if r := receive(t, first); r.err != nil || r.value != "drains" || r.info != (framework.ReplyInfo{Node: "drains", Attempts: 1}) {
		t.Errorf("what was in flight = %+v", r)
	}
	must(t, receive(t, ended))
	drainedOff(t, caller)
}

func TestDrain_HandlerThatOutlivesTheSoftStopRunsAgainElsewhereAsTheFirstAttempt(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		caller, drains, other := connect(t, srv, "caller"), connect(t, srv, "drains", softStop(7*time.Second)), connect(t, srv, "other")
		causes, started, runs := make(chan error, 10), make(chan struct{}, 10), make(chan seen, 10)
		hold := func(ctx context.Context) error {
			started <- struct{}{}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return ctx.Err()
		}
		must(t,
			framework.Handle(drains, func(ctx context.Context, _ work) (string, error) { return "", hold(ctx) }),
			framework.Subscribe(drains, func(ctx context.Context, _ task) error { return hold(ctx) }, framework.InGroup("g")))
		stop, ended := running(t, drains)
		answer := sending(within(t, time.Hour), caller, work{})
		must(t, framework.Publish(soon(t), caller, task{N: 1}))
		receive(t, started)
		receive(t, started)
		must(t,
			framework.Handle(other, func(context.Context, work) (string, error) { return "other", nil }),
			framework.Subscribe(other, func(ctx context.Context, m task) error {
				runs <- seen{"other", m.N, framework.InfoFrom(ctx).Attempt}
				return nil
			}, framework.InGroup("g")))
		frameworktest.Run(t, other)

		began := time.Now()
		stop()
		for range 2 {
			if cause := receive(t, causes); !errors.Is(cause, framework.ErrDraining) {
				t.Errorf("a handler's context ended because of %v, want %v", cause, framework.ErrDraining)
			}
		}
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("the handlers were told after %v, want the soft stop of 7s", took)
		}
		must(t, receive(t, ended))
		if r := receive(t, answer); r.err != nil || r.info != (framework.ReplyInfo{Node: "other", Attempts: 1}) {
			t.Errorf("the request = %+v, want attempt 1 on the other node", r)
		}
		if s := receive(t, runs); s != (seen{"other", 1, 1}) {
			t.Errorf("the event ran as %+v, want attempt 1", s)
		}
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("they ran elsewhere after %v, want at once after 7s", took)
		}
		drainedOff(t, caller)
	})
}

func TestDrain_HandlerThatIgnoresItsContextIsReportedAndNotWaitedFor(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t, softStop(7*time.Second))
		started, release := make(chan struct{}), make(chan struct{})
		must(t, framework.Subscribe(node, func(context.Context, task) error {
			close(started)
			<-release
			return nil
		}, framework.InGroup("g")))
		stop, ended := running(t, node)
		must(t, framework.Publish(soon(t), node, task{}))
		receive(t, started)
		began := time.Now()
		stop()
		err := receive(t, ended)
		if err == nil {
			t.Error("Run returned nil although a handler still runs")
		}
		contains(t, err, "task", "group g")
		if took := time.Since(began); took < 7*time.Second || took > 20*time.Second {
			t.Errorf("Run returned after %v, want some seconds after the soft stop of 7s", took)
		}
		close(release)
		must(t, node.Close(soon(t)))
	})
}

func TestDrain_RollingRestartUnderLoadCostsNoRequestAndNoAttempt(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	caller := connect(t, srv, "caller")
	var runs counter
	start := func(name string) (stop context.CancelFunc, ended <-chan error) {
		node := connect(t, srv, name)
		must(t, framework.Handle(node, func(context.Context, work) (string, error) {
			runs.Add(1)
			return name, nil
		}, framework.WithConcurrency(4)))
		return running(t, node)
	}
	names := []string{"node1", "node2", "node3"}
	stops, ends := map[string]context.CancelFunc{}, map[string]<-chan error{}
	for _, name := range names {
		stops[name], ends[name] = start(name)
	}
	handling(t, caller, "work", 3)

	var callers sync.WaitGroup
	var sent counter
	quit, failed := make(chan struct{}), make(chan result[string], 100)
	ctx := soon(t)
	for i := range 4 {
		var opts []framework.SendOption
		if i%2 == 1 {
			opts = append(opts, framework.RoundRobin())
		}
		callers.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				r := <-sending(ctx, caller, work{}, opts...)
				sent.Add(1)
				if r.err != nil || r.info.Attempts != 1 || r.info.Replayed {
					failed <- r
					return
				}
			}
		})
	}
	for _, name := range names {
		passed := sent.Load() + 30
		eventually(t, "requests pass", func() bool { return len(failed) > 0 || sent.Load() > passed })
		stops[name]()
		must(t, receive(t, ends[name]))
		passed = sent.Load() + 30
		eventually(t, "requests pass", func() bool { return len(failed) > 0 || sent.Load() > passed })
		start(name)
		handling(t, caller, "work", 3)
	}
	close(quit)
	callers.Wait()
	for len(failed) > 0 {
		t.Errorf("a request came to %+v", <-failed)
	}
	if runs.Load() != sent.Load() {
		t.Errorf("%d runs of %d requests", runs.Load(), sent.Load())
	}
	drainedOff(t, caller)
	if dead := stored(t, caller, "CATGA_DEAD"); dead != 0 {
		t.Errorf("%d dead letters", dead)
	}
}
