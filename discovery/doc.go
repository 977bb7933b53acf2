// Package discovery lets the nodes of a cluster find each other: a registry on a JetStream
// key-value bucket whose keys the server lets expire.
//
// # How it works
//
// A member of the cluster keeps one key, its node ID, and writes it again at every heartbeat
// (member.go). The bucket has a TTL, so the server itself removes the key of a node that has
// stopped beating; a node that leaves purges its key. Every process, member or not, follows the
// bucket (follow.go), keeps what it saw in a table (table.go) and publishes an immutable
// snapshot of it after every change (snapshot.go). Readers load that snapshot and never wait.
//
// Times are the server's: LastSeen is when the server stored the entry. The clocks of two
// machines are never compared, and what has to be measured here is measured by the local
// monotonic clock.
//
// # What is promised
//
//   - A node that is killed is offline everywhere within the TTL and about a second.
//   - After a reconnect, a server restart or a lost consumer the whole bucket is read again, so
//     the snapshot converges on the bucket whatever was missed.
//   - While this process has no connection its snapshot stands still: it cannot know better.
//   - Of two connected processes that hold one node ID, the older one is told within a heartbeat
//     that it does so no more: see [Registry.Join] and [Member.Lost].
//
// # Concurrency
//
// Everything exported is safe for concurrent use. One goroutine owns the table; the only shared
// memory is the snapshot behind an atomic pointer and the round robin counters.
package discovery
