// Package wire names what the packages of this module have in common on the wire.
package wire

import (
	"crypto/sha256"
	"encoding/hex"
)

// Reserved begins every header that this project writes. Together with [ReservedNATS] it is
// refused in the headers of a user.
const (
	Reserved     = "Catga-"
	ReservedNATS = "Nats-"
)

// Headers of a message. NATS keeps the case of header names; these are written exactly so.
const (
	ID          = "Catga-Id"          // message ID where it cannot be the Nats-Msg-Id: requests, retries, redrives
	Fails       = "Catga-Fails"       // failures so far, on what is sent again for one group
	Reply       = "Catga-Reply"       // inbox of the waiting caller; also the token of its call
	Correlation = "Catga-Correlation" // correlation ID
	Causation   = "Catga-Causation"   // ID of the message whose handler sent this one
	ExpiresIn   = "Catga-Expires-In"  // milliseconds after it was stored; not started later
	ContentType = "Content-Type"      // absent means application/json
	MsgID       = "Nats-Msg-Id"       // the server's deduplication; QoS 1 events only
)

// Headers of a dead letter, beside the original ones.
const (
	DeadGroup     = "Catga-Dead-Group"
	DeadKind      = "Catga-Dead-Kind"
	DeadID        = "Catga-Dead-Id"
	DeadReason    = "Catga-Dead-Reason"
	DeadError     = "Catga-Dead-Error"
	DeadAttempts  = "Catga-Dead-Attempts"
	DeadNode      = "Catga-Dead-Node"
	DeadSubject   = "Catga-Dead-Subject"
	DeadStream    = "Catga-Dead-Stream"
	DeadSequence  = "Catga-Dead-Sequence"
	DeadPublished = "Catga-Dead-Published" // RFC 3339, the server's time
	DeadFailed    = "Catga-Dead-Failed"    // RFC 3339, the node's time
	DeadMissing   = "Catga-Dead-Missing"   // bytes of the payload that did not fit
)

// AutoID begins the IDs that this project generates; what a user gives never begins so on the wire
// without being meant so.
const AutoID = "~"

// Token turns any ID into one subject token and KV key part: 32 hexadecimal digits, the first
// half of its SHA-256. IDs may hold anything, keys and subjects may not.
func Token(id string) string { return Hash([]byte(id)) }

// Hash is a fingerprint of a payload, in the form of a [Token].
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}
