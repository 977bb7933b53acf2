package discovery

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// Headers by which the bucket says that a key is gone.
const (
	kvOperation  = "KV-Operation"
	markerReason = "Nats-Marker-Reason"
	markerMaxAge = "MaxAge"
)

// recognize turns one stored message into what it says about its key. What is not the entry of a
// node counts as an expired key, and comes with an error to log: if a node's entry is overwritten
// with something else, the node is not there until it beats again.
func recognize(prefix string, m *nats.Msg, meta *nats.MsgMetadata) (observation, error) {
	key := strings.TrimPrefix(m.Subject, prefix)
	switch {
	case m.Header.Get(markerReason) == markerMaxAge:
		return observation{what: expired, key: key}, nil
	case m.Header.Get(markerReason) != "", m.Header.Get(kvOperation) == "DEL", m.Header.Get(kvOperation) == "PURGE":
		return observation{what: departed, key: key}, nil
	}
	node, err := decode(key, m.Data, meta.Timestamp)
	if err != nil {
		return observation{what: expired, key: key}, fmt.Errorf("read key %.80q: %w", key, err)
	}
	return observation{what: present, key: key, node: node, rev: meta.Sequence.Stream}, nil
}

// errBroken ends a reading that cannot go on; the next one begins at once.
var errBroken = errors.New("consumer is gone")

// pullStatus says what a message that is not a stored one means for the pull it answers.
type pullStatus uint8

const (
	idle   pullStatus = iota // a heartbeat: the pull waits, there is nothing to deliver
	ended                    // the pull is over, the consumer is not: pull again
	broken                   // the consumer is gone, or has moved
)

func statusOf(m *nats.Msg) pullStatus {
	switch m.Header.Get("Status") {
	case "100":
		return idle
	case "404", "408":
		return ended
	}
	return broken
}
