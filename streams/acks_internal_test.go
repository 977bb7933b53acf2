package streams

import (
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func TestToken_RoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		index := rapid.Uint64Range(0, maxCalls-1).Draw(t, "index")
		use := rapid.Uint64().Draw(t, "use")
		gotIndex, gotUse, ok := parseToken(string(appendToken(nil, index, use)))
		if !ok || gotIndex != index || gotUse != use {
			t.Fatalf("got %d, %d, %v", gotIndex, gotUse, ok)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		if index, _, ok := parseToken(rapid.String().Draw(t, "token")); ok && index >= maxCalls {
			t.Fatal("index beyond the table")
		}
	})
}

// Goroutines take calls and give them back while others answer late, twice and not at all. No call is
// ever in two hands, and every answer that is received belongs to the use it was meant for.
func TestCalls_AreNeverInTwoHands(t *testing.T) {
	t.Parallel()
	var table calls
	var owned [maxCalls]atomic.Int32
	type late struct {
		c   *call
		use uint64
	}
	mail := make(chan late, 64)
	var answering, publishing sync.WaitGroup
	for range 4 {
		answering.Go(func() {
			var old []late
			for l := range mail {
				l.c.resolve(l.use, answer{})
				if old = append(old, l); len(old) > 100 {
					for _, o := range old {
						if o.c.resolve(o.use, answer{}) {
							t.Error("an old use was answered again")
						}
					}
					old = nil
				}
			}
		})
	}
	for range 16 {
		publishing.Go(func() {
			for i := range 3000 {
				c := table.take()
				if owned[c.index].Add(1) != 1 {
					t.Errorf("call %d in two hands", c.index)
				}
				use := c.use.Add(1)
				mail <- late{c, use}
				givenUp := i%3 == 0 && c.use.CompareAndSwap(use, use+1)
				if !givenUp { // otherwise the late answer finds another use
					<-c.answer
				}
				if len(c.answer) != 0 {
					t.Error("an answer is left over")
				}
				owned[c.index].Add(-1)
				table.give(c)
			}
		})
	}
	publishing.Wait()
	close(mail)
	answering.Wait()
	if n := table.grown.Load(); n > 16 {
		t.Errorf("%d calls were made for 16 goroutines", n)
	}
}

func TestCalls_TableHasAnEnd(t *testing.T) {
	t.Parallel()
	var table calls
	taken := make([]*call, 0, maxCalls)
	for c := table.take(); c != nil; c = table.take() {
		taken = append(taken, c)
	}
	if len(taken) != maxCalls {
		t.Errorf("took %d calls, want %d", len(taken), maxCalls)
	}
	for _, c := range taken {
		table.give(c)
	}
	if table.take() == nil || table.grown.Load() != maxCalls {
		t.Error("nothing to take after all was given back")
	}
}

// BenchmarkCalls compares the table with what it replaces: a map behind a mutex.
func BenchmarkCalls(b *testing.B) {
	b.Run("table", func(b *testing.B) {
		var table calls
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c := table.take()
				use := c.use.Add(1)
				table.at(c.index).resolve(use, answer{})
				<-c.answer
				table.give(c)
			}
		})
	})
	b.Run("mutex", func(b *testing.B) {
		var mu sync.Mutex
		waiting, next := map[uint64]chan answer{}, uint64(0)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c := make(chan answer, 1)
				mu.Lock()
				next++
				id := next
				waiting[id] = c
				mu.Unlock()
				mu.Lock()
				got := waiting[id]
				delete(waiting, id)
				mu.Unlock()
				got <- answer{}
				<-c
			}
		})
	})
}
