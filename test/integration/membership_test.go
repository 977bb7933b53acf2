package integration

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

// sees waits until the watcher is told of change to node1; what is only an update is passed over.
func sees(t *testing.T, changes <-chan framework.NodeChange, change string) framework.NodeInfo {
	t.Helper()
	for {
		c := receiveWithin(t, changes, time.Minute)
		if c.Node.ID == "node1" && string(c.Change) == change {
			return c.Node
		}
		if c.Change != framework.NodeUpdated {
			t.Fatalf("the watcher is told that %s has %s, want that node1 has %s", c.Node.ID, c.Change, change)
		}
	}
}

func TestMembership_WatchersSeeJoinDrainAndLeave(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	observer := connect(t, srv, "observer")
	ctx, cancel := context.WithCancel(t.Context())
	changes := observer.Watch(ctx)
	node := connect(t, srv, "node1", func(c *framework.Config) {
		c.Endpoint, c.Version, c.Metadata = "http://localhost:5001", "1.2", map[string]string{"zone": "a"}
	})
	started, release := make(chan struct{}), make(chan struct{})
	must(t, framework.Handle(node, func(context.Context, work) (string, error) {
		close(started)
		<-release
		return "", nil
	}))
	stop, ended := running(t, node)
	joined := sees(t, changes, "joined")
	if !joined.Online || joined.Endpoint != "http://localhost:5001" || joined.Version != "1.2" || joined.Metadata["zone"] != "a" || joined.LastSeen.IsZero() {
		t.Errorf("joined as %+v", joined)
	}
	handling(t, observer, "work", 1)
	if self := node.Self(); !self.Online || !slices.Equal(self.Kinds, []string{"work"}) || self.Instance != joined.Instance {
		t.Errorf("Self = %+v", self)
	}
	answer := sending(soon(t), observer, work{})
	receive(t, started)
	stop()
	if n := sees(t, changes, "draining"); !n.Online || !n.Draining {
		t.Errorf("draining as %+v", n)
	}
	close(release)
	must(t, receive(t, answer).err, receive(t, ended))
	if n := sees(t, changes, "left"); n.Online {
		t.Errorf("left as %+v", n)
	}
	all := observer.Nodes()
	if len(all) != 1 || all[0].ID != "node1" || all[0].Online {
		t.Errorf("Nodes = %+v, want node1 offline", all)
	}
	cancel()
	eventually(t, "the channel is closed", func() bool {
		select {
		case _, open := <-changes:
			return !open
		default:
			return false
		}
	})
}

func TestMembership_WatchersSeeThatANodeIsLostAndBack(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		observer, wire := connect(t, srv, "observer"), &link{server: srv}
		changes := observer.Watch(t.Context())
		node := connect(t, srv, "node1", over(wire))
		frameworktest.Run(t, node)
		before := sees(t, changes, "joined")
		natstest.Pass(time.Minute)
		empty(t, "something is said about a node that beats", changes)
		began := time.Now()
		wire.cut()
		if n := sees(t, changes, "lost"); n.Online {
			t.Errorf("lost as %+v", n)
		}
		if took := time.Since(began); took < 20*time.Second || took > 32*time.Second {
			t.Errorf("lost after %v, want 30s after the last beat", took)
		}
		wire.mend()
		if n := sees(t, changes, "joined"); !n.Online || n.Instance != before.Instance {
			t.Errorf("back as %+v", n)
		}
	})
}

func TestMembership_SecondProcessWithALiveIDIsRefused(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	first, second, observer := connect(t, srv, "node1"), connect(t, srv, "node1"), connect(t, srv, "observer")
	answer := func(who string) func(context.Context, work) (string, error) {
		return func(context.Context, work) (string, error) { return who, nil }
	}
	must(t, framework.Handle(first, answer("first")), framework.Handle(second, answer("second")))
	frameworktest.Run(t, first)
	err := second.Run(soon(t))
	if !errors.Is(err, framework.ErrNodeTaken) {
		t.Errorf("Run = %v, want %v", err, framework.ErrNodeTaken)
	}
	contains(t, err, "node1")
	if ready := second.WaitReady(soon(t)); !errors.Is(ready, framework.ErrNodeTaken) {
		t.Errorf("WaitReady = %v, want what Run returned", ready)
	}
	for _, caller := range []*framework.Node{first, second, observer} {
		if got, err := framework.Send(soon(t), caller, work{}); err != nil || got != "first" {
			t.Errorf("Send = %q, %v; want an answer of the first", got, err)
		}
	}
}

func TestMembership_NodeWhoseIDWasTakenOverStops(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		wire := &link{server: srv}
		first, second := connect(t, srv, "node1", over(wire)), connect(t, srv, "node1")
		_, ended := running(t, first)
		wire.cut()
		frameworktest.Run(t, second)
		natstest.Pass(time.Minute)
		wire.mend()
		if err := receiveWithin(t, ended, 5*time.Minute); !errors.Is(err, framework.ErrNodeTaken) {
			t.Errorf("Run = %v, want %v", err, framework.ErrNodeTaken)
		}
		must(t, second.Ready())
	})
}

func TestMembership_RestartAfterKillTakesOverAtOnce(t *testing.T) {
	t.Parallel()
	srv := listen(t)
	file := filepath.Join(t.TempDir(), "notes")
	observer := connect(t, srv, "observer")
	child := spawn(t, "holds", childURL+"="+srv.URL(), childNode+"=victim", childFile+"="+file)
	handling(t, observer, "work", 1)
	must(t, child.Process.Kill())
	_ = child.Wait() // it was killed

	again := connect(t, srv, "victim")
	must(t, framework.Handle(again, func(context.Context, work) (string, error) { return "again", nil }))
	began := time.Now()
	frameworktest.Run(t, again)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v, with a node timeout of 30s", took)
	}
	if got, err := framework.Send(soon(t), observer, work{}); err != nil || got != "again" {
		t.Errorf("Send = %q, %v", got, err)
	}
}
