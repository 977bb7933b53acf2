package streams_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/streams"
)

var payload = make([]byte, 128)

// BenchmarkStore compares Store with what nats.go offers for the same: one publisher that waits for
// each acknowledgement, and a hundred of them.
func BenchmarkStore(b *testing.B) {
	b.Run("one/catga", func(b *testing.B) {
		s := setup(b)
		for b.Loop() {
			_, err := s.pub.Store(b.Context(), &nats.Msg{Subject: names.Event("A"), Data: payload})
			must(b, err)
		}
	})
	b.Run("one/nats.go", func(b *testing.B) {
		s := setup(b)
		js, err := jetstream.New(s.publish)
		must(b, err)
		for b.Loop() {
			_, err := js.PublishMsg(b.Context(), &nats.Msg{Subject: names.Event("A"), Data: payload})
			must(b, err)
		}
	})
	b.Run("hundred/catga", func(b *testing.B) {
		s := setup(b)
		b.SetParallelism(50)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.pub.Store(b.Context(), &nats.Msg{Subject: names.Event("A"), Data: payload}); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("hundred/nats.go", func(b *testing.B) {
		s := setup(b)
		js, err := jetstream.New(s.publish)
		must(b, err)
		b.SetParallelism(50)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := js.PublishMsg(b.Context(), &nats.Msg{Subject: names.Event("A"), Data: payload}); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("batch1000/catga", func(b *testing.B) {
		s := setup(b)
		msgs := make([]*nats.Msg, 1000)
		for i := range msgs {
			msgs[i] = &nats.Msg{Subject: names.Event("A"), Data: payload}
		}
		for n := 0; n < b.N; n += len(msgs) {
			if _, errs := s.pub.StoreAll(b.Context(), msgs[:min(len(msgs), b.N-n)]); errs != nil {
				b.Fatal(errs)
			}
		}
	})
	b.Run("batch1000/nats.go", func(b *testing.B) {
		s := setup(b)
		js, err := jetstream.New(s.publish)
		must(b, err)
		for n := 0; n < b.N; n += 1000 {
			for range min(1000, b.N-n) {
				_, err := js.PublishMsgAsync(&nats.Msg{Subject: names.Event("A"), Data: payload})
				must(b, err)
			}
			<-js.PublishAsyncComplete()
		}
	})
}

// BenchmarkLoop compares a loop and its pool with Consume, for the handler that only acknowledges.
func BenchmarkLoop(b *testing.B) {
	for _, credits := range []int{16, 128, 400} {
		b.Run("catga/"+strconv.Itoa(credits), func(b *testing.B) {
			s := setup(b)
			fill(b, s)
			done := make(chan struct{})
			var n atomic.Int64
			pool := s.pool(8, func(d *streams.Delivery) {
				d.Ack()
				if n.Add(1) == int64(b.N) {
					close(done)
				}
			})
			b.ResetTimer()
			s.loop(pool, func(c *streams.LoopConfig) { c.FromStart, c.Credits = true, credits })
			<-done
			b.StopTimer()
		})
		b.Run("consume/"+strconv.Itoa(credits), func(b *testing.B) {
			s := setup(b)
			fill(b, s)
			c, err := s.js.CreateConsumer(b.Context(), names.Events(), jetstream.ConsumerConfig{
				Durable: "g:A", FilterSubjects: []string{names.Event("A"), names.Retry("g", "A")},
				AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000,
			})
			must(b, err)
			done := make(chan struct{})
			var n atomic.Int64
			b.ResetTimer()
			cc, err := c.Consume(func(m jetstream.Msg) {
				_ = m.Ack()
				if n.Add(1) == int64(b.N) {
					close(done)
				}
			}, jetstream.PullMaxMessages(credits))
			must(b, err)
			<-done
			b.StopTimer()
			cc.Stop()
		})
	}
}

func fill(b *testing.B, s *bench) {
	b.Helper()
	msgs := make([]*nats.Msg, b.N)
	for i := range msgs {
		msgs[i] = &nats.Msg{Subject: names.Event("A"), Data: payload}
	}
	if _, errs := s.pub.StoreAll(b.Context(), msgs); errs != nil {
		b.Fatal(errs)
	}
}
