package idempotency

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/internal/natstest"
)

func benchSession(b *testing.B) *Session {
	b.Helper()
	srv := natstest.Listen(b, b.TempDir(), 0)
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	se := startSession(b, openStore(b, natstest.JetStream(b, nc)))
	b.ReportAllocs()
	b.ResetTimer()
	return se
}

// A request that runs: two writes.
func BenchmarkClaimFinish(b *testing.B) {
	se := benchSession(b)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			a, err := se.Claim(b.Context(), Ask{Key: "r.K." + strconv.FormatInt(n.Add(1), 36), Hash: "0123456789abcdef"})
			if err != nil {
				b.Error(err)
				return
			}
			if err := a.Claim.Finish(b.Context(), Finish{State: Done, Result: []byte(`{"orderId":"abc12345"}`)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// A request that ran: one write that is refused, one read.
func BenchmarkClaimDone(b *testing.B) {
	se := benchSession(b)
	mustRecord(b, se, Ask{Key: "k"}, Finish{State: Done})
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if a, err := se.Claim(b.Context(), Ask{Key: "k"}); err != nil || a.Verdict != WasDone {
				b.Error(a.Verdict, err)
				return
			}
		}
	})
}

// An event's first run: one write.
func BenchmarkRecord(b *testing.B) {
	se := benchSession(b)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := se.Record(b.Context(), Ask{Key: "e.g.K." + strconv.FormatInt(n.Add(1), 36)}, Finish{State: Done}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkLeaseValid(b *testing.B) {
	se := benchSession(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !se.lease.valid() {
				b.Error("over")
				return
			}
		}
	})
}
