// Package framework sends and handles typed, durable messages over NATS JetStream.
//
// A message is a Go type that embeds a marker: [Event] (QoS 0, at most once), [ReliableEvent] (QoS 1,
// at least once) or [Request] (QoS 1, answered, run once for each ID). [Connect] makes a [Node];
// [Handle] and [Subscribe] register handlers; [Node.Run] consumes until its context ends and then
// drains; [Publish], [Send] and [Submit] work from Connect to [Node.Close].
//
// # Life of a message
//
// On its way out a message walks these files in this order:
//
//	publish.go    Publish, PublishBatch: check it, run the publish middleware
//	kind.go       what its type says: kind, guarantee, natural ID
//	route.go      resolved once per kind: subject, codec, hooks
//	transport.go  encode, write headers, send; QoS 1 waits until it is stored
//	send.go       Send: the same, and wait for the answer (calls.go, reply.go); submit.go: Ticket
//
// and on its way in:
//
//	handle.go     Handle, Subscribe: what is registered
//	consume.go    one pool of workers per handler, one loop per durable (package streams)
//	message_in.go what the headers of a delivery say
//	process.go    take the claim (package idempotency), run middleware and handler
//	decide.go     what becomes of the message: a pure function
//	settle.go     the only place that records, replies, acknowledges, reschedules and dead-letters
//
// node.go, run.go, lease.go and members.go are the life of the node itself.
//
// # What is promised
//
// A QoS 1 message is stored when Publish or Submit returns nil, and stays where somebody looks at it
// until each group has handled it, or its dead letter is stored. It is settled in an order in which a
// crash between two steps repeats steps and skips none: record, reply, acknowledgement. So a handler
// may see an event twice: after a crash, or when two nodes start on it at the same instant. A request
// runs once for each ID unless the process that runs it dies or loses its lease.
//
// Retries count what handlers did: a failure, or the death of the process in the handler. A deploy,
// a drain, or the crash of a neighbour burns none.
//
// # Concurrency
//
// A [Node] is safe for concurrent use. Messages of one kind run in parallel, up to [WithConcurrency],
// and in no particular order; of one request ID, one run goes on at a time in the whole cluster. The
// package has no locks of its own: state belongs to one goroutine, or is an immutable snapshot behind
// an atomic pointer.
package framework
