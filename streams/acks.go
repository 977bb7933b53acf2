package streams

import (
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// The acknowledgements of everything that a publisher sends come to one wildcard subject. Its last
// token names the call that waits: a number in a table, and which use of that number it is.
//
// A call goes round between three holders. Free: in the stack. Waiting: a publishing goroutine has it
// and has sent a message. Answered: whoever moved its state on by CompareAndSwap, the callback with
// an answer or the publisher that gives up. So there is at most one answer per use, the channel
// always has room for it, and a late acknowledgement of an earlier use changes nothing.
const (
	chunkSize = 256
	maxChunks = 256
	maxCalls  = chunkSize * maxChunks // messages in flight per publisher
)

// answer is the server's reply, or why there is none.
type answer struct {
	msg *nats.Msg
	err error
}

type call struct {
	index  uint64
	answer chan answer   // 1 long: one answer per use
	use    atomic.Uint64 // even: not waiting; odd: waiting, of which use
	since  atomic.Int64  // when it was sent, by Publisher.now
	wait   atomic.Int64  // how long after since it ends, while connected
	limit  atomic.Int64  // when it ends, connected or not, by Publisher.now
	next   atomic.Uint64 // index+1 of the next free call; written by who frees this one
}

// resolve delivers a to the use of c, and reports whether that one still waited.
func (c *call) resolve(use uint64, a answer) bool {
	if !c.use.CompareAndSwap(use, use+1) {
		return false
	}
	c.answer <- a
	return true
}

// calls is the table. It grows by chunks and never shrinks. The free calls are a Treiber stack: free
// holds the index+1 of its top in the low half, and in the high half a counter that every change
// moves on, so that a pop that was overtaken by pop, pop, push fails instead of installing a stale
// second element.
type calls struct {
	chunks  [maxChunks]atomic.Pointer[[chunkSize]call]
	free    atomic.Uint64
	grown   atomic.Uint64 // calls handed out for the first time so far
	waiting atomic.Int64  // calls out of the stack
}

const (
	topMask = 1<<32 - 1
	tagUnit = 1 << 32
)

// take gets a free call, or nil when all are in use.
func (t *calls) take() *call {
	for {
		top := t.free.Load()
		index := top & topMask
		if index == 0 {
			break
		}
		c := t.at(index - 1)
		if t.free.CompareAndSwap(top, c.next.Load()&topMask|(top&^topMask+tagUnit)) {
			t.waiting.Add(1)
			return c
		}
	}
	return t.grow()
}

func (t *calls) grow() *call {
	for {
		n := t.grown.Load()
		if n >= maxCalls {
			return nil
		}
		chunk := &t.chunks[n/chunkSize]
		if chunk.Load() == nil {
			chunk.CompareAndSwap(nil, newChunk(n/chunkSize)) // who loses uses the winner's
		}
		if t.grown.CompareAndSwap(n, n+1) {
			t.waiting.Add(1)
			return t.at(n)
		}
	}
}

func newChunk(number uint64) *[chunkSize]call {
	chunk := new([chunkSize]call)
	for i := range chunk {
		chunk[i].index = number*chunkSize + uint64(i)
		chunk[i].answer = make(chan answer, 1)
	}
	return chunk
}

// give puts c back. Its channel must be empty and its use even.
func (t *calls) give(c *call) {
	t.waiting.Add(-1)
	for {
		top := t.free.Load()
		c.next.Store(top & topMask)
		if t.free.CompareAndSwap(top, (c.index+1)|(top&^topMask+tagUnit)) {
			return
		}
	}
}

// at is the call of that index, which has been handed out before.
func (t *calls) at(index uint64) *call {
	return &t.chunks[index/chunkSize].Load()[index%chunkSize]
}

// each calls f for every call that waits, with its use.
func (t *calls) each(f func(c *call, use uint64)) {
	for i := range t.grown.Load() {
		c := t.at(i)
		if use := c.use.Load(); use%2 == 1 {
			f(c, use)
		}
	}
}

const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"

// token writes index and use as one subject token: index in 3 digits of base 64, use in as many as it
// takes.
func appendToken(b []byte, index, use uint64) []byte {
	b = append(b, digits[index>>12&63], digits[index>>6&63], digits[index&63])
	for {
		b = append(b, digits[use&63])
		if use >>= 6; use == 0 {
			return b
		}
	}
}

// parseToken is the inverse.
func parseToken(token string) (index, use uint64, ok bool) {
	if len(token) < 4 || len(token) > 14 {
		return 0, 0, false
	}
	for i := range len(token) {
		digit := strings.IndexByte(digits, token[i])
		if digit < 0 {
			return 0, 0, false
		}
		if i < 3 {
			index = index<<6 | uint64(digit)
		} else {
			use |= uint64(digit) << (6 * (i - 3))
		}
	}
	return index, use, index < maxCalls
}
