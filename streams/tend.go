package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/provision"
)

// How long the tender waits for one answer, and for a consumer to be made sure of. A server that has
// just started may swallow a question: the first one is given up early, later ones are given more.
const (
	firstPatience  = 250 * time.Millisecond
	findPatience   = time.Second
	infoPatience   = 2 * time.Second
	ensurePatience = 10 * time.Second
	pollAgain      = 500 * time.Millisecond // after an info without answer
)

// Info is what a durable looks like from outside, for all nodes together.
type Info struct {
	Stream, Durable string
	NumPending      uint64        // stored and not yet delivered
	NumAckPending   int           // delivered and not acknowledged
	NumRedelivered  int           // of these, delivered more than once
	NumWaiting      int           // open pulls
	AckFloor        uint64        // everything up to this sequence is done
	Oldest          time.Duration // age of the oldest that is not done, by the server's clock; 0 if all are
	At              time.Time     // the server's time
}

// tended is what the tender knows. Only it, and Start before it runs, may touch the plain fields.
type tended struct {
	failures   int // to read the stream, in a row
	stream     jetstream.Stream
	workQueue  bool
	known      bool      // floor has been read
	floor      uint64    // last ack floor read
	incarnated time.Time // creation time of the consumer
	leader     string    // server that leads the consumer; "" outside a cluster
	maxBatch   atomic.Int64
	maxExpires atomic.Int64
}

// tend does the slow work until ctx ends.
func (l *Loop) tend(ctx context.Context) {
	defer func() { l.ended <- struct{}{} }()
	poll := time.NewTimer(0)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-l.repair:
			l.repaired <- l.mend(ctx, t) // has room: one repair at a time
		case <-poll.C:
			next := l.cfg.InfoInterval
			if l.from.up.Load() && !l.poll(ctx) {
				next = min(next, pollAgain)
			}
			poll.Reset(jitter(next))
		}
	}
}

// mend reads the watermark and, if the consumer may be missing, makes sure of it. The watermark is
// read first: what is stored after that can only have been delivered by a consumer that exists now.
func (l *Loop) mend(ctx context.Context, t trouble) error {
	epoch := l.epoch.Load()
	last, err := l.readStream(ctx)
	if err != nil {
		return err
	}
	if t&missing != 0 || !l.tended.known {
		if err := l.ensure(ctx, last); err != nil {
			return err
		}
	}
	l.setWatermark(epoch, last)
	return nil
}

// readStream returns the stream's last sequence. A stream that was deleted and created anew has
// nothing that was done before.
func (l *Loop) readStream(ctx context.Context) (uint64, error) {
	k := &l.tended
	ctx, cancel := context.WithTimeout(ctx, backoff(k.failures+1, firstPatience, infoPatience))
	defer cancel()
	stream, err := l.js.Stream(ctx, l.cfg.Stream)
	if err != nil {
		k.failures++
		return 0, fmt.Errorf("read stream %s: %w", l.cfg.Stream, err)
	}
	k.failures = 0
	info := stream.CachedInfo()
	created := info.Created.UnixNano()
	if before := l.created.Swap(created); before != 0 && before != created {
		k.floor = 0
	}
	k.stream = stream
	k.workQueue = info.Config.Retention == jetstream.WorkQueuePolicy
	return info.State.LastSeq, nil
}

// ensure makes sure of the consumer: at the start with all its settings; later it is created if it is
// gone, and otherwise left as it is, since another version of the program may have changed it.
func (l *Loop) ensure(ctx context.Context, last uint64) error {
	ctx, cancel := context.WithTimeout(ctx, ensurePatience)
	defer cancel()
	k := &l.tended
	consumer, err := l.find(ctx)
	if notFound(err) {
		consumer, err = provision.Consumer(ctx, l.js, l.cfg.Stream, l.consumer(last), l.cfg.Mode)
	}
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	if k.known && !info.Created.Equal(k.incarnated) {
		l.cfg.Logger.WarnContext(ctx, "consumer was deleted and recreated", slog.String("stream", l.cfg.Stream),
			slog.String("consumer", l.cfg.Durable), slog.Uint64("after_sequence", info.AckFloor.Stream))
	}
	l.remember(info)
	return nil
}

// find looks the consumer up that was there before.
func (l *Loop) find(ctx context.Context) (jetstream.Consumer, error) {
	if !l.tended.known {
		return nil, jetstream.ErrConsumerNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, findPatience)
	defer cancel()
	consumer, err := l.js.Consumer(ctx, l.cfg.Stream, l.cfg.Durable)
	if err != nil {
		return nil, fmt.Errorf("find consumer %s: %w", l.cfg.Durable, err)
	}
	return consumer, nil
}

func notFound(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrConsumerDoesNotExist)
}

func (l *Loop) remember(info *jetstream.ConsumerInfo) {
	k := &l.tended
	k.known, k.floor, k.incarnated, k.leader = true, info.AckFloor.Stream, info.Created, leader(info)
	// Another version of the program may have changed the ack wait since: what counts is the server's.
	if wait := info.Config.AckWait; wait > 0 {
		l.from.wait.Store(int64(wait))
	}
	k.maxBatch.Store(int64(info.Config.MaxRequestBatch))
	k.maxExpires.Store(int64(info.Config.MaxRequestExpires))
}

// consumer is the durable as it should be. One that existed before and is gone starts after the floor
// that was last seen: what is older is done. A work queue holds nothing that is done, and the server
// wants its consumers to start from the beginning.
func (l *Loop) consumer(last uint64) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:           l.cfg.Durable,
		FilterSubjects:    l.cfg.FilterSubjects,
		DeliverPolicy:     jetstream.DeliverNewPolicy,
		AckPolicy:         jetstream.AckExplicitPolicy,
		AckWait:           l.cfg.AckWait,
		MaxDeliver:        -1,
		MaxAckPending:     l.cfg.MaxAckPending,
		MaxWaiting:        l.cfg.MaxWaiting,
		InactiveThreshold: l.cfg.InactiveThreshold,
	}
	switch k := &l.tended; {
	case k.workQueue:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	case k.known:
		cfg.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
		cfg.OptStartSeq = min(k.floor, last) + 1
	case l.cfg.FromStart:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	return cfg
}

// poll reads the consumer's info: for the floor, for OnInfo, and to notice early that it is gone or
// that it does not know of our pulls any more. It reports whether it got an answer.
func (l *Loop) poll(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, infoPatience)
	defer cancel()
	before := l.quietPulls()
	consumer, err := l.js.Consumer(ctx, l.cfg.Stream, l.cfg.Durable)
	switch {
	case notFound(err):
		l.report(troubled|voided|missing, nil)
		return true
	case err != nil:
		l.complain(fmt.Errorf("poll consumer %s: %w", l.cfg.Durable, err))
		return false
	}
	info := consumer.CachedInfo()
	if l.forgotten(info, before) {
		l.report(troubled|voided, nil)
	}
	l.remember(info)
	if l.cfg.OnInfo == nil {
		return true
	}
	l.cfg.OnInfo(Info{
		Stream:         l.cfg.Stream,
		Durable:        l.cfg.Durable,
		NumPending:     info.NumPending,
		NumAckPending:  info.NumAckPending,
		NumRedelivered: info.NumRedelivered,
		NumWaiting:     info.NumWaiting,
		AckFloor:       info.AckFloor.Stream,
		Oldest:         l.oldest(ctx, info),
		At:             info.TimeStamp,
	})
	return true
}

// quietPulls are the numbers of the open pulls that nothing was heard of for a second, so that the
// server must have them by now; 0 where there is none.
func (l *Loop) quietPulls() (numbers [pulls]uint64) {
	limit := l.from.now() - int64(time.Second)
	for i := range l.slots {
		if s := &l.slots[i]; s.asked.Load() > 0 && s.heard.Load() < limit {
			numbers[i] = s.number.Load()
		}
	}
	return numbers
}

// forgotten reports that the consumer is another one than it was, that another server leads it, or
// that it has no open pulls although one of ours is open, and was before it was asked: then ours are
// lost, and the heartbeats would tell only later.
func (l *Loop) forgotten(info *jetstream.ConsumerInfo, before [pulls]uint64) bool {
	k := &l.tended
	if !info.Created.Equal(k.incarnated) || (k.leader != "" && leader(info) != k.leader) {
		return true
	}
	if info.NumWaiting > 0 {
		return false
	}
	for i, number := range l.quietPulls() {
		if number != 0 && number == before[i] {
			return true
		}
	}
	return false
}

func leader(info *jetstream.ConsumerInfo) string {
	if info.Cluster == nil {
		return ""
	}
	return info.Cluster.Leader
}

// oldest is the age of the first message above the floor that is the durable's.
func (l *Loop) oldest(ctx context.Context, info *jetstream.ConsumerInfo) time.Duration {
	if info.NumPending == 0 && info.NumAckPending == 0 {
		return 0
	}
	var first time.Time
	for _, filter := range l.cfg.FilterSubjects {
		m, err := l.tended.stream.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(filter))
		if err != nil {
			continue // no such message, or a moment without a leader: the next poll tells
		}
		if first.IsZero() || m.Time.Before(first) {
			first = m.Time
		}
	}
	if first.IsZero() {
		return 0
	}
	return max(info.TimeStamp.Sub(first), 0)
}
