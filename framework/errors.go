package framework

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/catga-go/catga/internal/provision"
	"github.com/catga-go/catga/streams"
)

// States that callers branch on with errors.Is.
var (
	// ErrClosed is returned by every call on a node after its Close.
	ErrClosed = errors.New("node is closed")
	// ErrKeyReused says that the ID of a request was used before with another payload.
	ErrKeyReused = errors.New("id was used with a different payload")
	// ErrNodeTaken says that another live process has this node ID.
	ErrNodeTaken = errors.New("another live process has this node id")
	// ErrNodeGone says that the node a request was sent to is not there: it never was, has left,
	// is draining or was lost.
	ErrNodeGone = errors.New("node is gone")
	// ErrLeaseLost is the context.Cause in a handler whose process could not renew its lease in
	// time: another node may be running the same message now.
	ErrLeaseLost = errors.New("lease was lost")
	// ErrDraining is the context.Cause in a handler that outlived the soft stop.
	ErrDraining = errors.New("node is draining")
	// ErrOutcomeUnknown says that a message may or may not have been stored: the connection or
	// the server was away for longer than a resend is safe. Publishing again with the same ID is.
	ErrOutcomeUnknown = errors.New("outcome unknown")
)

// Rejection is the business "no" of a handler: see [Reject].
type Rejection struct{ Code, Message string }

// Error is "code: message".
func (e *Rejection) Error() string { return e.Code + ": " + e.Message }

// RemoteError is the final failure of a handler as its caller sees it. It is text: no types cross
// the wire.
type RemoteError struct {
	Kind, ID string
	Node     string // where the last attempt ran; "" where none did
	Message  string
	Attempts int // runs of the handler
}

// Error names the kind, the node and the handler's error.
func (e *RemoteError) Error() string {
	return fmt.Sprintf("request %s %s failed on node %q after %d attempts: %s", e.Kind, e.ID, e.Node, e.Attempts, e.Message)
}

// NoReplyError says that a request has no answer yet although its deadline has passed.
type NoReplyError struct {
	Kind, ID string
	Node     string       // where it was routed with [ToNode]; else ""
	Handlers int          // live nodes that handle the kind: 0 is a deployment mistake, more is slowness
	State    RequestState // Unknown: no node will run it, unless the server could not be asked
	Err      error        // the context's error, or ErrNodeGone
}

// Error names the kind, the ID, the state and how many nodes could have answered.
func (e *NoReplyError) Error() string {
	to := ""
	if e.Node != "" {
		to = fmt.Sprintf(" from node %q", e.Node)
	}
	return fmt.Sprintf("no reply%s to request %s %s: %v (state %s, %d live nodes handle the kind)",
		to, e.Kind, e.ID, e.Err, e.State, e.Handlers)
}

// Unwrap returns the context's error, or [ErrNodeGone].
func (e *NoReplyError) Unwrap() error { return e.Err }

// BatchError holds the failed entries of PublishBatch and SendBatch by their index; all others
// succeeded.
type BatchError struct{ Failed map[int]error }

// Error shows how many failed and the first of them.
func (e *BatchError) Error() string {
	at := slices.Sorted(maps.Keys(e.Failed))
	if len(at) == 0 {
		return "no entry of the batch failed"
	}
	return fmt.Sprintf("%d entries of the batch failed, first entry %d: %v", len(at), at[0], e.Failed[at[0]])
}

// Unwrap lets errors.Is and errors.As look into every entry, in the order of their index.
func (e *BatchError) Unwrap() []error {
	all := make([]error, 0, len(e.Failed))
	for _, i := range slices.Sorted(maps.Keys(e.Failed)) {
		all = append(all, e.Failed[i])
	}
	return all
}

// batchError is nil if no entry failed: a typed nil must not look like an error.
func batchError(failed map[int]error) error {
	if len(failed) == 0 {
		return nil
	}
	return &BatchError{Failed: failed}
}

// ConfigError names an option or a field of [Config], its value, and what to do about it.
type ConfigError struct {
	Option string
	Value  any
	Reason string
}

// Error is one line with all three.
func (e *ConfigError) Error() string {
	if s, ok := e.Value.(string); ok {
		return fmt.Sprintf("%s %q: %s", e.Option, shorten(s), e.Reason)
	}
	return fmt.Sprintf("%s %v: %s", e.Option, e.Value, e.Reason)
}

func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// DuplicateHandlerError says that the kind has a handler in that group on this node already.
type DuplicateHandlerError struct{ Kind, Group string }

// Error names both and the way out.
func (e *DuplicateHandlerError) Error() string {
	if e.Group == requestGroup {
		return fmt.Sprintf("handle %s: this node has a handler for it already", e.Kind)
	}
	return fmt.Sprintf("subscribe to %s: group %s has a handler on this node already; name another with InGroup or OnEveryNode",
		e.Kind, e.Group)
}

// HandlerError is a failed run of a handler, as hooks and logs carry it.
type HandlerError struct {
	Kind, ID, Group, Node string
	Attempt               int   // the run that failed, counted from 1
	Err                   error // what the handler returned, or a *PanicError
}

// Error names the message, the attempt and the cause.
func (e *HandlerError) Error() string {
	return fmt.Sprintf("handle %s %s in group %s, attempt %d: %v", e.Kind, e.ID, e.Group, e.Attempt, e.Err)
}

// Unwrap returns Err.
func (e *HandlerError) Unwrap() error { return e.Err }

// PanicError is a panic of a handler or a middleware, recovered.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

// Error shows the value; the stack is in logs and dead letters, not in what callers are told.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// TooLargeError says that an encoded message, its headers included, is over the server's limit. For
// what is stored the limit is 8 KiB lower than the server's max_payload, an eighth of it at most, so
// that there is room for what a dead letter says beside the message.
type TooLargeError struct {
	Kind        string
	Size, Limit int64 // bytes
}

// Error names the kind and both sizes.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s message of %d bytes is over the limit of %d (the server's max_payload, with room for a dead letter)", e.Kind, e.Size, e.Limit)
}

// What [Connect] and [Node.Run] find out about streams, buckets and consumers. Each names the stream,
// and the consumer if it is about one.
type (
	// MismatchError says that one exists and differs in a Field that cannot be changed, or, with
	// [Verify], must not be.
	MismatchError = provision.MismatchError
	// MissingError says that one does not exist and, with [Verify], must not be created.
	MissingError = provision.MissingError
	// UnavailableError says that JetStream did not answer in time, or is not enabled.
	UnavailableError = provision.UnavailableError
)

// Reject is a business "no". For a request it is the final answer: stored and replied, not retried
// and not dead-lettered; the caller finds a [*Rejection]. An event is dead-lettered at once with
// code as its reason.
func Reject(code, message string) error { return &Rejection{Code: code, Message: message} }

// Permanent says that another try cannot help: the message is dead-lettered at once, and the caller
// of a request gets a [*RemoteError]. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// RetryAfter asks for the next try d from now instead of after the handler's backoff. It counts as
// a try. RetryAfter(nil, d) is nil; a d below 0 counts as 0.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err, max(d, 0)}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

type retryAfterError struct {
	error
	after time.Duration
}

func (e *retryAfterError) Unwrap() error { return e.error }

// publishError puts the errors of the publisher into the words of this package.
func publishError(kind string, err error) error {
	if large, ok := errors.AsType[*streams.TooLargeError](err); ok {
		return &TooLargeError{Kind: kind, Size: large.Size, Limit: large.Limit}
	}
	if _, ok := errors.AsType[*streams.UnknownOutcomeError](err); ok {
		return fmt.Errorf("publish %s: %w: %w", kind, ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("publish %s: %w", kind, err)
}
