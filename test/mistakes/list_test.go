package mistakes

// A mistake is a line that must not compile, words the compiler must say about it, and the line that
// was meant.
type mistake struct {
	name, wrong string
	says        []string
	right       string
}

func mistakes() []mistake {
	all := wrongKinds()
	all = append(all, wrongMarkers()...)
	all = append(all, wrongResponses()...)
	return append(all, wrongOptions()...)
}

func wrongKinds() []mistake {
	return []mistake{
		{
			name:  "an event is sent",
			wrong: `_, err = framework.Send(ctx, node, Shipped{})`,
			says: []string{
				"Shipped",
				"does not satisfy framework.RequestOf",
				"have embedsMarker(framework.event)",
				"want embedsMarker(framework.requestAnsweredBy",
			},
			right: `err = framework.Publish(ctx, node, Shipped{})`,
		},
		{
			name:  "a request is published",
			wrong: `err = framework.Publish(ctx, node, Create{})`,
			says: []string{
				"Create",
				"does not satisfy framework.AnyEvent",
				"have embedsMarker(framework.requestAnsweredBy[Order])",
				"want embedsMarker(framework.event)",
			},
			right: `_, err = framework.Send(ctx, node, Create{})`,
		},
		{
			name:  "events are sent as a batch",
			wrong: `_, err = framework.SendBatch(ctx, node, []Shipped{{}})`,
			says: []string{
				"Shipped",
				"does not satisfy framework.RequestOf",
				"have embedsMarker(framework.event)",
			},
			right: `err = framework.PublishBatch(ctx, node, []Shipped{{}})`,
		},
		{
			name:  "requests are published as a batch",
			wrong: `err = framework.PublishBatch(ctx, node, []Create{{}})`,
			says:  []string{"Create", "does not satisfy framework.AnyEvent", "want embedsMarker(framework.event)"},
			right: `_, err = framework.SendBatch(ctx, node, []Create{{}})`,
		},
		{
			name:  "an event is submitted",
			wrong: `_, err = framework.Submit(ctx, node, Noted{})`,
			says:  []string{"Noted", "does not satisfy framework.RequestOf", "have embedsMarker(framework.event)"},
			right: `_, err = framework.Submit(ctx, node, Create{})`,
		},
		{
			name:  "a ticket for an event",
			wrong: `_ = framework.TicketFor[Shipped](node, "o-1")`,
			says: []string{
				"Shipped",
				"does not satisfy framework.RequestOf",
				"have embedsMarker(framework.event)",
			},
			right: `_ = framework.TicketFor[Create](node, "o-1")`,
		},
		{
			name:  "an event is handled",
			wrong: `err = framework.Handle(node, onShipped)`,
			says:  []string{"onShipped does not match", "func(context.Context, Shipped) (R, error)"},
			right: `err = framework.Subscribe(node, onShipped)`,
		},
		{
			name:  "an event is handled with an answer",
			wrong: `err = framework.Handle(node, func(context.Context, Shipped) (Order, error) { return Order{}, nil })`,
			says: []string{
				"Shipped",
				"does not satisfy framework.RequestOf",
				"have embedsMarker(framework.event)",
			},
			right: `err = framework.Handle(node, func(context.Context, Create) (Order, error) { return Order{}, nil })`,
		},
		{
			name:  "a request is subscribed to",
			wrong: `err = framework.Subscribe(node, onCreate)`,
			says:  []string{"onCreate does not match", "func(context.Context, Create) error"},
			right: `err = framework.Handle(node, onCreate)`,
		},
		{
			name:  "a request is subscribed to without an answer",
			wrong: `err = framework.Subscribe(node, func(context.Context, Create) error { return nil })`,
			says: []string{
				"Create",
				"does not satisfy framework.AnyEvent",
				"have embedsMarker(framework.requestAnsweredBy[Order])",
			},
			right: `err = framework.Subscribe(node, func(context.Context, Shipped) error { return nil })`,
		},
		{
			name:  "a declared event is sent",
			wrong: `_, err = framework.NewEvent[Plain]("plain", framework.AtLeastOnce).Send(ctx, node, Plain{})`,
			says:  []string{"framework.EventType[Plain] has no field or method Send"},
			right: `err = framework.NewEvent[Plain]("plain", framework.AtLeastOnce).Publish(ctx, node, Plain{})`,
		},
		{
			name:  "a declared request is published",
			wrong: `err = framework.NewRequest[Plain, Order]("plain").Publish(ctx, node, Plain{})`,
			says:  []string{"framework.RequestType[Plain, Order] has no field or method Publish"},
			right: `_, err = framework.NewRequest[Plain, Order]("plain").Send(ctx, node, Plain{})`,
		},
		{
			name:  "another type for a declared event",
			wrong: `err = framework.NewEvent[Plain]("plain", framework.AtLeastOnce).Publish(ctx, node, Shipped{})`,
			says:  []string{"cannot use Shipped{}", "as Plain value"},
			right: `err = framework.NewEvent[Plain]("plain", framework.AtLeastOnce).Publish(ctx, node, Plain{})`,
		},
	}
}

func wrongMarkers() []mistake {
	return []mistake{
		{
			name:  "no marker, published",
			wrong: `err = framework.Publish(ctx, node, Plain{})`,
			says:  []string{"Plain", "does not satisfy framework.AnyEvent", "missing method embedsMarker"},
			right: `err = framework.Publish(ctx, node, Noted{})`,
		},
		{
			name:  "no marker, sent",
			wrong: `_, err = framework.Send(ctx, node, Plain{})`,
			says:  []string{"Plain", "does not satisfy framework.RequestOf", "missing method embedsMarker"},
			right: `_, err = framework.Send(ctx, node, Create{})`,
		},
		{
			name:  "no marker, handled",
			wrong: `err = framework.Handle(node, func(context.Context, Plain) (Order, error) { return Order{}, nil })`,
			says:  []string{"Plain", "does not satisfy framework.RequestOf", "missing method embedsMarker"},
			right: `err = framework.Handle(node, onCreate)`,
		},
		{
			name:  "two events in one",
			wrong: `err = framework.Publish(ctx, node, TwoEvents{})`,
			says:  []string{"ambiguous selector TwoEvents.embedsMarker"},
			right: `err = framework.Publish(ctx, node, Noted{})`,
		},
		{
			name:  "event and request in one, published",
			wrong: `err = framework.Publish(ctx, node, EventAndRequest{})`,
			says:  []string{"ambiguous selector EventAndRequest.embedsMarker"},
			right: `err = framework.Publish(ctx, node, Shipped{})`,
		},
		{
			name:  "event and request in one, sent",
			wrong: `_, err = framework.Send(ctx, node, EventAndRequest{})`,
			says:  []string{"ambiguous selector EventAndRequest.embedsMarker"},
			right: `_, err = framework.Send(ctx, node, Create{})`,
		},
		{
			name:  "two answers to one request",
			wrong: `_, err = framework.Send(ctx, node, TwoAnswers{})`,
			says:  []string{"ambiguous selector TwoAnswers.embedsMarker"},
			right: `_, err = framework.Send(ctx, node, Create{})`,
		},
		{
			name:  "a named field instead of an embedded one",
			wrong: `err = framework.Publish(ctx, node, struct{ E framework.Event }{})`,
			says:  []string{"does not satisfy framework.AnyEvent", "missing method embedsMarker"},
			right: `err = framework.Publish(ctx, node, struct{ framework.Event }{})`,
		},
	}
}

func wrongResponses() []mistake {
	return []mistake{
		{
			name:  "a handler with another response",
			wrong: `err = framework.Handle(node, func(context.Context, Create) (Receipt, error) { return Receipt{}, nil })`,
			says:  []string{"Create", "have embedsMarker(framework.requestAnsweredBy[Order])"},
			right: `err = framework.Handle(node, func(context.Context, Create) (Order, error) { return Order{}, nil })`,
		},
		{
			name:  "a handler with a pointer to the response",
			wrong: `err = framework.Handle(node, func(context.Context, Create) (*Order, error) { return nil, nil })`,
			says:  []string{"Create", "have embedsMarker(framework.requestAnsweredBy[Order])"},
			right: `err = framework.Handle(node, onCreate)`,
		},
		{
			name:  "a handler without a response",
			wrong: `err = framework.Handle(node, func(context.Context, Create) error { return nil })`,
			says:  []string{"does not match", "func(context.Context, Create) (R, error)"},
			right: `err = framework.Handle(node, onCreate)`,
		},
		{
			name:  "a handler without a context",
			wrong: `err = framework.Subscribe(node, func(Shipped) error { return nil })`,
			says:  []string{"func(Shipped) error", "does not match func(context.Context, E) error"},
			right: `err = framework.Subscribe(node, func(context.Context, Shipped) error { return nil })`,
		},
		{
			name:  "a result of another type",
			wrong: "var got Receipt\n\tgot, err = framework.Send(ctx, node, Create{})\n\tfmt.Println(got)",
			says:  []string{"of struct type Order", "as Receipt value"},
			right: "var got Order\n\tgot, err = framework.Send(ctx, node, Create{})\n\tfmt.Println(got)",
		},
		{
			name:  "a ticket of another type",
			wrong: "var got framework.Ticket[Receipt]\n\tgot, err = framework.Submit(ctx, node, Create{})\n\tfmt.Println(got)",
			says:  []string{"framework.Ticket[Order]", "as framework.Ticket[Receipt] value"},
			right: "var got framework.Ticket[Order]\n\tgot, err = framework.Submit(ctx, node, Create{})\n\tfmt.Println(got)",
		},
		{
			name:  "a declared request with another response",
			wrong: `err = framework.NewRequest[Plain, Order]("plain").Handle(node, func(context.Context, Plain) (Receipt, error) { return Receipt{}, nil })`,
			says:  []string{"(Receipt, error)", "as func(context.Context, Plain) (Order, error) value"},
			right: `err = framework.NewRequest[Plain, Order]("plain").Handle(node, func(context.Context, Plain) (Order, error) { return Order{}, nil })`,
		},
	}
}
