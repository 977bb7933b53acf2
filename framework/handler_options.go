package framework

import (
	"fmt"
	"time"
)

type (
	// HandleOption fits [Handle].
	HandleOption interface{ applyHandle(*handlerConfig) }
	// SubscribeOption fits [Subscribe].
	SubscribeOption interface{ applySubscribe(*handlerConfig) }
	// HandlerOption fits both.
	HandlerOption interface {
		HandleOption
		SubscribeOption
	}
	// TypeOption fits [NewEvent] and [NewRequest].
	TypeOption interface{ applyType(*typeSpec) }
)

type (
	handlerOption   func(*handlerConfig)
	subscribeOption func(*handlerConfig)
	typeOption      func(*typeSpec)
)

func (o handlerOption) applyHandle(c *handlerConfig)      { o(c) }
func (o handlerOption) applySubscribe(c *handlerConfig)   { o(c) }
func (o subscribeOption) applySubscribe(c *handlerConfig) { o(c) }
func (o typeOption) applyType(s *typeSpec)                { o(s) }

// InGroup makes the subscription share a group's work: each event is handled by one node of the
// group. A group is known by its name to all nodes, and its position is kept when none of them
// runs. Names are 1 to 64 letters, digits, _ and -.
func InGroup(name string) SubscribeOption {
	return subscribeOption(func(c *handlerConfig) {
		c.name, c.scope, c.scopes = name, sharedGroup, c.scopes+1
	})
}

// OnEveryNode is the default with a name: every node handles each event, and two such subscriptions
// to one kind can live on one node. A node's own position is forgotten after it has been away for
// Config.ForgetAfter.
func OnEveryNode(name string) SubscribeOption {
	return subscribeOption(func(c *handlerConfig) {
		c.name, c.scope, c.scopes = name, everyNode, c.scopes+1
	})
}

// FromStart lets a group that does not exist yet begin with the oldest stored event. By default it
// begins with the next one. It changes nothing for a group that exists. QoS 1 only.
func FromStart() SubscribeOption {
	return subscribeOption(func(c *handlerConfig) { c.fromStart = true; c.need("FromStart", true) })
}

// WithConcurrency bounds how many messages the handler runs at once on this node, 1 to 10,000. The
// default is 32.
func WithConcurrency(n int) HandlerOption {
	return handlerOption(func(c *handlerConfig) { c.concurrency = n })
}

// WithRetries sets how often a message is run again after its first run failed, before it is
// dead-lettered, 0 to 1,000. A process that died in the handler counts as such a run, too. The default
// is 3. QoS 1 only.
func WithRetries(n int) HandlerOption {
	return handlerOption(func(c *handlerConfig) { c.retries = n; c.need("WithRetries", n) })
}

// WithBackoff sets the delay before the retries: first, doubled each time up to most, of which a
// random part between half and all is waited. The default is 1s and 5m. QoS 1 only.
func WithBackoff(first, most time.Duration) HandlerOption {
	return handlerOption(func(c *handlerConfig) {
		c.backoff = backoff{first, most}
		c.need("WithBackoff", fmt.Sprintf("%v to %v", first, most))
	})
}

// WithTimeout ends the context of a run after d. The default is none: a run may last for ever, its
// delivery is renewed meanwhile.
func WithTimeout(d time.Duration) HandlerOption {
	return handlerOption(func(c *handlerConfig) { c.timeout, c.hasTimeout = d, true })
}

// WithAckWait sets how long the server waits for a silent node before it delivers the message to
// another, 1s to 12h. It is renewed while a handler runs, so it bounds crashes, not handlers. The
// default is 15s. The last node that starts decides for its group. QoS 1 only.
func WithAckWait(d time.Duration) HandlerOption {
	return handlerOption(func(c *handlerConfig) { c.ackWait = d; c.need("WithAckWait", d) })
}

// WithDedup sets for how long the IDs of handled messages are remembered, at most Config.DedupTTL.
// The default is Config.DedupTTL for requests and for events with an ID of their user's, and
// Config.EventDedupTTL for events with a generated one. What is less than twice the ack wait counts as
// that: a message whose acknowledgement was lost comes back. 0 means not at all, for event handlers that
// do not mind a repeat: nothing is looked up or written for what succeeds. Requests are always
// remembered; 0 is refused there. QoS 1 only.
func WithDedup(d time.Duration) HandlerOption {
	return handlerOption(func(c *handlerConfig) { c.dedup, c.hasDedup = d, true; c.need("WithDedup", d) })
}

// WithMiddleware wraps this handler, inside Config.Middleware, the first outermost.
func WithMiddleware(m ...Middleware) HandlerOption {
	return handlerOption(func(c *handlerConfig) { c.middleware = append(c.middleware, m...) })
}

// UseCodec sets the codec of a declared type. Marked types use Config.KindCodecs or Config.Codec.
func UseCodec(c Codec) TypeOption {
	return typeOption(func(s *typeSpec) {
		s.codec = c
		if c == nil {
			s.err = &ConfigError{"UseCodec", s.kind, "is nil"}
		}
	})
}

type scope uint8

const (
	everyNode scope = iota
	sharedGroup
)

// handlerConfig is what the options of one registration add up to.
type handlerConfig struct {
	name                 string
	scope                scope
	scopes               int // how many options named a group
	fromStart            bool
	concurrency, retries int
	backoff              backoff
	timeout, ackWait     time.Duration
	hasTimeout           bool
	dedup                time.Duration
	hasDedup             bool
	middleware           []Middleware
	needQoS1             *ConfigError // the last option given that means nothing for QoS 0
}

func (c *handlerConfig) need(option string, value any) {
	c.needQoS1 = &ConfigError{Option: option, Value: value}
}

func defaultHandlerConfig() handlerConfig {
	return handlerConfig{
		concurrency: 32,
		retries:     3,
		backoff:     backoff{time.Second, 5 * time.Minute},
		ackWait:     15 * time.Second,
	}
}

// check validates the options against the kind they are for.
func (c *handlerConfig) check(s *typeSpec, longest time.Duration) error {
	const maxConcurrency, maxRetries = 10_000, 1_000
	if s.qos == AtMostOnce && c.needQoS1 != nil {
		c.needQoS1.Reason = "means nothing for the QoS 0 event " + s.kind + ": it is neither stored nor repeated"
		return c.needQoS1
	}
	switch {
	case c.concurrency < 1 || c.concurrency > maxConcurrency:
		return &ConfigError{"WithConcurrency", c.concurrency, "must be 1 to 10,000"}
	case c.retries < 0 || c.retries > maxRetries:
		return &ConfigError{"WithRetries", c.retries, "must be 0 to 1,000"}
	case c.backoff.first < 0 || c.backoff.most < c.backoff.first:
		return &ConfigError{"WithBackoff", fmt.Sprintf("%v to %v", c.backoff.first, c.backoff.most), "want 0 <= first <= most"}
	case c.hasTimeout && c.timeout <= 0:
		return &ConfigError{"WithTimeout", c.timeout, "must be above 0; leave the option away for no timeout"}
	case c.ackWait < time.Second || c.ackWait > 12*time.Hour:
		return &ConfigError{"WithAckWait", c.ackWait, "must be 1s to 12h"}
	case c.scopes > 1:
		return &ConfigError{"group", c.name, "is one of several; give one InGroup or OnEveryNode"}
	}
	if err := c.checkDedup(s, longest); err != nil {
		return err
	}
	return c.checkGroup()
}

func (c *handlerConfig) checkDedup(s *typeSpec, longest time.Duration) error {
	switch {
	case !c.hasDedup:
		return nil
	case c.dedup == 0 && s.request:
		return &ConfigError{"WithDedup", c.dedup, "is refused for requests: their answers are always remembered"}
	case c.dedup != 0 && c.dedup < time.Second:
		return &ConfigError{"WithDedup", c.dedup, "must be 0 (none) or at least 1s, the server's unit"}
	case c.dedup > longest:
		return &ConfigError{"WithDedup", c.dedup, fmt.Sprintf("is above Config.DedupTTL, %v", longest)}
	}
	return nil
}

func (c *handlerConfig) checkGroup() error {
	if c.scopes == 0 {
		return nil
	}
	option := "OnEveryNode"
	if c.scope == sharedGroup {
		option = "InGroup"
	}
	if reason := badToken(c.name); reason != "" {
		return &ConfigError{option, c.name, reason}
	}
	if c.scope == sharedGroup && c.name == requestGroup {
		return &ConfigError{option, c.name, "is what the handlers of requests are called; choose another"}
	}
	return nil
}

// requestGroup is the group of every request handler: the nodes share the work.
const requestGroup = "requests"

// groupOn is the group's name on the wire. Those of single nodes have a = in them, which groups
// named by users cannot have.
func (c *handlerConfig) groupOn(node string) string {
	switch {
	case c.scope == sharedGroup:
		return c.name
	case c.name == "":
		return "node=" + node
	default:
		return "node=" + node + "=" + c.name
	}
}
