package idempotency

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// State says what has become of a key.
type State string

// The states of a key. Done and dead are final.
const (
	Running   State = "running"   // claimed by Session; if that is over, by nobody
	Done      State = "done"      // Result stands
	Failed    State = "failed"    // a run failed; the next may start
	Released  State = "open"      // a run was given up without blame; the next may start
	Dead      State = "dead"      // given up for good; Error says why, Result may hold what was answered
	Withdrawn State = "withdrawn" // no run yet, and none for the messages of the calls in Calls
)

// The states of a session's own key.
const (
	stateAlive State = "alive"
	stateOver  State = "over"
)

const (
	maxCalls = 64
	maxError = 4 << 10
)

// Record is what stands under a key.
type Record struct {
	State   State
	Session string   // who wrote it
	Nonce   string   // which claim of that session wrote it
	Kills   int      // runs that ended because their session was over
	Fails   int      // runs that failed
	Hash    string   // of the payload; "" = not known
	Error   string   // of the last failure, cut at 4 KiB
	Calls   []string // withdrawn calls, newest last, at most 64
	Result  []byte

	Revision uint64    // of the record in the bucket
	Created  time.Time // when it was written, by the server's clock; zero on a record just written
}

// final says whether nothing follows the state.
func (s State) final() bool { return s == Done || s == Dead }

// withdrew says whether call was withdrawn and must not run.
func (r Record) withdrew(call string) bool {
	return call != "" && slices.Contains(r.Calls, call)
}

// wireRecord is the first line of a value; the result follows it as it is.
type wireRecord struct {
	State   State    `json:"st"`
	Session string   `json:"s,omitempty"`
	Nonce   string   `json:"n,omitempty"`
	Kills   int      `json:"k,omitempty"`
	Fails   int      `json:"f,omitempty"`
	Hash    string   `json:"h,omitempty"`
	Error   string   `json:"e,omitempty"`
	Calls   []string `json:"c,omitempty"`
}

// encode writes r as one line of JSON, which holds no line break inside, and the result after it.
func (r Record) encode() ([]byte, error) {
	head, err := json.Marshal(wireRecord{r.State, r.Session, r.Nonce, r.Kills, r.Fails, r.Hash, clip(r.Error, maxError), r.Calls})
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	value := make([]byte, 0, len(head)+1+len(r.Result))
	value = append(value, head...)
	value = append(value, '\n')
	return append(value, r.Result...), nil
}

var (
	errNoLine = errors.New("no line break after the header")
	errCounts = errors.New("negative count")
)

// decode reads what encode wrote. Fields it does not know are skipped; a state it does not know is
// an error, since nobody can tell what may follow it.
func decode(value []byte) (Record, error) {
	head, result, ok := bytes.Cut(value, []byte{'\n'})
	if !ok {
		return Record{}, errNoLine
	}
	var w wireRecord
	if err := json.Unmarshal(head, &w); err != nil {
		return Record{}, err
	}
	if w.Kills < 0 || w.Fails < 0 {
		return Record{}, errCounts
	}
	switch w.State {
	case Running, Done, Failed, Released, Dead, Withdrawn, stateAlive, stateOver:
	default:
		return Record{}, fmt.Errorf("unknown state %.32q", w.State)
	}
	if len(result) == 0 {
		result = nil
	}
	return Record{
		State: w.State, Session: w.Session, Nonce: w.Nonce, Kills: w.Kills, Fails: w.Fails,
		Hash: w.Hash, Error: w.Error, Calls: w.Calls, Result: result,
	}, nil
}

// clip cuts s at limit bytes, between two characters.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
