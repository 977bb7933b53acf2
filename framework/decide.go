package framework

import (
	"errors"
	"math/rand/v2"
	"time"
)

// Classes of dead letters. A dead letter of an event that was rejected has the rejection's code as
// its reason instead.
const (
	ReasonError       = "error"        // the last retry failed
	ReasonPanic       = "panic"        // and it was a panic
	ReasonRejected    = "rejected"     // Reject, of an event
	ReasonPermanent   = "permanent"    // Permanent
	ReasonUndecodable = "undecodable"  // the codec refused the bytes, or the answer
	ReasonUnknownKind = "unknown_kind" // no handler for an hour
	ReasonCrashed     = "crashed"      // processes died in the handler as often as it may run
	ReasonExpired     = "expired"      // too old to be run
)

// fate is what settle does with a delivery.
type fate uint8

const (
	fateDone     fate = iota // handled
	fateRetry                // failed, to be run again
	fateBury                 // failed for good: dead letter
	fateRejected             // a request's answer is "no"
	fateAnswered             // done before: the stored answer is sent again
	fateReused               // the ID belongs to another payload
	fateBusy                 // runs elsewhere: look again later
	fateExpired              // not run, and nobody minds: let go
	fateOpened               // given up without blame: back to the server at once
	fateLeft                 // nothing can be said: the server delivers it again after the ack wait
)

var verdicts = [...]Verdict{ //nolint:gochecknoglobals // a constant table
	fateDone: VerdictOK, fateRetry: VerdictRetry, fateBury: VerdictDead, fateRejected: VerdictRejected,
	fateAnswered: VerdictDuplicate, fateReused: VerdictDuplicate, fateBusy: VerdictDuplicate,
	fateExpired: VerdictExpired, fateOpened: VerdictReturned, fateLeft: VerdictReturned,
}

// outcome is a decision about one delivery and what settle needs to act on it.
type outcome struct {
	fate   fate
	after  time.Duration // fateRetry, fateBusy
	class  string        // fateBury
	reason string        // fateBury: the class, or a rejection's code
	err    error
}

// ended is how a run of a handler ended.
type ended struct {
	err     error
	fails   int  // before this run
	request bool // else an event
	drained bool // the run's context ended because the node stops
	lost    bool // the run's context ended because the lease was lost
}

// policy is what a registration says about failures.
type policy struct {
	retries int
	backoff backoff
}

// decide says what becomes of a message after a run of its handler. It is pure but for the jitter of
// the backoff.
func decide(e ended, p policy) outcome {
	var (
		rejection *Rejection
		permanent *permanentError
		later     *retryAfterError
		panicked  *PanicError
	)
	switch {
	case e.err == nil:
		return outcome{fate: fateDone}
	case errors.As(e.err, &rejection) && rejection != nil:
		if e.request {
			return outcome{fate: fateRejected, err: e.err}
		}
		return outcome{fate: fateBury, class: ReasonRejected, reason: rejection.Code, err: e.err}
	case errors.As(e.err, &permanent):
		return bury(ReasonPermanent, e.err)
	case e.lost:
		return outcome{fate: fateLeft, err: e.err}
	case e.drained:
		return outcome{fate: fateOpened, err: e.err}
	case e.fails >= p.retries && errors.As(e.err, &panicked):
		return bury(ReasonPanic, e.err)
	case e.fails >= p.retries:
		return bury(ReasonError, e.err)
	case errors.As(e.err, &later):
		return outcome{fate: fateRetry, after: later.after, err: e.err}
	default:
		return outcome{fate: fateRetry, after: p.backoff.delay(e.fails), err: e.err}
	}
}

func bury(class string, err error) outcome {
	return outcome{fate: fateBury, class: class, reason: class, err: err}
}

// backoff is the delay before retries: first, doubled up to most.
type backoff struct{ first, most time.Duration }

// delay is for the retry after fails earlier failures: a random part between half of it and all, so
// that what failed together does not come back together.
func (b backoff) delay(fails int) time.Duration {
	d := b.most
	if fails < 62 && b.first < b.most>>fails { // shifting most right cannot overflow
		d = b.first << fails
	}
	if d < 2 {
		return d
	}
	return d/2 + rand.N(d-d/2+1) //nolint:gosec // jitter needs no secrecy
}
