package discovery

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	t.Parallel()
	stored := time.Unix(7, 0)
	in := Node{
		ID: "node1", Endpoint: "http://ü:1", Instance: "i-1", StartedAt: time.Unix(5, 0).UTC(), Load: math.Inf(1),
		Kinds: []string{"b", "acme.v1.A", "b"}, Draining: true, Version: "1", Metadata: map[string]string{"k": "v"},
	}
	data, err := encode(in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode("node1", data, stored)
	if err != nil {
		t.Fatal(err)
	}
	want := in
	want.Load, want.Kinds, want.LastSeen, want.Online = 1, []string{"acme.v1.A", "b"}, stored, true
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadIsClamped(t *testing.T) {
	t.Parallel()
	for in, want := range map[float64]float64{-1: 0, 0.25: 0.25, 7: 1, math.Inf(-1): 0} {
		if got := clamp(in); got != want {
			t.Errorf("clamp(%v) = %v, want %v", in, got, want)
		}
	}
	if got := clamp(math.NaN()); got != 0 {
		t.Errorf("clamp(NaN) = %v", got)
	}
}

func TestEntriesThatNoMemberWroteAreRefused(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"empty":          ``,
		"no object":      `7`,
		"another ID":     `{"nodeId":"b","instance":"i"}`,
		"no instance":    `{"nodeId":"a"}`,
		"instance":       `{"nodeId":"a","instance":"x.>"}`,
		"wrong types":    `{"nodeId":"a","instance":"i","kinds":7}`,
		"kind":           `{"nodeId":"a","instance":"i","kinds":["a..b"]}`,
		"kind with star": `{"nodeId":"a","instance":"i","kinds":["*"]}`,
		"long kind":      `{"nodeId":"a","instance":"i","kinds":["` + strings.Repeat("k", 129) + `"]}`,
		"many kinds":     `{"nodeId":"a","instance":"i","kinds":[` + strings.Repeat(`"k",`, maxKinds) + `"k"]}`,
		"long endpoint":  `{"nodeId":"a","instance":"i","endpoint":"` + strings.Repeat("e", maxText+1) + `"}`,
		"huge":           `{"nodeId":"a","instance":"i","x":"` + strings.Repeat("x", maxEntry) + `"}`,
		"bad time":       `{"nodeId":"a","instance":"i","startedAt":"yesterday"}`,
	} {
		if node, err := decode("a", []byte(data), time.Now()); err == nil {
			t.Errorf("%s: %+v", name, node)
		}
	}
	if _, err := decode("a.b", []byte(`{"nodeId":"a.b","instance":"i"}`), time.Now()); err == nil {
		t.Error("a key of two tokens is a node")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("a", []byte(`{"nodeId":"a","instance":"i","kinds":["b","a"],"load":2}`))
	f.Add("a", []byte(`{"nodeId":"a","instance":"i","metadata":{"a":"b"},"startedAt":"2000-01-01T00:00:00Z"}`))
	f.Add("", []byte(`null`))
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		node, err := decode(key, data, time.Unix(1, 0))
		if err != nil {
			return
		}
		again, err := encode(node)
		if err != nil {
			if strings.Contains(err.Error(), "bytes are more than") {
				return // escapes made it longer
			}
			t.Fatalf("%+v cannot be encoded: %v", node, err)
		}
		back, err := decode(key, again, time.Unix(1, 0))
		if err != nil || !sameReport(node, back) {
			t.Fatalf("%+v came back as %+v: %v", node, back, err)
		}
	})
}

func TestRecognize(t *testing.T) {
	t.Parallel()
	valid := []byte(`{"nodeId":"a","instance":"i"}`)
	for _, tt := range []struct {
		name   string
		header nats.Header
		data   []byte
		want   sight
		failed bool
	}{
		{"entry", nil, valid, present, false},
		{"garbage", nil, []byte("x"), expired, true},
		{"aged out", nats.Header{markerReason: {"MaxAge"}, kvOperation: {"PURGE"}}, nil, expired, false},
		{"purged by an operator", nats.Header{markerReason: {"Purge"}}, nil, departed, false},
		{"purged", nats.Header{kvOperation: {"PURGE"}}, nil, departed, false},
		{"deleted", nats.Header{kvOperation: {"DEL"}}, nil, departed, false},
	} {
		m := &nats.Msg{Subject: "$KV.b.a", Header: tt.header, Data: tt.data}
		o, err := recognize("$KV.b.", m, &nats.MsgMetadata{})
		if o.what != tt.want || o.key != "a" || (err != nil) != tt.failed {
			t.Errorf("%s: %+v, %v", tt.name, o, err)
		}
	}
}

func TestStatusOf(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]pullStatus{"100": idle, "404": ended, "408": ended, "409": broken, "503": broken, "": broken} {
		if got := statusOf(&nats.Msg{Header: nats.Header{"Status": {status}}}); got != want {
			t.Errorf("status %q: %v, want %v", status, got, want)
		}
	}
}
