package discovery

import (
	"slices"
	"strings"
	"time"
)

// observation is one thing the follower saw in the bucket, or about itself.
type observation struct {
	what sight
	key  string
	node Node          // of present
	rev  uint64        // of present
	dark time.Duration // of began: how long nothing could be seen before
}

type sight uint8

const (
	began    sight = iota // every key is about to be seen again
	present               // the key holds node
	departed              // the key was purged or deleted
	expired               // the key aged out, or holds no node
	complete              // every key has been seen since began
	blinded               // from here nothing is seen until the next began
)

// table is what is known about the nodes. One goroutine owns it; it starts nothing, waits for
// nothing and takes the time as an argument, so every decision can be tested as a table.
type table struct {
	ttl       time.Duration
	heartbeat time.Duration
	forget    time.Duration

	records   map[string]*record
	reading   uint64    // counts the readings of the whole bucket
	following bool      // a reading is complete and nothing has been missed since
	lenient   time.Time // until then nodes that are missing get the benefit of the doubt
	recheck   time.Time // no other re-reading is asked for before
	dirty     bool      // something differs from what was listed last
}

// record is one node. Times are local and monotonic.
type record struct {
	node    Node
	rev     uint64
	reading uint64    // in which it was seen last
	left    bool      // it withdrew, rather than expired
	seen    time.Time // when its entry changed last; time spent blind does not count
	offline time.Time // since when it is offline; zero while online
	doubted time.Time // missing but not given up before that; zero otherwise
}

func newTable(cfg Config) *table {
	return &table{ttl: cfg.TTL, heartbeat: cfg.Heartbeat, forget: cfg.Forget, records: make(map[string]*record)}
}

func (t *table) observe(o observation, now time.Time) {
	switch o.what {
	case began:
		t.begin(o.dark, now)
	case present:
		t.see(o, now)
	case departed:
		t.miss(o.key, true, now)
	case expired:
		t.miss(o.key, false, now)
	case complete:
		t.complete(now)
	case blinded:
		t.following = false
	}
}

func (t *table) see(o observation, now time.Time) {
	r := t.records[o.key]
	if r == nil {
		r = &record{}
		t.records[o.key] = r
	}
	r.reading = t.reading
	r.doubted = time.Time{}
	if r.rev == o.rev && r.node.Instance == o.node.Instance {
		return // read again, nothing new; what has been given up is brought back by a beat only
	}
	*r = record{node: o.node, rev: o.rev, reading: t.reading, seen: now}
	t.dirty = true
}

// miss handles a key that is gone. After a long outage of the server every node has expired, the
// living ones only until they have reconnected: those are doubted for a moment before they are lost.
func (t *table) miss(key string, left bool, now time.Time) {
	r := t.records[key]
	if r == nil {
		return
	}
	r.reading = t.reading
	switch {
	case !r.node.Online:
	case !left && now.Before(t.lenient):
		r.doubted = t.lenient
	default:
		t.drop(r, left, now)
	}
}

func (t *table) drop(r *record, left bool, now time.Time) {
	r.node.Online, r.left, r.offline, r.doubted = false, left, now, time.Time{}
	t.dirty = true
}

// begin starts a reading of the whole bucket. The clocks stood still while nothing could be seen.
func (t *table) begin(dark time.Duration, now time.Time) {
	t.reading++
	t.following = false
	if dark > t.ttl-t.heartbeat { // long enough for a living node to have expired
		t.lenient = now.Add(t.grace())
	}
	for _, r := range t.records {
		r.seen = earlier(r.seen.Add(dark), now)
		if !r.doubted.IsZero() {
			r.doubted = later(r.doubted, t.lenient)
		}
	}
}

// complete gives up what the reading did not show.
func (t *table) complete(now time.Time) {
	t.following = true
	for key, r := range t.records {
		if r.reading != t.reading {
			t.miss(key, r.node.Draining, now)
		}
	}
}

// grace is how long after a long outage the others may take to reconnect and beat.
func (t *table) grace() time.Duration { return t.heartbeat/2 + 2*time.Second }

// pass lets time go by: it forgets and gives up what is due, and reports whether the bucket must
// be read again because a node has not been heard of for longer than the server would keep it.
func (t *table) pass(now time.Time) (reread bool) {
	for key, r := range t.records {
		switch {
		case !r.node.Online:
			if !now.Before(r.offline.Add(t.forget)) {
				delete(t.records, key)
				t.dirty = true
			}
		case !t.following:
		case !r.doubted.IsZero():
			if !now.Before(r.doubted) {
				t.drop(r, false, now)
			}
		case !now.Before(t.givenUpAt(r)):
			t.drop(r, false, now)
		case !now.Before(t.recheckAt(r)):
			reread = true
		}
	}
	if reread {
		t.recheck = now.Add(t.slack())
	}
	return reread
}

// A node whose entry is older than the TTL and some slack should have expired: its marker may have
// been missed, so the bucket is read again. One whose entry is still there a TTL later, unchanged,
// has an entry that never expires, which no member writes: it is not alive.
func (t *table) recheckAt(r *record) time.Time { return later(r.seen.Add(t.ttl+t.slack()), t.recheck) }
func (t *table) givenUpAt(r *record) time.Time { return r.seen.Add(2*t.ttl + t.slack()) }

// slack is longer than it takes the follower to notice that it is blind.
func (t *table) slack() time.Duration { return max(t.ttl/2, 2*silence) }

// due is when pass has something to do next.
func (t *table) due(now time.Time) time.Time {
	next := now.Add(time.Hour)
	for _, r := range t.records {
		next = earlier(next, t.dueFor(r, next))
	}
	return next
}

func (t *table) dueFor(r *record, otherwise time.Time) time.Time {
	switch {
	case !r.node.Online:
		return r.offline.Add(t.forget)
	case !t.following:
		return otherwise
	case !r.doubted.IsZero():
		return r.doubted
	}
	return earlier(t.recheckAt(r), t.givenUpAt(r))
}

// list returns the nodes by ID, and beside each whether it left by itself.
func (t *table) list() (nodes []Node, left []bool) {
	records := make([]*record, 0, len(t.records))
	for _, r := range t.records {
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b *record) int { return strings.Compare(a.node.ID, b.node.ID) })
	nodes, left = make([]Node, len(records)), make([]bool, len(records))
	for i, r := range records {
		nodes[i], left[i] = r.node, r.left
	}
	t.dirty = false
	return nodes, left
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
