package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catga-go/catga/framework"
)

// recorder keeps what is published.
type recorder struct {
	sent []*framework.Outgoing
	err  error // of reliable events
}

func (r *recorder) PublishMessages(_ context.Context, msgs ...*framework.Outgoing) error {
	r.sent = append(r.sent, msgs...)
	if msgs[0].QoS == framework.AtLeastOnce {
		return r.err
	}
	return nil
}

func newShop(node string, store orderStore) (*shop, *recorder, *bytes.Buffer) {
	var out bytes.Buffer
	rec := &recorder{}
	log := newLogger(&out, false, slog.LevelInfo).With(nodeKey, node)
	return &shop{node: node, store: store, publisher: rec, log: log}, rec, &out
}

// message is the context of a handler that runs for the message "m".
func message(t *testing.T) context.Context {
	t.Helper()
	return framework.ContextWithInfo(t.Context(), framework.Info{ID: "m"})
}

var anOrder = CreateOrder{ProductID: "product-123", Quantity: 2}

func TestProcessedOrderIsStoredAndAnnounced(t *testing.T) {
	t.Parallel()
	store := &memoryStore{}
	s, rec, out := newShop("node1", store)
	order, err := s.process(message(t), anOrder)
	if err != nil {
		t.Fatal(err)
	}
	id := orderID("m", 0)
	if diff := cmp.Diff(Order{OrderID: id, Status: "Created", ProcessedBy: "node1"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if kept, err := store.Get(t.Context(), id); err != nil || kept.Order != order {
		t.Errorf("stored %v, %v", kept, err)
	}
	if want := "[node1] 📦 Processing order " + id + " on node1\n"; out.String() != want {
		t.Errorf("logged %q, want %q", out, want)
	}
	want := []*framework.Outgoing{
		{Kind: "OrderCreated", QoS: framework.AtMostOnce, Value: &OrderCreated{OrderID: id, ProductID: "product-123", Quantity: 2}},
		{Kind: "OrderShipped", QoS: framework.AtLeastOnce, ID: id, Value: &OrderShipped{OrderID: id, TrackingNumber: "TRK-" + id}},
	}
	if diff := cmp.Diff(summary(want), summary(rec.sent)); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
}

func TestSecondRunOnAnotherNodeCreatesNoSecondOrder(t *testing.T) {
	t.Parallel()
	store := &memoryStore{}
	one, rec, _ := newShop("node1", store)
	rec.err = errors.New("node1 dies here")
	if _, err := one.process(message(t), anOrder); err == nil {
		t.Fatal("done without the reliable event")
	}
	two, rec, _ := newShop("node2", store)
	order, err := two.process(message(t), anOrder)
	if err != nil {
		t.Fatal(err)
	}
	if len(store.orders) != 1 || order.ProcessedBy != "node1" {
		t.Errorf("%d orders, answered %v", len(store.orders), order)
	}
	if last := rec.sent[len(rec.sent)-1]; last.ID != order.OrderID {
		t.Errorf("announced under %q, want the order's id", last.ID)
	}
}

func TestOrdersOfDifferentMessagesNeverShareAnID(t *testing.T) {
	t.Parallel()
	store := &memoryStore{}
	taken := record{Order: Order{OrderID: orderID("m", 0)}, Message: "of another message"}
	if _, err := store.Add(t.Context(), taken); err != nil {
		t.Fatal(err)
	}
	s, _, _ := newShop("node1", store)
	for range 2 { // the second run finds what the first one did
		order, err := s.process(message(t), anOrder)
		if err != nil {
			t.Fatal(err)
		}
		if want := orderID("m", 1); order.OrderID != want {
			t.Errorf("order %s, want %s", order.OrderID, want)
		}
	}
	if len(store.orders) != 2 {
		t.Errorf("%d orders, want 2", len(store.orders))
	}
}

func TestEventsAreLoggedAsInTheReference(t *testing.T) {
	t.Parallel()
	s, _, out := newShop("node2", &memoryStore{})
	if err := errors.Join(s.created(t.Context(), OrderCreated{}), s.shipped(t.Context(), OrderShipped{})); err != nil {
		t.Fatal(err)
	}
	want := "[node2] 📝 [QoS 0] Order created event received (may be lost)\n" +
		"[node2] 📦 [QoS 1] Order shipped event received (guaranteed delivery)\n"
	if out.String() != want {
		t.Errorf("logged %q, want %q", out, want)
	}
}

func TestOrderIDsAreEightCharactersAndSpread(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for i := range 10_000 {
		id := orderID(strconv.Itoa(i), 0)
		if !isOrderID(id) || seen[id] {
			t.Fatalf("id %q of message %d", id, i)
		}
		seen[id] = true
	}
	for _, bad := range []string{"", "abc1234", "abc123456", "ABC12345", "abc.2345", "abc1234é"} {
		if isOrderID(bad) {
			t.Errorf("%q passes for an order's id", bad)
		}
	}
}

func summary(msgs []*framework.Outgoing) (lines []string) {
	for _, m := range msgs {
		value := m.Value
		switch v := value.(type) { // T and *T are one message
		case OrderCreated:
			value = &v
		case OrderShipped:
			value = &v
		}
		lines = append(lines, fmt.Sprintf("%s qos %d id %q %+v", m.Kind, m.QoS, m.ID, value))
	}
	return lines
}
