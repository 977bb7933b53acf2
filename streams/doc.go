// Package streams carries bytes to and from JetStream. It knows subjects, headers and payloads,
// not messages and their types.
//
//	names.go      what subjects, streams and durables of a namespace are called
//	assets.go     the three streams, declared
//	publish.go    Publisher: store and be sure; acks.go, puback.go: who waits for which answer
//	verdict.go    what an error of a try means; retry.go: what to do about it
//	linkowner.go  ends what waits too long, and follows the connection
//	schedule.go   a message that the server sends later
//	dead.go       dead letters: Bury, ParseDead; deadheader.go: how they look
//	loop.go       Loop: pulls a durable's messages, as loopconfig.go says; its parts are
//	              owner.go, receive.go, tend.go, and slot.go and status.go, which decide
//	delivery.go   Delivery: one arrived message and what can be done with it, once
//	pool.go       Pool: the workers
//
// # Life of a delivery
//
// A [Loop] asks the server for as many messages as it has credits. Each that arrives becomes a
// [Delivery] and is offered to a [Pool]. A worker starts it, the handler settles it (Ack, Nak or
// Drop), and that returns the credit to the loop, which asks for the next.
//
// # Shutdown
//
// First [Loop.Stop], so that the server sends nothing more, then [Pool.Drain], which hands back what
// no worker has started and waits for what runs, then [Publisher.Close]. The other way round a
// message that is handed back comes straight back to the same loop.
package streams
