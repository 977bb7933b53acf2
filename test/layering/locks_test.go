package layering

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func TestProductPackages_HoldNoLocks(t *testing.T) {
	t.Parallel()
	files := 0
	for _, path := range productFiles(t) {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found, err := locks(strings.TrimPrefix(path, root+"/"), source)
		if err != nil {
			t.Fatal(err)
		}
		for _, lock := range found {
			t.Error(lock)
		}
		files++
	}
	if files == 0 {
		t.Error("found no product files")
	}
}

// productFiles lists the files that a user's program can hold: all of the module but tests and what
// serves them.
func productFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata"):
			return filepath.SkipDir
		case d.IsDir() && (path == root+"/test" || path == root+"/internal/natstest"):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("walk the module: %v", err)
	}
	return files
}

// locks lists the mutexes, conditions and semaphores that a file mentions. A semaphore is also a
// counting channel: one of empty structs with room for more than one, unless a comment on its line
// begins with "not a semaphore: " and says what it counts.
func locks(name string, source []byte) ([]string, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []string
	report := func(n ast.Node, what string) {
		found = append(found, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), what))
	}
	imports, excused := importNames(file), excusedLines(fset, file)
	for _, spec := range file.Imports {
		switch path, _ := strconv.Unquote(spec.Path.Value); {
		case strings.HasSuffix(path, "/semaphore"):
			report(spec, path)
		case path == "sync" && spec.Name != nil && spec.Name.Name == ".":
			report(spec, "dot import of sync")
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && imports[x.Name] == "sync" && slices.Contains(forbidden(), n.Sel.Name) {
				report(n, "sync."+n.Sel.Name)
			}
		case *ast.CallExpr:
			if isCountingChannel(n) && !excused[fset.Position(n.Pos()).Line] {
				report(n, "counting channel")
			}
		}
		return true
	})
	return found, nil
}

func forbidden() []string { return []string{"Mutex", "RWMutex", "Cond", "NewCond", "Locker"} }

// importNames maps the names by which a file knows its imports to their paths.
func importNames(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
	}
	return names
}

func excusedLines(fset *token.FileSet, file *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if why, ok := strings.CutPrefix(c.Text, "// not a semaphore: "); ok && why != "" {
				lines[fset.Position(c.Pos()).Line] = true
			}
		}
	}
	return lines
}

// isCountingChannel reports make(chan struct{}, n) unless n is the literal 0 or 1.
func isCountingChannel(call *ast.CallExpr) bool {
	if f, ok := call.Fun.(*ast.Ident); !ok || f.Name != "make" || len(call.Args) != 2 {
		return false
	}
	ch, ok := call.Args[0].(*ast.ChanType)
	if !ok {
		return false
	}
	if elem, ok := ch.Value.(*ast.StructType); !ok || len(elem.Fields.List) > 0 {
		return false
	}
	size, ok := call.Args[1].(*ast.BasicLit)
	return !ok || (size.Value != "0" && size.Value != "1")
}

func TestEveryLock_IsFound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, source string
		want         []string
	}{
		{"atomics and groups are none", `import "sync"; var g sync.WaitGroup; var m sync.Map; var o sync.Once`, nil},
		{"a mutex", `import "sync"; var mu sync.Mutex`, []string{"x.go:1:34: sync.Mutex"}},
		{"an embedded one", `import "sync"; type s struct { sync.RWMutex }`, []string{"x.go:1:43: sync.RWMutex"}},
		{"under another name", `import s "sync"; var c = s.NewCond(nil)`, []string{"x.go:1:37: sync.NewCond"}},
		{"without a name", `import . "sync"; var mu Mutex`, []string{"x.go:1:19: dot import of sync"}},
		{"another package's Mutex", `import "example.org/sync2"; var mu sync2.Mutex`, nil},
		{"a semaphore", `import _ "golang.org/x/sync/semaphore"`, []string{"x.go:1:19: golang.org/x/sync/semaphore"}},
		{"a counting channel", `var c = make(chan struct{}, 32)`, []string{"x.go:1:20: counting channel"}},
		{"of a size from elsewhere", `var n = 3; var c = make(chan struct{}, n)`, []string{"x.go:1:31: counting channel"}},
		{"of something else than runs", "var c = make(chan struct{}, 9) // not a semaphore: one token per worker that has left", nil},
		{"excused without a word", "var c = make(chan struct{}, 9) // not a semaphore:", []string{"x.go:1:20: counting channel"}},
		{"a signal", `var c, d = make(chan struct{}), make(chan struct{}, 1)`, nil},
		{"a queue", `var c = make(chan int, 32)`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := locks("x.go", []byte("package x; "+tt.source))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("locks (-want +got):\n%s", diff)
			}
		})
	}
}
