package metrics

import (
	"runtime"
	"runtime/debug"

	"github.com/catga-go/catga/framework"
)

const module = "github.com/catga-go/catga"

// nodeCount is the cluster's nodes by state.
type nodeCount struct{ up, draining, offline int }

func count(nodes []framework.NodeInfo) nodeCount {
	var c nodeCount
	for i := range nodes {
		switch {
		case !nodes[i].Online:
			c.offline++
		case nodes[i].Draining:
			c.draining++
		default:
			c.up++
		}
	}
	return c
}

func (m *metrics) setNodes(nodes []framework.NodeInfo) {
	c := count(nodes)
	m.nodes.WithLabelValues("up").Set(float64(c.up))
	m.nodes.WithLabelValues("draining").Set(float64(c.draining))
	m.nodes.WithLabelValues("offline").Set(float64(c.offline))
}

func (m *metrics) setLag(l framework.GroupLag) {
	m.pending.WithLabelValues(l.Group, l.Kind).Set(float64(l.Pending))
	m.ackPending.WithLabelValues(l.Group, l.Kind).Set(float64(l.AckPending))
	m.oldestAge.WithLabelValues(l.Group, l.Kind).Set(l.OldestAge.Seconds())
}

func (m *metrics) setConnection(e framework.ConnectionEvent) {
	reconnects := m.reconnects.WithLabelValues(e.Node, e.Name) // exists, at zero, from the first event on
	if e.Connected && e.Reconnect {
		reconnects.Inc()
	}
	up := 0.0
	if e.Connected {
		up = 1
	}
	m.connected.WithLabelValues(e.Node, e.Name).Set(up)
}

func (m *metrics) describeBuild() {
	info, _ := debug.ReadBuildInfo()
	m.buildInfo.WithLabelValues(version(info), runtime.Version()).Set(1)
}

// version is that of this module in a program; "unknown" in one built without module information.
func version(info *debug.BuildInfo) string {
	if info == nil {
		return "unknown"
	}
	for _, mod := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if mod.Path != module {
			continue
		}
		if mod.Replace != nil {
			mod = mod.Replace
		}
		if mod.Version != "" {
			return mod.Version
		}
	}
	return "unknown"
}
