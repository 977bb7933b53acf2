package integration

import (
	"context"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type deal struct{ framework.Request[string] }

// dealing is a cluster in which the first run of a deal lasts until release, and all others answer at
// once.
type dealing struct {
	caller  *framework.Node
	stop    map[string]context.CancelFunc
	wires   map[string]*link
	holder  chan string
	release chan struct{}
	runs    counter
}

func startDealing(t *testing.T) *dealing {
	t.Helper()
	srv := frameworktest.NewServer(t)
	d := &dealing{
		caller: connect(t, srv, "caller"), stop: map[string]context.CancelFunc{}, wires: map[string]*link{},
		holder: make(chan string, 1), release: make(chan struct{}),
	}
	for _, name := range []string{"node1", "node2", "node3"} {
		d.wires[name] = &link{server: srv}
		node := connect(t, srv, name, over(d.wires[name]), func(c *framework.Config) { c.SoftStop = time.Hour })
		must(t, framework.Handle(node, func(ctx context.Context, _ deal) (string, error) {
			if d.runs.Add(1) > 1 {
				return name, nil
			}
			d.holder <- name
			select {
			case <-d.release:
				return name, nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		}))
		d.stop[name], _ = running(t, node)
	}
	handling(t, d.caller, "deal", 3)
	return d
}

func TestRoundRobin_RequestOfALostNodeIsRunByAnother(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		d := startDealing(t)
		answer := sending(within(t, 5*time.Minute), d.caller, deal{}, framework.RoundRobin(), framework.WithID("x"))
		holder := receive(t, d.holder)
		d.wires[holder].cut() // its handler is told to stop when its lease is over
		r := receiveWithin(t, answer, time.Minute)
		if r.err != nil || r.value == holder || r.info.Node != r.value || r.info.Attempts != 2 {
			t.Errorf("answer = %+v, want one of another node than %s", r, holder)
		}
		if n := d.runs.Load(); n != 2 {
			t.Errorf("ran %d times, want once on each of two nodes", n)
		}
		d.wires[holder].mend()
		handling(t, d.caller, "deal", 3)
		drainedOff(t, d.caller) // the first copy is met again, and not run
		if n := d.runs.Load(); n != 2 {
			t.Errorf("ran %d times in the end", n)
		}
	})
}

func TestRoundRobin_NodeThatDrainsAnswersWhatItHasStarted(t *testing.T) {
	t.Parallel()
	d := startDealing(t)
	answer := sending(soon(t), d.caller, deal{}, framework.RoundRobin())
	holder := receive(t, d.holder)
	d.stop[holder]()
	handling(t, d.caller, "deal", 2)
	close(d.release)
	if r := receive(t, answer); r.err != nil || r.value != holder {
		t.Errorf("answer = %+v, want that of %s", r, holder)
	}
	drainedOff(t, d.caller) // the copy for any node was not run
	if n := d.runs.Load(); n != 1 {
		t.Errorf("ran %d times", n)
	}
}

// A node that is cut off is still listed, and does not take what is sent to it.
func TestRoundRobin_RequestThatItsNodeDoesNotTakeIsRunByAnother(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []framework.SendOption
		want time.Duration
	}{
		{"after 5s", nil, 5 * time.Second},
		{"after the attempt timeout", []framework.SendOption{framework.WithAttemptTimeout(7 * time.Second)}, 7 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			natstest.FakeTime(t, func(t *testing.T) {
				srv := frameworktest.NewServer(t)
				caller, wire := connect(t, srv, "caller"), &link{server: srv}
				cutOff, other := connect(t, srv, "cutOff", over(wire)), connect(t, srv, "other")
				var runs counter
				answerDeals(t, cutOff, &runs)
				frameworktest.Run(t, cutOff)
				handling(t, caller, "deal", 1)
				wire.cut()
				began := time.Now()
				answer := sending(within(t, time.Hour), caller, deal{}, append(tt.opts, framework.RoundRobin())...)
				answerDeals(t, other, &runs)
				frameworktest.Run(t, other)
				r := receiveWithin(t, answer, time.Hour)
				if r.err != nil || r.value != "other" || r.info.Replayed || r.info.Attempts != 1 {
					t.Errorf("answer = %+v", r)
				}
				if took := time.Since(began); took < tt.want || took > tt.want+time.Second {
					t.Errorf("it took %v, want %v", took, tt.want)
				}
				wire.mend()
				drainedOff(t, caller) // the first copy too, which its node meets now
				if n := runs.Load(); n != 1 {
					t.Errorf("ran %d times", n)
				}
			})
		})
	}
}

func TestRoundRobin_RequestThatADrainingNodeHasNotStartedIsRunByAnotherAtOnce(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	caller, full := connect(t, srv, "caller"), connect(t, srv, "full")
	started, release := make(chan struct{}, 10), make(chan struct{})
	must(t, framework.Handle(full, func(context.Context, deal) (string, error) {
		started <- struct{}{}
		<-release
		return "full", nil
	}, framework.WithConcurrency(1)))
	stop, ended := running(t, full)
	handling(t, caller, "deal", 1)
	first := sending(soon(t), caller, deal{}, framework.RoundRobin())
	receive(t, started)
	second := sending(soon(t), caller, deal{}, framework.RoundRobin(), framework.WithAttemptTimeout(time.Hour))
	eventually(t, "both are stored", func() bool { return stored(t, caller, "CATGA_REQUESTS") == 2 })
	other := connect(t, srv, "other")
	var runs counter
	answerDeals(t, other, &runs)
	frameworktest.Run(t, other)
	stop()
	if r := receive(t, second); r.err != nil || r.value != "other" {
		t.Errorf("answer = %+v, want that of the other node", r)
	}
	close(release)
	if r := receive(t, first); r.err != nil || r.value != "full" {
		t.Errorf("what was started = %+v", r)
	}
	must(t, receive(t, ended))

	back := connect(t, srv, "full")
	answerDeals(t, back, &runs)
	frameworktest.Run(t, back)
	drainedOff(t, caller) // the first copy too, which its node meets now
	if n := runs.Load(); n != 1 {
		t.Errorf("ran %d times", n)
	}
}

func answerDeals(t *testing.T, node *framework.Node, runs *counter) {
	t.Helper()
	must(t, framework.Handle(node, func(ctx context.Context, _ deal) (string, error) {
		runs.Add(1)
		return framework.InfoFrom(ctx).Node, nil
	}))
}
