package streams

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Bodies of the replies to a delivery.
const (
	ackBody   = "+ACK"
	nakBody   = "-NAK"
	renewBody = "+WPI"
)

// A Delivery is one message that the server has handed to this process, and the right to say what
// becomes of it. Exactly one of Ack, Nak and Drop counts, the first; later ones do nothing and
// report false. That one also returns the loop's credit. The fields must not be changed; the methods
// are safe for concurrent use.
type Delivery struct {
	Subject   string
	Header    nats.Header // nil without headers; shared, do not change
	Data      []byte
	Stream    string
	Sequence  uint64    // in the stream
	Delivered uint64    // how often the server has delivered it, this time included
	Published time.Time // when it was stored, by the server's clock
	Arrived   time.Time // when it arrived here, with the monotonic clock
	Created   int64     // when the stream was created, Unix nanoseconds; with Stream and Sequence it names the message

	from    *origin
	reply   string
	fresh   bool
	settled atomic.Bool
	expires atomic.Int64 // when the ack wait is over, by origin.now; moved on by Renew alone
}

// origin is what the deliveries of one loop have in common.
type origin struct {
	nc      *nats.Conn
	base    time.Time    // where now counts from
	wait    atomic.Int64 // ack wait of the consumer; written by the loop's tender
	release func()       // gives one credit back; called once per delivery
	watched atomic.Bool  // whether up is kept; written by the loop's owner
	up      atomic.Bool  // whether the connection is up; written by the loop's owner
}

// connected asks the connection, which costs a lock of its own, only when nobody has told us.
func (o *origin) connected() bool {
	if o.watched.Load() {
		return o.up.Load()
	}
	return o.nc.IsConnected()
}

// now is the local monotonic clock.
func (o *origin) now() int64 { return int64(time.Since(o.base)) }

func (o *origin) ackWait() time.Duration { return time.Duration(o.wait.Load()) }

// margin is how much of the ack wait is kept for the way to the server: a twentieth, at most 1 s.
func (o *origin) margin() int64 { return int64(min(o.ackWait()/20, time.Second)) }

// Fresh reports that the message is certainly new: this is its first delivery, and it was stored
// after this loop last connected or its consumer was last created. What was stored before may have
// been run already although the server counts one delivery, since a server that crashes forgets.
func (d *Delivery) Fresh() bool { return d.fresh }

// AckWait is the time from a delivery, or its renewal, to the next delivery of the message.
func (d *Delivery) AckWait() time.Duration { return d.from.ackWait() }

// Remaining is what is left of the ack wait since the arrival or the last renewal; 0 or less means
// that the message is somebody else's by now.
func (d *Delivery) Remaining() time.Duration {
	return time.Duration(d.expires.Load() - d.from.now())
}

// Start reports whether a worker may run the delivery now. It reports false, and drops the delivery,
// when 80 % of its ack wait went by while it waited: by the time it ran it would be somebody else's.
// A delivery that has waited for a third or more is renewed. [Pool] calls it before the handler.
func (d *Delivery) Start() bool {
	left, wait := d.Remaining(), d.from.ackWait()
	if left <= wait/5 {
		d.Drop()
		return false
	}
	if left <= wait-wait/3 {
		d.Renew()
	}
	return !d.settled.Load()
}

// Ack tells the server that the message is done for this durable. It reports whether that was
// sent: not when the delivery was settled before, when its ack wait is over, or without a
// connection. It does not wait for the server, which may still lose it.
func (d *Delivery) Ack() bool { return d.settle([]byte(ackBody)) }

// Nak hands the message back, to be delivered again after delay, at once if delay is 0 or less. It
// reports as Ack does. It is never sent late: by then it would take the message from its next
// holder.
func (d *Delivery) Nak(delay time.Duration) bool { return d.settle(nak(delay)) }

func nak(delay time.Duration) []byte {
	if delay <= 0 {
		return []byte(nakBody)
	}
	body := append(make([]byte, 0, len(nakBody)+32), nakBody+` {"delay":`...)
	body = strconv.AppendInt(body, int64(delay), 10)
	return append(body, '}')
}

// Drop lets go of the delivery without a word: the server delivers the message again when its ack
// wait is over.
func (d *Delivery) Drop() {
	if d.settled.CompareAndSwap(false, true) {
		d.from.release()
	}
}

// Renew asks the server for another full ack wait and reports whether that was sent. [Pool] renews
// what runs.
func (d *Delivery) Renew() bool {
	if d.settled.Load() {
		return false
	}
	now := d.from.now()
	if !d.inTime(now) || !d.send([]byte(renewBody)) {
		return false
	}
	d.expires.Store(now + d.from.wait.Load())
	return true
}

func (d *Delivery) settle(body []byte) bool {
	if !d.settled.CompareAndSwap(false, true) {
		return false
	}
	sent := d.inTime(d.from.now()) && d.send(body)
	d.from.release()
	return sent
}

func (d *Delivery) inTime(now int64) bool {
	return now < d.expires.Load()-d.from.margin()
}

// send refuses while disconnected: a reconnect buffer would send the reply when it is late.
func (d *Delivery) send(body []byte) bool {
	return d.from.connected() && d.from.nc.Publish(d.reply, body) == nil
}
