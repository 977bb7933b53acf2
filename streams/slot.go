package streams

import (
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// A slot is the place of one open pull. Each has a subscription of its own, since a message does not
// say which pull it answers, and the loop must know which pull is used up.
//
// The owner opens a pull in an idle slot (asked 0). From then on the subscription's callback counts
// asked down, and ends it when a status says so. The owner ends one that has gone silent; a message
// that comes in spite of that finds 0 and leaves it at 0.
type slot struct {
	inbox  string // begins the reply subject of its pulls; their number follows
	sub    *nats.Subscription
	closed chan struct{} // closed when no callback can run any more
	asked  atomic.Int64  // messages still to come; 0 is idle
	number atomic.Uint64 // of the present pull; written by the owner
	heard  atomic.Int64  // origin.now of the last sign of life of the present pull
	last   uint64        // highest sequence that came as a first delivery in epoch; callback only
	epoch  uint64        // Loop.epoch of last; callback only
}

func (s *slot) reply() string { return s.inbox + strconv.FormatUint(s.number.Load(), 10) }

// present reports whether a status message with that subject is about the present pull.
func (s *slot) present(subject string) bool {
	number, ok := strings.CutPrefix(subject, s.inbox)
	if !ok {
		return false
	}
	n, ok := parseUint(number)
	return ok && n == s.number.Load()
}

// arrived counts one message, and reports whether it was the last of the pull.
func (s *slot) arrived() bool {
	for {
		n := s.asked.Load()
		if n <= 0 {
			return false
		}
		if s.asked.CompareAndSwap(n, n-1) {
			return n == 1
		}
	}
}

// abandon ends the pull; what is still said about it is ignored.
func (s *slot) abandon() {
	s.number.Add(1)
	s.asked.Store(0)
}

// plan decides how much to ask for now, given the credits, what is held by this process, what is
// asked for and not here yet, and how many slots are idle. When only little room has come free and
// nothing is on its way, it says to linger: a moment later one pull asks for more at once.
func plan(credits, held, asked, idle int64) (batch int64, linger bool) {
	room := credits - held - asked
	if idle == 0 || room <= 0 {
		return 0, false
	}
	if asked > 0 { // enough is on its way; ask again while it comes, in large steps
		if room >= (credits+1)/2 {
			return room, false
		}
		return 0, false
	}
	if room >= max(credits/8, 1) {
		return room, false
	}
	return 0, true
}
