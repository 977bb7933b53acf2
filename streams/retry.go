package streams

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// maxDoubts is how many tries with an unknown outcome a message may have: the first and 3 more.
const maxDoubts = 4

// unsentError marks an error of a try that did not get as far as the connection.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// job is one message on its way into a stream. One goroutine has it.
type job struct {
	msg    *nats.Msg
	began  time.Duration // when its patience began, by Publisher.now
	tries  int           // times it was sent
	doubts int           // of these, with unknown outcome
	waits  int           // retries since the last change of verdict
	last   verdict
	stored Stored
	err    error
	call   *call // while it waits for an answer; use is the use of it
	use    uint64
}

// after takes note of the verdict on the last try and decides how long to wait before the next, or
// that there is none.
func (j *job) after(v verdict, now time.Duration) (wait time.Duration, more bool) {
	if v == unknown && wasSent(j.err) {
		j.doubts++
	}
	if v != j.last {
		j.waits = 0
	}
	j.last = v
	j.waits++
	switch v {
	case full:
		if j.doubts == 0 {
			j.began = now // certainly not stored: there is no hurry
		}
		wait = backoff(j.waits, 50*time.Millisecond, 2*time.Second)
		if errors.Is(j.err, errBusy) { // the room is our own
			wait = backoff(j.waits, time.Millisecond, 50*time.Millisecond)
		}
	case again:
		wait = backoff(j.waits, 20*time.Millisecond, time.Second)
	case unknown:
		wait = backoff(j.waits, 100*time.Millisecond, time.Second)
		if j.doubts >= maxDoubts || !wasSent(j.err) {
			return 0, false
		}
	default:
		return 0, false
	}
	return wait, now+wait < j.began+patience
}

func wasSent(err error) bool {
	_, unsent := errors.AsType[*unsentError](err)
	return !unsent
}

// final is what the caller gets. ended is the error of its context, if that has ended.
func (j *job) final(ended error) error {
	cause := j.err
	if ended != nil && !errors.Is(cause, ended) {
		cause = fmt.Errorf("%w: %w", ended, cause)
	}
	if j.doubts > 0 {
		return &UnknownOutcomeError{Tries: j.tries, Err: cause}
	}
	if large, ok := errors.AsType[*TooLargeError](cause); ok {
		return large
	}
	return fmt.Errorf("store message on %s: %w", j.msg.Subject, cause)
}
