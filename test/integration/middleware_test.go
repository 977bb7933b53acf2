package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type transfer struct {
	framework.Request[slip]
	Amount int `json:"amount"`
}

type slip struct {
	Amount int `json:"amount"`
}

type transferred struct {
	framework.ReliableEvent
	Amount int `json:"amount"`
}

// tx stands for a database transaction: what a handler did is there only if it is committed.
type tx struct {
	written []string
	log     *list[string]
}

type txKey struct{}

func (x *tx) write(s string) { x.written = append(x.written, s) }

// inTransaction begins a transaction for each run of a handler, hands it down in ctx, and commits it
// if the handler has succeeded.
func inTransaction(log *list[string]) framework.Middleware {
	return func(next framework.HandlerFunc) framework.HandlerFunc {
		return func(ctx context.Context, in *framework.Incoming) (err error) {
			x := &tx{log: log}
			committed := false
			defer func() {
				if !committed {
					log.add(fmt.Sprintf("rollback %s attempt %d: %v", in.Kind, in.Attempt, x.written))
				}
			}()
			if err := next(context.WithValue(ctx, txKey{}, x), in); err != nil {
				return err
			}
			committed = true
			log.add(fmt.Sprintf("commit %s attempt %d: %v", in.Kind, in.Attempt, x.written))
			return nil
		}
	}
}

func transaction(ctx context.Context) *tx { return ctx.Value(txKey{}).(*tx) }

func TestMiddleware_RunsEachHandlerInATransaction(t *testing.T) {
	t.Parallel()
	var log list[string]
	node := frameworktest.NewNode(t, func(c *framework.Config) { c.Middleware = []framework.Middleware{inTransaction(&log)} })
	retry := []framework.HandlerOption{framework.WithBackoff(0, 0), framework.WithRetries(3)}
	must(t, framework.Handle(node, func(ctx context.Context, q transfer) (slip, error) {
		transaction(ctx).write(fmt.Sprint("slip ", q.Amount))
		switch {
		case q.Amount < 0:
			return slip{}, framework.Reject("negative", "amount is negative")
		case framework.InfoFrom(ctx).Attempt == 1:
			return slip{}, errNotYet
		case framework.InfoFrom(ctx).Attempt == 2:
			panic("oh no")
		}
		return slip{q.Amount}, nil
	}, retry[0], retry[1]), framework.Subscribe(node, func(ctx context.Context, e transferred) error {
		transaction(ctx).write(fmt.Sprint("book ", e.Amount))
		return nil
	}))
	run(t, node)
	r, err := framework.Send(soon(t), node, transfer{Amount: 5})
	must(t, err)
	if r.Amount != 5 {
		t.Errorf("answer = %+v", r)
	}
	var no *framework.Rejection
	if _, err := framework.Send(soon(t), node, transfer{Amount: -1}); !errors.As(err, &no) || no.Code != "negative" {
		t.Errorf("rejection through the middleware: %v", err)
	}
	must(t, framework.Publish(soon(t), node, transferred{Amount: 6}))
	eventually(t, "all are through", func() bool { return log.len() >= 5 })
	diff(t, "transactions", log.get(), []string{
		"rollback transfer attempt 1: [slip 5]",
		"rollback transfer attempt 2: [slip 5]",
		"commit transfer attempt 3: [slip 5]",
		"rollback transfer attempt 1: [slip -1]",
		"commit transferred attempt 1: [book 6]",
	})
}

func TestMiddleware_SeesMessageInfoAndResponse(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 10)
	see := func(next framework.HandlerFunc) framework.HandlerFunc {
		return func(ctx context.Context, in *framework.Incoming) error {
			if framework.InfoFrom(ctx).ID != in.ID || in.Response() != nil {
				t.Errorf("before the handler: info %+v, response %v", framework.InfoFrom(ctx), in.Response())
			}
			err := next(ctx, in)
			seen <- fmt.Sprintf("%T %v → %v (%s %s attempt %d group %s)", in.Message(), in.Message(), in.Response(), in.Kind, in.ID, in.Attempt, in.Group)
			return err
		}
	}
	node := frameworktest.NewNode(t, func(c *framework.Config) { c.Middleware = []framework.Middleware{see} })
	must(t, framework.Handle(node, func(_ context.Context, q transfer) (slip, error) { return slip{q.Amount + 1}, nil }),
		framework.Subscribe(node, func(context.Context, *transferred) error { return nil }, framework.InGroup("g")),
		framework.Subscribe(node, func(context.Context, tick) error { return nil }))
	run(t, node)
	_, err := framework.Send(soon(t), node, &transfer{Amount: 1}, framework.WithID("a"))
	must(t, err)
	var all []string
	all = append(all, receive(t, seen))
	must(t, framework.Publish(soon(t), node, transferred{Amount: 2}, framework.WithID("b")))
	all = append(all, receive(t, seen))
	must(t, framework.Publish(soon(t), node, tick{N: 3}))
	all = append(all, receive(t, seen))
	diff(t, "seen", all, []string{
		"*integration.transfer &{{} 1} → {2} (transfer a attempt 1 group requests)",
		"*integration.transferred &{{} 2} → <nil> (transferred b attempt 1 group g)",
		"*integration.tick &{{} 3} → <nil> (tick  attempt 1 group node=test)",
	})
}

// Config's middleware is outside the handler's own; each is called once per registration.
func TestMiddleware_WrapsInOrderOncePerRegistration(t *testing.T) {
	t.Parallel()
	var order list[string]
	var wrapped counter
	named := func(name string) framework.Middleware {
		return func(next framework.HandlerFunc) framework.HandlerFunc {
			wrapped.Add(1)
			return func(ctx context.Context, in *framework.Incoming) error {
				order.add(name)
				return next(ctx, in)
			}
		}
	}
	node := frameworktest.NewNode(t, func(c *framework.Config) { c.Middleware = []framework.Middleware{named("1"), nil, named("2")} })
	done := make(chan tick, 10)
	must(t, framework.Subscribe(node, sink(done), framework.WithMiddleware(named("3"), named("4")), framework.WithMiddleware(named("5"))))
	run(t, node)
	for range 2 {
		must(t, framework.Publish(soon(t), node, tick{}))
		receive(t, done)
	}
	want := []string{"1", "2", "3", "4", "5"}
	diff(t, "order", order.get(), slices.Concat(want, want))
	if wrapped.Load() != 5 {
		t.Errorf("middleware was called %d times, want once for each", wrapped.Load())
	}
}

// A middleware may answer itself: its error is the handler's, and without one the response is zero.
func TestMiddleware_MayKeepTheMessageFromItsHandler(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	must(t, framework.Handle(node, func(context.Context, transfer) (slip, error) {
		t.Error("handler ran")
		return slip{}, nil
	}, framework.WithMiddleware(func(framework.HandlerFunc) framework.HandlerFunc {
		return func(_ context.Context, in *framework.Incoming) error {
			if in.Message().(*transfer).Amount > 100 {
				return framework.Reject("limit", "too much")
			}
			return nil
		}
	})))
	run(t, node)
	if r, err := framework.Send(soon(t), node, transfer{Amount: 1}); err != nil || r != (slip{}) {
		t.Errorf("answer = %+v, %v; want the zero response", r, err)
	}
	var no *framework.Rejection
	if _, err := framework.Send(soon(t), node, transfer{Amount: 101}); !errors.As(err, &no) || no.Code != "limit" {
		t.Errorf("got %v, want the middleware's rejection", err)
	}
}
