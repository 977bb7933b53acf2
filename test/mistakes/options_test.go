package mistakes

import (
	"fmt"
	"slices"
	"strings"
)

// A call is one that takes options; %s stands for them.
type call struct{ name, line, option string }

func calls() []call {
	return []call{
		{"Publish", `err = framework.Publish(ctx, node, Shipped{}, %s)`, "PublishOption"},
		{"PublishBatch", `err = framework.PublishBatch(ctx, node, []Shipped{{}}, %s)`, "PublishOption"},
		{"Send", `_, err = framework.Send(ctx, node, Create{}, %s)`, "SendOption"},
		{"SendBatch", `_, err = framework.SendBatch(ctx, node, []Create{{}}, %s)`, "SendOption"},
		{"Submit", `_, err = framework.Submit(ctx, node, Create{}, %s)`, "SubmitOption"},
		{"Handle", `err = framework.Handle(node, onCreate, %s)`, "HandleOption"},
		{"Subscribe", `err = framework.Subscribe(node, onShipped, %s)`, "SubscribeOption"},
		{"NewEvent", `_ = framework.NewEvent[Plain]("plain", framework.AtLeastOnce, %s)`, "TypeOption"},
		{"NewRequest", `_ = framework.NewRequest[Plain, Order]("plain", %s)`, "TypeOption"},
	}
}

// places says which calls take which option.
func places() []struct{ option, fits string } {
	const (
		publish = "Publish PublishBatch"
		send    = "Send SendBatch"
		handler = "Handle Subscribe"
	)
	return []struct{ option, fits string }{
		{`framework.WithID("o-1")`, publish + " " + send + " Submit"},
		{`framework.WithCorrelation("c-1")`, publish + " " + send + " Submit"},
		{`framework.WithHeader("k", "v")`, publish + " " + send + " Submit"},
		{`framework.ToNode("node1")`, send + " Submit"},
		{`framework.RoundRobin()`, send},
		{`framework.WithReply(new(framework.ReplyInfo))`, send},
		{`framework.WithAttemptTimeout(1e9)`, send},
		{`framework.ExpiresIn(1e9)`, publish + " Submit"},
		{`framework.InGroup("billing")`, "Subscribe"},
		{`framework.OnEveryNode("cache")`, "Subscribe"},
		{`framework.FromStart()`, "Subscribe"},
		{`framework.WithConcurrency(8)`, handler},
		{`framework.WithRetries(1)`, handler},
		{`framework.WithBackoff(1e9, 2e9)`, handler},
		{`framework.WithTimeout(1e9)`, handler},
		{`framework.WithAckWait(1e9)`, handler},
		{`framework.WithDedup(1e9)`, handler},
		{`framework.WithMiddleware()`, handler},
		{`framework.UseCodec(nil)`, "NewEvent NewRequest"},
	}
}

// wrongOptions puts each option where it does not belong; its twin is an option that does.
func wrongOptions() []mistake {
	var all []mistake
	for _, c := range calls() {
		for _, p := range places() {
			if fits(p.fits, c.name) {
				continue
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(p.option, "framework."), "(")
			all = append(all, mistake{
				name:  name + " on " + c.name,
				wrong: fmt.Sprintf(c.line, p.option),
				says:  []string{p.option, "framework." + c.option},
				right: fmt.Sprintf(c.line, allOptions(c.name)),
			})
		}
	}
	return all
}

// allOptions are all options that fit a call.
func allOptions(call string) string {
	var fitting []string
	for _, p := range places() {
		if fits(p.fits, call) {
			fitting = append(fitting, p.option)
		}
	}
	return strings.Join(fitting, ", ")
}

func fits(list, call string) bool { return slices.Contains(strings.Fields(list), call) }
