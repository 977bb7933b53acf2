package framework_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/catga-go/catga/embedded"
	"github.com/catga-go/catga/framework"
)

type Order struct {
	ID string `json:"id"`
}

type CreateOrder struct {
	framework.Request[Order]        // QoS 1, answered with an Order
	Product                  string `json:"product"`
}

type OrderShipped struct {
	framework.ReliableEvent        // QoS 1; framework.Event would be QoS 0
	OrderID                 string `json:"orderId"`
}

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	srv, err := embedded.Start(embedded.Config{Port: -1}) // or a NATS of yours: Config.URL
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	node, err := framework.Connect(ctx, framework.Config{NodeID: "node1", URL: srv.URL()})
	if err != nil {
		log.Fatal(err)
	}
	shipped := make(chan OrderShipped, 1)
	err = errors.Join(
		framework.Handle(node, func(ctx context.Context, req CreateOrder) (Order, error) {
			order := Order{ID: "order-of-" + req.Product}
			return order, framework.Publish(ctx, node, OrderShipped{OrderID: order.ID})
		}),
		framework.Subscribe(node, func(_ context.Context, ev OrderShipped) error {
			shipped <- ev // an error would have it tried again
			return nil
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }() // consumes until ctx ends, then drains

	order, err := framework.Send(ctx, node, CreateOrder{Product: "tea"}, framework.WithID("cart-7"))
	fmt.Println(order.ID, err)
	fmt.Println("shipped", (<-shipped).OrderID)

	stop()
	fmt.Println(<-done, node.Close(context.Background()))
	// Output:
	// order-of-tea <nil>
	// shipped order-of-tea
	// <nil> <nil>
}
