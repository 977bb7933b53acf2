package idempotency

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestRecord_SurvivesTheWire(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := Record{
			State:   rapid.SampledFrom([]State{Running, Done, Failed, Released, Dead, Withdrawn, stateAlive, stateOver}).Draw(t, "state"),
			Session: rapid.String().Draw(t, "session"),
			Nonce:   rapid.String().Draw(t, "nonce"),
			Kills:   rapid.IntRange(0, 1<<40).Draw(t, "kills"),
			Fails:   rapid.IntRange(0, 1<<40).Draw(t, "fails"),
			Hash:    rapid.String().Draw(t, "hash"),
			Error:   rapid.String().Draw(t, "error"),
			Calls:   rapid.SliceOf(rapid.String()).Draw(t, "calls"),
			Result:  rapid.SliceOf(rapid.Byte()).Draw(t, "result"),
		}
		value, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(value)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("decoded (-want +got):\n%s", diff)
		}
	})
}

func TestRecord_IsOneLineAndTheResult(t *testing.T) {
	t.Parallel()
	value, err := Record{State: Done, Session: "s", Nonce: "1", Kills: 1, Fails: 2, Hash: "h", Error: "a\nb", Result: []byte("x\ny")}.encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"st":"done","s":"s","n":"1","k":1,"f":2,"h":"h","e":"a\nb"}` + "\nx\ny"
	if string(value) != want {
		t.Errorf("value %q, want %q", value, want)
	}
}

func TestRecord_LongErrorIsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	value, err := Record{State: Failed, Error: "a" + strings.Repeat("é", maxError)}.encode()
	if err != nil {
		t.Fatal(err)
	}
	rec, err := decode(value)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Error) != maxError-1 || !utf8.ValidString(rec.Error) || strings.ContainsRune(rec.Error, utf8.RuneError) {
		t.Errorf("error of %d bytes ends %q", len(rec.Error), rec.Error[len(rec.Error)-4:])
	}
}

func TestDecode_RefusesWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"", "\n", "null", "{}", "{}\n", "null\n", "[]\n", `{"st":"done"}`, `{"st":"paused"}` + "\n",
		`{"st":"done","k":-1}` + "\n", `{"st":"done","f":"1"}` + "\n", "plain text\n",
	} {
		if rec, err := decode([]byte(value)); err == nil {
			t.Errorf("decode %q = %+v, want an error", value, rec)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"st":"running","s":"S","n":"1","h":"abc"}` + "\n",
		`{"st":"done","s":"S","n":"a","k":1,"f":2}` + "\n{\"orderId\":1}\n",
		`{"st":"withdrawn","c":["x","y"]}` + "\n",
		`{"st":"alive","new":{"field":[1]}}` + "\n",
		`{"st":"done"`, "\n\n", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		rec, err := decode(value)
		if err != nil {
			return
		}
		again, err := rec.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(again)
		if err != nil {
			t.Fatalf("decode %q: %v", again, err)
		}
		rec.Error = clip(rec.Error, maxError)
		if diff := cmp.Diff(rec, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("second time (-first +second):\n%s", diff)
		}
	})
}
