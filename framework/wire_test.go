package framework

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/catga-go/catga/internal/wire"
	"github.com/catga-go/catga/streams"
)

func TestIdentify_IsTheInverseOfHeaders(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.String().Draw(t, "id")
		request := rapid.Bool().Draw(t, "request")
		out := &Outgoing{Kind: "acme.v1.Thing", QoS: AtLeastOnce, ID: id}
		if request {
			out.request = &outgoingRequest{}
		}
		auto := id == ""
		if auto {
			out.ID = newID()
		}
		h := headers(out, jsonType, auto)
		for _, values := range h {
			if strings.ContainsAny(values[0], "\r\n") || strings.TrimSpace(values[0]) != values[0] {
				t.Fatalf("header value %q does not survive the wire", values[0])
			}
		}
		got, user := identify(request, out.Kind, h.Get(wire.ID), h.Get(wire.MsgID))
		if got != out.ID {
			t.Fatalf("identify = %q, want %q", got, out.ID)
		}
		if !request && user == auto {
			t.Fatalf("user = %v for id %q", user, id)
		}
		a := arrival{Delivery: &streams.Delivery{}, kind: out.Kind, id: got, userID: user}
		again, userAgain := identify(request, out.Kind, a.wireID(request), "")
		if again != got || userAgain != user && !request {
			t.Fatalf("sent again: %q, %v; want %q, %v", again, userAgain, got, user)
		}
	})
}

func TestReply_SurvivesTheWire(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := reply{
			Status:  rapid.SampledFrom([]replyStatus{replyOK, replyRejected, replyFailed, replyReused}).Draw(t, "status"),
			Token:   rapid.String().Draw(t, "token"),
			Message: rapid.String().Draw(t, "message"),
			Code:    rapid.String().Draw(t, "code"),
			Data:    rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
		}
		got, err := decodeReply(want.encode())
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != want.Status || got.Token != want.Token || got.Code != want.Code || got.Message != want.Message || !bytes.Equal(got.Data, want.Data) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func FuzzDecodeReply(f *testing.F) {
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"status":"ok","node":"n"}` + "\nbody"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeReply(b)
		if err == nil && r.Status == "" {
			t.Errorf("decodeReply(%q) accepted a reply without a status", b)
		}
	})
}

func TestKindOf_FindsTheKindBehindEachPrefix(t *testing.T) {
	t.Parallel()
	names := streams.NewNames("ns")
	for _, kind := range []string{"Order", "acme.v1.Order"} {
		for _, subject := range []string{
			names.Signal(kind), names.Event(kind), names.Retry("g", kind), names.Request(kind), names.Direct("node1", kind),
		} {
			if got := kindOf(subject); got != kind {
				t.Errorf("kindOf(%s) = %q", subject, got)
			}
		}
	}
	for _, garbage := range []string{"", ".", "a", "a.b", "a.retry", "a.direct."} {
		kindOf(garbage) // must not panic
	}
}

func TestNumber_TakesCountsOnly(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{"": 0, "3": 3, "-1": 0, "x": 0, "9999999999999999999": 0, "1099511627777": 0} {
		if got := number(s); got != want {
			t.Errorf("number(%q) = %d, want %d", s, got, want)
		}
	}
}
