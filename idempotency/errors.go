package idempotency

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound says that nothing stands under a key: never used, expired, or forgotten.
	ErrNotFound = errors.New("key not found")
	// ErrLost says that a claim no longer holds its key: another session took it over, because
	// this one's was over. What the run did is not recorded.
	ErrLost = errors.New("claim lost")
	// ErrSessionOver says that a session claims nothing any more: lost or ended. If it was not
	// ended, [Session.Lost] is closed, or about to be.
	ErrSessionOver = errors.New("session over")
	// ErrUnknown says that the context ended before the server had said whether a write was
	// stored. It may be, or still become so.
	ErrUnknown = errors.New("outcome unknown")
)

// A KeyError reports a key that cannot be used, or a call without a token.
type KeyError struct {
	Key    string
	Reason string
}

// Error names the key and the reason.
func (e *KeyError) Error() string { return fmt.Sprintf("key %.64q: %s", e.Key, e.Reason) }

// A TooLargeError reports a record above what the server takes in one message. Nothing was written.
type TooLargeError struct {
	Key   string
	Size  int64 // bytes of the record
	Limit int64 // bytes a record may have on this connection; 0 when only the server knew
}

// Error names the key and both sizes.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("record of key %s: %d bytes exceed the limit of %d", e.Key, e.Size, e.Limit)
}

// An UndecodableError reports a value that is no record of this package. Claims replace it.
type UndecodableError struct {
	Key      string
	Revision uint64
	Err      error
}

// Error names the key, the revision and the cause.
func (e *UndecodableError) Error() string {
	return fmt.Sprintf("decode record of key %s at revision %d: %v", e.Key, e.Revision, e.Err)
}

// Unwrap returns the cause.
func (e *UndecodableError) Unwrap() error { return e.Err }
