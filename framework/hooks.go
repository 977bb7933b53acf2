package framework

import "time"

// Hooks observe a node: metrics, tracing, tests. A nil func costs nothing. They have two levels:
// the outer func runs once per registration or kind and returns the funcs that run per message, so
// labels are resolved there and never on the path of a message.
//
// Hooks are called from the goroutine that does the work and must neither block nor panic. They may
// be called from many goroutines at once. They are never called again once Close has returned.
type Hooks struct {
	// Handler runs once for each Handle and Subscribe.
	Handler func(HandlerRef) HandlerHooks
	// Kind runs once for each kind that the node publishes or sends, before its first message.
	Kind func(KindRef) PublishHooks
	// Requests runs once for each kind that the node sends as a request, before its first one.
	Requests func(KindRef) RequestHooks
	// Nodes runs after every change of the cluster's membership, with the new snapshot; read only.
	Nodes func([]NodeInfo)
	// Lag runs every Config.LagInterval for each group and kind that this node consumes.
	Lag func(GroupLag)
	// Connection runs when a connection of this node is made, lost, back or closed.
	Connection func(ConnectionEvent)
}

// HandlerRef says which handler the hooks are for.
type HandlerRef struct {
	Kind, Group, Node string
	QoS               QoS
	Concurrency       int
}

// HandlerHooks run around every message of one handler.
type HandlerHooks struct {
	// Started runs right before the handler, middleware included, and only then.
	Started func()
	// Done runs once the message has been settled, also when the handler was never started for it.
	Done func(Outcome)
}

// Verdict is what became of one delivery.
type Verdict string

// The verdicts. Every delivery that reaches a worker ends in exactly one of them.
const (
	VerdictOK        Verdict = "ok"        // handled; recorded, answered, acknowledged
	VerdictRetry     Verdict = "retry"     // the handler failed and will be run again
	VerdictDead      Verdict = "dead"      // in the dead-letter stream
	VerdictDuplicate Verdict = "duplicate" // done before, or running elsewhere; not run
	VerdictRejected  Verdict = "rejected"  // the handler answered with a business "no"
	VerdictExpired   Verdict = "expired"   // too old, or its caller has given up; not run
	VerdictFailed    Verdict = "failed"    // a QoS 0 event whose handler failed: it is gone
	VerdictReturned  Verdict = "returned"  // handed back without blame: drain, lost lease, server unreachable
)

// Outcome is one settled delivery.
type Outcome struct {
	Verdict    Verdict
	Reason     string        // class of the dead letter, one of the Reason constants; "" where none was written
	Check      string        // of the claim: "" (none was needed), new, duplicate, in_progress, error
	Attempt    int           // the run that ended, counted from 1; 0 where the handler did not run
	Ran        time.Duration // how long the handler ran: above 0 if and only if Started was called
	Latency    time.Duration // from stored to taken up, by two clocks; 0 where unknown
	Err        error         // a *HandlerError where the handler failed
	Redelivery bool          // the server has delivered this message before
}

// KindRef says which kind the hooks are for.
type KindRef struct {
	Kind string
	QoS  QoS
}

// PublishHooks run for every message of one kind that is sent.
type PublishHooks struct {
	// Done has the outcome: stored, sent (QoS 0), duplicate or error.
	Done func(outcome string, took time.Duration)
}

// RequestHooks run for every request of one kind, on the caller's side.
type RequestHooks struct {
	// Done has the outcome: ok, rejected, failed, no_reply, key_reused or error.
	Done func(outcome string, took time.Duration)
}

// GroupLag is how far a group is behind.
type GroupLag struct {
	Kind, Group         string
	Pending, AckPending uint64        // not delivered yet; delivered and not settled
	OldestAge           time.Duration // of the oldest of both; 0 if there is none
}

// ConnectionEvent is a connection made, lost, back or closed.
type ConnectionEvent struct {
	Node      string // node ID
	Name      string // publish, consume, or shared for a connection the node was given
	Connected bool
	Reconnect bool  // with Connected: it had been lost
	Err       error // why it was lost, where known
}

// JoinHooks calls all of them, in order: metrics, tracing, your own.
func JoinHooks(hooks ...Hooks) Hooks {
	var all Hooks
	for _, h := range hooks {
		all = all.and(h)
	}
	return all
}

func (h Hooks) and(o Hooks) Hooks {
	return Hooks{
		Handler: joinRefs(h.Handler, o.Handler, func(a, b HandlerHooks) HandlerHooks {
			return HandlerHooks{Started: both0(a.Started, b.Started), Done: both(a.Done, b.Done)}
		}),
		Kind: joinRefs(h.Kind, o.Kind, func(a, b PublishHooks) PublishHooks {
			return PublishHooks{Done: both2(a.Done, b.Done)}
		}),
		Requests: joinRefs(h.Requests, o.Requests, func(a, b RequestHooks) RequestHooks {
			return RequestHooks{Done: both2(a.Done, b.Done)}
		}),
		Nodes:      both(h.Nodes, o.Nodes),
		Lag:        both(h.Lag, o.Lag),
		Connection: both(h.Connection, o.Connection),
	}
}

func joinRefs[R, H any](a, b func(R) H, join func(H, H) H) func(R) H {
	if a == nil || b == nil {
		return either(a, b)
	}
	return func(ref R) H { return join(a(ref), b(ref)) }
}

func either[R, H any](a, b func(R) H) func(R) H {
	if a == nil {
		return b
	}
	return a
}

func both0(a, b func()) func() {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return func() { a(); b() }
}

func both[A any](a, b func(A)) func(A) {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return func(v A) { a(v); b(v) }
}

func both2[A, B any](a, b func(A, B)) func(A, B) {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return func(v A, w B) { a(v, w); b(v, w) }
}
