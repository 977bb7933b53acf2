package integration

import (
	"context"
	"errors"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type fragile struct {
	framework.ReliableEvent
	N int `json:"n"`
}

type fragileRequest struct {
	framework.Request[int]
	N int `json:"n"`
}

// typedError is an error type that a nil pointer of breaks, as most do.
type typedError struct{ text string }

func (e *typedError) Error() string { return e.text }

func TestPanic_IsRetriedLikeAnErrorAndTheNodeGoesOn(t *testing.T) {
	t.Parallel()
	var log logText
	outcome := make(chan framework.Outcome, 10)
	node := frameworktest.NewNode(t, logged(&log), withHooks(framework.Hooks{Handler: func(framework.HandlerRef) framework.HandlerHooks {
		return framework.HandlerHooks{Done: func(o framework.Outcome) { outcome <- o }}
	}}))
	must(t, framework.Subscribe(node, func(ctx context.Context, _ fragile) error {
		if framework.InfoFrom(ctx).Attempt == 1 {
			var none *fragile
			_ = none.N // a nil dereference
		}
		return nil
	}, framework.WithBackoff(0, 0)))
	run(t, node)
	must(t, framework.Publish(soon(t), node, fragile{}))
	first, second := receive(t, outcome), receive(t, outcome)
	if first.Attempt > second.Attempt { // a run may begin before the end of the last is told
		first, second = second, first
	}
	var panicked *framework.PanicError
	if first.Verdict != framework.VerdictRetry || !errors.As(first.Err, &panicked) || len(panicked.Stack) == 0 {
		t.Errorf("first outcome = %+v", first)
	}
	if second.Verdict != framework.VerdictOK || second.Attempt != 2 {
		t.Errorf("second outcome = %+v", second)
	}
	if len(log.lines("panic_test.go:")) != 1 {
		t.Errorf("the stack is not logged once: %q", log.lines(""))
	}
}

// What a handler or a middleware may do to the worker that runs it: none of it ends the process, and
// the failure is an error like others.
func TestHandlerMisbehaves_IsAnErrorLikeOthers(t *testing.T) {
	t.Parallel()
	for name, misbehave := range map[string]func() error{
		"panic":                      func() error { panic("oh no") },
		"panic with nil":             func() error { panic(nil) },
		"panic with a typed nil":     func() error { panic((*typedError)(nil)) },
		"typed nil error":            func() error { var e *typedError; return e },
		"typed nil rejection":        func() error { var e *framework.Rejection; return e },
		"wrapped typed nil":          func() error { return errors.Join(errDoomed, (*typedError)(nil)) },
		"wrapped typed nil rejected": func() error { return errors.Join(errDoomed, (*framework.Rejection)(nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := frameworktest.NewNode(t)
			must(t, framework.Handle(node, func(context.Context, fragileRequest) (int, error) { return 0, misbehave() },
				framework.WithRetries(1), framework.WithBackoff(0, 0)),
				framework.Subscribe(node, func(context.Context, fragile) error { return misbehave() }, framework.WithRetries(1), framework.WithBackoff(0, 0)),
				framework.Subscribe(node, func(context.Context, tick) error { return misbehave() }))
			run(t, node)
			must(t, framework.Publish(soon(t), node, fragile{}), framework.Publish(soon(t), node, tick{}))
			var failed *framework.RemoteError
			if _, err := framework.Send(soon(t), node, fragileRequest{}); !errors.As(err, &failed) || failed.Attempts != 2 || failed.Message == "" {
				t.Errorf("the caller got %v, want a *RemoteError after 2 attempts", err)
			}
			deadLetters(t, node, 2)
		})
	}
}
