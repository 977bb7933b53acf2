// Package layering holds the rules about which package may import which, and the tests that keep
// them: the direction of imports, the few third-party modules of each layer, and no locks.
package layering

import (
	"fmt"
	"slices"
	"strings"
)

const module = "github.com/catga-go/catga"

// A layer is a folder of the module and what its packages, without their tests, may import.
type layer struct {
	// dir is the folder; packages below it belong to the layer with the longest match.
	dir string
	// own lists folders of this module, besides dir itself. "*" is all of them.
	own []string
	// modules lists third-party modules. "*" is all of them.
	modules []string
	// unreachable lists modules that no import may lead to, over any number of steps.
	unreachable []string
}

// layers is the whole picture, from the ground up. What is not listed is refused.
func layers() []layer {
	const (
		nats       = "github.com/nats-io/nats.go"
		nuid       = "github.com/nats-io/nuid"  // nats.go brings it
		nkeys      = "github.com/nats-io/nkeys" // nats.go brings it
		server     = "github.com/nats-io/nats-server/v2"
		prometheus = "github.com/prometheus/client_golang"
		flock      = "github.com/gofrs/flock"
	)
	core := slices.Clip([]string{nats, nuid, nkeys})
	heavy := []string{server, prometheus}
	return []layer{
		{dir: "internal", modules: core, unreachable: heavy},
		{dir: "internal/natstest", modules: []string{"*"}}, // for tests alone

		// The leaves do not know each other.
		{dir: "streams", own: []string{"internal"}, modules: core, unreachable: heavy},
		{dir: "idempotency", own: []string{"internal"}, modules: core, unreachable: heavy},
		{dir: "discovery", own: []string{"internal"}, modules: core, unreachable: heavy},

		{dir: "framework", own: []string{"streams", "idempotency", "discovery", "internal"}, modules: core, unreachable: heavy},

		// Beside the framework: one package for each heavy dependency.
		{dir: "metrics", own: []string{"framework"}, modules: []string{prometheus}, unreachable: []string{server}},
		{dir: "embedded", own: []string{"internal"}, modules: []string{nats, server, flock}, unreachable: []string{prometheus}},
		{ // never in a user's program, only in its tests
			dir: "frameworktest", own: []string{"framework", "embedded", "internal"}, modules: append(core, server),
			unreachable: []string{prometheus},
		},

		// Applications choose a registry, a server and a folder; tests may look at everything.
		{dir: "cmd", own: []string{"framework", "metrics", "embedded", "internal"}, modules: append(core, prometheus, flock)},
		{dir: "test", own: []string{"*"}, modules: []string{"*"}},
	}
}

// A pkg is one package of the build, as go list prints it.
type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Module     *struct{ Path string }
	Error      *struct{ Err string }
}

// violations lists, sorted, each import of pkgs that the layers do not allow. pkgs holds the packages
// of the module and all they depend on.
func violations(pkgs []pkg, layers []layer) []string {
	byPath := make(map[string]pkg, len(pkgs))
	for _, p := range pkgs {
		byPath[p.ImportPath] = p
	}
	var found []string
	for _, p := range pkgs {
		if moduleOf(p) != module {
			continue
		}
		dir := dirOf(p)
		l, ok := layerOf(dir, layers)
		if !ok {
			found = append(found, dir+" is in no layer: say in rules_test.go what it may import")
			continue
		}
		found = append(found, direct(dir, p, l, byPath)...)
		found = append(found, indirect(dir, p, l, byPath)...)
	}
	slices.Sort(found)
	return found
}

// direct checks the imports of one package.
func direct(dir string, p pkg, l layer, byPath map[string]pkg) []string {
	var found []string
	for _, path := range p.Imports {
		q := byPath[path]
		switch from := moduleOf(q); {
		case q.Standard || from == "":
		case from == module && !allowsOwn(l, dirOf(q)):
			found = append(found, fmt.Sprintf("%s imports %s", dir, dirOf(q)))
		case from != module && !allows(l.modules, from):
			found = append(found, fmt.Sprintf("%s imports %s", dir, path))
		}
	}
	return found
}

// indirect checks what the imports of one package lead to.
func indirect(dir string, p pkg, l layer, byPath map[string]pkg) []string {
	var found []string
	seen := map[string]bool{}
	var visit func(path string)
	visit = func(path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		q := byPath[path]
		if slices.Contains(l.unreachable, moduleOf(q)) {
			found = append(found, fmt.Sprintf("%s depends on %s", dir, path))
			return
		}
		for _, next := range q.Imports {
			visit(next)
		}
	}
	visit(p.ImportPath)
	return found
}

func moduleOf(p pkg) string {
	if p.Module == nil {
		return ""
	}
	return p.Module.Path
}

// dirOf is the folder of a package of this module, "." for the root.
func dirOf(p pkg) string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

func layerOf(dir string, layers []layer) (best layer, ok bool) {
	for _, l := range layers {
		if within(dir, l.dir) && len(l.dir) > len(best.dir) {
			best, ok = l, true
		}
	}
	return best, ok
}

func allowsOwn(l layer, dir string) bool {
	return within(dir, l.dir) || slices.ContainsFunc(l.own, func(own string) bool { return own == "*" || within(dir, own) })
}

func allows(list []string, name string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, name)
}

func within(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }
