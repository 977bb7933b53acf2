package framework_test

import (
	"os"
	"strings"
	"testing"
)

// The quick start of the README is the Example, without its error checks: every line of it stands
// there too, in the same order.
func TestREADME_QuickStartIsTheExample(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(readme), "```go\n")
	block, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		t.Fatal("README.md has no block of Go")
	}
	rest := strings.Split(string(example), "\n")
	for line := range strings.SplitSeq(block, "\n") {
		line = strings.TrimSpace(line)
		at := 0
		for at < len(rest) && strings.TrimSpace(rest[at]) != line {
			at++
		}
		if at == len(rest) {
			t.Fatalf("the Example has no line %q after the one before", line)
		}
		rest = rest[at+1:]
	}
}
