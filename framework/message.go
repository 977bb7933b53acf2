package framework

// Event marks a QoS 0 event: fire and forget over core NATS, at most once. Embed it first in the
// struct. A message type embeds exactly one marker.
type Event struct{}

// ReliableEvent marks a QoS 1 event: stored, and delivered at least once to every group that
// subscribes to it. Embed it first in the struct.
type ReliableEvent struct{}

// Request marks a QoS 1 request that is answered with an R: stored, handled by one node, and run
// once for each ID. Embed it first in the struct.
type Request[R any] struct{}

// None is the response of a request that has nothing to say but "done": Request[None].
type None struct{}

// AnyEvent is met by embedding [Event] or [ReliableEvent], and by nothing else.
type AnyEvent interface{ embedsMarker(event) }

// RequestOf is met by embedding [Request][R], and by nothing else. Calls infer R from the request.
type RequestOf[R any] interface {
	embedsMarker(requestAnsweredBy[R])
}

// The markers share one method name with different parameters: two of them in one struct are
// ambiguous, so that it has neither and does not compile where a message is asked for, and a
// mix-up shows what the type has and what the call wants.
type (
	event                    struct{}
	requestAnsweredBy[R any] struct{}
)

func (Event) embedsMarker(event)                     {}
func (ReliableEvent) embedsMarker(event)             {}
func (ReliableEvent) atLeastOnce()                   {}
func (Request[R]) embedsMarker(requestAnsweredBy[R]) {}
func (Request[R]) isRequest()                        {}

// QoS is the guarantee a kind carries.
type QoS uint8

// The guarantees.
const (
	// AtMostOnce is QoS 0: one write to a connection, nothing stored, nothing repeated.
	AtMostOnce QoS = iota
	// AtLeastOnce is QoS 1: stored before the publisher returns, settled explicitly by handlers.
	AtLeastOnce
)

// String is "0" or "1", as metrics and logs show it.
func (q QoS) String() string {
	if q == AtMostOnce {
		return "0"
	}
	return "1"
}
