package framework

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// reply is the answer to a request, in the one form in which it travels to the caller's inbox and
// is kept in the claim's record: a line of JSON, then the encoded response.
type reply struct {
	Status      replyStatus `json:"status"`
	Token       string      `json:"call,omitempty"` // of the call whose message ran
	Node        string      `json:"node,omitempty"`
	Attempts    int         `json:"attempts,omitempty"`
	Code        string      `json:"code,omitempty"`
	Message     string      `json:"message,omitempty"`
	ContentType string      `json:"type,omitempty"`
	Data        []byte      `json:"-"`
}

type replyStatus string

const (
	replyOK       replyStatus = "ok"
	replyRejected replyStatus = "rejected"
	replyFailed   replyStatus = "failed"
	replyReused   replyStatus = "reused"
)

func (r reply) encode() []byte {
	line, err := json.Marshal(r)
	if err != nil { // strings and numbers always encode
		line = []byte(`{"status":"failed","message":"reply could not be encoded"}`)
	}
	return append(append(line, '\n'), r.Data...)
}

var errGarbledReply = errors.New("reply is not in the format of this version")

func decodeReply(b []byte) (reply, error) {
	line, data, ok := bytes.Cut(b, []byte{'\n'})
	var r reply
	if !ok {
		return r, errGarbledReply
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errGarbledReply, err)
	}
	switch r.Status {
	case replyOK, replyRejected, replyFailed, replyReused:
		r.Data = data
		return r, nil
	default:
		return r, fmt.Errorf("%w: status %q", errGarbledReply, r.Status)
	}
}

// failure is the error that a reply means to its caller; nil for replyOK.
func (r reply) failure(kind, id string) error {
	switch r.Status {
	case replyOK:
		return nil
	case replyRejected:
		return &Rejection{Code: r.Code, Message: r.Message}
	case replyReused:
		return fmt.Errorf("request %s %s: %w", kind, id, ErrKeyReused)
	default:
		return &RemoteError{Kind: kind, ID: id, Node: r.Node, Message: r.Message, Attempts: r.Attempts}
	}
}
