package streams

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Stored says where a message is.
type Stored struct {
	Stream    string
	Sequence  uint64
	Duplicate bool // its Nats-Msg-Id was stored before, at this sequence; nothing was stored now
}

// errNoAck is an answer that is no acknowledgement: somebody else listens on the subject.
var errNoAck = errors.New("answer is no acknowledgement")

// readAck reads the server's answer to a message.
func readAck(m *nats.Msg) (Stored, error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == statusNoResponder {
		return Stored{}, jetstream.ErrNoStreamResponse
	}
	if s, ok := scanAck(m.Data); ok {
		return s, nil
	}
	return unmarshalAck(m.Data)
}

// Pieces of what the server writes: {"stream":"S","seq":12} or {"stream":"S","seq":12,"duplicate":
// true}, and "domain":"D", before the sequence.
var (
	ackStream    = []byte(`{"stream":"`)        //nolint:gochecknoglobals // constant
	ackSequence  = []byte(`","seq":`)           //nolint:gochecknoglobals // constant
	ackDuplicate = []byte(`,"duplicate": true`) //nolint:gochecknoglobals // constant
)

// scanAck reads the usual form without reflection.
func scanAck(data []byte) (s Stored, ok bool) {
	rest, ok := bytes.CutPrefix(data, ackStream)
	if !ok {
		return Stored{}, false
	}
	stream, rest, ok := bytes.Cut(rest, ackSequence)
	if !ok || bytes.ContainsAny(stream, `"\`) {
		return Stored{}, false
	}
	rest, ok = bytes.CutSuffix(rest, []byte("}"))
	if !ok {
		return Stored{}, false
	}
	rest, s.Duplicate = bytes.CutSuffix(rest, ackDuplicate)
	s.Stream = string(stream)
	s.Sequence, ok = parseUint(rest)
	return s, ok
}

func unmarshalAck(data []byte) (Stored, error) {
	var a struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	switch err := json.Unmarshal(data, &a); {
	case err != nil:
		return Stored{}, errNoAck
	case a.Error != nil:
		return Stored{}, a.Error
	case a.Stream == "":
		return Stored{}, errNoAck
	}
	return Stored{Stream: a.Stream, Sequence: a.Sequence, Duplicate: a.Duplicate}, nil
}
