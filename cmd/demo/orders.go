package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/catga-go/catga/framework"
)

// orderKey is the log attribute with the order's ID.
const orderKey = "order_id"

// statusCreated is the only status an order has here.
const statusCreated = "Created"

// CreateOrder asks for an order; any node may process it.
type CreateOrder struct {
	framework.Request[Order]

	ProductID string `json:"productId"`
	Quantity  int    `json:"quantity"`
}

// Order is the answer, and what GET /orders/{id} shows.
type Order struct {
	OrderID     string `json:"orderId"`
	Status      string `json:"status"`
	ProcessedBy string `json:"processedBy"`
}

// OrderCreated is told once and may be lost (QoS 0).
type OrderCreated struct {
	framework.Event

	OrderID   string `json:"orderId"`
	ProductID string `json:"productId"`
	Quantity  int    `json:"quantity"`
}

// OrderShipped reaches every node (QoS 1).
type OrderShipped struct {
	framework.ReliableEvent

	OrderID        string `json:"orderId"`
	TrackingNumber string `json:"trackingNumber"`
}

// shop processes orders and hears of them, on one node.
type shop struct {
	node      string
	store     orderStore
	publisher framework.Publisher
	work      time.Duration
	log       *slog.Logger
}

// process handles CreateOrder. It may run again for the same message, on another node, after a
// crash at any point: the order's ID comes from the message's, so that a second run finds what the
// first one stored.
func (s *shop) process(ctx context.Context, req CreateOrder) (Order, error) {
	message := framework.InfoFrom(ctx).ID
	id := orderID(message, 0)
	s.say(ctx, "📦 Processing order "+id+" on "+s.node, id)
	if err := pause(ctx, s.work); err != nil {
		return Order{}, err
	}
	order, err := s.keep(ctx, message, req)
	if err != nil {
		return Order{}, err
	}
	return order, s.announce(ctx, order.OrderID, req)
}

// keep stores the order of the message, or finds it stored. Where another message's order has the
// ID, which happens once in some million orders, the next ID of this message is tried.
func (s *shop) keep(ctx context.Context, message string, req CreateOrder) (Order, error) {
	for try := range 10 {
		mine := record{
			Order:   Order{OrderID: orderID(message, try), Status: statusCreated, ProcessedBy: s.node},
			Message: fingerprint(message), ProductID: req.ProductID, Quantity: req.Quantity,
		}
		kept, err := s.store.Add(ctx, mine)
		if err != nil {
			return Order{}, fmt.Errorf("store order: %w", err)
		}
		if kept.sameRequest(mine) {
			return kept.Order, nil
		}
	}
	return Order{}, errors.New("store order: no free order id")
}

// announce publishes the two events. The first may be lost anyway; without the second the order is
// not done, and its handler runs again.
func (s *shop) announce(ctx context.Context, id string, req CreateOrder) error {
	created := OrderCreated{OrderID: id, ProductID: req.ProductID, Quantity: req.Quantity}
	if err := framework.Publish(ctx, s.publisher, created); err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "order created event lost", slog.String("err", err.Error()))
	}
	shipped := OrderShipped{OrderID: id, TrackingNumber: "TRK-" + id}
	return framework.Publish(ctx, s.publisher, shipped, framework.WithID(id))
}

// created hears of an order, perhaps.
func (s *shop) created(ctx context.Context, ev OrderCreated) error {
	s.say(ctx, "📝 [QoS 0] Order created event received (may be lost)", ev.OrderID)
	return nil
}

// shipped hears of an order for sure.
func (s *shop) shipped(ctx context.Context, ev OrderShipped) error {
	s.say(ctx, "📦 [QoS 1] Order shipped event received (guaranteed delivery)", ev.OrderID)
	return nil
}

func (s *shop) say(ctx context.Context, line, id string) {
	//nolint:sloglint // the lines are the demo's output and read as people wrote them
	s.log.LogAttrs(ctx, slog.LevelInfo, line, slog.String(orderKey, id))
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

const (
	idLength = 8
	idCount  = 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36
)

// orderID is eight letters and digits that depend on the message, and on the try, alone.
func orderID(message string, try int) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(try) + " " + message))
	digits := strconv.FormatUint(binary.BigEndian.Uint64(sum[:])%idCount, 36)
	return strings.Repeat("0", idLength-len(digits)) + digits
}

// isOrderID says whether orderID could have made it.
func isOrderID(id string) bool {
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(id) == idLength
}

// fingerprint tells messages apart without keeping their IDs, which clients choose.
func fingerprint(message string) string {
	sum := sha256.Sum256([]byte(message))
	return hex.EncodeToString(sum[:16])
}

// record is an order as it is stored.
type record struct {
	Order

	Message   string `json:"message"` // fingerprint of the request's message ID
	ProductID string `json:"productId"`
	Quantity  int    `json:"quantity"`
}

func (r record) sameRequest(other record) bool {
	return r.Message == other.Message && r.ProductID == other.ProductID && r.Quantity == other.Quantity
}
