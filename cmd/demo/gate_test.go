package main

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestClosedGateTurnsVisitorsAround(t *testing.T) {
	t.Parallel()
	g := newGate()
	if !g.enter() || g.closed() {
		t.Fatal("an open gate is closed")
	}
	g.leave()
	if err := g.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.enter() || !g.closed() {
		t.Error("a closed gate is open")
	}
}

func TestClosingWaitsForThoseInside(t *testing.T) {
	t.Parallel()
	g := newGate()
	g.enter()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.close(over); !errors.Is(err, context.Canceled) {
		t.Fatalf("closed with somebody inside: %v", err)
	}
}

// Visitors come and go while the gate closes: whoever got in must be out when close returns.
func TestNobodyIsInsideAfterClose(t *testing.T) {
	t.Parallel()
	for range 200 {
		g := newGate()
		var inside [4]int // each visitor its own; the race detector sees a visitor that close missed
		var visitors sync.WaitGroup
		for i := range inside {
			visitors.Go(func() {
				for g.enter() {
					inside[i]++
					g.leave()
				}
			})
		}
		if err := g.close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range inside {
			inside[i] = 0
		}
		visitors.Wait()
	}
}
