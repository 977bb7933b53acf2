package integration

import (
	"context"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type paid struct {
	framework.ReliableEvent
	Order string `json:"order"`
}

func TestDuplicateEvent_IsHandledOncePerGroup(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	var done list[framework.Outcome]
	a, b := connect(t, srv, "a", outcomes(&done)), connect(t, srv, "b", outcomes(&done))
	got := make(chan framework.Info, 100)
	must(t, framework.Subscribe(a, infos[paid](got), framework.InGroup("g")), framework.Subscribe(b, infos[paid](got), framework.InGroup("g")),
		framework.Subscribe(a, infos[paid](got)))
	run(t, a, b)
	for range 5 {
		must(t, framework.Publish(soon(t), a, paid{Order: "1"}, framework.WithID("1")))
	}
	by := map[string]int{}
	for range 2 {
		by[receive(t, got).Group]++
	}
	acknowledged(t, a, "g:paid")
	acknowledged(t, a, "node=a:paid")
	empty(t, "handled again", got)
	diff(t, "by group", by, map[string]int{"g": 1, "node=a": 1})
}

// The server recognizes a repeat for 30 seconds; after that the record does.
func TestDuplicateEvent_AnHourLaterIsHandledOncePerGroup(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		var done list[framework.Outcome]
		a, b := connect(t, srv, "a", outcomes(&done), calm), connect(t, srv, "b", outcomes(&done), calm)
		var got list[framework.Info]
		keep := func(ctx context.Context, _ paid) error {
			got.add(framework.InfoFrom(ctx))
			return nil
		}
		must(t, framework.Subscribe(a, keep, framework.InGroup("g")), framework.Subscribe(b, keep, framework.InGroup("g")), framework.Subscribe(b, keep))
		run(t, a, b)
		must(t, framework.Publish(soon(t), a, paid{}, framework.WithID("order 1")))
		natstest.Pass(time.Hour)
		if n := got.len(); n != 2 {
			t.Fatalf("handled %d times at first, want once per group", n)
		}
		must(t, framework.Publish(soon(t), b, paid{}, framework.WithID("order 1")))
		natstest.Pass(time.Minute)
		if n := streamState(t, a, "CATGA_EVENTS").LastSeq; n != 2 {
			t.Errorf("%d events stored, want both: the server's window is over", n)
		}
		if n := got.len(); n != 2 {
			t.Errorf("handled again: %+v", got.get()[2:])
		}
		verdicts := map[framework.Verdict]int{}
		for _, o := range done.get() {
			verdicts[o.Verdict]++
		}
		diff(t, "verdicts", verdicts, map[framework.Verdict]int{framework.VerdictOK: 2, framework.VerdictDuplicate: 2})
	})
}

func TestDuplicateEvent_IsHandledAgainAfterDedupTTL(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options []framework.SubscribeOption
		known   time.Duration // after this time the ID is still known
		unknown time.Duration // and then no more
	}{
		{"Config.DedupTTL", nil, 4 * time.Minute, 2 * time.Minute},
		{"WithDedup", []framework.SubscribeOption{framework.WithDedup(2 * time.Minute)}, 90 * time.Second, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			natstest.FakeTime(t, func(t *testing.T) {
				node := frameworktest.NewNode(t, calm, func(c *framework.Config) { c.DedupTTL = 5 * time.Minute })
				var got list[framework.Info]
				must(t, framework.Subscribe(node, func(ctx context.Context, _ paid) error {
					got.add(framework.InfoFrom(ctx))
					return nil
				}, tt.options...))
				frameworktest.Run(t, node)
				for i, step := range []struct {
					wait time.Duration
					want int
				}{{0, 1}, {tt.known, 1}, {tt.unknown, 2}} {
					natstest.Pass(step.wait)
					must(t, framework.Publish(soon(t), node, paid{}, framework.WithID("1")))
					natstest.Pass(5 * time.Second)
					if n := got.len(); n != step.want {
						t.Errorf("publish %d: handled %d times in all, want %d", i, n, step.want)
					}
				}
			})
		})
	}
}

// A generated ID is remembered for Config.EventDedupTTL, the user's for Config.DedupTTL.
func TestRecords_LiveAsLongAsTheirIDsNeed(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t, calm)
		must(t, framework.Subscribe(node, func(context.Context, paid) error { return nil }, framework.InGroup("g")))
		frameworktest.Run(t, node)
		records := func() uint64 { return stored(t, node, "KV_catga_dedup") - 1 } // but for the session
		must(t, framework.Publish(soon(t), node, paid{}), framework.Publish(soon(t), node, paid{}, framework.WithID("1")))
		natstest.Pass(14 * time.Minute)
		if n := records(); n != 2 {
			t.Errorf("%d records after 14 minutes, want 2", n)
		}
		natstest.Pass(2 * time.Minute)
		if n := records(); n != 1 {
			t.Errorf("%d records after 16 minutes, want that of the user's ID", n)
		}
	})
}

func TestWithDedup0_NothingIsWrittenAndRepeatsAreHandled(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t, calm)
		var runs counter
		must(t, framework.Subscribe(node, func(context.Context, paid) error {
			runs.Add(1)
			return nil
		}, framework.WithDedup(0)))
		frameworktest.Run(t, node)
		before := streamState(t, node, "KV_catga_dedup").Msgs
		for range 3 {
			must(t, framework.Publish(soon(t), node, paid{}, framework.WithID("1")))
			must(t, framework.Publish(soon(t), node, paid{}))
			natstest.Pass(time.Minute) // beyond the server's window
		}
		if runs.Load() != 6 {
			t.Errorf("handled %d of 6 events", runs.Load())
		}
		if now := streamState(t, node, "KV_catga_dedup").Msgs; now != before {
			t.Errorf("%d records were written", now-before)
		}
	})
}

// Without records, failures are still counted and bounded.
func TestWithDedup0_RetriesAreBounded(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	var runs counter
	must(t, framework.Subscribe(node, func(context.Context, paid) error {
		runs.Add(1)
		return errNotYet
	}, framework.WithDedup(0), framework.WithRetries(2), framework.WithBackoff(0, 0)))
	run(t, node)
	must(t, framework.Publish(soon(t), node, paid{}))
	if d := deadLetters(t, node, 1)[0]; d.Attempts != 3 || runs.Load() != 3 {
		t.Errorf("%d runs, dead letter %+v", runs.Load(), d)
	}
}

// A publish middleware that tries again, or a gateway that does, sends the same message and not another.
func TestSameMessageSentTwice_IsStoredOnce(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t, func(c *framework.Config) {
		c.PublishMiddleware = []framework.PublishMiddleware{func(next framework.PublishFunc) framework.PublishFunc {
			return func(ctx context.Context, out *framework.Outgoing) error {
				if err := next(ctx, out); err != nil {
					return err
				}
				return next(ctx, out) // as if the first outcome had been unknown
			}
		}}
	})
	got := make(chan framework.Info, 10)
	must(t, framework.Subscribe(node, infos[paid](got)))
	run(t, node)
	must(t, framework.Publish(soon(t), node, paid{}))
	receive(t, got)
	acknowledged(t, node, "node=test:paid")
	empty(t, "handled twice", got)
	if n := stored(t, node, "CATGA_EVENTS"); n != 1 {
		t.Errorf("%d events stored, want 1", n)
	}
}
