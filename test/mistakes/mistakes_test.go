// Package mistakes shows that typical mistakes in the use of framework do not compile, that the
// compiler's words name the way out, and that the same lines without the mistake do compile.
package mistakes

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	// The tests run the go command, which the cache of test results knows nothing of: this makes a
	// result depend on the package it is about.
	_ "github.com/catga-go/catga/framework"
)

const (
	module = "github.com/catga-go/catga"
	// home is where the snippets are said to lie; nothing is ever written there.
	home = "test/mistakes/snippets"
)

// messageTypes is what every snippet may use.
const messageTypes = `package snippets

import (
	"context"

	"` + module + `/framework"
)

type Order struct{ ID string }

type Receipt struct{ Number int }

type Shipped struct {
	framework.ReliableEvent
	OrderID string
}

type Noted struct {
	framework.Event
	Text string
}

type Create struct {
	framework.Request[Order]
	ProductID string
}

type Plain struct{ Text string }

type TwoEvents struct {
	framework.Event
	framework.ReliableEvent
}

type EventAndRequest struct {
	framework.ReliableEvent
	framework.Request[Order]
}

type (
	wantsOrder   struct{ framework.Request[Order] }
	wantsReceipt struct{ framework.Request[Receipt] }
	TwoAnswers   struct {
		wantsOrder
		wantsReceipt
	}
)

func onShipped(context.Context, Shipped) error { return nil }

func onNoted(context.Context, Noted) error { return nil }

func onCreate(context.Context, Create) (Order, error) { return Order{}, nil }
`

func TestMistakes_AreRefusedByTheCompiler(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, m := range mistakes() {
		lines = append(lines, m.wrong)
	}
	said := compile(t, lines)
	for i, m := range mistakes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			got := said[fileName(i)]
			if got == "" {
				t.Fatalf("compiles:\n%s", m.wrong)
			}
			for _, want := range m.says {
				if !strings.Contains(got, want) {
					t.Errorf("the compiler does not say %q of\n%s\nbut:\n%s", want, m.wrong, got)
				}
			}
			if n := strings.Count(got, "\n"); n > 3 {
				t.Errorf("the compiler has %d lines to say of\n%s\n%s", n, m.wrong, got)
			}
		})
	}
}

func TestWhatWasMeant_Compiles(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, m := range mistakes() {
		lines = append(lines, m.right)
	}
	said := compile(t, lines)
	for i, m := range mistakes() {
		if got := said[fileName(i)]; got != "" {
			t.Errorf("%s: does not compile:\n%s\n%s", m.name, m.right, got)
		}
	}
}

// compile builds one package with a file and a function for each snippet, and returns what the
// compiler says of each file.
func compile(t *testing.T, snippets []string) map[string]string {
	t.Helper()
	files := map[string]string{"types.go": messageTypes}
	for i, lines := range snippets {
		files[fileName(i)] = fmt.Sprintf(`package snippets

import (
	"context"
	"fmt"

	"%s/framework"
)

var _ = fmt.Sprint

func snippet%03d(ctx context.Context, node *framework.Node) (err error) {
	%s
	return err
}
`, module, i, lines)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-e", "-overlay", overlay(t, files), module+"/"+home)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("go build: %v", err)
	}
	said := byFile(string(out))
	for name := range maps.Keys(said) {
		if files[name] == "" || name == "types.go" {
			t.Fatalf("go build:\n%s", out)
		}
	}
	return said
}

func fileName(i int) string { return fmt.Sprintf("snippet%03d.go", i) }

// overlay writes files to a folder of the test's own and tells the go command to see them in home.
func overlay(t *testing.T, files map[string]string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, replace := t.TempDir(), map[string]string{}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, text := range files {
		replace[filepath.Join(root, home, name)] = write(name, text)
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	return write("overlay.json", string(list))
}

// byFile cuts the output of go build into messages, "path/file.go:line:column: text" and the indented
// lines that follow, and joins those of one file. What belongs to no file is under "".
func byFile(out string) map[string]string {
	said, current := map[string]string{}, ""
	for line := range strings.Lines(out) {
		path, _, found := strings.Cut(line, ".go:")
		switch {
		case strings.HasPrefix(line, "# "):
			continue
		case strings.HasPrefix(line, "\t"):
		case found:
			current = filepath.Base(path) + ".go"
		default:
			current = ""
		}
		said[current] += line
	}
	return said
}
