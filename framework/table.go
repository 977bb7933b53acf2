package framework

import (
	"maps"
	"sync/atomic"
)

// table is a map that every message reads and almost nothing writes. A reader does one atomic load
// and one map lookup and never waits. A writer copies the map, changes the copy and swaps it in;
// one that loses the race starts over from the winner's map, so no entry is ever lost. A map is
// never modified once stored. The zero table is empty and ready to use.
type table[K comparable, V any] struct {
	snapshot atomic.Pointer[map[K]V]
}

func (t *table[K, V]) get(key K) (V, bool) {
	v, ok := t.all()[key]
	return v, ok
}

// all is the present snapshot: read only.
func (t *table[K, V]) all() map[K]V {
	if m := t.snapshot.Load(); m != nil {
		return *m
	}
	return nil
}

// add stores v under key, unless there is something already: then it returns that and false.
func (t *table[K, V]) add(key K, v V) (V, bool) {
	for {
		old := t.snapshot.Load()
		next := make(map[K]V)
		if old != nil {
			if present, ok := (*old)[key]; ok {
				return present, false
			}
			maps.Copy(next, *old)
		}
		next[key] = v
		if t.snapshot.CompareAndSwap(old, &next) {
			return v, true
		}
	}
}
