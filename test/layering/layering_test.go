package layering

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestImports_PointDown(t *testing.T) {
	t.Parallel()
	for _, v := range violations(list(t), layers()) {
		t.Error(v)
	}
}

// list asks the go command for the packages of the module and everything they depend on, tests not
// included.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps",
		"-json=ImportPath,Imports,Standard,Module,Error", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestEveryWrongImport_IsFound(t *testing.T) {
	t.Parallel()
	const (
		nats       = "github.com/nats-io/nats.go"
		server     = "github.com/nats-io/nats-server/v2"
		prometheus = "github.com/prometheus/client_golang"
		zap        = "go.uber.org/zap"
	)
	own := func(dir string, imports ...string) pkg { return made(module, module+"/"+dir, imports) }
	in := func(dir string) string { return module + "/" + dir }
	third := []pkg{
		made(nats, nats, nil), made(server, server+"/server", []string{nats}),
		made(prometheus, prometheus+"/prometheus", nil), made(zap, zap, nil),
		made("example.org/bridge", "example.org/bridge", []string{server + "/server"}),
		own("streams"), own("discovery"), own("framework"), own("metrics"), own("embedded", server+"/server"),
		own("internal/wire"), own("internal/natstest", server+"/server"),
		{ImportPath: "context", Standard: true},
	}
	for _, tt := range []struct {
		name string
		pkg  pkg
		want []string
	}{
		{"all that is allowed", own("framework", "context", nats, in("streams"), in("discovery"), in("internal/wire")), nil},
		{"a test looks at everything", own("test/integration", in("embedded"), in("streams"), prometheus+"/prometheus", zap), nil},
		{"a leaf imports another", own("streams", in("discovery")), []string{"streams imports discovery"}},
		{"a leaf's own part", own("streams/deep", in("streams")), nil},
		{"a leaf imports the framework", own("discovery", in("framework")), []string{"discovery imports framework"}},
		{"internal imports a leaf", own("internal/wire", in("streams")), []string{"internal/wire imports streams"}},
		{"framework imports metrics", own("framework", in("metrics")), []string{"framework imports metrics"}},
		{
			"framework imports prometheus", own("framework", prometheus+"/prometheus"),
			[]string{"framework depends on " + prometheus + "/prometheus", "framework imports " + prometheus + "/prometheus"},
		},
		{"framework imports another module", own("framework", zap), []string{"framework imports " + zap}},
		{
			"framework reaches the server over a test helper", own("framework", in("internal/natstest")),
			[]string{"framework depends on " + server + "/server"},
		},
		{"only embedded imports the server", own("cmd/demo", server+"/server"), []string{"cmd/demo imports " + server + "/server"}},
		{"the demo reaches it through embedded", own("cmd/demo", in("embedded")), nil},
		{"only metrics imports prometheus", own("embedded", prometheus+"/prometheus"), []string{
			"embedded depends on " + prometheus + "/prometheus", "embedded imports " + prometheus + "/prometheus",
		}},
		{"a name that only begins alike", own("streamsx"), []string{"streamsx is in no layer: say in rules_test.go what it may import"}},
		{"a package in the root", made(module, module, nil), []string{". is in no layer: say in rules_test.go what it may import"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := violations(append([]pkg{tt.pkg}, without(third, tt.pkg.ImportPath)...), layers())
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

func made(mod, path string, imports []string) pkg {
	return pkg{ImportPath: path, Imports: imports, Module: &struct{ Path string }{mod}}
}

// without drops the stand-in of the package that the case is about.
func without(pkgs []pkg, path string) []pkg {
	var rest []pkg
	for _, p := range pkgs {
		if p.ImportPath != path {
			rest = append(rest, p)
		}
	}
	return rest
}
