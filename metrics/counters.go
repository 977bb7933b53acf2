package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are the children of one counter by the value of its last label. The values are a closed
// list, so that a label never grows with what passes through; others count as one of them.
type counters struct {
	byValue map[string]prometheus.Counter // never changed once built
	other   prometheus.Counter
}

// resolve looks the children up once; a child exists, at zero, from then on.
func resolve(vec *prometheus.CounterVec, labels []string, other string, values ...string) counters {
	child := func(value string) prometheus.Counter {
		return vec.WithLabelValues(append(slices.Clip(labels), value)...)
	}
	c := counters{byValue: make(map[string]prometheus.Counter, len(values)), other: child(other)}
	for _, value := range values {
		c.byValue[value] = child(value)
	}
	return c
}

func (c counters) inc(value string) {
	if child, ok := c.byValue[value]; ok {
		child.Inc()
		return
	}
	c.other.Inc()
}
