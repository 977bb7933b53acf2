// Package idempotency makes one of many runs of a piece of work count: it keeps sessions, claims and
// stored results as records of a JetStream key-value bucket. It knows keys, not messages.
//
// # Life of a key
//
// A process holds one [Session]: a key of its own with a lease by the server's clock. It claims keys
// in the name of the session and finishes each claim as one of the [State] values:
//
//	config.go    what a [Store] is made of
//	keys.go      the keys of events and requests
//	record.go    what stands under a key, and how it is written
//	bucket.go    the two operations on the server: read, and write by compare-and-set
//	change.go    one change of one key, repeated until its outcome is known
//	session.go   the lease of a process: taken, renewed, lost, ended
//	lease.go     the same lease by the local clock
//	over.go      the proof that a session is over
//	decide.go    what a claimer does about what it finds: a pure function
//	claim.go     acts on that
//	finish.go    the end of a claim, and of an event's first run, which has none
//	withdraw.go  a caller takes its request back
//
// # What decides
//
// Every write names the revision it replaces, and only the server's answer to a write decides. Reads
// may come from a replica that lags behind: they say what to try next, never that it worked. A write
// whose outcome is unknown (timeout, disconnect) is found again by the session and nonce it carries.
//
// A session is over once somebody could write its tombstone where nothing stood: its own next
// renewal then fails, so that two sessions never hold one key. The server's clock alone measures
// leases; a process compares them to nothing but its own monotonic clock, from the moment it
// asked.
//
// # Bounds
//
// The bucket holds at most [Config.MaxKeys] records. Beyond that the oldest are forgotten, running
// ones and sessions not excepted: it should be far above what is written while a handler runs.
//
// # Concurrency
//
// A [Store], a [Session] and a [Claim] may be used by many goroutines at once. A session has one
// goroutine, which [Session.End] stops. The store has none and is never closed; it works as long as
// the connection it was given.
package idempotency
