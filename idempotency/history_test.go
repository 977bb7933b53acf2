package idempotency

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catga-go/catga/internal/natstest"
)

// history is what everybody saw of one key.
type history struct {
	mu       sync.Mutex
	holder   *node // of the last grant
	ending   bool  // its finish is under way
	grants   int
	finishes map[State]int
}

// node is a process with one session, until it is killed.
type node struct {
	*Session

	dead atomic.Bool
	free time.Time // when its keys may be taken, once it is dead
}

// granted notes a grant, and says why it should not have been one.
func (h *history) granted(n *node) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	prev, ending := h.holder, h.ending
	h.holder, h.ending = n, false
	h.grants++
	switch {
	case h.finishes[Done] > 0:
		return errors.New("granted after it was done")
	case prev == nil || ending:
		return nil
	case !prev.dead.Load():
		return errors.New("granted while a living session runs it")
	case time.Now().Before(prev.free):
		return fmt.Errorf("granted %v before the lease of the killed session passed", time.Until(prev.free))
	}
	return nil
}

func (h *history) finishing(n *node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ending = h.ending || h.holder == n
}

func (h *history) finished(state State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finishes[state]++
}

// Four nodes work through the same keys. They are killed at random in the middle of runs, and the
// dead still try to finish. In the end every key is done once, no two runs overlapped, and every
// count in the records is what happened.
func TestHistory_OfManySessionsIsOneRunAtATime(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		const keys, slots, workers = 10, 4, 3
		histories := make([]*history, keys)
		for i := range histories {
			histories[i] = &history{finishes: map[State]int{}}
		}
		var wg sync.WaitGroup
		var late atomic.Int64
		for slot := range slots {
			view := b.another(t)
			wg.Go(func() {
				for life := 0; !allDone(histories); life++ {
					se, err := view.store.StartSession(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					n := &node{Session: se}
					r := rand.New(rand.NewPCG(uint64(slot), uint64(life)))
					for w := range workers {
						seed := r.Uint64()
						wg.Go(func() { late.Add(n.work(t, histories, rand.New(rand.NewPCG(seed, uint64(w))))) })
					}
					<-time.After(4*time.Second + rand.N(8*time.Second))
					n.free = se.lease.deadline()
					n.dead.Store(true)
					crash(se)
				}
			})
		}
		wg.Wait()
		for i, h := range histories {
			rec := mustGet(t, b.store, fmt.Sprint("k.", i))
			ended := h.finishes[Done] + h.finishes[Failed] + h.finishes[Released]
			if h.finishes[Done] != 1 || rec.State != Done || rec.Fails != h.finishes[Failed] || h.grants != ended+rec.Kills {
				t.Errorf("key %d: record %+v; %d grants, finished %v", i, rec, h.grants, h.finishes)
			}
		}
		if late.Load() == 0 {
			t.Error("no finish came too late: the test shows nothing")
		}
	})
}

func allDone(histories []*history) bool {
	for _, h := range histories {
		h.mu.Lock()
		done := h.finishes[Done] > 0
		h.mu.Unlock()
		if !done {
			return false
		}
	}
	return true
}

// work claims and runs keys until the node is dead, and returns how many finishes came too late. A
// run takes a while; what is running when the node dies is finished by the dead.
func (n *node) work(t *testing.T, histories []*history, r *rand.Rand) (late int64) {
	t.Helper()
	for !n.dead.Load() && !allDone(histories) {
		i := r.IntN(len(histories))
		h := histories[i]
		a, err := n.Claim(t.Context(), Ask{Key: fmt.Sprint("k.", i)})
		switch {
		case errors.Is(err, ErrSessionOver):
			return late
		case err != nil:
			t.Error(err)
			return late
		case a.Verdict != Granted:
			<-time.After(time.Duration(r.IntN(2000)) * time.Millisecond)
			continue
		}
		if err := h.granted(n); err != nil {
			t.Errorf("key %d: %v", i, err)
		}
		<-time.After(time.Duration(r.IntN(int(2 * testLease))))
		if n.dead.Load() {
			<-time.After(time.Duration(r.IntN(int(4 * testLease)))) // long enough for somebody to take over
		}
		state := []State{Done, Failed, Released}[r.IntN(3)]
		h.finishing(n)
		switch err := a.Claim.Finish(t.Context(), Finish{State: state}); {
		case err == nil:
			h.finished(state)
		case errors.Is(err, ErrLost) && n.dead.Load():
			late++
		default:
			t.Errorf("key %d: %v", i, err)
		}
	}
	return late
}
