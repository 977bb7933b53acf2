package streams

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// queueLength is how many deliveries wait in a pool's channel before its keeper takes them.
const queueLength = 1024

// idleTick is how often a keeper looks around before it has met a delivery.
const idleTick = 5 * time.Second

// A Pool runs a handler on a fixed number of goroutines. Several loops may feed one pool.
//
// # Why Offer never blocks
//
// A delivery goes into the queue, a buffered channel. When that is full it goes to the keeper, the
// pool's own goroutine, which appends it to a list and feeds the list to the queue. The keeper always
// receives: it does nothing that waits for a worker. So an Offer waits at most for one append, and the
// list is bounded by what the loops hold, the sum of their credits.
type Pool struct {
	handle   func(*Delivery)
	queue    chan *Delivery             // offered, in order of arrival
	spill    chan *Delivery             // what does not fit; 0 long, so that who sends knows it is taken
	listed   atomic.Int64               // on the keeper's list, or about to be; they go first
	running  []atomic.Pointer[Delivery] // one per worker, written by it alone: what it runs
	draining atomic.Bool                // set once; see Offer
	stop     chan struct{}              // closed by the first Drain: workers leave, the keeper empties its list
	left     chan struct{}              // one token per worker that has left; as long as there are workers
	kept     chan struct{}              // closed when the keeper has left
	wait     atomic.Int64               // shortest ack wait met, in nanoseconds; 0 before the first
	paced    chan struct{}              // 1 long: wait has changed
}

// NewPool starts workers goroutines, at least one, that call handle, and one that keeps the queue
// and renews what runs. Before handle a delivery is started (see [Delivery.Start]); one that handle
// leaves unsettled is dropped. The goroutines end with [Pool.Drain].
func NewPool(workers int, handle func(*Delivery)) *Pool {
	workers = max(workers, 1)
	p := &Pool{
		handle:  handle,
		queue:   make(chan *Delivery, queueLength),
		spill:   make(chan *Delivery),
		running: make([]atomic.Pointer[Delivery], workers),
		stop:    make(chan struct{}),
		left:    make(chan struct{}, workers), // not a semaphore: one token per worker that has left
		kept:    make(chan struct{}),
		paced:   make(chan struct{}, 1),
	}
	for i := range p.running {
		go p.work(&p.running[i])
	}
	go p.keep()
	return p
}

// Offer hands d to the workers, or back to the server at once if the pool drains. It never waits
// for a worker.
func (p *Pool) Offer(d *Delivery) {
	if p.draining.Load() {
		d.Nak(0)
		return
	}
	if wait, shortest := d.from.wait.Load(), p.wait.Load(); shortest == 0 || wait < shortest {
		p.pace(wait)
	}
	if p.listed.Load() > 0 {
		p.append(d)
		return
	}
	select {
	case p.queue <- d:
		// Drain may have begun after the look above, and all workers may be gone. Drain sets the
		// flag and then empties the queue: either it found d, or the flag was set before this look
		// and it is emptied here. Whoever takes d settles it.
		if p.draining.Load() {
			p.handBack()
		}
	default:
		p.append(d)
	}
}

// append gives d to the keeper.
func (p *Pool) append(d *Delivery) {
	p.listed.Add(1)
	select {
	case p.spill <- d:
	case <-p.kept:
		d.Nak(0)
	}
}

// Running is the number of handlers that run now.
func (p *Pool) Running() int {
	n := 0
	for i := range p.running {
		if p.running[i].Load() != nil {
			n++
		}
	}
	return n
}

// Workers is the number of handlers that can run at once.
func (p *Pool) Workers() int { return len(p.running) }

// A DrainError reports a drain whose context ended before all handlers did.
type DrainError struct {
	Running int // handlers still running
	Err     error
}

func (e *DrainError) Error() string {
	return fmt.Sprintf("drain pool: %d handlers still run: %v", e.Running, e.Err)
}

func (e *DrainError) Unwrap() error { return e.Err }

// Drain hands back, at once and for good, whatever no worker has started and whatever is still
// offered, and waits for the running handlers, which go on being renewed. It returns nil when all have
// returned: then no goroutine of the pool is left. When ctx ends first it returns a [*DrainError] and
// may be called again. It is safe for concurrent use.
func (p *Pool) Drain(ctx context.Context) error {
	if p.draining.CompareAndSwap(false, true) {
		close(p.stop)
	}
	p.handBack()
	select {
	case <-p.kept:
		return nil
	default:
	}
	select {
	case <-p.kept:
		return nil
	case <-ctx.Done():
		return &DrainError{Running: p.Running(), Err: context.Cause(ctx)}
	}
}

// handBack empties the queue.
func (p *Pool) handBack() {
	for {
		select {
		case d := <-p.queue:
			d.Nak(0)
		default:
			return
		}
	}
}

func (p *Pool) work(slot *atomic.Pointer[Delivery]) {
	defer func() { p.left <- struct{}{} }()
	for {
		select {
		case d := <-p.queue:
			p.run(slot, d)
		case <-p.stop:
			return
		}
	}
}

func (p *Pool) run(slot *atomic.Pointer[Delivery], d *Delivery) {
	if p.draining.Load() {
		d.Nak(0)
		return
	}
	if !d.Start() {
		return
	}
	slot.Store(d)
	p.handle(d)
	slot.Store(nil)
	d.Drop()
}

// pace lowers the shortest ack wait to wait and tells the keeper.
func (p *Pool) pace(wait int64) {
	for {
		old := p.wait.Load()
		if old != 0 && old <= wait {
			return
		}
		if p.wait.CompareAndSwap(old, wait) {
			break
		}
	}
	select {
	case p.paced <- struct{}{}:
	default:
	}
}

// keep is the keeper: it feeds the queue with what did not fit, renews what runs, and is the last
// to leave.
func (p *Pool) keep() {
	defer close(p.kept)
	var list []*Delivery
	tick := time.NewTicker(idleTick)
	defer tick.Stop()
	stop, workers := p.stop, len(p.running)
	for workers > 0 {
		var out chan *Delivery
		var head *Delivery
		if len(list) > 0 {
			out, head = p.queue, list[0]
		}
		select {
		case d := <-p.spill:
			list = append(list, d)
		case out <- head:
			list[0] = nil
			list = list[1:]
			p.listed.Add(-1)
		case <-tick.C:
			p.renew()
		case <-p.paced:
			// A sixth: what is due for renewal after a third has been renewed by the half.
			tick.Reset(max(time.Duration(p.wait.Load())/6, time.Millisecond))
		case <-stop:
			stop = nil
		case <-p.left:
			workers--
		}
		if stop == nil {
			handBackAll(list)
			list = nil
		}
	}
	p.handBack()
}

func handBackAll(list []*Delivery) {
	for _, d := range list {
		d.Nak(0)
	}
}

// renew renews every running delivery of whose ack wait a third or more is gone.
func (p *Pool) renew() {
	for i := range p.running {
		d := p.running[i].Load()
		if d != nil && d.Remaining() <= d.AckWait()*2/3 {
			d.Renew()
		}
	}
}
