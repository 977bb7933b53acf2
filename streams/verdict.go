package streams

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errDisconnected and errNoAnswer end a try whose message may be stored or not.
var (
	errDisconnected = errors.New("connection lost before the acknowledgement")
	errNoAnswer     = errors.New("no acknowledgement in time")
)

// ErrPublisherClosed is what a publisher reports after Close.
var ErrPublisherClosed = errors.New("publisher is closed")

// An UnknownOutcomeError reports a message that may be stored or not. To store it again under the
// same Nats-Msg-Id is safe within the stream's duplicate window.
type UnknownOutcomeError struct {
	Tries int   // how often it was sent
	Err   error // what the last try met
}

func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("store message: outcome unknown after %d tries: %v", e.Tries, e.Err)
}

func (e *UnknownOutcomeError) Unwrap() error { return e.Err }

// A TooLargeError reports a message over the server's limit. It was not sent.
type TooLargeError struct {
	Size  int64 // headers and payload, in bytes
	Limit int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("store message: %d bytes are over the server's limit of %d", e.Size, e.Limit)
}

// A verdict on the error of one try to store a message.
type verdict uint8

const (
	refused verdict = iota // certainly not stored, and never will be
	again                  // certainly not stored; another try may go better
	full                   // certainly not stored; there is no room now
	unknown                // perhaps stored
)

// Codes of the server that are not refusals. Everything else it says about a message is final.
const (
	codeAccountLimits       = 10002 // the account's quota
	codeUnavailable         = 10008 // JetStream temporarily unavailable
	codeNotLeader           = 10009
	codeInsufficient        = 10023 // the server's quota
	codeStoreFailed         = 10077 // the description tells
	codeStreamOffline       = 10118
	codeDuplicateInFlight   = 10158 // the first copy of this ID is not stored yet, and may not be
	codeSequenceNotReady    = 10163
	codeWrongSequenceFlight = 10164 // some write to the subject is not applied yet
	codeTooMany             = 10167
	codeStreamOfflineReason = 10194
)

// judgeStore decides what the error of one try means.
func judgeStore(err error) verdict {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return judgeAPI(api)
	}
	switch {
	case errors.Is(err, errDisconnected), errors.Is(err, errNoAnswer), errors.Is(err, errNoAck), errors.Is(err, ErrPublisherClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return unknown
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrReconnectBufExceeded):
		return again
	case errors.Is(err, errBusy):
		return full
	default: // what the client refuses to send: closed, bad subject, too large
		return refused
	}
}

func judgeAPI(e *jetstream.APIError) verdict {
	switch e.ErrorCode {
	case codeInsufficient, codeAccountLimits:
		return full
	case codeStoreFailed:
		return judgeStoreFailed(e.Description)
	case codeDuplicateInFlight:
		return unknown
	case codeUnavailable, codeNotLeader, codeStreamOffline, codeStreamOfflineReason,
		codeSequenceNotReady, codeWrongSequenceFlight, codeTooMany:
		return again
	default:
		return refused
	}
}

// judgeStoreFailed tells a stream that is full and refuses what is new from other failures.
func judgeStoreFailed(description string) verdict {
	switch {
	case strings.Contains(description, "maximum bytes exceeded"), strings.Contains(description, "maximum messages exceeded"):
		return full
	case strings.Contains(description, "too large"), strings.Contains(description, "per subject"):
		return refused
	default:
		return again
	}
}
