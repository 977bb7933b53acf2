package integration

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

func TestGivenConnection_IsUsedAndLeftAsItWas(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	must(t, err)
	t.Cleanup(nc.Close)
	given := func(c *framework.Config) { c.InProcess, c.Conn = nil, nc }
	for range 2 { // one after the other
		a, b := connect(t, srv, "a", given), connect(t, srv, "b", given) // side by side
		must(t, framework.Handle(a, func(context.Context, work) (string, error) { return "a", nil }))
		heard := make(chan int, 10)
		must(t, framework.Subscribe(b, func(_ context.Context, m task) error { heard <- m.N; return nil }))
		running(t, a)
		running(t, b)
		if a.Conn() != nc {
			t.Error("Conn is another connection")
		}
		if got, err := framework.Send(soon(t), b, work{}); err != nil || got != "a" {
			t.Errorf("Send = %q, %v", got, err)
		}
		must(t, framework.Publish(soon(t), a, task{N: 7}))
		if got := receive(t, heard); got != 7 {
			t.Errorf("heard %d", got)
		}
		must(t, a.Close(soon(t)), b.Close(soon(t)))
		if !nc.IsConnected() {
			t.Fatal("the connection is closed, and the node did not open it")
		}
		if n := nc.NumSubscriptions(); n > 1 { // one is the connection's own, for answers to its requests
			t.Errorf("%d subscriptions are left on the connection", n-1)
		}
	}
}
