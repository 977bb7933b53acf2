package streams_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/catga-go/catga/streams"
)

func letter() streams.DeadLetter {
	return streams.DeadLetter{
		Group: "billing", Kind: "acme.v1.Shipped", ID: "order 7", Reason: "error", Error: "no money", Node: "node1", Attempts: 4,
		Subject: names.Event("acme.v1.Shipped"), Stream: names.Events(), Sequence: 42,
		Published: time.Unix(1700000000, 123456789).UTC(), Failed: time.Unix(1700000100, 1).UTC(),
		Header: nats.Header{
			"Nats-Msg-Id": {"order 7"}, "Nats-TTL": {"1s"}, "Nats-Expected-Last-Sequence": {"99"}, "Nats-Rollup": {"all"},
			"Nats-Schedule": {"@at nonsense"}, "Catga-Dead-Group": {"impostor"}, "Tag": {"a", "b"},
		},
		Data: []byte{0, 1, 2, '\r', '\n'},
	}
}

// bury stores d and reads back what is in the stream.
func (b *bench) bury(tb interface {
	Helper()
	Fatal(...any)
}, d streams.DeadLetter,
) (streams.DeadLetter, *jetstream.RawStreamMsg) {
	tb.Helper()
	ctx := context.Background()
	if err := b.pub.Bury(ctx, d); err != nil {
		tb.Fatal(err)
	}
	s, err := b.js.Stream(ctx, names.Dead())
	if err != nil {
		tb.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(ctx, names.DeadLetter(d.Group, d.Kind))
	if err != nil {
		tb.Fatal(err)
	}
	got, err := streams.ParseDead(m.Header, m.Data)
	if err != nil {
		tb.Fatal(err)
	}
	return got, m
}

func TestBury_KeepsBytesAndHeadersAndTheServerActsOnNone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := letter()
	got, m := b.bury(t, want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dead letter (-want +got):\n%s", diff)
	}
	if m.Subject != "catga.dead.billing.acme.v1.Shipped" || m.Header.Get("Nats-TTL") != "" {
		t.Errorf("stored on %s with %v", m.Subject, m.Header)
	}
}

func TestBury_SameDeliveryTwiceIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, again, other, group := letter(), letter(), letter(), letter()
	again.Error, again.Failed = "another text", time.Time{}
	other.Published = other.Published.Add(1) // the same sequence of a stream that was created anew
	group.Group = "shipping"
	for _, d := range []streams.DeadLetter{first, again, other, group} {
		must(t, b.pub.Bury(t.Context(), d))
	}
	s, err := b.js.Stream(t.Context(), names.Dead())
	must(t, err)
	if n := s.CachedInfo().State.Msgs; n != 3 {
		t.Errorf("%d dead letters, want 3", n)
	}
}

func TestBury_LongErrorIsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := letter()
	d.Error = "first line\r\n" + strings.Repeat("é", 4<<10)
	got, _ := b.bury(t, d)
	if len(got.Error) > 4<<10 || len(got.Error) < 4<<10-2 || !utf8.ValidString(got.Error) || !strings.HasPrefix(got.Error, "first line  é") {
		t.Errorf("error of %d bytes, begins %q", len(got.Error), got.Error[:20])
	}
}

func TestBury_WhatFitsBarelyLosesItsErrorTextOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := letter()
	d.Error = strings.Repeat("x", 4<<10)
	d.Data = make([]byte, b.publish.MaxPayload()-2<<10)
	got, _ := b.bury(t, d)
	if got.Error != "" || len(got.Data) != len(d.Data) {
		t.Errorf("error of %d bytes, data of %d; want none and %d", len(got.Error), len(got.Data), len(d.Data))
	}
}

func TestBury_WhatIsAtTheLimitLosesItsEndAndSaysHowMuch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := letter()
	d.Data = bytes.Repeat([]byte{'x'}, int(b.publish.MaxPayload()))
	got, _ := b.bury(t, d)
	if got.Missing == 0 || got.Missing > 4096 || len(got.Data)+got.Missing != len(d.Data) {
		t.Errorf("kept %d bytes, %d missing, of %d", len(got.Data), got.Missing, len(d.Data))
	}
}

func TestBury_RoundTrip(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token := rapid.StringMatching(`[A-Za-z0-9_-]{1,20}`)
	text := rapid.String() // also line breaks, controls, spaces at the ends, bytes that are no UTF-8
	value := rapid.StringMatching(`|[!-~]|[!-~][ -~é]{0,20}[!-~]`)
	header := rapid.MapOfN(token, rapid.SliceOfN(value, 1, 3), 0, 5)
	sequence := uint64(0)
	rapid.Check(t, func(t *rapid.T) {
		sequence++
		want := streams.DeadLetter{
			Group: token.Draw(t, "group"), Kind: token.Draw(t, "kind"), ID: text.Draw(t, "id"), Reason: text.Draw(t, "reason"),
			Error: value.Draw(t, "error"), Node: token.Draw(t, "node"), Attempts: rapid.IntRange(0, 1<<30).Draw(t, "attempts"),
			Subject: token.Draw(t, "subject"), Stream: token.Draw(t, "stream"), Sequence: sequence,
			Published: time.Unix(0, rapid.Int64Range(0, 1<<61).Draw(t, "published")).UTC(),
			Failed:    time.Unix(0, rapid.Int64Range(1, 1<<61).Draw(t, "failed")).UTC(),
			Data:      rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "data"),
		}
		if h := header.Draw(t, "header"); len(h) > 0 {
			want.Header = nats.Header(maps.Clone(h))
		}
		got, _ := b.bury(t, want)
		if len(got.Data) == 0 && len(want.Data) == 0 {
			got.Data = want.Data
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("dead letter (-want +got):\n%s", diff)
		}
	})
}

func TestParseDead_NamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, m := b.bury(t, letter())
	for _, field := range []string{
		"Catga-Dead-Group", "Catga-Dead-Kind", "Catga-Dead-Attempts", "Catga-Dead-Sequence", "Catga-Dead-Published", "Catga-Dead-Failed",
	} {
		h := maps.Clone(m.Header)
		delete(h, field)
		_, err := streams.ParseDead(h, m.Data)
		if e, ok := errors.AsType[*streams.DeadLetterError](err); !ok || e.Field != field {
			t.Errorf("without %s: error = %v", field, err)
		}
	}
	if _, err := streams.ParseDead(nil, nil); err == nil {
		t.Error("parsed nothing")
	}
}
