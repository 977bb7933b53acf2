package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

func apiError(code jetstream.ErrorCode, description string) error {
	return fmt.Errorf("wrapped: %w", &jetstream.APIError{ErrorCode: code, Description: description})
}

func TestJudgeStore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want verdict
	}{
		{errDisconnected, unknown},
		{errNoAnswer, unknown},
		{errNoAck, unknown},
		{context.Canceled, unknown},
		{context.DeadlineExceeded, unknown},
		{apiError(10158, ""), unknown},
		{jetstream.ErrNoStreamResponse, again},
		{nats.ErrReconnectBufExceeded, again},
		{errBusy, full},
		{apiError(10008, ""), again},
		{apiError(10164, ""), again},
		{apiError(10167, ""), again},
		{apiError(10077, "store is closed"), again},
		{apiError(10023, ""), full},
		{apiError(10002, ""), full},
		{apiError(10077, "maximum bytes exceeded"), full},
		{apiError(10077, "maximum messages exceeded"), full},
		{apiError(10077, "maximum messages per subject exceeded"), refused},
		{apiError(10077, "message too large"), refused},
		{apiError(10054, ""), refused},
		{apiError(10071, ""), refused},
		{apiError(10188, ""), refused},
		{&TooLargeError{}, refused},
		{nats.ErrConnectionClosed, refused},
		{nats.ErrBadSubject, refused},
	} {
		if got := judgeStore(tt.err); got != tt.want {
			t.Errorf("judgeStore(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestJob_After(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, tt := range []struct {
		name string
		job  job
		v    verdict
		now  time.Duration
		more bool
	}{
		{"refusal is final", job{err: errNoAck}, refused, s, false},
		{"first doubt is followed by another try", job{err: errNoAnswer}, unknown, 5 * s, true},
		{"fourth doubt is the last", job{err: errNoAnswer, doubts: 3}, unknown, s, false},
		{"doubt at the end of the patience is the last", job{err: errNoAnswer}, unknown, 20 * s, false},
		{"what did not reach the connection leaves no doubt", job{err: &unsentError{ErrPublisherClosed}}, unknown, s, false},
		{"no leader is waited for", job{err: jetstream.ErrNoStreamResponse, waits: 9, last: again}, again, 18 * s, true},
		{"no leader is waited for within patience", job{err: jetstream.ErrNoStreamResponse}, again, 20 * s, false},
		{"full is waited for without end", job{err: errNoAck}, full, 3600 * s, true},
		{"full after a doubt is waited for within patience", job{err: errNoAck, doubts: 1}, full, 20 * s, false},
	} {
		j := tt.job
		wait, more := j.after(tt.v, tt.now)
		if more != tt.more || (more && (wait <= 0 || wait > 2*s)) {
			t.Errorf("%s: after = %v, %v, want more %v", tt.name, wait, more, tt.more)
		}
	}
}

func TestJob_FinalTellsDoubtFromCertainty(t *testing.T) {
	t.Parallel()
	msg := &nats.Msg{Subject: "s"}
	sure := (&job{msg: msg, err: jetstream.ErrNoStreamResponse}).final(context.Canceled)
	if _, doubt := errors.AsType[*UnknownOutcomeError](sure); doubt || !errors.Is(sure, context.Canceled) || !errors.Is(sure, jetstream.ErrNoStreamResponse) {
		t.Errorf("final = %v, want both causes and no doubt", sure)
	}
	doubt := (&job{msg: msg, err: jetstream.ErrNoStreamResponse, doubts: 1, tries: 3}).final(nil)
	if e, ok := errors.AsType[*UnknownOutcomeError](doubt); !ok || e.Tries != 3 || !errors.Is(doubt, jetstream.ErrNoStreamResponse) {
		t.Errorf("final = %v, want a doubt after 3 tries", doubt)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{0: 10, 1: 10, 2: 20, 3: 40, 4: 80, 5: 100, 1000: 100} {
		if got := backoff(n, 10, 100); got != want {
			t.Errorf("backoff(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status, reason string
		counted        bool
		want           pullVerdict
	}{
		{"100", "Idle Heartbeat", true, pullVerdict{}},
		{"408", "Request Timeout", true, pullVerdict{ended: true}},
		{"408", "Interest Expired", true, pullVerdict{ended: true}},
		{"408", "Bad Request", false, pullVerdict{ended: true, trouble: troubled | missing}},
		{"404", "No Messages", true, pullVerdict{ended: true}},
		{"409", "Batch Completed", true, pullVerdict{ended: true}},
		{"409", "Consumer Deleted", false, pullVerdict{ended: true, trouble: troubled | voided | missing}},
		{"409", "Leadership Change", false, pullVerdict{ended: true, trouble: troubled | voided}},
		{"409", "Server Shutdown", true, pullVerdict{ended: true, trouble: troubled | voided}},
		{"409", "Exceeded MaxWaiting", false, pullVerdict{ended: true, trouble: troubled | missing}},
		{"409", "Exceeded MaxRequestBatch of 1", false, pullVerdict{ended: true, trouble: troubled | missing}},
		{"503", "", false, pullVerdict{ended: true, trouble: troubled | voided}},
		{"999", "from the future", false, pullVerdict{ended: true, trouble: troubled | missing}},
	} {
		if got := judge(tt.status, tt.reason, tt.counted); got != tt.want {
			t.Errorf("judge(%s %s) = %+v, want %+v", tt.status, tt.reason, got, tt.want)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                       string
		credits, held, asked, idle int64
		batch                      int64
		linger                     bool
	}{
		{"at the start everything", 64, 0, 0, 2, 64, false},
		{"one credit", 1, 0, 0, 2, 1, false},
		{"one credit in use", 1, 1, 0, 2, 0, false},
		{"all on its way", 64, 0, 64, 1, 0, false},
		{"half on its way, a little room", 64, 31, 2, 1, 0, false},
		{"half free while the rest comes", 64, 0, 32, 1, 32, false},
		{"no slot", 64, 0, 2, 0, 0, false},
		{"an eighth free", 64, 56, 0, 2, 8, false},
		{"less than an eighth free", 64, 57, 0, 2, 0, true},
		{"more held than credits, after a lost pull came in spite", 64, 70, 0, 2, 0, false},
	} {
		batch, linger := plan(tt.credits, tt.held, tt.asked, tt.idle)
		if batch != tt.batch || linger != tt.linger {
			t.Errorf("%s: plan = %d, %v, want %d, %v", tt.name, batch, linger, tt.batch, tt.linger)
		}
	}
}

// Whatever the state, a plan keeps within the credits, and nothing stays unasked for without a reason:
// a pull under way, no room, or a timer.
func TestPlan_NeverExceedsCreditsNorForgets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		credits := rapid.Int64Range(1, 1000).Draw(t, "credits")
		held := rapid.Int64Range(0, 1200).Draw(t, "held")
		asked := rapid.Int64Range(0, 1200).Draw(t, "asked")
		idle := rapid.Int64Range(0, 2).Draw(t, "idle")
		batch, linger := plan(credits, held, asked, idle)
		if batch < 0 || (batch > 0 && held+asked+batch > credits) {
			t.Fatalf("batch %d", batch)
		}
		if batch == 0 && !linger && asked == 0 && idle > 0 && held < credits {
			t.Fatal("room is forgotten")
		}
	})
}

func TestParseAckReply(t *testing.T) {
	t.Parallel()
	want := ackReply{delivered: 3, streamSeq: 42, consumerSeq: 7, published: 1700000000123456789, pending: 9}
	for subject, ok := range map[string]bool{
		"$JS.ACK.S.g:A.3.42.7.1700000000123456789.9":              true,
		"$JS.ACK.hub.acc.S.g:A.3.42.7.1700000000123456789.9":      true,
		"$JS.ACK._.acc.S.g:A.3.42.7.1700000000123456789.9.random": true,
		"$JS.ACK.S.g:A.3.42.7.1700000000123456789":                false,
		"$JS.ACK.x.S.g:A.3.42.7.1700000000123456789.9":            false,
		"$JS.ACK.S.g:A.x.42.7.1700000000123456789.9":              false,
		"$JS.ACK.S.g:A.3.42.7.99999999999999999999.9":             false,
		"_INBOX.S.g:A.3.42.7.1700000000123456789.9":               false,
		"": false,
	} {
		got, good := parseAckReply(subject)
		if good != ok || (ok && got != want) {
			t.Errorf("parseAckReply(%q) = %+v, %v, want %v", subject, got, good, ok)
		}
	}
}

func TestScanAck_ReadsWhatJSONReads(t *testing.T) {
	t.Parallel()
	for data, fast := range map[string]bool{
		`{"stream":"CATGA_EVENTS","seq":12}`:                           true,
		`{"stream":"CATGA_EVENTS","seq":12,"duplicate": true}`:         true,
		`{"stream":"CATGA_EVENTS","domain":"hub","seq":12}`:            false,
		`{"stream":"S\"x","seq":12}`:                                   false,
		`{"seq":3,"stream":"S"}`:                                       false,
		`{"stream":"S","seq":1,"batch":"b","count":2}`:                 false,
		`{"error":{"code":400,"err_code":10071},"stream":"S","seq":0}`: false,
		`{"stream":"S","seq":18446744073709551615}`:                    false,
		`{"stream":"S","seq":1,"duplicate": true}  `:                   false,
		`{"stream":"S","seq":1}}`:                                      false,
		`{}`:                                                           false,
		``:                                                             false,
		`+OK`:                                                          false,
	} {
		got, ok := scanAck([]byte(data))
		if ok != fast {
			t.Errorf("scanAck(%s) = %v, want %v", data, ok, fast)
		}
		if slow, err := unmarshalAck([]byte(data)); ok && (err != nil || got != slow) {
			t.Errorf("scanAck(%s) = %+v, JSON reads %+v, %v", data, got, slow, err)
		}
	}
	s, err := readAck(&nats.Msg{Data: []byte(`{"stream":"S","domain":"hub","seq":12}`)})
	if err != nil || s != (Stored{Stream: "S", Sequence: 12}) {
		t.Errorf("readAck = %+v, %v", s, err)
	}
	if _, err := readAck(&nats.Msg{Header: nats.Header{"Status": {"503"}}}); !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Errorf("readAck of 503 = %v", err)
	}
	if _, err := readAck(&nats.Msg{Data: []byte("pong")}); !errors.Is(err, errNoAck) {
		t.Errorf("readAck of a stranger's answer = %v", err)
	}
}

func TestPullRequest_IsWhatTheServerReads(t *testing.T) {
	t.Parallel()
	var got map[string]int64
	if err := json.Unmarshal(pullRequest(17, 30*time.Second, 5*time.Second), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"batch": 17, "expires": 30e9, "idle_heartbeat": 5e9}, got); diff != "" {
		t.Error(diff)
	}
}
