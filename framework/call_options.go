package framework

import "time"

// There is one option type per call, so that an option in the wrong place does not compile. Options
// only store what they are given; the call checks it and returns a [*ConfigError].
type (
	// PublishOption fits [Publish] and [PublishBatch].
	PublishOption interface{ applyPublish(*callConfig) }
	// SendOption fits [Send] and [SendBatch].
	SendOption interface{ applySend(*callConfig) }
	// SubmitOption fits [Submit].
	SubmitOption interface{ applySubmit(*callConfig) }

	// MessageOption fits all three.
	MessageOption interface {
		PublishOption
		SendOption
		SubmitOption
	}
	// LaterOption fits Publish and Submit, where nobody waits.
	LaterOption interface {
		PublishOption
		SubmitOption
	}
	// RouteOption fits Send and Submit.
	RouteOption interface {
		SendOption
		SubmitOption
	}
)

type (
	messageOption func(*callConfig)
	laterOption   func(*callConfig)
	routeOption   func(*callConfig)
	sendOption    func(*callConfig)
)

func (o messageOption) applyPublish(c *callConfig) { o(c) }
func (o messageOption) applySend(c *callConfig)    { o(c) }
func (o messageOption) applySubmit(c *callConfig)  { o(c) }
func (o laterOption) applyPublish(c *callConfig)   { o(c) }
func (o laterOption) applySubmit(c *callConfig)    { o(c) }
func (o routeOption) applySend(c *callConfig)      { o(c) }
func (o routeOption) applySubmit(c *callConfig)    { o(c) }
func (o sendOption) applySend(c *callConfig)       { o(c) }

// WithID sets the message ID, which is also the idempotency key: a request is run once for it, a
// QoS 1 event once per group, as far back as Config.DedupTTL. It is scoped to the kind, wins over an
// IdempotencyKey method, and may hold anything, up to 1 KiB. "" means generated. Not for batches,
// whose entries each need their own: give their type an IdempotencyKey method. On a QoS 0 event it
// is only carried along.
func WithID(id string) MessageOption {
	return messageOption(func(c *callConfig) { c.id, c.hasID = id, true })
}

// WithCorrelation sets the correlation ID. Inside a handler the one of the handled message is
// inherited by default.
func WithCorrelation(id string) MessageOption {
	return messageOption(func(c *callConfig) { c.correlation = id })
}

// WithHeader adds a header. Names that begin with Nats-, Catga- or ce-, and traceparent, tracestate
// and Content-Type, are refused in any case of their letters.
func WithHeader(key, value string) MessageOption {
	return messageOption(func(c *callConfig) { c.headers = append(c.headers, [2]string{key, value}) })
}

// ToNode routes to one node and to no other. When that node is gone, a [*NoReplyError] wrapping
// [ErrNodeGone] says so at once; when it is silent, one says so at the deadline. A request that it has
// begun when it starts to drain is waited for.
func ToNode(id string) RouteOption {
	return routeOption(func(c *callConfig) { c.node, c.toNode = id, true })
}

// RoundRobin routes by one atomic increment over the live nodes that handle the kind. When the node
// leaves or does not take the request within [WithAttemptTimeout], the request is published for any
// node under the same ID; the claim lets one of them run it. The default is any node that has room.
func RoundRobin() SendOption {
	return sendOption(func(c *callConfig) { c.roundRobin = true })
}

// WithAttemptTimeout bounds how long a request routed by [RoundRobin] may lie untaken before it is
// offered to every node. The default is 5s.
func WithAttemptTimeout(d time.Duration) SendOption {
	return sendOption(func(c *callConfig) { c.attempt, c.hasAttempt = d, true })
}

// WithReply fills info when Send returns an answer: without an error, or with a [*Rejection],
// [*RemoteError] or [ErrKeyReused]. Not for batches.
func WithReply(info *ReplyInfo) SendOption {
	return sendOption(func(c *callConfig) { c.reply, c.hasReply = info, true })
}

// ReplyInfo says where an answer came from.
type ReplyInfo struct {
	Node     string // that ran the handler
	Attempts int    // runs it took
	Replayed bool   // the answer had been stored for an earlier request with this ID
}

// ExpiresIn keeps a message from being started when it is older than d, by the server's time of storing and the node's
// clock. An expired event is dropped and counted; an expired request is dead-lettered, and its
// ticket reports a [*RemoteError]. At most Config.DedupTTL for requests. Not for QoS 0 events,
// which are never kept.
func ExpiresIn(d time.Duration) LaterOption {
	return laterOption(func(c *callConfig) { c.expires, c.hasExpires = d, true })
}

// callConfig is what the options of one call add up to.
type callConfig struct {
	id, correlation, node     string
	hasID, toNode, roundRobin bool
	hasAttempt, hasReply      bool
	hasExpires                bool
	headers                   [][2]string
	attempt, expires          time.Duration
	reply                     *ReplyInfo
}

const defaultAttemptTimeout = 5 * time.Second

// check validates everything but what depends on the kind.
func (c *callConfig) check(batch bool) error {
	switch {
	case batch && c.hasID && c.id != "":
		return &ConfigError{"WithID", c.id, "does not fit a batch, whose entries each need an ID of their own; give the type an IdempotencyKey method"}
	case batch && c.hasReply:
		return &ConfigError{"WithReply", "batch", "does not fit a batch: one info cannot hold the answers of several requests"}
	case c.hasReply && c.reply == nil:
		return &ConfigError{"WithReply", nil, "is nil; pass the address of a ReplyInfo"}
	case c.toNode && c.roundRobin:
		return &ConfigError{"RoundRobin", c.node, "cannot be combined with ToNode: choose one route"}
	case c.hasAttempt && c.attempt <= 0:
		return &ConfigError{"WithAttemptTimeout", c.attempt, "must be above 0"}
	case c.hasExpires && c.expires < time.Millisecond:
		return &ConfigError{"ExpiresIn", c.expires, "must be at least 1ms"}
	}
	if c.toNode {
		if reason := badToken(c.node); reason != "" {
			return &ConfigError{"ToNode", c.node, reason}
		}
	}
	if !c.hasAttempt {
		c.attempt = defaultAttemptTimeout
	}
	return nil
}

// apply puts the options on a message.
func (c *callConfig) apply(out *Outgoing) error {
	if c.id != "" {
		out.ID = c.id
	}
	if c.correlation != "" {
		out.Correlation = c.correlation
	}
	if len(c.headers) > 0 {
		out.Header = make(Header, len(c.headers))
	}
	for _, h := range c.headers {
		out.Header[h[0]] = append(out.Header[h[0]], h[1])
	}
	out.expires = c.expires
	if c.hasExpires && out.QoS == AtMostOnce {
		return &ConfigError{"ExpiresIn", c.expires, "means nothing for the QoS 0 event " + out.Kind + ": it is never kept"}
	}
	return nil
}
