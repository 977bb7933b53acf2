package main

import (
	"context"
	"math"
	"sync/atomic"
)

// gate counts who is inside and can be closed for those who are not. The zero gate cannot be used:
// make one with newGate.
//
// state is the number of those inside, plus closedGate once it is closed. Whoever comes to a closed
// gate is counted for a moment too, so that one addition both counts and asks: either close is
// seen, and the visitor turns around, or close finds the visitor counted, and waits.
type gate struct {
	state atomic.Int64
	moved chan struct{} // holds one token after somebody left a closed gate; size 1, so leaving never blocks
}

const closedGate = math.MinInt64

func newGate() *gate { return &gate{moved: make(chan struct{}, 1)} }

// enter says whether the gate is open. Who has entered must leave.
func (g *gate) enter() bool {
	if g.state.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.state.Add(-1) < 0 {
		select {
		case g.moved <- struct{}{}:
		default:
		}
	}
}

// close closes the gate and waits until nobody is inside or ctx ends. One caller only.
func (g *gate) close(ctx context.Context) error {
	g.state.Add(closedGate)
	for g.state.Load() != closedGate {
		select {
		case <-g.moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// closed says whether close was called.
func (g *gate) closed() bool { return g.state.Load() < 0 }
