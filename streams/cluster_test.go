package streams_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/internal/natstest"
	"github.com/catga-go/catga/streams"
)

// Provisioning begins before the cluster has settled; later leaders step down and a server is lost,
// while messages flow. Nothing that was acknowledged to a publisher is missing at the consumer.
func TestCluster_LosesNothingWithLeadersAndAServer(t *testing.T) {
	if testing.Short() {
		t.Skip("takes an election")
	}
	t.Parallel()
	servers := natstest.Cluster(t)
	all := fmt.Sprint(servers[1].ClientURL(), ",", servers[2].ClientURL()) // servers[0] will go
	connect := func(opts ...nats.Option) *nats.Conn {
		nc, err := nats.Connect(all, append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))...)
		must(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
	b := &bench{tb: t, publish: connect(), consume: connect(nats.ReconnectBufSize(-1))}
	b.js = natstest.JetStream(t, b.consume)
	must(t, streams.Provision(t.Context(), b.js, streams.Config{Namespace: ns, Replicas: 3}))
	b.pub = b.publisher(b.publish)

	var seen sync.Map
	var ran, acked atomic.Int64
	b.loop(b.pool(4, func(d *streams.Delivery) {
		if _, again := seen.LoadOrStore(string(d.Data), true); !again {
			ran.Add(1)
		}
		d.Ack()
	}), func(c *streams.LoopConfig) { c.AckWait = 3 * time.Second })
	stop := make(chan struct{})
	var publishers sync.WaitGroup
	for g := range 4 {
		publishers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := b.pub.Store(context.Background(), withID(fmt.Sprintf("%d-%d", g, i))); err != nil {
					t.Errorf("Store %d-%d: %v", g, i, err)
					return
				}
				acked.Add(1)
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		began, want := time.Now(), acked.Load()+200
		eventually(t, func() bool { return acked.Load() >= want && ran.Load() >= want })
		t.Logf("%s: flowing after %v", what, time.Since(began))
	}
	progress("start")
	for _, subject := range []string{
		"$JS.API.STREAM.LEADER.STEPDOWN." + names.Events(),
		"$JS.API.CONSUMER.LEADER.STEPDOWN." + names.Events() + "." + names.Durable("g", "A"),
	} {
		_, err := b.publish.RequestWithContext(t.Context(), subject, nil)
		must(t, err)
		progress(subject)
	}
	natstest.Stop(servers[0])
	progress("server lost")
	close(stop)
	publishers.Wait()
	eventually(t, func() bool { return ran.Load() == acked.Load() })
}
