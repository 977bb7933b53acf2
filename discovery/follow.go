package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/catga-go/catga/internal/jsapi"
	"github.com/catga-go/catga/internal/provision"
)

// Of the follower's consumer. The heartbeat is what tells a quiet bucket from a dead consumer, so
// blindness ends within silence after a server is lost, and at once after a reconnect.
const (
	pullBatch     = 256
	pullExpires   = 30 * time.Second
	pullHeartbeat = time.Second
	silence       = 5 * pullHeartbeat / 2
	consumerLife  = 30 * time.Second // after which the server removes a consumer nobody pulls from
	callTimeout   = 2 * time.Second  // of one request to the server
	maxSpent      = int(consumerLife/callTimeout) + 1
)

// follower reads the bucket with a pull consumer of its own and tells the owner what it sees. Every
// reading begins with the last entry of every key, on a new consumer: a position in the stream
// would have to be right after restarts, restores and a bucket made anew, and nodes are few.
// A reading ends when the connection is lost or is back, when the consumer is gone, when a delivery
// is missing or nothing is heard, and when the owner asks for another one.
type follower struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	cfg    Config
	log    *slog.Logger
	out    chan<- observation
	reread <-chan struct{}

	heard time.Time // when the bucket could be seen last; zero before the first reading is complete
	spent []string  // consumers of earlier readings, or of attempts whose answer was lost
	blind bool      // the owner has been told, and so has the log
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	status := f.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING)
	defer f.nc.RemoveStatusListener(status)
	for failed := 0; ctx.Err() == nil; {
		complete, err := f.read(ctx, status)
		if err == nil {
			failed = 0
			continue // asked for
		}
		if complete {
			failed = 0
		}
		f.lost(ctx, err)
		f.pause(ctx, status, failed)
		failed++
	}
}

// read is one reading of the bucket and what happens after it. It returns nil if another one is
// wanted, otherwise why it cannot see any more, and whether it had seen everything before.
func (f *follower) read(ctx context.Context, status <-chan nats.Status) (complete bool, err error) {
	r, err := f.open(ctx, status)
	if err != nil {
		return false, err
	}
	defer r.close()
	f.tell(ctx, observation{what: began, dark: f.dark()})
	r.settle(ctx, 0)
	for {
		select {
		case <-ctx.Done():
			r.drop()
			return r.complete, ctx.Err()
		case <-f.reread:
			r.drop()
			return r.complete, nil
		case now := <-status:
			return r.complete, fmt.Errorf("connection is %v", now)
		case <-r.quiet.C:
			return r.complete, fmt.Errorf("nothing heard for %v", silence)
		case m := <-r.arrived:
			if err := r.take(ctx, m); err != nil {
				return r.complete, err
			}
		}
	}
}

// tell hands o to the owner, who always listens until ctx ends.
func (f *follower) tell(ctx context.Context, o observation) {
	select {
	case f.out <- o:
	case <-ctx.Done():
	}
}

// dark is how long nothing has been seen. Less than a heartbeat is no darkness.
func (f *follower) dark() time.Duration {
	if since := time.Since(f.heard); !f.heard.IsZero() && since > pullHeartbeat {
		return since
	}
	return 0
}

// lost says once that nothing can be seen until further notice.
func (f *follower) lost(ctx context.Context, err error) {
	if f.blind || ctx.Err() != nil {
		return
	}
	f.blind = true
	f.log.LogAttrs(ctx, slog.LevelDebug, "node registry not followed", slog.String("bucket", f.cfg.Bucket), slog.Any("error", err))
	f.tell(ctx, observation{what: blinded})
}

// found says once that the bucket is seen again.
func (f *follower) found(ctx context.Context) {
	if f.blind {
		f.log.LogAttrs(ctx, slog.LevelDebug, "node registry followed again",
			slog.String("bucket", f.cfg.Bucket), slog.Duration("after", f.dark()))
	}
	f.blind, f.heard = false, time.Now()
	f.tell(ctx, observation{what: complete})
}

// pause waits longer after each failure in a row, but not when something happens to the connection.
func (f *follower) pause(ctx context.Context, status <-chan nats.Status, failed int) {
	select {
	case <-ctx.Done():
	case <-status:
	case <-time.After(backoff(failed)):
	}
}

// backoff is 25ms, doubled for each failure before, at most 1s.
func backoff(failed int) time.Duration {
	return min(25*time.Millisecond<<min(failed, 16), time.Second)
}

// open makes the consumer of a reading, and the bucket too if somebody removed it. When the
// connection goes away meanwhile, or comes back, it gives up at once: the answer may be lost.
func (f *follower) open(ctx context.Context, status <-chan nats.Status) (*reading, error) {
	if !f.nc.IsConnected() {
		return nil, nats.ErrDisconnected
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() {
		select {
		case <-status:
			cancel()
		case <-ctx.Done():
		}
	})
	name := "nodes_" + nuid.Next()
	f.spend(name)
	cons, err := f.js.CreateConsumer(ctx, streamName(f.cfg.Bucket), jetstream.ConsumerConfig{
		Name:              name,
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		FilterSubject:     keyPrefix(f.cfg.Bucket) + ">",
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: consumerLife,
		Replicas:          1,
		MemoryStorage:     true,
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) && f.cfg.Mode == provision.Create {
		_, err = provision.Stream(ctx, f.js, f.cfg.stream(), f.cfg.Mode)
		return nil, errors.Join(errBroken, err) // the next attempt finds it
	}
	if err != nil {
		return nil, fmt.Errorf("create consumer: %w", err)
	}
	return f.start(cons.CachedInfo())
}

func (f *follower) start(info *jetstream.ConsumerInfo) (*reading, error) {
	r := &reading{
		f: f, api: jsapi.Prefix(f.js.Options()) + "CONSUMER.", path: info.Stream + "." + info.Name, inbox: f.nc.NewInbox(),
		arrived: make(chan *nats.Msg, 2*pullBatch), // what one pull can bring, and its heartbeats
		quiet:   time.NewTimer(silence), pending: info.NumPending,
	}
	sub, err := f.nc.ChanSubscribe(r.inbox, r.arrived)
	if err != nil {
		r.quiet.Stop()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	r.sub = sub
	f.removeSpent(1)
	if err := r.pull(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// spend notes a consumer that is to be removed one day. The oldest are forgotten: they have been
// idle for so long that the server has removed them.
func (f *follower) spend(name string) {
	f.spent = append(f.spent, name)
	f.spent = f.spent[max(len(f.spent)-maxSpent, 0):]
}

// removeSpent lets go of all consumers but the last keep. Nobody waits for the answers: what is not
// removed here, the server removes when it has been idle for consumerLife.
func (f *follower) removeSpent(keep int) {
	api := jsapi.Prefix(f.js.Options()) + "CONSUMER.DELETE." + streamName(f.cfg.Bucket) + "."
	for len(f.spent) > keep {
		_ = f.nc.PublishRequest(api+f.spent[0], f.nc.NewInbox(), nil)
		f.spent = f.spent[1:]
	}
}
