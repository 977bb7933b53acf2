// Package integration holds one file per promise of the framework, each kept against a real server.
package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catga-go/catga/embedded"
	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

// patience bounds every wait. It is long because it is only ever used up by a failure.
const patience = 30 * time.Second

// childEnv names the function of children that a copy of the test binary runs instead of the tests.
const childEnv = "CATGA_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		children[name]()
		return
	}
	natstest.Main(m)
}

// spawn runs children[name] in a process of its own, which the test may kill. It ends with the test.
func spawn(t *testing.T, name string, env ...string) *exec.Cmd {
	t.Helper()
	if children[name] == nil {
		t.Fatalf("no child %q", name)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^$")
	cmd.Env = append(append(os.Environ(), childEnv+"="+name), env...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatalf("spawn %s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // dead already, in most tests
		_ = cmd.Wait()
	})
	return cmd
}

// listen starts a server that other processes can reach.
func listen(t *testing.T) *embedded.Server {
	t.Helper()
	srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir(), Port: -1, MaxStore: 1 << 30, Logger: frameworktest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return srv
}

// id is an option of frameworktest.Connect: the node's ID.
func id(name string) func(*framework.Config) {
	return func(c *framework.Config) { c.NodeID = name }
}

// connect connects a node called name, without running it.
func connect(t *testing.T, srv *embedded.Server, name string, options ...func(*framework.Config)) *framework.Node {
	t.Helper()
	return frameworktest.Connect(t, srv, append([]func(*framework.Config){id(name)}, options...)...)
}

// receive waits for the next value of ch.
func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		var zero T
		t.Fatalf("nothing received within %v", patience)
		return zero
	}
}

// eventually waits until ok holds. It is for what announces itself by no event; what does is waited
// for by receive.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// handling waits until node sees want live nodes that handle kind.
func handling(t *testing.T, node *framework.Node, kind string, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d nodes handle %s", want, kind), func() bool {
		live := 0
		for _, n := range node.Nodes() {
			for _, k := range n.Kinds {
				if k == kind && n.Online && !n.Draining {
					live++
				}
			}
		}
		return live == want
	})
}

// must fails the test if any of errs is not nil.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// soon is a context that ends when a test has waited long enough.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// counter counts from any goroutine.
type counter struct{ atomic.Int64 }
