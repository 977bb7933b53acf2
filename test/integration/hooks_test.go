package integration

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type watched struct {
	framework.ReliableEvent
	Do string `json:"do"`
}

type watchedRequest struct {
	framework.Request[int]
	Do string `json:"do"`
}

type watchedSignal struct {
	framework.Event
}

// do is what the handlers of these tests do with a message.
func do(ctx context.Context, what string) error {
	switch what {
	case "fail once":
		if framework.InfoFrom(ctx).Attempt == 1 {
			return errNotYet
		}
	case "fail":
		return errNotYet
	case "panic":
		panic("oh no")
	case "permanent":
		return framework.Permanent(errNotYet)
	case "reject":
		return framework.Reject("a code of my own", "no")
	}
	return nil
}

// The outer func runs once for each registration; its result around each message.
func TestHooks_HandlerLevelsAndVerdicts(t *testing.T) {
	t.Parallel()
	type verdict struct {
		Verdict framework.Verdict
		Reason  string
		Check   string
		Attempt int
	}
	ok := func(check string, attempt int) verdict { return verdict{framework.VerdictOK, "", check, attempt} }
	retry := func(check string, attempt int) verdict { return verdict{framework.VerdictRetry, "", check, attempt} }
	dead := func(reason, check string, attempt int) verdict {
		return verdict{framework.VerdictDead, reason, check, attempt}
	}
	for what, want := range map[string]struct{ event, request []verdict }{
		"succeed":   {[]verdict{ok("", 1)}, []verdict{ok("new", 1)}},
		"fail once": {[]verdict{retry("", 1), ok("new", 2)}, []verdict{retry("new", 1), ok("new", 2)}},
		"fail":      {[]verdict{retry("", 1), dead("error", "new", 2)}, []verdict{retry("new", 1), dead("error", "new", 2)}},
		"panic":     {[]verdict{retry("", 1), dead("panic", "new", 2)}, []verdict{retry("new", 1), dead("panic", "new", 2)}},
		"permanent": {[]verdict{dead("permanent", "", 1)}, []verdict{dead("permanent", "new", 1)}},
		"reject":    {[]verdict{dead("rejected", "", 1)}, []verdict{{framework.VerdictRejected, "", "new", 1}}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var refs list[framework.HandlerRef]
			var started counter
			outcomes := map[string]*list[framework.Outcome]{"requests": {}, "g": {}}
			node := frameworktest.NewNode(t, withHooks(framework.Hooks{Handler: func(ref framework.HandlerRef) framework.HandlerHooks {
				refs.add(ref)
				return framework.HandlerHooks{Started: func() { started.Add(1) }, Done: outcomes[ref.Group].add}
			}}))
			must(t, framework.Subscribe(node, func(ctx context.Context, e watched) error { return do(ctx, e.Do) },
				framework.InGroup("g"), framework.WithRetries(1), framework.WithBackoff(0, 0), framework.WithConcurrency(3)),
				framework.Handle(node, func(ctx context.Context, q watchedRequest) (int, error) { return 0, do(ctx, q.Do) },
					framework.WithRetries(1), framework.WithBackoff(0, 0)))
			run(t, node)
			must(t, framework.Publish(soon(t), node, watched{Do: what}))
			_, _ = framework.Send(soon(t), node, watchedRequest{Do: what}) // its error is another test's matter
			runs := 0
			for group, want := range map[string][]verdict{"g": want.event, "requests": want.request} {
				eventually(t, "outcomes of "+group, func() bool { return outcomes[group].len() >= len(want) })
				all := outcomes[group].get() // a run may begin before the end of the last is told
				slices.SortFunc(all, func(a, b framework.Outcome) int { return cmp.Compare(a.Attempt, b.Attempt) })
				var got []verdict
				for i, o := range all {
					got = append(got, verdict{o.Verdict, o.Reason, o.Check, o.Attempt})
					if o.Ran <= 0 || o.Latency < 0 || o.Latency > patience || o.Redelivery != (i > 0) {
						t.Errorf("%s outcome %d: %+v", group, i, o)
					}
					var failed *framework.HandlerError
					if isErr := errors.As(o.Err, &failed); isErr != (o.Verdict != framework.VerdictOK) || isErr && (failed.Attempt != o.Attempt || failed.Group != group || failed.Node != "test") {
						t.Errorf("%s outcome %d: error %v", group, i, o.Err)
					}
				}
				diff(t, group, got, want)
				runs += len(want)
			}
			if int(started.Load()) != runs {
				t.Errorf("Started ran %d times, want %d", started.Load(), runs)
			}
			all := refs.get()
			slices.SortFunc(all, func(a, b framework.HandlerRef) int { return cmp.Compare(a.Kind, b.Kind) })
			diff(t, "registrations", all, []framework.HandlerRef{
				{Kind: "watched", Group: "g", Node: "test", QoS: framework.AtLeastOnce, Concurrency: 3},
				{Kind: "watchedRequest", Group: "requests", Node: "test", QoS: framework.AtLeastOnce, Concurrency: 32},
			})
		})
	}
}

// What is not run is reported too: without Started, without a duration and an attempt.
func TestHooks_VerdictsOfWhatIsNotRun(t *testing.T) {
	t.Parallel()
	var log list[framework.Outcome]
	var started counter
	node := frameworktest.NewNode(t, withHooks(framework.Hooks{Handler: func(framework.HandlerRef) framework.HandlerHooks {
		return framework.HandlerHooks{Started: func() { started.Add(1) }, Done: log.add}
	}}))
	must(t, framework.Handle(node, func(context.Context, watchedRequest) (int, error) { return 1, nil }))
	run(t, node)
	for range 2 {
		_, err := framework.Send(soon(t), node, watchedRequest{}, framework.WithID("1"))
		must(t, err)
	}
	if _, err := framework.Send(soon(t), node, watchedRequest{Do: "other"}, framework.WithID("1")); !errors.Is(err, framework.ErrKeyReused) {
		t.Errorf("reused key: %v", err)
	}
	must(t, node.Conn().PublishMsg(foreign("catga.request.watchedRequest", "{", "Catga-Id", "2")))
	deadLetters(t, node, 1)
	eventually(t, "four outcomes", func() bool { return log.len() == 4 })
	diff(t, "outcomes", log.get(), []framework.Outcome{
		{Verdict: framework.VerdictOK, Check: "new", Attempt: 1, Ran: 1},
		{Verdict: framework.VerdictDuplicate, Check: "duplicate"},
		{Verdict: framework.VerdictDuplicate, Check: "duplicate"},
		{Verdict: framework.VerdictDead, Check: "new", Reason: framework.ReasonUndecodable},
	}, gocmp.Comparer(func(_, _ time.Duration) bool { return true }), cmpopts.IgnoreFields(framework.Outcome{}, "Err"))
	for _, o := range log.get() {
		if (o.Ran > 0) != (o.Attempt > 0) || o.Err != nil {
			t.Errorf("outcome = %+v", o)
		}
	}
	if started.Load() != 1 {
		t.Errorf("Started ran %d times, want once", started.Load())
	}
}

// Kind and Requests run once for each kind, however many goroutines begin, and T and *T are one kind.
func TestHooks_KindAndRequestLevelsRunOncePerKind(t *testing.T) {
	t.Parallel()
	var kinds, requests list[framework.KindRef]
	published, requested := map[string]*list[string]{}, &list[string]{}
	for _, kind := range []string{"watched", "watchedRequest", "watchedSignal"} {
		published[kind] = &list[string]{}
	}
	node := frameworktest.NewNode(t, withHooks(framework.Hooks{
		Kind: func(ref framework.KindRef) framework.PublishHooks {
			kinds.add(ref)
			return framework.PublishHooks{Done: func(outcome string, took time.Duration) {
				if took < 0 || took > patience {
					t.Errorf("took %v", took)
				}
				published[ref.Kind].add(outcome)
			}}
		},
		Requests: func(ref framework.KindRef) framework.RequestHooks {
			requests.add(ref)
			return framework.RequestHooks{Done: func(outcome string, _ time.Duration) { requested.add(outcome) }}
		},
	}))
	must(t, framework.Handle(node, func(ctx context.Context, q watchedRequest) (int, error) { return 0, do(ctx, q.Do) }))
	run(t, node)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			must(t, framework.Publish(soon(t), node, watched{}), framework.Publish(soon(t), node, &watched{}), framework.Publish(soon(t), node, watchedSignal{}))
		})
	}
	wg.Wait()
	must(t, framework.Publish(soon(t), node, watched{}, framework.WithID("1")), framework.Publish(soon(t), node, watched{}, framework.WithID("1")),
		framework.PublishBatch(soon(t), node, []watched{{}, {}}))
	_, ok := framework.Send(soon(t), node, watchedRequest{}, framework.WithID("1"))
	_, rejected := framework.Send(soon(t), node, &watchedRequest{Do: "reject"})
	_, failed := framework.Send(soon(t), node, watchedRequest{Do: "permanent"})
	_, reused := framework.Send(soon(t), node, watchedRequest{Do: "x"}, framework.WithID("1"))
	_, gone := framework.Send(soon(t), node, watchedRequest{}, framework.ToNode("nobody"))
	if ok != nil || rejected == nil || failed == nil || !errors.Is(reused, framework.ErrKeyReused) || !errors.Is(gone, framework.ErrNodeGone) {
		t.Errorf("ok %v, rejected %v, failed %v, reused %v, gone %v", ok, rejected, failed, reused, gone)
	}
	refs := kinds.get()
	slices.SortFunc(refs, func(a, b framework.KindRef) int { return cmp.Compare(a.Kind, b.Kind) })
	diff(t, "kinds", refs, []framework.KindRef{
		{Kind: "watched", QoS: framework.AtLeastOnce}, {Kind: "watchedRequest", QoS: framework.AtLeastOnce}, {Kind: "watchedSignal"},
	})
	diff(t, "requests", requests.get(), []framework.KindRef{{Kind: "watchedRequest", QoS: framework.AtLeastOnce}})
	count := func(l *list[string]) map[string]int {
		by := map[string]int{}
		for _, s := range l.get() {
			by[s]++
		}
		return by
	}
	diff(t, "published events", count(published["watched"]), map[string]int{"stored": 19, "duplicate": 1})
	diff(t, "published signals", count(published["watchedSignal"]), map[string]int{"sent": 8})
	diff(t, "published requests", count(published["watchedRequest"]), map[string]int{"stored": 4})
	diff(t, "requests by outcome", count(requested), map[string]int{"ok": 1, "rejected": 1, "failed": 1, "key_reused": 1, "no_reply": 1})
}

func TestHooks_NodesLagAndConnection(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		var connections list[framework.ConnectionEvent]
		var online list[int]
		var lags list[framework.GroupLag]
		l := &link{server: srv}
		node := connect(t, srv, "a", over(l), withHooks(framework.Hooks{
			Nodes: func(all []framework.NodeInfo) {
				n := 0
				for _, i := range all {
					if i.Online {
						n++
					}
				}
				online.add(n)
			},
			Lag:        lags.add,
			Connection: connections.add,
		}))
		other := connect(t, srv, "b")
		release := make(chan struct{})
		must(t, framework.Subscribe(node, func(context.Context, watched) error { <-release; return nil }, framework.InGroup("g"), framework.WithConcurrency(1)))
		run(t, node)
		drain := frameworktest.Run(t, other)
		for range 5 {
			must(t, framework.Publish(soon(t), other, watched{}))
		}
		natstest.Pass(time.Minute)
		last := lags.get()[lags.len()-1]
		if last.Kind != "watched" || last.Group != "g" || last.Pending+last.AckPending != 5 || last.AckPending < 1 || last.OldestAge < 50*time.Second || last.OldestAge > 70*time.Second {
			t.Errorf("lag = %+v", last)
		}
		if n := lags.len(); n < 10 || n > 15 {
			t.Errorf("lag was reported %d times in a minute, want about every 5s", n)
		}
		close(release)
		l.cut()
		natstest.Pass(3 * time.Second)
		l.mend()
		natstest.Pass(time.Minute)
		if last := lags.get()[lags.len()-1]; last.Pending != 0 || last.AckPending != 0 || last.OldestAge != 0 {
			t.Errorf("lag at the end = %+v", last)
		}
		drain()
		natstest.Pass(time.Second)
		if seen := slices.Compact(online.get()); len(seen) < 3 || seen[0] != 0 || slices.Max(seen) != 2 || seen[len(seen)-1] != 1 {
			t.Errorf("nodes online = %v, want 0 at first, then 2, and 1 at the end", seen)
		}
		must(t, node.Close(soon(t)))
		counts := [3]int{connections.len(), online.len(), lags.len()}
		by := map[framework.ConnectionEvent]int{}
		for _, e := range connections.get() {
			e.Err = nil
			by[e]++
		}
		want := map[framework.ConnectionEvent]int{}
		for _, name := range []string{"publish", "consume"} {
			want[framework.ConnectionEvent{Node: "a", Name: name, Connected: true}] = 1
			want[framework.ConnectionEvent{Node: "a", Name: name}] = 2 // cut, and closed
			want[framework.ConnectionEvent{Node: "a", Name: name, Connected: true, Reconnect: true}] = 1
		}
		diff(t, "connections", by, want)
		must(t, other.Close(soon(t)))
		natstest.Pass(10 * time.Minute)
		if now := [3]int{connections.len(), online.len(), lags.len()}; now != counts {
			t.Errorf("hooks were called after Close: %v, then %v", counts, now)
		}
	})
}

func TestJoinHooks_CallsAllInOrder(t *testing.T) {
	t.Parallel()
	var log list[string]
	hooks := func(name string) framework.Hooks {
		return framework.Hooks{Handler: func(framework.HandlerRef) framework.HandlerHooks {
			return framework.HandlerHooks{
				Started: func() { log.add(name + " started") }, Done: func(framework.Outcome) { log.add(name + " done") },
			}
		}}
	}
	node := frameworktest.NewNode(t, withHooks(framework.JoinHooks(hooks("1"), framework.Hooks{}, hooks("2"))))
	must(t, framework.Subscribe(node, func(context.Context, watched) error { return nil }))
	run(t, node)
	must(t, framework.Publish(soon(t), node, watched{}))
	eventually(t, "four calls", func() bool { return log.len() >= 4 })
	diff(t, "calls", log.get(), []string{"1 started", "2 started", "1 done", "2 done"})
}
