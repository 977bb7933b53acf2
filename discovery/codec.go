package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Limits of one entry. The bucket can be written by any client, so they are checked on the way in
// as well as on the way out.
const (
	maxEntry   = 256 << 10 // bytes of JSON
	maxID      = 64        // node ID and instance
	maxKind    = 128
	maxKinds   = 4096
	maxText    = 2048 // endpoint and version
	maxEntries = 4096 // of metadata
)

// entry is a node as it is stored. It holds no time of the beat and no verdict on the node: the
// server's timestamp and the readers have those.
type entry struct {
	ID        string            `json:"nodeId"`
	Endpoint  string            `json:"endpoint"`
	Instance  string            `json:"instance"`
	StartedAt time.Time         `json:"startedAt"`
	Load      float64           `json:"load"`
	Kinds     []string          `json:"kinds"`
	Draining  bool              `json:"draining,omitempty"`
	Version   string            `json:"version,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
}

// encode returns the stored form of n, or an error if other nodes would refuse it.
func encode(n Node) ([]byte, error) {
	e := entry{
		ID: n.ID, Endpoint: n.Endpoint, Instance: n.Instance, StartedAt: n.StartedAt, Load: clamp(n.Load),
		Kinds: sortedKinds(n.Kinds), Draining: n.Draining, Version: n.Version, Metadata: n.Metadata,
	}
	if err := e.check(n.ID); err != nil {
		return nil, err
	}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	if len(data) > maxEntry {
		return nil, fmt.Errorf("encode entry: %d bytes are more than %d", len(data), maxEntry)
	}
	return data, nil
}

// decode returns the node stored under key. What no member could have written is an error.
func decode(key string, data []byte, stored time.Time) (Node, error) {
	if len(data) > maxEntry {
		return Node{}, fmt.Errorf("decode entry: %d bytes are more than %d", len(data), maxEntry)
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return Node{}, fmt.Errorf("decode entry: %w", err)
	}
	if err := e.check(key); err != nil {
		return Node{}, err
	}
	return Node{
		ID: e.ID, Endpoint: e.Endpoint, Instance: e.Instance, StartedAt: e.StartedAt, LastSeen: stored, Load: clamp(e.Load),
		Kinds: sortedKinds(e.Kinds), Draining: e.Draining, Online: true, Version: e.Version, Metadata: maps.Clone(e.Metadata),
	}, nil
}

func (e entry) check(key string) error {
	switch {
	case e.ID != key:
		return fmt.Errorf("node ID %.80q does not match key %.80q", e.ID, key)
	case !isToken(e.ID, maxID):
		return fmt.Errorf("node ID %.80q: want [A-Za-z0-9_-]{1,%d}", e.ID, maxID)
	case !isToken(e.Instance, maxID):
		return fmt.Errorf("instance %.80q: want [A-Za-z0-9_-]{1,%d}", e.Instance, maxID)
	case len(e.Endpoint) > maxText || len(e.Version) > maxText:
		return fmt.Errorf("endpoint or version is longer than %d bytes", maxText)
	case len(e.Kinds) > maxKinds:
		return fmt.Errorf("%d kinds are more than %d", len(e.Kinds), maxKinds)
	case slices.ContainsFunc(e.Kinds, badKind):
		return errors.New("a kind is empty, too long or not tokens joined by dots")
	case len(e.Metadata) > maxEntries:
		return fmt.Errorf("%d metadata entries are more than %d", len(e.Metadata), maxEntries)
	}
	return nil
}

func badKind(kind string) bool {
	if len(kind) > maxKind {
		return true
	}
	for token := range strings.SplitSeq(kind, ".") {
		if !isToken(token, maxKind) {
			return true
		}
	}
	return false
}

// sortedKinds returns the kinds in order and each once, never nil, in memory of its own.
func sortedKinds(kinds []string) []string {
	sorted := append(make([]string, 0, len(kinds)), kinds...)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// clamp forces a load into 0..1; JSON knows neither infinity nor NaN.
func clamp(load float64) float64 {
	if math.IsNaN(load) {
		return 0
	}
	return min(max(load, 0), 1)
}
