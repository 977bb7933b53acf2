package discovery

import "time"

// Node is one entry of the registry, with the JSON names of the health endpoint.
type Node struct {
	ID        string            `json:"nodeId"`             // [A-Za-z0-9_-]{1,64}
	Endpoint  string            `json:"endpoint"`           // whatever the node says; not checked
	Instance  string            `json:"instance"`           // names one life of the node: a restart is another instance
	StartedAt time.Time         `json:"startedAt"`          // by the node's own clock; information only
	LastSeen  time.Time         `json:"lastSeen"`           // when the server stored its last beat
	Load      float64           `json:"load"`               // 0..1, as of that beat
	Kinds     []string          `json:"kinds"`              // message kinds it handles, sorted
	Draining  bool              `json:"draining,omitempty"` // finishes what it has and takes nothing new
	Online    bool              `json:"isOnline"`           // false once it left or was lost
	Version   string            `json:"version,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
}

// ChangeType says what happened to a node.
type ChangeType string

// The changes. A heartbeat that says nothing new is none of them.
const (
	Joined   ChangeType = "joined"   // it is online and was not, or it is another instance
	Updated  ChangeType = "updated"  // it says something new about itself: load, kinds, metadata
	Draining ChangeType = "draining" // it has begun to drain
	Left     ChangeType = "left"     // it withdrew its entry
	Lost     ChangeType = "lost"     // its entry expired
)

// Change is one step of a node, with the node as it was after it.
type Change struct {
	Change ChangeType
	Node   Node
}
