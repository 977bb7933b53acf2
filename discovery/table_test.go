package discovery

import (
	"testing"
	"time"
)

// script drives a table by observations at seconds since the start.
type script struct {
	tb    testing.TB
	table *table
	start time.Time
}

func newScript(tb testing.TB) *script {
	tb.Helper()
	return &script{tb, newTable(Config{}.withDefaults()), time.Now()}
}

func (s *script) at(seconds float64) time.Time {
	return s.start.Add(time.Duration(seconds * float64(time.Second)))
}

func (s *script) observe(seconds float64, o observation) { s.table.observe(o, s.at(seconds)) }

// read is a whole reading that shows the given revisions of node a; 0 is none.
func (s *script) read(seconds, dark float64, rev uint64) {
	s.observe(seconds, observation{what: began, dark: time.Duration(dark * float64(time.Second))})
	if rev != 0 {
		s.beat(seconds, rev)
	}
	s.observe(seconds, observation{what: complete})
}

func (s *script) beat(seconds float64, rev uint64) {
	s.observe(seconds, observation{what: present, key: "a", rev: rev, node: Node{ID: "a", Instance: "i", Online: true}})
}

// pass lets time go by up to a moment, as the owner does: stopping wherever something is due.
func (s *script) pass(until float64) (rereads int) {
	s.tb.Helper()
	for range 100 {
		due := s.table.due(s.at(until))
		if due.After(s.at(until)) {
			return rereads
		}
		if s.table.pass(due) {
			rereads++
		}
	}
	s.tb.Fatal("the table never comes to rest")
	return 0
}

func (s *script) want(what string, listed, isOnline bool) {
	s.tb.Helper()
	nodes, _ := s.table.list()
	if (len(nodes) == 1) != listed || (listed && nodes[0].Online != isOnline) {
		s.tb.Errorf("%s: %+v, want listed %v, online %v", what, nodes, listed, isOnline)
	}
}

func TestMarkerEndsANode(t *testing.T) {
	t.Parallel()
	for what, left := range map[sight]bool{expired: false, departed: true} {
		s := newScript(t)
		s.read(0, 0, 1)
		s.observe(5, observation{what: what, key: "a"})
		s.want("after the marker", true, false)
		if _, got := s.table.list(); got[0] != left {
			t.Errorf("left: %v, want %v", got[0], left)
		}
		s.pass(5 + 3599)
		s.want("within the hour", true, false)
		s.pass(5 + 3600)
		s.want("after the hour", false, false)
	}
}

func TestMissedMarkerIsFoundByReadingAgain(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.read(0, 0, 1)
	if n := s.pass(44); n != 0 {
		t.Errorf("%d rereads within the TTL and half of it", n)
	}
	if n := s.pass(45); n != 1 {
		t.Errorf("%d rereads, want 1", n)
	}
	s.want("before the reading", true, true)
	s.read(45, 0, 0)
	s.want("after the reading", true, false)
}

func TestEntryThatNeverExpiresIsGivenUpUntilItBeats(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.read(0, 0, 1)
	s.pass(46)
	s.read(46, 0, 1)
	s.want("found again", true, true)
	s.pass(75)
	s.want("unchanged for two and a half TTLs", true, false)
	s.read(80, 0, 1)
	s.want("still there, still unchanged", true, false)
	s.beat(81, 2)
	s.want("it beats", true, true)
}

func TestNothingIsGivenUpWhileBlind(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.read(0, 0, 1)
	s.observe(10, observation{what: blinded})
	if n := s.pass(600); n != 0 {
		t.Errorf("%d rereads asked for while blind", n)
	}
	s.want("blind", true, true)
	s.read(600, 590, 1)
	s.pass(600 + 34)
	s.want("the time spent blind does not count", true, true)
}

func TestAfterALongOutageTheLivingHaveAMomentToReturn(t *testing.T) {
	t.Parallel()
	for name, returns := range map[string]bool{"living": true, "dead": false} {
		s := newScript(t)
		s.read(0, 0, 1)
		s.observe(5, observation{what: blinded})
		s.read(65, 60, 0)
		s.want(name+" right after", true, true)
		if returns {
			s.beat(67, 9)
		}
		s.pass(65 + 6.9)
		s.want(name+" in the moment", true, true)
		s.pass(65 + 7)
		s.want(name+" after the moment", true, returns)
	}
}

func TestAfterALongOutageTheMarkersMayComeLater(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.read(0, 0, 1)
	s.read(60, 59, 1)
	s.observe(60.25, observation{what: expired, key: "a"})
	s.want("doubted", true, true)
	s.pass(67)
	s.want("after the moment", true, false)
}

func TestAfterAShortBreakWhatIsMissingIsLostAtOnce(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.read(0, 0, 1)
	s.read(15, 15, 0)
	s.want("after 15s", true, false)
}

func TestUnknownKeysAndRepeatsChangeNothing(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.read(0, 0, 0)
	s.observe(1, observation{what: expired, key: "a"})
	s.observe(1, observation{what: departed, key: "a"})
	if s.table.dirty || len(s.table.records) != 0 {
		t.Error("markers of unknown keys left something")
	}
	s.beat(2, 7)
	s.table.list()
	s.read(3, 0, 7)
	if s.table.dirty {
		t.Error("reading the same again is a change")
	}
}

func TestNodesThatVanishedWhileDrainingHaveLeft(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.read(0, 0, 0)
	s.observe(1, observation{what: present, key: "a", rev: 1, node: Node{ID: "a", Instance: "i", Online: true, Draining: true}})
	s.read(2, 1, 0)
	if _, left := s.table.list(); !left[0] {
		t.Error("reported lost")
	}
}
