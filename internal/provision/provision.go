// Package provision makes sure that JetStream assets exist and are what the project needs.
//
// # Rules
//
// Nothing is ever deleted or recreated, and nothing an operator has added is taken away. An asset is
// read, what is missing in it is added, and it is read again until it is as it should be, so that any
// number of processes may do this at once. For a stream:
//
//   - storage, retention, persist mode, counters and what cannot be switched off (deny delete, deny
//     purge, sealed, mirror) must be as wanted: else a [*MismatchError];
//   - wanted subjects are added unless a subject of the stream covers them; more subjects stay;
//   - a limit (age, bytes, messages, message size, consumers, duplicate window) and the number of
//     replicas is raised to what is wanted, never lowered; a limit that is not wanted stays;
//   - features (direct get, TTLs, schedules, rollups, atomic and fast batches) are switched on, never off;
//   - description, placement, compression, republish, transforms, consumer limits and metadata stay,
//     and are set where there is none.
//
// A stream called KV_… is a bucket. There the age, the history and the life of delete markers are what
// its keys mean, not limits of a log: they are set as wanted.
//
// For a consumer: where it starts, its replay, storage and number of waiting pulls stay as they were at
// creation, and so do rates, pauses and priorities; wanted filters are added unless one covers them;
// ack wait, backoff, max deliver and headers-only are set as wanted; the bound of unacknowledged
// messages and the inactivity threshold are raised, never lowered.
package provision

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Mode says whether assets may be created and updated, or only checked.
type Mode uint8

// The two modes.
const (
	Create Mode = iota
	Verify
)

const (
	patience  = 30 * time.Second       // for an asset, if ctx has no deadline
	firstCall = 500 * time.Millisecond // for one answer; nobody answers for an asset without a leader, so
	lastCall  = 5 * time.Second        // the first questions are given up early, later ones are given more
	updates   = 5                      // of one asset, before it is clear that the server will not have it
)

// A MismatchError reports an asset that exists and differs from what is needed in something that
// cannot be changed, or, with [Verify], must not be.
type MismatchError struct {
	Stream   string
	Consumer string // "" if it is about the stream
	Field    string // as in the server's JSON: storage, retention, …
	Have     any
	Want     any
}

func (e *MismatchError) Error() string {
	if e.Consumer != "" {
		return fmt.Sprintf("provision consumer %s of stream %s: %s is %v, want %v", e.Consumer, e.Stream, e.Field, e.Have, e.Want)
	}
	return fmt.Sprintf("provision stream %s: %s is %v, want %v", e.Stream, e.Field, e.Have, e.Want)
}

// A MissingError reports an asset that does not exist and must not be created.
type MissingError struct {
	Stream   string
	Consumer string // "" if the stream is missing
}

func (e *MissingError) Error() string {
	if e.Consumer != "" {
		return fmt.Sprintf("provision consumer %s of stream %s: it does not exist", e.Consumer, e.Stream)
	}
	return fmt.Sprintf("provision stream %s: it does not exist", e.Stream)
}

// An UnavailableError reports that JetStream could not be asked, or could not do it, before the
// context ended.
type UnavailableError struct {
	Stream   string
	Consumer string
	Err      error // the last cause
}

func (e *UnavailableError) Error() string {
	if e.Consumer != "" {
		return fmt.Sprintf("provision consumer %s of stream %s: JetStream not available: %v", e.Consumer, e.Stream, e.Err)
	}
	return fmt.Sprintf("provision stream %s: JetStream not available: %v", e.Stream, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Stream makes sure that the stream want.Name exists with what want asks for: see the package's
// rules. It tries until ctx ends, or for 30 s if ctx has no deadline. Its errors are
// [*MismatchError], [*MissingError], [*UnavailableError], or the server's refusal.
func Stream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, mode Mode) (jetstream.Stream, error) {
	a := asset[jetstream.Stream]{
		stream: want.Name,
		read: func(ctx context.Context) (jetstream.Stream, error) {
			return js.Stream(ctx, want.Name)
		},
		create: func(ctx context.Context) (jetstream.Stream, error) {
			return js.CreateStream(ctx, want)
		},
		diff: func(have jetstream.Stream) (func(context.Context) error, *MismatchError, error) {
			merged, changed, err := mergeStream(have.CachedInfo().Config, want)
			return func(ctx context.Context) error {
				_, err := js.UpdateStream(ctx, merged)
				return err
			}, changed, err
		},
	}
	return provision(ctx, a, mode)
}

// Consumer makes sure that the pull consumer want.Durable of a stream exists with what want asks for.
// It tries and fails as [Stream] does. A consumer that is created starts where want says; one that
// exists goes on where it is.
func Consumer(ctx context.Context, js jetstream.JetStream, stream string, want jetstream.ConsumerConfig, mode Mode) (jetstream.Consumer, error) {
	a := asset[jetstream.Consumer]{
		stream:   stream,
		consumer: want.Durable,
		read: func(ctx context.Context) (jetstream.Consumer, error) {
			return js.Consumer(ctx, stream, want.Durable)
		},
		create: func(ctx context.Context) (jetstream.Consumer, error) {
			return js.CreateConsumer(ctx, stream, want)
		},
		diff: func(have jetstream.Consumer) (func(context.Context) error, *MismatchError, error) {
			merged, changed, err := mergeConsumer(stream, have.CachedInfo().Config, want)
			return func(ctx context.Context) error {
				_, err := js.UpdateConsumer(ctx, stream, merged)
				return err
			}, changed, err
		},
	}
	return provision(ctx, a, mode)
}

// asset is how to deal with one stream or consumer.
type asset[T any] struct {
	stream, consumer string

	read   func(context.Context) (T, error)
	create func(context.Context) (T, error)
	// diff returns how to make have what is wanted, and the first field in which it is not, or an
	// error if that cannot be done.
	diff func(have T) (update func(context.Context) error, changed *MismatchError, err error)
}

// provision takes steps until one says that the asset is as it should be, or that it cannot be.
func provision[T any](ctx context.Context, a asset[T], mode Mode) (T, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	var cause error // the last one worth telling
	for try, updated := 0, 0; ; try++ {
		have, did, err := step(ctx, a, mode, try, updated < updates)
		switch {
		case did == finished:
			return have, err
		case did == changed:
			updated++
		case cause == nil || ctx.Err() == nil:
			cause = err
		}
		if !sleep(ctx, try) {
			var none T
			return none, &UnavailableError{Stream: a.stream, Consumer: a.consumer, Err: join(ctx.Err(), cause)}
		}
	}
}

// progress is what a step has come to.
type progress uint8

const (
	finished progress = iota // with the asset, or with an error that stays
	changed                  // to be read again
	failed                   // with an error that may pass
)

func outcome(err error) progress {
	if retryable(err) {
		return failed
	}
	return finished
}

// step reads the asset and does the one thing that is to do next.
func step[T any](ctx context.Context, a asset[T], mode Mode, try int, mayUpdate bool) (T, progress, error) {
	ctx, cancel := context.WithTimeout(ctx, min(firstCall<<min(try, 10), lastCall))
	defer cancel()
	have, err := a.read(ctx)
	if err != nil {
		return a.absent(ctx, err, mode)
	}
	update, first, err := a.diff(have)
	switch {
	case err != nil:
		return have, finished, err
	case first == nil:
		return have, finished, nil
	case mode == Verify || !mayUpdate:
		return have, finished, first
	}
	if err := update(ctx); err != nil {
		return have, outcome(err), a.wrap(err)
	}
	return have, changed, nil
}

// absent goes on from an error of reading the asset: it is created if it is missing.
func (a asset[T]) absent(ctx context.Context, err error, mode Mode) (T, progress, error) {
	var none T
	switch {
	case code(err) == codeStreamNotFound && a.consumer != "":
		return none, finished, &MissingError{Stream: a.stream}
	case !notFound(err):
		return none, outcome(err), a.wrap(err)
	case mode == Verify:
		return none, finished, &MissingError{Stream: a.stream, Consumer: a.consumer}
	}
	have, err := a.create(ctx)
	switch {
	case err == nil:
		return have, finished, nil
	case taken(err):
		return none, failed, a.wrap(err) // look at what somebody else has created meanwhile
	default:
		return none, outcome(err), a.wrap(err)
	}
}

func (a asset[T]) wrap(err error) error {
	if a.consumer != "" {
		return fmt.Errorf("provision consumer %s of stream %s: %w", a.consumer, a.stream, err)
	}
	return fmt.Errorf("provision stream %s: %w", a.stream, err)
}

func join(ended, cause error) error {
	if cause == nil || errors.Is(cause, ended) {
		return ended
	}
	return fmt.Errorf("%w: %w", ended, cause)
}

// sleep waits between tries: 10 ms, doubled up to 1 s, give or take a fifth.
func sleep(ctx context.Context, try int) bool {
	d := min(10*time.Millisecond<<min(try, 10), time.Second)
	timer := time.NewTimer(d*4/5 + rand.N(d*2/5)) //nolint:gosec // spreads load; nothing is secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Codes of the server that this package knows.
const (
	codeClusterNoPeers     = 10005 // no suitable peers: a cluster that settles
	codeIncomplete         = 10004
	codeNotAssigned        = 10007
	codeUnavailable        = 10008
	codeNotLeader          = 10009
	codeConsumerNameExists = 10013
	codeConsumerNotFound   = 10014
	codeStreamCreate       = 10049 // also when the last one of that name is still being removed
	codeStreamNameExists   = 10058
	codeStreamNotFound     = 10059
	codeStreamInvalid      = 10096 // a consumer's stream is going or coming
	codeConsumerExists     = 10148
	codeConsumerMissing    = 10149
)

func code(err error) jetstream.ErrorCode {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode
	}
	if js, ok := errors.AsType[jetstream.JetStreamError](err); ok && js.APIError() != nil {
		return js.APIError().ErrorCode
	}
	return 0
}

// notFound reports that the asset is missing.
func notFound(err error) bool {
	switch code(err) {
	case codeStreamNotFound, codeConsumerNotFound, codeConsumerMissing:
		return true
	}
	return false
}

// taken reports that somebody else has created the asset meanwhile, otherwise than we would.
func taken(err error) bool {
	switch code(err) {
	case codeStreamNameExists, codeConsumerNameExists, codeConsumerExists:
		return true
	}
	return errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || errors.Is(err, jetstream.ErrConsumerExists)
}

// retryable reports an error that may pass by itself.
func retryable(err error) bool {
	switch code(err) {
	case codeClusterNoPeers, codeIncomplete, codeNotAssigned, codeUnavailable, codeNotLeader,
		codeStreamCreate, codeStreamInvalid,
		codeConsumerNotFound, codeConsumerMissing: // gone again between two looks
		return true
	}
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrDisconnected) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, jetstream.ErrNoStreamResponse)
}
