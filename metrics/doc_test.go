package metrics_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestPackageDoc_ListsExactlyTheRegisteredMetrics(t *testing.T) {
	t.Parallel()
	hooks, reg := newHooks(t)
	touchAll(hooks)
	if diff := cmp.Diff(registered(t, reg), documented(t)); diff != "" {
		t.Errorf("package doc (-registered +documented):\n%s", diff)
	}
}

// documented reads the lines "name type labels" of the table in doc.go.
func documented(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^//\t(catga_\w+) +(counter|gauge|histogram) +(.+)$`)
	var rows []string
	for _, match := range row.FindAllStringSubmatch(string(source), -1) {
		labels := strings.Fields(match[3])
		slices.Sort(labels)
		rows = append(rows, fmt.Sprint(match[1], " ", match[2], " ", labels))
	}
	slices.Sort(rows)
	return rows
}

func registered(t *testing.T, reg prometheus.Gatherer) []string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	var rows []string
	for _, family := range families {
		var labels []string
		for _, pair := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, pair.GetName())
		}
		slices.Sort(labels)
		rows = append(rows, fmt.Sprint(family.GetName(), " ", strings.ToLower(family.GetType().String()), " ", labels))
	}
	slices.Sort(rows)
	return rows
}
