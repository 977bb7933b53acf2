package idempotency

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/jsapi"
)

// Server error codes that decide what a write's refusal means.
const (
	codeWrongSequence = 10071 // something else stands there, or the server could not tell: look
	codeInFlight      = 10164 // a write to the subject is not applied yet: no verdict
	codeTooLarge      = 10054
	codeDuplicate     = 10158
	codeOverloaded    = 10167
)

// headroom is what a record leaves free of a message: for its own headers, and for those the server
// adds when it is read.
const headroom = 1024

// errConflict says that a write was refused because of what stands under the key. The server also
// says so when it failed to look, so that it never proves anything: read again.
var errConflict = errors.New("revision is not the last")

// unsettledError wraps the failure of a write that may have been stored, or may succeed if repeated.
type unsettledError struct{ cause error }

func (e *unsettledError) Error() string { return e.cause.Error() }
func (e *unsettledError) Unwrap() error { return e.cause }

// bucket reads and writes records.
type bucket struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	log     *slog.Logger
	reading string        // subject prefix of a key where it is stored
	writing string        // subject prefix of a key where it is published
	attempt time.Duration // longest wait for one answer
	counts  *counters
}

type counters struct {
	undecodable, inFlight, unsettled atomic.Int64
}

func newBucket(js jetstream.JetStream, stream jetstream.Stream, cfg Config) bucket {
	prefix := "$KV." + cfg.Bucket + "."
	return bucket{
		js:      js,
		stream:  stream,
		log:     cfg.Logger,
		reading: prefix,
		writing: writePrefix(js.Options()) + prefix,
		attempt: min(cfg.Lease/4, maxAttempt),
		counts:  new(counters),
	}
}

// writePrefix is what goes before a key's subject to reach a bucket of another domain or account.
func writePrefix(opts jetstream.JetStreamOptions) string {
	if p := jsapi.Prefix(opts); p != jetstream.DefaultAPIPrefix {
		return p
	}
	return ""
}

// put stores value under key if the key's last revision is still cas, where 0 means that nothing may
// stand there, and returns the new revision. Its errors are errConflict, an unsettledError, a
// *TooLargeError, or another one that will not go away.
func (b bucket) put(ctx context.Context, key string, value []byte, cas uint64, ttl time.Duration) (uint64, error) {
	msg := nats.NewMsg(b.writing + key)
	msg.Data = value
	msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(cas, 10)}
	if ttl > 0 {
		msg.Header[jetstream.MsgTTLHeader] = []string{wholeSeconds(ttl)}
	}
	if limit := b.js.Conn().MaxPayload() - headroom; limit > 0 && int64(len(value)) > limit {
		return 0, &TooLargeError{Key: key, Size: int64(len(value)), Limit: limit}
	}
	for try := 1; ; try++ {
		rev, err := b.publish(ctx, msg)
		if !hasCode(err, codeInFlight) {
			return rev, b.classify(key, value, err)
		}
		b.counts.inFlight.Add(1)
		if err := pause(ctx, try); err != nil {
			return 0, &unsettledError{err}
		}
	}
}

func (b bucket) publish(ctx context.Context, msg *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, b.attempt)
	defer cancel()
	ack, err := b.js.PublishMsg(ctx, msg)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// classify says what an error of a write means. What it does not know may go away: better to ask
// again within the caller's time than to give up a claim.
func (b bucket) classify(key string, value []byte, err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload), hasCode(err, codeTooLarge):
		return &TooLargeError{Key: key, Size: int64(len(value))}
	case hasCode(err, codeWrongSequence):
		return errConflict
	case closedFor(err):
		return err
	case errors.As(err, &api) && api.Code < 500 && api.ErrorCode != codeOverloaded && api.ErrorCode != codeDuplicate:
		return err
	}
	b.counts.unsettled.Add(1)
	return &unsettledError{err}
}

// read returns what stands under key; a replica that lags behind may answer.
func (b bucket) read(ctx context.Context, key string) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, b.attempt)
	defer cancel()
	msg, err := b.stream.GetLastMsgForSubject(ctx, b.reading+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return found{}, nil
	}
	if err != nil {
		return found{}, err
	}
	// Markers of a deletion hold no record, but the next write must name their revision.
	if msg.Header.Get("KV-Operation") != "" || msg.Header.Get(jetstream.MarkerReasonHeader) != "" {
		return found{Record: Record{Revision: msg.Sequence}}, nil
	}
	rec, err := decode(msg.Data)
	rec.Revision, rec.Created = msg.Sequence, msg.Time
	if err != nil {
		b.counts.undecodable.Add(1)
		b.log.LogAttrs(ctx, slog.LevelWarn, "idempotency record is undecodable",
			slog.String("key", key), slog.Uint64("revision", msg.Sequence), slog.Any("error", err))
		return found{Record: rec, garbage: err}, nil
	}
	return found{Record: rec, present: true}, nil
}

// found is the outcome of a read. Its revision is what a write has to replace, record or not.
type found struct {
	Record

	present bool  // there is a record
	garbage error // why what is there is none
}

func hasCode(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}

// closedFor says whether err will stay as it is because of the connection or the subject.
func closedFor(err error) bool {
	for _, final := range []error{
		nats.ErrConnectionClosed, nats.ErrConnectionDraining, nats.ErrInvalidConnection,
		nats.ErrBadSubject, nats.ErrHeadersNotSupported,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

// wholeSeconds writes d as the server reads it: a fraction would be cut off, under a second refused.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// pause waits before another try: 1 to 5 ms, more after many.
func pause(ctx context.Context, try int) error {
	d := time.Millisecond + rand.N(4*time.Millisecond) //nolint:gosec // jitter
	timer := time.NewTimer(d * time.Duration(min(try, 20)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
