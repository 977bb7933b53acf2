package integration

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

// gobCodec is a codec with a content type of its own.
type gobCodec struct{}

func (gobCodec) ContentType() string { return "application/x-gob; v=1" }

func (gobCodec) Append(dst []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	err := gob.NewEncoder(buf).Encode(v)
	return buf.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

// rawCodec passes bytes through.
type rawCodec struct{}

func (rawCodec) ContentType() string { return "application/octet-stream" }

func (rawCodec) Append(dst []byte, v any) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		return dst, fmt.Errorf("%T is not bytes", v)
	}
	return append(dst, b...), nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(data)
	return nil
}

// brokenCodec fails as told.
type brokenCodec struct{ append, unmarshal func() error }

func (brokenCodec) ContentType() string { return "application/x-broken" }

func (c brokenCodec) Append(dst []byte, _ any) ([]byte, error) {
	return append(dst, '?'), c.append()
}

func (c brokenCodec) Unmarshal([]byte, any) error { return c.unmarshal() }

type (
	blob struct {
		framework.ReliableEvent
		Text string
	}
	blobRequest struct {
		framework.Request[*blob]
		Text string
	}
)

func TestCodec_RawBytesPassUntouched(t *testing.T) {
	t.Parallel()
	frames := framework.NewEvent[[]byte]("Frame", framework.AtLeastOnce, framework.UseCodec(rawCodec{}))
	signals := framework.NewEvent[[]byte]("Signal", framework.AtMostOnce, framework.UseCodec(rawCodec{}))
	echo := framework.NewRequest[[]byte, []byte]("Echo", framework.UseCodec(rawCodec{}))
	node := frameworktest.NewNode(t)
	got := make(chan []byte, 10)
	must(t, frames.Subscribe(node, sink(got)), signals.Subscribe(node, sink(got)),
		echo.Handle(node, func(_ context.Context, b []byte) ([]byte, error) { return b, nil }))
	run(t, node)
	for _, want := range [][]byte{{0, 1, 2, '\n', 0xff}, {}, nil, []byte("{\n\n}")} {
		must(t, frames.Publish(soon(t), node, want))
		if b := receive(t, got); !bytes.Equal(b, want) {
			t.Errorf("QoS 1: %q, want %q", b, want)
		}
		must(t, signals.Publish(soon(t), node, want))
		if b := receive(t, got); !bytes.Equal(b, want) {
			t.Errorf("QoS 0: %q, want %q", b, want)
		}
		if b, err := echo.Send(soon(t), node, want); err != nil || !bytes.Equal(b, want) {
			t.Errorf("answer %q, %v; want %q", b, err, want)
		}
	}
	m := messages(t, node, "CATGA_EVENTS")[0]
	if m.Header.Get("Content-Type") != "application/octet-stream" || !bytes.Equal(m.Data, []byte{0, 1, 2, '\n', 0xff}) {
		t.Errorf("on the wire: %v %q", m.Header, m.Data)
	}
}

// Who has a codec for a kind reads what others wrote with any codec that it knows.
func TestCodec_PerKindAndReadByContentType(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	asGob := func(c *framework.Config) {
		c.KindCodecs = map[string]framework.Codec{"blob": gobCodec{}, "blobRequest": gobCodec{}}
	}
	both, plain := connect(t, srv, "both", asGob), connect(t, srv, "plain")
	got := make(chan blob, 10)
	must(t, framework.Subscribe(both, sink(got)),
		framework.Handle(both, func(_ context.Context, q blobRequest) (*blob, error) { return &blob{Text: q.Text + "!"}, nil }))
	run(t, both)
	must(t, framework.Publish(soon(t), both, blob{Text: "gob"}), framework.Publish(soon(t), plain, blob{Text: "json"}))
	seen := map[string]bool{receive(t, got).Text: true, receive(t, got).Text: true}
	diff(t, "events", seen, map[string]bool{"gob": true, "json": true})
	all := messages(t, plain, "CATGA_EVENTS")
	if all[0].Header.Get("Content-Type") != "application/x-gob; v=1" || all[1].Header.Get("Content-Type") != "" {
		t.Errorf("content types %q and %q", all[0].Header.Get("Content-Type"), all[1].Header.Get("Content-Type"))
	}
	if r, err := framework.Send(soon(t), both, blobRequest{Text: "gob"}); err != nil || r.Text != "gob!" {
		t.Errorf("answer = %+v, %v", r, err)
	}
	_, err := framework.Send(soon(t), plain, blobRequest{Text: "json"}) // understood there, but not the answer
	contains(t, err, "x-gob", "content type")
}

func TestCodec_WholeNode(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t, func(c *framework.Config) { c.Codec = gobCodec{} })
	got := make(chan blob, 10)
	must(t, framework.Subscribe(node, sink(got)))
	run(t, node)
	must(t, framework.Publish(soon(t), node, blob{Text: "gob"}), node.Conn().PublishMsg(foreign("catga.event.blob", `{"Text":"json"}`)),
		node.Conn().PublishMsg(foreign("catga.event.blob", `{"Text":"json too"}`, "Content-Type", "Application/JSON; charset=utf-8")))
	seen := map[string]bool{receive(t, got).Text: true, receive(t, got).Text: true, receive(t, got).Text: true}
	diff(t, "events", seen, map[string]bool{"gob": true, "json": true, "json too": true})
}

// A codec that fails or panics is an error of the call, or a dead letter, and never the end of the process.
func TestCodec_FailureIsAnErrorOfTheCallOrADeadLetter(t *testing.T) {
	t.Parallel()
	broke := errors.New("broken codec")
	works := func() error { return nil }
	for name, fail := range map[string]func() error{"error": func() error { return broke }, "panic": func() error { panic(broke) }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := frameworktest.NewNode(t)
			writes := framework.NewEvent[blob]("writes", framework.AtLeastOnce, framework.UseCodec(brokenCodec{fail, works}))
			reads := framework.NewEvent[blob]("reads", framework.AtLeastOnce, framework.UseCodec(brokenCodec{works, fail}))
			answers := framework.NewRequest[blob, int]("answers", framework.UseCodec(brokenCodec{fail, works}))
			must(t, reads.Subscribe(node, func(context.Context, blob) error {
				t.Error("handler ran")
				return nil
			}), answers.Handle(node, func(context.Context, blob) (int, error) { return 1, nil }))
			run(t, node)
			contains(t, writes.Publish(soon(t), node, blob{}), "encode writes", "broken codec")
			if n := stored(t, node, "CATGA_EVENTS"); n != 0 {
				t.Errorf("%d events stored", n)
			}
			must(t, reads.Publish(soon(t), node, blob{}))
			must(t, node.Conn().PublishMsg(foreign("catga.request.answers", "?", "Catga-Id", "1", "Content-Type", "application/x-broken")))
			for _, d := range deadLetters(t, node, 2) {
				if d.Reason != framework.ReasonUndecodable {
					t.Errorf("dead letter = %+v", d)
				}
				contains(t, errors.New(d.Error), "broken codec")
			}
			var failed *framework.RemoteError
			if _, err := answers.Ticket(node, "1").Wait(soon(t)); !errors.As(err, &failed) || failed.Attempts != 1 {
				t.Errorf("ticket: %v", err)
			}
		})
	}
}
