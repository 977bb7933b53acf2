package idempotency

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/internal/natstest"
)

// Racers on three replicas, with the leader stepping down meanwhile: reads lag behind and writes
// are refused without a verdict, yet every key is run once.
func TestCluster_OneWinnerAmongRacersWhileTheLeaderChanges(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts three servers")
	}
	servers := natstest.Cluster(t)
	var sessions []*Session
	var admin *nats.Conn
	for _, srv := range servers {
		admin = natstest.Connect(t, srv)
		js := natstest.JetStream(t, admin)
		var store *Store
		for store == nil { // right after the start a stream may be refused for lack of peers
			s, err := Open(t.Context(), js, Config{Bucket: "dedup", Replicas: 3})
			if err != nil {
				if err := pause(t.Context(), 20); err != nil {
					t.Fatal(err)
				}
				continue
			}
			store = s
		}
		sessions = append(sessions, startSession(t, store))
	}
	const racers, keys = 6, 30
	var granted [keys]atomic.Int64
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			for k := range keys {
				if err := runUntilDone(t, sessions[i%3], fmt.Sprint("k.", k), &granted[k]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	if _, err := admin.Request("$JS.API.STREAM.LEADER.STEPDOWN.KV_dedup", nil, time.Second); err != nil && !noLeader(err) {
		t.Error(err)
	}
	wg.Wait()
	for k := range granted {
		if n := granted[k].Load(); n != 1 {
			t.Errorf("key %d ran %d times", k, n)
		}
	}
	for i, se := range sessions {
		if closed(se.Lost()) {
			t.Errorf("session %d is lost", i)
		}
		t.Logf("session %d: %+v", i, se.store.Stats())
	}
}

// noLeader says whether the last leader was gone, so that none could be asked to step down.
func noLeader(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout)
}

func runUntilDone(t *testing.T, se *Session, key string, granted *atomic.Int64) error {
	t.Helper()
	for try := 1; ; try++ {
		a, err := se.Claim(t.Context(), Ask{Key: key})
		switch {
		case err != nil:
			return err
		case a.Verdict == WasDone:
			return nil
		case a.Verdict == Granted:
			granted.Add(1)
			return a.Claim.Finish(t.Context(), Finish{State: Done})
		}
		if err := pause(t.Context(), try); err != nil {
			return err
		}
	}
}
