package integration

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

func TestLifecycle_NodeRunsOnce(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	stop, ended := running(t, node)
	contains(t, node.Run(t.Context()), "test", "running", "runs once")
	must(t, node.Ready())
	stop()
	must(t, receive(t, ended))
	contains(t, node.Run(t.Context()), "test", "drained", "runs once")
	must(t, framework.Publish(soon(t), node, task{}))
}

func TestLifecycle_EverythingOnAClosedNodeReturnsErrClosed(t *testing.T) {
	t.Parallel()
	for _, ran := range []bool{false, true} {
		node := frameworktest.NewNode(t)
		must(t, framework.Subscribe(node, func(context.Context, task) error { return nil }))
		if ran {
			running(t, node)
		}
		ticket, err := framework.Submit(soon(t), node, work{})
		must(t, err, node.Close(soon(t)))
		_, sent := framework.Send(soon(t), node, work{})
		_, batch := framework.SendBatch(soon(t), node, make([]work, 2))
		_, submitted := framework.Submit(soon(t), node, work{})
		_, waited := ticket.Wait(soon(t))
		_, state := ticket.State(soon(t))
		for call, err := range map[string]error{
			"Run":          node.Run(t.Context()),
			"Ready":        node.Ready(),
			"Handle":       framework.Handle(node, func(context.Context, ask) (string, error) { return "", nil }),
			"Subscribe":    framework.Subscribe(node, func(context.Context, asked) error { return nil }),
			"Publish":      framework.Publish(soon(t), node, task{}),
			"PublishBatch": framework.PublishBatch(soon(t), node, make([]task, 2)),
			"Send":         sent, "SendBatch": batch, "Submit": submitted, "Wait": waited, "State": state,
		} {
			if !errors.Is(err, framework.ErrClosed) {
				t.Errorf("%s on a closed node (ran: %t) = %v, want %v", call, ran, err, framework.ErrClosed)
			}
		}
		if !ran {
			if err := node.WaitReady(soon(t)); !errors.Is(err, framework.ErrClosed) {
				t.Errorf("WaitReady = %v, want %v", err, framework.ErrClosed)
			}
		}
		must(t, node.Close(soon(t))) // again
		if _, open := <-node.Watch(t.Context()); open {
			t.Error("Watch of a closed node says something")
		}
	}
}

func TestLifecycle_CloseDrainsARunThatGoesOn(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	caller, node := connect(t, srv, "caller"), connect(t, srv, "node")
	started, release := make(chan struct{}), make(chan struct{})
	must(t, framework.Handle(node, func(ctx context.Context, _ work) (string, error) {
		close(started)
		return "done", held(ctx, release)
	}))
	_, ended := running(t, node)
	answer := sending(soon(t), caller, work{})
	receive(t, started)

	var closers sync.WaitGroup
	closed := make(chan error, 3)
	for range cap(closed) { // at once
		closers.Go(func() { closed <- node.Close(soon(t)) })
	}
	handling(t, caller, "work", 0)
	empty(t, "Close returned while a handler ran", closed)
	empty(t, "Run returned while a handler ran", ended)
	close(release)
	if r := receive(t, answer); r.err != nil || r.value != "done" {
		t.Errorf("answer = %+v", r)
	}
	must(t, receive(t, ended))
	closers.Wait()
	for range cap(closed) {
		must(t, receive(t, closed))
	}
	drainedOff(t, caller)
}

func TestLifecycle_CloseWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	// Without frameworktest, which would report the error of Close once more.
	node, err := framework.Connect(soon(t), framework.Config{InProcess: frameworktest.NewServer(t), Logger: frameworktest.Logger(t)})
	must(t, err)
	started, release := make(chan struct{}), make(chan struct{})
	must(t, framework.Subscribe(node, func(context.Context, task) error {
		close(started)
		<-release
		return nil
	}))
	_, ended := running(t, node)
	must(t, framework.Publish(soon(t), node, task{}))
	receive(t, started)
	ctx, cancel := context.WithCancel(t.Context())
	closed := make(chan error, 1)
	go func() { closed <- node.Close(ctx) }()
	eventually(t, "it drains", func() bool { return errors.Is(node.Ready(), framework.ErrClosed) })
	cancel()
	if err := receive(t, closed); !errors.Is(err, context.Canceled) {
		t.Errorf("Close = %v, want %v", err, context.Canceled)
	}
	close(release)
	_ = receive(t, ended) // it drained without its connections
	if err := node.Close(soon(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("the second Close = %v, want what the first returned", err)
	}
}

func TestLifecycle_FailedRegistrationsFailRun(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	// Their errors are not looked at: Run says all of them.
	_ = framework.Handle(node, func(context.Context, work) (string, error) { return "", nil }, framework.WithConcurrency(0))
	_ = framework.Subscribe(node, func(context.Context, task) error { return nil })
	_ = framework.Subscribe(node, func(context.Context, task) error { return nil })
	err := node.Run(soon(t))
	var config *framework.ConfigError
	if !errors.As(err, &config) || config.Option != "WithConcurrency" {
		t.Errorf("Run = %v, want the *ConfigError", err)
	}
	var twice *framework.DuplicateHandlerError
	if !errors.As(err, &twice) || twice.Kind != "task" {
		t.Errorf("Run = %v, want the *DuplicateHandlerError", err)
	}
	if ready := node.WaitReady(soon(t)); !errors.As(ready, &config) {
		t.Errorf("WaitReady = %v, want the error of Run", ready)
	}
	contains(t, node.Ready(), "drained")
	must(t, framework.Publish(soon(t), node, task{}))
}

func TestLifecycle_HandlerRegisteredWhileRunningStartsAtOnce(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	caller, node := connect(t, srv, "caller"), connect(t, srv, "node")
	frameworktest.Run(t, node)
	answer := sending(soon(t), caller, work{}) // waits for somebody
	heard := make(chan string, 10)
	must(t,
		framework.Handle(node, func(context.Context, work) (string, error) { return "done", nil }),
		framework.Subscribe(node, func(context.Context, task) error { heard <- "task"; return nil }, framework.FromStart()),
		framework.Subscribe(node, func(context.Context, askedNow) error { heard <- "askedNow"; return nil }))
	if r := receive(t, answer); r.err != nil || r.value != "done" {
		t.Errorf("answer = %+v", r)
	}
	handling(t, caller, "work", 1)
	handling(t, caller, "askedNow", 1)
	must(t, framework.Publish(soon(t), caller, task{}))
	if got := receive(t, heard); got != "task" {
		t.Errorf("heard %s", got)
	}
	must(t, framework.Publish(soon(t), caller, askedNow{}))
	if got := receive(t, heard); got != "askedNow" {
		t.Errorf("heard %s", got)
	}
	if got, err := framework.Send(soon(t), caller, work{}, framework.ToNode("node")); err != nil || got != "done" {
		t.Errorf("ToNode = %q, %v", got, err)
	}

	// One that fails is its caller's affair: the node runs on.
	var twice *framework.DuplicateHandlerError
	if err := framework.Subscribe(node, func(context.Context, task) error { return nil }); !errors.As(err, &twice) {
		t.Errorf("a second subscription = %v", err)
	}
	must(t, node.Ready())
}

func TestLifecycle_ReadySaysWhyNot(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	wire := &link{server: srv}
	node := connect(t, srv, "node", over(wire), softStop(time.Minute))
	started, release := make(chan struct{}), make(chan struct{})
	must(t, framework.Handle(node, func(context.Context, work) (string, error) {
		close(started)
		<-release
		return "", nil
	}))
	contains(t, node.Ready(), "node", "not run yet")
	err := node.WaitReady(within(t, 10*time.Millisecond))
	contains(t, err, "node", "not run yet")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitReady = %v, want %v", err, context.DeadlineExceeded)
	}
	stop, ended := running(t, node)
	must(t, node.Ready(), node.WaitReady(soon(t)))
	wire.cut()
	eventually(t, "it is not ready", func() bool { return node.Ready() != nil })
	contains(t, node.Ready(), "node", "not connected")
	wire.mend()
	eventually(t, "it is ready again", func() bool { return node.Ready() == nil })
	answer := sending(soon(t), node, work{})
	receive(t, started)
	stop()
	eventually(t, "it drains", func() bool { return node.Ready() != nil })
	contains(t, node.Ready(), "node", "draining")
	close(release)
	must(t, receive(t, ended), receive(t, answer).err)
	contains(t, node.Ready(), "node", "drained")
	must(t, node.Close(soon(t)))
	if err := node.Ready(); !errors.Is(err, framework.ErrClosed) {
		t.Errorf("Ready = %v, want %v", err, framework.ErrClosed)
	}
}

func TestLifecycle_RunThatIsToldToStopBeforeItConsumesIsNotReady(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, node.Run(ctx))
	if err := node.WaitReady(soon(t)); err == nil {
		t.Error("WaitReady = nil although the node never consumed")
	}
}

func TestLifecycle_CloseAndRunAtOnceBothReturn(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	for i := range 10 {
		node := connect(t, srv, "node")
		must(t, framework.Subscribe(node, func(context.Context, task) error { return nil }))
		ended := make(chan error, 1)
		go func() { ended <- node.Run(t.Context()) }()
		for range i { // each time a little later in its start
			runtime.Gosched()
			_ = node.Ready()
		}
		must(t, node.Close(soon(t)))
		if err := receive(t, ended); err != nil && !errors.Is(err, framework.ErrClosed) {
			t.Errorf("Run = %v, want nil or %v", err, framework.ErrClosed)
		}
	}
}
