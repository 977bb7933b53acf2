package framework_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/catga-go/catga/embedded"
	"github.com/catga-go/catga/framework"
)

// protobuf is a codec for generated Protobuf messages, which are pointers.
type protobuf struct{}

func (protobuf) ContentType() string { return "application/protobuf" }

func (protobuf) Append(dst []byte, v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return dst, fmt.Errorf("%T is no Protobuf message", v)
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, m)
}

func (protobuf) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no Protobuf message", v)
	}
	return proto.Unmarshal(data, m)
}

// raw passes bytes through.
type raw struct{}

func (raw) ContentType() string { return "application/octet-stream" }

func (raw) Append(dst []byte, v any) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		return dst, fmt.Errorf("%T is no []byte", v)
	}
	return append(dst, b...), nil
}

func (raw) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is no *[]byte", v)
	}
	*b = append([]byte(nil), data...)
	return nil
}

// Types that cannot embed a marker are declared once, beside the type.
var (
	elapsed = framework.NewEvent[*durationpb.Duration]("acme.v1.Elapsed", framework.AtLeastOnce, framework.UseCodec(protobuf{}))
	double  = framework.NewRequest[*wrapperspb.Int64Value, *wrapperspb.Int64Value]("acme.v1.Double", framework.UseCodec(protobuf{}))
	frames  = framework.NewEvent[[]byte]("Frame", framework.AtMostOnce, framework.UseCodec(raw{}))
)

// Protobuf messages as event and as request, and raw bytes.
func ExampleNewEvent() {
	ctx, stop := context.WithCancel(context.Background())
	srv, err := embedded.Start(embedded.Config{NoListen: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	node, err := framework.Connect(ctx, framework.Config{NodeID: "node1", InProcess: srv})
	if err != nil {
		log.Fatal(err)
	}
	got := make(chan string)
	err = errors.Join(
		elapsed.Subscribe(node, func(_ context.Context, d *durationpb.Duration) error {
			got <- d.AsDuration().String()
			return nil
		}),
		double.Handle(node, func(_ context.Context, n *wrapperspb.Int64Value) (*wrapperspb.Int64Value, error) {
			return wrapperspb.Int64(2 * n.GetValue()), nil
		}),
		frames.Subscribe(node, func(_ context.Context, frame []byte) error {
			got <- hex.EncodeToString(frame)
			return nil
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	if err := node.WaitReady(ctx); err != nil {
		log.Fatal(err)
	}

	fmt.Println(elapsed.Publish(ctx, node, durationpb.New(90e9)), <-got)
	twice, err := double.Send(ctx, node, wrapperspb.Int64(21))
	fmt.Println(twice.GetValue(), err)
	fmt.Println(frames.Publish(ctx, node, []byte{0xca, 0x76}), <-got)

	stop()
	fmt.Println(<-done, node.Close(context.Background()))
	// Output:
	// <nil> 1m30s
	// 42 <nil>
	// <nil> ca76
	// <nil> <nil>
}
