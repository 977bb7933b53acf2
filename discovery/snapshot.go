package discovery

import (
	"slices"
	"sync/atomic"
)

// snapshot is the registry at one moment. The owner goroutine builds it and stores it in
// [Registry.current]; from then on nothing in it changes but the round robin counters and the two
// channels, which are closed once. Readers load the pointer and need no other coordination.
//
// Waiters take a channel out of the snapshot and then look at the state. The owner stores the new
// snapshot before it closes the channels of the old one, so whoever holds an old channel either
// sees the new state or is woken.
type snapshot struct {
	nodes    []Node           // by ID
	left     []bool           // beside nodes: it withdrew its entry
	index    map[string]int   // ID → position in nodes
	handling map[string]group // kind → those to whom it can be sent

	replaced chan struct{} // closed when a newer snapshot has been stored
	moved    chan struct{} // closed when one with another membership has been stored; handed on until then
}

// group is the nodes that take one kind, and whose turn it is. The counter outlives snapshots, so
// that a change of the membership does not begin every round at the first node.
type group struct {
	ids  []string // by ID, never empty
	turn *atomic.Uint64
}

func newSnapshot(nodes []Node, left []bool) *snapshot {
	s := &snapshot{nodes: nodes, left: left, index: make(map[string]int, len(nodes)), replaced: make(chan struct{})}
	for i := range nodes {
		s.index[nodes[i].ID] = i
	}
	return s
}

// succeed makes s the successor of old: what both have in common is taken over. It reports
// whether the membership is another one.
func (s *snapshot) succeed(old *snapshot) (moved bool) {
	if sameMembership(old.nodes, s.nodes) {
		s.handling, s.moved = old.handling, old.moved
		return false
	}
	s.handling, s.moved = groupByKind(s.nodes, old.handling), make(chan struct{})
	return true
}

func groupByKind(nodes []Node, before map[string]group) map[string]group {
	groups := make(map[string]group, len(before))
	for i := range nodes {
		if !nodes[i].Online || nodes[i].Draining {
			continue
		}
		for _, kind := range nodes[i].Kinds {
			g := groups[kind]
			g.ids = append(g.ids, nodes[i].ID)
			groups[kind] = g
		}
	}
	for kind, g := range groups {
		g.ids = slices.Clip(g.ids) // a reader's append must not write here
		if g.turn = before[kind].turn; g.turn == nil {
			g.turn = new(atomic.Uint64)
		}
		groups[kind] = g
	}
	return groups
}

// sameMembership compares what decides where messages can go; load and last beat do not.
func sameMembership(a, b []Node) bool {
	return slices.EqualFunc(a, b, func(a, b Node) bool {
		return a.ID == b.ID && a.Instance == b.Instance && a.Online == b.Online &&
			a.Draining == b.Draining && slices.Equal(a.Kinds, b.Kinds)
	})
}

func (s *snapshot) lookup(id string) (node Node, left, ok bool) {
	i, ok := s.index[id]
	if !ok {
		return Node{}, false, false
	}
	return s.nodes[i], s.left[i], true
}

// next takes one turn. The increment is the only step, so of two callers at once each gets a turn
// of its own, and n turns over k nodes are n/k each, whoever takes them.
func (s *snapshot) next(kind string) (string, bool) {
	g, ok := s.handling[kind]
	if !ok {
		return "", false
	}
	turn := g.turn.Add(1) - 1
	return g.ids[turn%uint64(len(g.ids))], true
}
