package integration

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type shipment struct {
	framework.ReliableEvent
	Order string `json:"order"`
}

func (shipment) Kind() string { return "acme.v1.Shipped" }

// plain connects as any NATS client does.
func plain(t *testing.T) (*nats.Conn, *framework.Node) {
	t.Helper()
	srv := frameworktest.NewServer(t)
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	must(t, err)
	t.Cleanup(nc.Close)
	return nc, connect(t, srv, "node")
}

func TestForeignClient_PlainJSONIsHandled(t *testing.T) {
	t.Parallel()
	nc, node := plain(t)
	got := make(chan shipment, 10)
	seen := make(chan framework.Info, 10)
	must(t, framework.Subscribe(node, func(ctx context.Context, e shipment) error {
		got <- e
		seen <- framework.InfoFrom(ctx)
		return nil
	}), framework.Subscribe(node, sink(make(chan tick, 10))))
	run(t, node)
	js, err := jetstream.New(nc)
	must(t, err)
	for _, tt := range []struct {
		name string
		msg  *nats.Msg
		id   string // "" = generated
	}{
		{"bare", foreign("catga.event.acme.v1.Shipped", `{"order":"o1"}`), ""},
		{"unknown fields", foreign("catga.event.acme.v1.Shipped", `{"order":"o1","later":{"x":1}}`), ""},
		{"message ID", foreign("catga.event.acme.v1.Shipped", `{"order":"o1"}`, "Nats-Msg-Id", "theirs 1"), "theirs 1"},
		{"our ID", foreign("catga.event.acme.v1.Shipped", `{"order":"o1"}`, "Catga-Id", "theirs%202"), "theirs%202"},
		{"ID behind the kind", foreign("catga.event.acme.v1.Shipped", `{"order":"o1"}`, "Nats-Msg-Id", "acme.v1.Shipped/theirs%203"), "theirs 3"},
		{"nonsense in our headers", foreign("catga.event.acme.v1.Shipped", `{"order":"o1"}`, "Catga-Fails", "-7", "Catga-Expires-In", "soon", "Catga-Correlation", "%zz", "Catga-Dead-Group", "x"), ""},
	} {
		ack, err := js.PublishMsg(soon(t), tt.msg)
		must(t, err)
		e, i := receive(t, got), receive(t, seen)
		if e.Order != "o1" || i.Kind != "acme.v1.Shipped" || i.Attempt != 1 || i.Sequence != ack.Sequence || i.Published.IsZero() {
			t.Errorf("%s: %+v, %+v", tt.name, e, i)
		}
		if tt.id != "" && i.ID != tt.id || tt.id == "" && (!strings.HasPrefix(i.ID, "~") || len(i.ID) < 10) {
			t.Errorf("%s: id %q, want %q", tt.name, i.ID, tt.id)
		}
	}
	acknowledged(t, node, "node=node:acme~v1~Shipped")
}

// Counts and limits that a foreign client writes are bounded by ours: none of it makes a message run
// for ever, or vanish.
func TestForeignClient_AbsurdHeadersDoNoHarm(t *testing.T) {
	t.Parallel()
	nc, node := plain(t)
	var runs counter
	must(t, framework.Subscribe(node, func(context.Context, shipment) error {
		runs.Add(1)
		return errNotYet
	}, framework.WithRetries(2), framework.WithBackoff(0, 0)))
	run(t, node)
	must(t, nc.PublishMsg(foreign("catga.event.acme.v1.Shipped", `{}`, "Catga-Fails", "-1000000")),
		nc.PublishMsg(foreign("catga.event.acme.v1.Shipped", `{}`, "Catga-Fails", "99999999999999999999")),
		nc.PublishMsg(foreign("catga.event.acme.v1.Shipped", `{}`, "Catga-Fails", "999")),
		nc.PublishMsg(foreign("catga.event.acme.v1.Shipped", `{}`, "Catga-Expires-In", "-5")),
		nc.PublishMsg(foreign("catga.event.acme.v1.Shipped", `{}`, "Catga-Id", strings.Repeat("x", 20_000))))
	deadLetters(t, node, 5)
	if n := runs.Load(); n != 4*3+1 {
		t.Errorf("%d runs, want 3 for each, and 1 for the one that says it had 999", n)
	}
}

func TestForeignClient_ReadsWhatIsPublished(t *testing.T) {
	t.Parallel()
	nc, node := plain(t)
	js, err := jetstream.New(nc)
	must(t, err)
	signals, err := nc.SubscribeSync("catga.signal.tick")
	must(t, err)
	must(t, nc.Flush())
	must(t, framework.Publish(soon(t), node, tick{N: 3}))
	m, err := signals.NextMsgWithContext(soon(t))
	must(t, err)
	if string(m.Data) != `{"n":3}` || len(m.Header) != 0 {
		t.Errorf("QoS 0 on the wire: %q with headers %v, want bare JSON without any", m.Data, m.Header)
	}
	must(t, framework.Publish(soon(t), node, shipment{Order: "o1"}, framework.WithID("order 1"), framework.WithHeader("Tenant", "acme")))
	consumer, err := js.OrderedConsumer(soon(t), "CATGA_EVENTS", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"catga.event.acme.v1.Shipped"}})
	must(t, err)
	batch, err := consumer.Fetch(1)
	must(t, err)
	e, ok := <-batch.Messages()
	if !ok {
		t.Fatalf("nothing fetched: %v", batch.Error())
	}
	var body map[string]any
	must(t, json.Unmarshal(e.Data(), &body))
	diff(t, "body", body, map[string]any{"order": "o1"})
	diff(t, "headers", e.Headers(), nats.Header{"Nats-Msg-Id": {"acme.v1.Shipped/order%201"}, "Tenant": {"acme"}})
}

// A client in another language can ask: it publishes to the subject with an ID and an inbox, and gets
// a line of JSON and the response.
func TestForeignClient_SendsARequest(t *testing.T) {
	t.Parallel()
	nc, node := plain(t)
	must(t, framework.Handle(node, func(_ context.Context, q transfer) (slip, error) { return slip{q.Amount * 2}, nil }))
	run(t, node)
	inbox := nc.NewInbox() + ".call1"
	answers, err := nc.SubscribeSync(inbox)
	must(t, err)
	must(t, nc.PublishMsg(foreign("catga.request.transfer", `{"amount":21}`, "Catga-Id", "r1", "Catga-Reply", inbox)))
	m, err := answers.NextMsgWithContext(soon(t))
	must(t, err)
	line, data, _ := strings.Cut(string(m.Data), "\n")
	var status struct{ Status, Node string }
	must(t, json.Unmarshal([]byte(line), &status))
	if status.Status != "ok" || status.Node != "node" || data != `{"amount":42}` {
		t.Errorf("answer = %q", m.Data)
	}
	must(t, nc.PublishMsg(foreign("catga.request.transfer", `{"amount":1}`))) // without an ID: run, and nobody is told
	drainedOff(t, node)
	if n := streamState(t, node, "CATGA_DEAD").Msgs; n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
