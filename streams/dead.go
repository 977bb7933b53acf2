package streams

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/internal/wire"
)

// maxDeadError is how much of an error's text a dead letter keeps, in bytes.
const maxDeadError = 4 << 10

// A DeadLetter is a message that was given up for one group, with everything that is known of it.
type DeadLetter struct {
	Group     string
	Kind      string
	ID        string // message ID; any string
	Reason    string // why it was given up, in a word
	Error     string // what the handler said; cut to 4 KiB, line breaks become spaces
	Node      string // where it was given up
	Attempts  int    // how often the handler ran
	Subject   string // where it was published
	Stream    string
	Sequence  uint64
	Published time.Time   // the server's clock
	Failed    time.Time   // the node's clock; zero means now
	Header    nats.Header // original headers, as they were
	Data      []byte      // original payload, as it was, but for Missing
	Missing   int         // bytes cut off the end of Data, which would not have fitted: see Bury
}

// Bury stores letter in the namespace's stream of dead letters and returns when the server has said
// so. Burying the same delivery twice within a day stores it once. Its errors are those of
// [Publisher.Store].
//
// A letter is larger than its message, by its headers. Where that is too large for the server, the
// error's text is left out, and if that is not enough, as only messages of other clients at the very
// limit need it, the end of the payload: Missing says how much. Better that than to run for ever.
func (p *Publisher) Bury(ctx context.Context, letter DeadLetter) error {
	if letter.Failed.IsZero() {
		letter.Failed = time.Now()
	}
	err := p.bury(ctx, letter)
	if _, large := errors.AsType[*TooLargeError](err); large && letter.Error != "" {
		letter.Error = ""
		err = p.bury(ctx, letter)
	}
	if large, ok := errors.AsType[*TooLargeError](err); ok {
		const mark = 64 // what saying so takes
		kept := max(0, len(letter.Data)-int(large.Size-large.Limit)-mark)
		letter.Missing += len(letter.Data) - kept
		letter.Data = letter.Data[:kept]
		err = p.bury(ctx, letter)
	}
	if err != nil {
		return fmt.Errorf("bury dead letter: %w", err)
	}
	return nil
}

func (p *Publisher) bury(ctx context.Context, d DeadLetter) error {
	_, err := p.Store(ctx, &nats.Msg{Subject: p.names.DeadLetter(d.Group, d.Kind), Header: deadHeader(d), Data: d.Data})
	return err
}

// deadID is the same for the same delivery of one group, however often it is buried.
func deadID(d DeadLetter) string {
	return "dead/" + d.Group + "/" + d.Stream + "/" + strconv.FormatUint(d.Sequence, 10) +
		"/" + strconv.FormatInt(d.Published.UnixNano(), 10)
}

func deadHeader(d DeadLetter) nats.Header {
	h := make(nats.Header, len(d.Header)+13)
	for key, values := range d.Header {
		h[originalPrefix+key] = values
	}
	for key, value := range map[string]string{
		wire.MsgID:         deadID(d),
		wire.DeadGroup:     d.Group,
		wire.DeadKind:      d.Kind,
		wire.DeadID:        escape(d.ID),
		wire.DeadReason:    escape(d.Reason),
		wire.DeadError:     headerText(d.Error, maxDeadError),
		wire.DeadNode:      escape(d.Node),
		wire.DeadAttempts:  strconv.Itoa(d.Attempts),
		wire.DeadSubject:   d.Subject,
		wire.DeadStream:    d.Stream,
		wire.DeadSequence:  strconv.FormatUint(d.Sequence, 10),
		wire.DeadPublished: d.Published.UTC().Format(time.RFC3339Nano),
		wire.DeadFailed:    d.Failed.UTC().Format(time.RFC3339Nano),
	} {
		if value != "" {
			h[key] = []string{value}
		}
	}
	if d.Missing > 0 {
		h[wire.DeadMissing] = []string{strconv.Itoa(d.Missing)}
	}
	return h
}

// A DeadLetterError reports a message in the stream of dead letters that is none.
type DeadLetterError struct {
	Field string // the header that is missing or malformed
	Value string
}

func (e *DeadLetterError) Error() string {
	return fmt.Sprintf("parse dead letter: header %s is %q", e.Field, e.Value)
}

// ParseDead is the inverse of Bury: it reads a message of the stream of dead letters. Times come back
// in UTC. Its error is a [*DeadLetterError].
func ParseDead(header nats.Header, data []byte) (DeadLetter, error) {
	d := DeadLetter{
		Group:   header.Get(wire.DeadGroup),
		Kind:    header.Get(wire.DeadKind),
		ID:      unescape(header.Get(wire.DeadID)),
		Reason:  unescape(header.Get(wire.DeadReason)),
		Error:   header.Get(wire.DeadError),
		Node:    unescape(header.Get(wire.DeadNode)),
		Subject: header.Get(wire.DeadSubject),
		Stream:  header.Get(wire.DeadStream),
		Header:  original(header),
		Data:    data,
	}
	p := deadParser{header: header}
	d.Attempts = int(p.number(wire.DeadAttempts, 31)) //nolint:gosec // 31 bits fit
	d.Sequence = p.number(wire.DeadSequence, 64)
	if header.Get(wire.DeadMissing) != "" {
		d.Missing = int(p.number(wire.DeadMissing, 31)) //nolint:gosec // 31 bits fit
	}
	d.Published = p.time(wire.DeadPublished)
	d.Failed = p.time(wire.DeadFailed)
	switch {
	case d.Group == "":
		return DeadLetter{}, &DeadLetterError{Field: wire.DeadGroup}
	case d.Kind == "":
		return DeadLetter{}, &DeadLetterError{Field: wire.DeadKind}
	case p.err != nil:
		return DeadLetter{}, p.err
	}
	return d, nil
}

// deadParser remembers the first error.
type deadParser struct {
	header nats.Header
	err    error
}

func (p *deadParser) fail(field string) {
	if p.err == nil {
		p.err = &DeadLetterError{Field: field, Value: p.header.Get(field)}
	}
}

func (p *deadParser) number(field string, bits int) uint64 {
	n, err := strconv.ParseUint(p.header.Get(field), 10, bits)
	if err != nil {
		p.fail(field)
	}
	return n
}

func (p *deadParser) time(field string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, p.header.Get(field))
	if err != nil {
		p.fail(field)
	}
	return t
}
