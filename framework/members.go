package framework

import (
	"context"

	"github.com/catga-go/catga/discovery"
)

// NodeInfo is one entry of the registry, with the JSON names of a health endpoint. LastSeen is the
// server's time of the last heartbeat.
type NodeInfo = discovery.Node

// NodeChange is what happened to a node.
type NodeChange = discovery.Change

// What can happen to a node.
const (
	NodeJoined   = discovery.Joined
	NodeUpdated  = discovery.Updated
	NodeDraining = discovery.Draining
	NodeLeft     = discovery.Left
	NodeLost     = discovery.Lost
)

// Nodes is an immutable snapshot of the cluster, by ID: do not modify it. A node that left or was
// lost stays in it, offline, for an hour. After Close it is the last snapshot.
func (n *Node) Nodes() []NodeInfo { return n.registry.Nodes() }

// Self is this node's entry, as the others see it while it runs. Before Run it has not been seen and
// is offline.
func (n *Node) Self() NodeInfo {
	if seen, ok := n.registry.Lookup(n.cfg.NodeID); ok && seen.Instance == n.instance {
		return seen
	}
	return n.self()
}

// Watch sends every change from now on until ctx ends or the node is closed; then the channel is
// closed. A slow reader gets a node's latest state, not every step to it.
func (n *Node) Watch(ctx context.Context) <-chan NodeChange { return n.registry.Watch(ctx) }

// self is what this node says about itself, called at each heartbeat.
func (n *Node) self() NodeInfo {
	info := NodeInfo{
		ID: n.cfg.NodeID, Endpoint: n.cfg.Endpoint, Instance: n.instance, StartedAt: n.startedAt,
		Version: n.cfg.Version, Metadata: n.cfg.Metadata, Load: n.load(),
	}
	switch phase(n.phase.Load()) {
	case running:
		info.Kinds = n.consumedKinds()
	case draining, drained:
		info.Draining = true
	case idle, starting:
	}
	return info
}

// load is how much of the handlers' concurrency is in use, 0 to 1.
func (n *Node) load() float64 {
	busy, room := 0, 0
	for _, c := range n.consumers.all() {
		busy, room = busy+c.busy(), room+c.h.cfg.concurrency
	}
	if room == 0 {
		return 0
	}
	return float64(busy) / float64(room)
}

// consumedKinds are the kinds whose handlers consume, former names included.
func (n *Node) consumedKinds() []string {
	seen := map[string]bool{}
	var kinds []string
	for _, c := range n.consumers.all() {
		for _, kind := range c.h.kinds() {
			if !seen[kind] {
				seen[kind] = true
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds
}

// tellNodes runs the Nodes hook after each change of the membership, until ctx ends.
func (n *Node) tellNodes(ctx context.Context) {
	defer close(n.nodesTold)
	for {
		changed := n.registry.Changed()
		n.cfg.Hooks.Nodes(n.registry.Nodes())
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
