package streams

import "fmt"

// trouble says what is wrong with a loop's pulls, as a set.
type trouble uint32

const (
	troubled trouble = 1 << iota // pulls may have been lost: read the watermark again, then pull
	missing                      // the consumer may be gone: make sure of it first
	voided                       // no open pull will be answered, not only the one that says so
)

// Status codes that end a pull, or do not.
const (
	statusHeartbeat   = "100"
	statusNoMessages  = "404"
	statusTimeout     = "408"
	statusConflict    = "409"
	statusNoResponder = "503"
)

// A PullError reports that the server ended a request for messages in an unexpected way. The loop
// goes on by itself.
type PullError struct {
	Durable string
	Status  string // as in HTTP: 409, 503, …; "" if the request was lost without a word
	Reason  string
}

func (e *PullError) Error() string {
	if e.Status == "" {
		return fmt.Sprintf("pull %s: %s", e.Durable, e.Reason)
	}
	return fmt.Sprintf("pull %s: %s %s", e.Durable, e.Status, e.Reason)
}

// A verdict on a status message: whether the pull it belongs to has ended, and what is wrong.
type pullVerdict struct {
	ended   bool
	trouble trouble // 0 if nothing is: the pull simply ran out
}

// judge decides what a status message means. counted says that the server told how much of the
// pull it had not delivered, which it does when a pull ends in the ordinary way.
func judge(status, reason string, counted bool) pullVerdict {
	switch {
	case status == statusHeartbeat:
		return pullVerdict{}
	case (status == statusTimeout || status == statusNoMessages) && counted:
		return pullVerdict{ended: true}
	case status == statusConflict && reason == "Batch Completed":
		return pullVerdict{ended: true}
	case status == statusConflict && reason == "Consumer Deleted":
		return pullVerdict{ended: true, trouble: troubled | voided | missing}
	case status == statusConflict && (reason == "Leadership Change" || reason == "Server Shutdown"), status == statusNoResponder:
		return pullVerdict{ended: true, trouble: troubled | voided}
	default: // too many pulls, a limit that an operator has set, what future servers say: look again
		return pullVerdict{ended: true, trouble: troubled | missing}
	}
}
