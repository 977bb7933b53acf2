package integration

import (
	"context"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

// One program before and after its types were renamed.
type (
	oldShipped struct {
		framework.ReliableEvent
		N int `json:"n"`
	}
	newShipped struct {
		framework.ReliableEvent
		N int `json:"n"`
	}
	oldCount struct {
		framework.Request[int]
		N int `json:"n"`
	}
	newCount struct {
		framework.Request[int]
		N int `json:"n"`
	}
	oldPing struct {
		framework.Event
		N int `json:"n"`
	}
	newPing struct {
		framework.Event
		N int `json:"n"`
	}
)

func (oldShipped) Kind() string          { return "shop.Shipped" }
func (newShipped) Kind() string          { return "orders.Shipped" }
func (newShipped) KindAliases() []string { return []string{"shop.Shipped"} }
func (oldCount) Kind() string            { return "shop.Count" }
func (newCount) Kind() string            { return "orders.Count" }
func (newCount) KindAliases() []string   { return []string{"shop.Count"} }
func (oldPing) Kind() string             { return "shop.Ping" }
func (newPing) Kind() string             { return "orders.Ping" }
func (newPing) KindAliases() []string    { return []string{"shop.Ping"} }

func TestRenamedKind_StoredEventsOfTheOldNameAreHandledFromTheGroupsPosition(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	publisher := connect(t, srv, "publisher")
	before := connect(t, srv, "worker")
	old := make(chan oldShipped, 10)
	must(t, framework.Subscribe(before, sink(old), framework.InGroup("g")))
	drain := frameworktest.Run(t, before)
	must(t, framework.Publish(soon(t), publisher, oldShipped{N: 1}))
	receive(t, old)
	acknowledged(t, publisher, "g:shop~Shipped")
	drain()
	must(t, before.Close(soon(t)))

	must(t, framework.Publish(soon(t), publisher, oldShipped{N: 2}))
	after := connect(t, srv, "worker")
	got := make(chan newShipped, 10)
	seen := make(chan framework.Info, 10)
	must(t, framework.Subscribe(after, func(ctx context.Context, e newShipped) error {
		got <- e
		seen <- framework.InfoFrom(ctx)
		return nil
	}, framework.InGroup("g")))
	run(t, after)
	if e, i := receive(t, got), receive(t, seen); e.N != 2 || i.Kind != "shop.Shipped" {
		t.Errorf("got %+v of kind %s, want the event published while nobody ran, and no other", e, i.Kind)
	}
	must(t, framework.Publish(soon(t), after, newShipped{N: 3}))
	if e, i := receive(t, got), receive(t, seen); e.N != 3 || i.Kind != "orders.Shipped" {
		t.Errorf("got %+v of kind %s", e, i.Kind)
	}
}

// A message of the old name is retried and dead-lettered under it.
func TestRenamedKind_RetriesKeepTheNameOfTheMessage(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	must(t, framework.Subscribe(node, func(context.Context, newShipped) error { return errNotYet },
		framework.WithRetries(2), framework.WithBackoff(0, 0), framework.InGroup("g")))
	run(t, node)
	must(t, node.Conn().PublishMsg(foreign("catga.event.shop.Shipped", `{"n":1}`)))
	if d := deadLetters(t, node, 1)[0]; d.Kind != "shop.Shipped" || d.Attempts != 3 || d.Subject != "catga.event.shop.Shipped" {
		t.Errorf("dead letter = %+v", d)
	}
}

func TestRenamedKind_OldAndNewProgramRunSideBySide(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	before, after := connect(t, srv, "before"), connect(t, srv, "after")
	events := make(chan int, 1000)
	pings := make(chan framework.Info, 1000)
	must(t,
		framework.Subscribe(before, func(_ context.Context, e oldShipped) error { events <- e.N; return nil }, framework.InGroup("g")),
		framework.Subscribe(after, func(_ context.Context, e newShipped) error { events <- e.N; return nil }, framework.InGroup("g")),
		framework.Handle(before, func(_ context.Context, q oldCount) (int, error) { return q.N, nil }),
		framework.Handle(after, func(_ context.Context, q newCount) (int, error) { return -q.N, nil }),
		framework.Subscribe(before, infos[oldPing](pings)),
		framework.Subscribe(after, infos[newPing](pings)),
	)
	run(t, before, after)
	const each = 50
	answeredBy := map[string]int{}
	for i := range each {
		var info framework.ReplyInfo
		must(t, framework.Publish(soon(t), before, oldShipped{N: i}), framework.Publish(soon(t), after, newShipped{N: each + i}))
		a, err := framework.Send(soon(t), before, oldCount{N: 1}, framework.WithReply(&info))
		must(t, err)
		answeredBy[info.Node] += a * a
		b, err := framework.Send(soon(t), after, newCount{N: 1}, framework.WithReply(&info))
		must(t, err)
		if b != -1 || info.Node != "after" {
			t.Errorf("request of the new name: %d from %s", b, info.Node)
		}
	}
	if answeredBy["before"] == 0 || answeredBy["after"] == 0 {
		t.Errorf("requests of the old name are not shared: %v", answeredBy)
	}
	seen := map[int]int{}
	for range 2 * each {
		seen[receive(t, events)]++
	}
	acknowledged(t, after, "g:shop~Shipped")
	acknowledged(t, after, "g:orders~Shipped")
	empty(t, "an event was handled twice", events)
	if len(seen) != 2*each {
		t.Errorf("%d different events, want %d", len(seen), 2*each)
	}
	must(t, framework.Publish(soon(t), before, oldPing{}), framework.Publish(soon(t), after, newPing{}))
	by := map[string]int{}
	for range 3 {
		i := receive(t, pings)
		by[i.Node+" "+i.Kind]++
	}
	diff(t, "QoS 0", by, map[string]int{"before shop.Ping": 1, "after shop.Ping": 1, "after orders.Ping": 1})
}

func TestRenamedKind_StoredRequestOfTheOldNameIsAnswered(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	caller, after := connect(t, srv, "caller"), connect(t, srv, "after")
	ticket, err := framework.Submit(soon(t), caller, oldCount{N: 7}, framework.WithID("q"))
	must(t, err, framework.Handle(after, func(_ context.Context, q newCount) (int, error) { return 2 * q.N, nil }))
	run(t, after)
	if n, err := ticket.Wait(soon(t)); n != 14 || err != nil {
		t.Errorf("answer = %d, %v", n, err)
	}
	handling(t, caller, "shop.Count", 1)
	if n, err := framework.Send(soon(t), caller, oldCount{N: 8}, framework.ToNode("after")); n != 16 || err != nil {
		t.Errorf("answer to a request to the node itself = %d, %v", n, err)
	}
}
