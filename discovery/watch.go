package discovery

import (
	"context"
	"reflect"
	"slices"
)

// Watch sends every change from now on, until ctx ends or the registry closes; then it closes the
// channel. A reader that is slower than the changes gets, for each node, the step from what it was
// told last to what is true now: states in between are skipped, the last one never is.
func (r *Registry) Watch(ctx context.Context) <-chan Change {
	out := make(chan Change)
	w := &watcher{registry: r, told: make(map[string]Node)}
	for _, node := range r.Nodes() {
		w.told[node.ID] = node
	}
	go w.run(ctx, out)
	return out
}

// watcher compares what its reader was told with the newest snapshot. It needs no queue, and the
// owner need not know it: the next change is computed when the reader can take it.
type watcher struct {
	registry *Registry
	told     map[string]Node
}

func (w *watcher) run(ctx context.Context, out chan<- Change) {
	defer close(out)
	for {
		s := w.registry.current.Load()
		change, some := w.next(s)
		ready := out
		if !some {
			ready = nil // never ready: wait for a snapshot
		}
		select {
		case <-ctx.Done():
			return
		case <-w.registry.closing:
			return
		case <-s.replaced:
		case ready <- change:
			w.told[change.Node.ID] = change.Node
		}
	}
}

// next returns one change that the reader does not know of yet. Nodes about which there is nothing
// to say are brought up to date on the way.
func (w *watcher) next(s *snapshot) (Change, bool) {
	for i := range s.nodes {
		told, known := w.told[s.nodes[i].ID]
		if change, some := step(told, known, s.nodes[i], s.left[i]); some {
			return change, true
		}
		w.told[s.nodes[i].ID] = s.nodes[i]
	}
	return w.forgotten(s)
}

// forgotten finds a node that is listed no more. A reader that was so slow that it still believes
// it online is told.
func (w *watcher) forgotten(s *snapshot) (Change, bool) {
	for id, told := range w.told {
		if _, listed := s.index[id]; listed {
			continue
		}
		if told.Online {
			return Change{Lost, gone(told)}, true
		}
		delete(w.told, id)
	}
	return Change{}, false
}

// step decides what to say to somebody who was told told about a node that is now. Another
// instance is two steps: the one before has left, even if nobody saw it go, and then this one joins.
func step(told Node, known bool, now Node, left bool) (Change, bool) {
	switch {
	case !known || !told.Online:
		return Change{Joined, now}, now.Online
	case !now.Online && left:
		return Change{Left, now}, true
	case !now.Online:
		return Change{Lost, now}, true
	case now.Instance != told.Instance:
		return Change{Left, gone(told)}, true
	case now.Draining && !told.Draining:
		return Change{Draining, now}, true
	}
	return Change{Updated, now}, !sameReport(told, now)
}

func gone(n Node) Node {
	n.Online = false
	return n
}

// sameReport says whether two beats of one instance say the same.
func sameReport(a, b Node) bool {
	a.LastSeen = b.LastSeen
	if !slices.Equal(a.Kinds, b.Kinds) {
		return false
	}
	a.Kinds = b.Kinds
	return a.StartedAt.Equal(b.StartedAt) && reflect.DeepEqual(a, b)
}
