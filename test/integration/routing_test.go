package integration

import (
	"context"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type route struct{ framework.Request[string] }

// routed sends 300 requests one after another over three nodes, and counts who answered.
func routed(t *testing.T, opts ...framework.SendOption) map[string]int {
	t.Helper()
	srv := frameworktest.NewServer(t)
	all := nodes(t, srv, "node1", "node2", "node3")
	for _, node := range all {
		must(t, framework.Handle(node, func(ctx context.Context, _ route) (string, error) {
			return framework.InfoFrom(ctx).Node, nil
		}))
		frameworktest.Run(t, node)
	}
	handling(t, all[0], "route", 3)
	answered := map[string]int{}
	ctx := soon(t)
	for range 300 {
		by, err := framework.Send(ctx, all[0], route{}, opts...)
		must(t, err)
		answered[by]++
	}
	return answered
}

func TestRoundRobin_Gives300RequestsToThreeNodesInEqualParts(t *testing.T) {
	t.Parallel()
	answered := routed(t, framework.RoundRobin())
	for _, name := range []string{"node1", "node2", "node3"} {
		if answered[name] != 100 {
			t.Errorf("%s answered %d requests, want 100: %v", name, answered[name], answered)
		}
	}
}

func TestAnyNode_300RequestsSpreadOverThreeNodes(t *testing.T) {
	t.Parallel()
	answered := routed(t)
	for _, name := range []string{"node1", "node2", "node3"} {
		if n := answered[name]; n < 90 || n > 110 {
			t.Errorf("%s answered %d requests, want 100 ± 10: %v", name, n, answered)
		}
	}
}
