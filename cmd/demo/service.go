package main

import (
	"context"

	"github.com/catga-go/catga/framework"
)

// service is the backend of the HTTP API: the cluster as seen from one node.
type service struct {
	*framework.Node

	store orderStore
}

// Order has any node process req. The idempotency key is the message's ID.
func (s *service) Order(ctx context.Context, req CreateOrder, key string) (Order, bool, error) {
	var info framework.ReplyInfo
	opts := []framework.SendOption{framework.WithReply(&info)}
	if key != "" {
		opts = append(opts, framework.WithID(key))
	}
	order, err := framework.Send(ctx, s.Node, req, opts...)
	return order, info.Replayed, err
}

// Find looks into the store that all nodes share.
func (s *service) Find(ctx context.Context, id string) (Order, error) {
	r, err := s.store.Get(ctx, id)
	return r.Order, err
}
