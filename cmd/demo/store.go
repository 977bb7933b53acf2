package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	errNoOrder   = errors.New("no such order")
	errStoreAway = errors.New("orders cannot be reached")
)

// orderStore keeps orders for every node. Its methods may be called at once.
type orderStore interface {
	// Add stores r unless there is an order with its ID, and returns what is stored then.
	Add(ctx context.Context, r record) (record, error)
	// Get returns the order, errNoOrder, or an error that is errStoreAway.
	Get(ctx context.Context, id string) (record, error)
}

// kvStore keeps orders in a KV bucket: key = order ID, value = record.
type kvStore struct{ kv jetstream.KeyValue }

// openKVStore opens the bucket <namespace>_orders, or makes it.
func openKVStore(ctx context.Context, nc *nats.Conn, namespace string) (*kvStore, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open orders: %w", err)
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: namespace + "_orders", Description: "orders of the demo", History: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("open orders: %w", err)
	}
	return &kvStore{kv: kv}, nil
}

func (s *kvStore) Add(ctx context.Context, r record) (record, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return record{}, err
	}
	_, err = again(ctx, func(ctx context.Context) (uint64, error) { return s.kv.Create(ctx, r.OrderID, value) })
	if errors.Is(err, jetstream.ErrKeyExists) {
		return s.Get(ctx, r.OrderID)
	}
	return r, err
}

func (s *kvStore) Get(ctx context.Context, id string) (r record, err error) {
	entry, err := again(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return s.kv.Get(ctx, id) })
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return record{}, errNoOrder
	}
	if err != nil {
		return record{}, fmt.Errorf("%w: %w", errStoreAway, err)
	}
	if err := json.Unmarshal(entry.Value(), &r); err != nil {
		return record{}, fmt.Errorf("get order: %w", err)
	}
	return r, nil
}

// A write or its answer is lost with a server that dies. Doing it once more is harmless, as Add
// finds its own record, and soon over, where the client would wait for its answer for 5 s.
const (
	storeWait  = time.Second
	storeTries = 5
)

// again calls f until it is answered in time.
func again[T any](ctx context.Context, f func(context.Context) (T, error)) (v T, err error) {
	for range storeTries {
		if v, err = once(ctx, f); ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	return v, err
}

func once[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	return f(ctx)
}
