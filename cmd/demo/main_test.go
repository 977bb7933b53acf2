package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/catga-go/catga/internal/natstest"
)

// childEnv makes this test binary the demo itself, for tests that kill it.
const childEnv = "CATGA_DEMO_CHILD"

// patience is how long a test waits for what takes a moment.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		return
	}
	natstest.Main(m)
}

// child is the demo in a process of its own.
type child struct {
	cmd    *exec.Cmd
	out    *output
	exited chan struct{} // closed after the process ended
}

// startChild runs the demo. Children of one cache folder are on one machine, as it were.
func startChild(t *testing.T, cache string, natsPort int, args ...string) *child {
	t.Helper()
	c := &child{cmd: exec.CommandContext(t.Context(), os.Args[0], args...), out: newOutput(), exited: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childEnv+"=1", "XDG_CACHE_HOME="+cache, "NATS_PORT="+strconv.Itoa(natsPort),
		"NATS_URL=", "NODE_ID=", "NODE_PORT=", "LOG_FORMAT=", "LOG_LEVEL=")
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = c.cmd.Wait(); close(c.exited) }()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("output of %v:\n%s", args, c.out)
		}
	})
	return c
}

// kill is kill -9.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.exited
}

// interrupt is Ctrl-C; it returns the exit code.
func (c *child) interrupt(t *testing.T) int {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.exited:
	case <-time.After(patience):
		t.Fatal("still running after an interrupt")
	}
	return c.cmd.ProcessState.ExitCode()
}

// inProcess runs the cluster in this process until the test ends, or until the returned stop.
func inProcess(t *testing.T, natsPort int, env map[string]string) (out *output, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out = newOutput()
	ended := make(chan int, 1)
	getenv := func(name string) string {
		if name == "NATS_PORT" {
			return strconv.Itoa(natsPort)
		}
		return env[name]
	}
	go func() { ended <- run(ctx, nil, getenv, out, out) }()
	stop = sync.OnceValue(func() int { cancel(); return <-ended })
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("output:\n%s", out)
		}
	})
	return out, stop
}

// output is what a demo wrote, for tests that wait for a line.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed and replaced by every Write
}

func newOutput() *output { return &output{written: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.written)
	o.written = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) String() string {
	text, _ := o.snapshot()
	return text
}

func (o *output) snapshot() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.written
}

// wait returns the first match of pattern, with its groups.
func (o *output) wait(t *testing.T, pattern string) []string {
	t.Helper()
	return o.waitN(t, pattern, 1)[0]
}

// waitN returns the first n matches of pattern.
func (o *output) waitN(t *testing.T, pattern string, n int) [][]string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		text, written := o.snapshot()
		if found := re.FindAllStringSubmatch(text, n); len(found) == n {
			return found
		}
		select {
		case <-written:
		case <-deadline:
			t.Fatalf("not %d of %q in:\n%s", n, pattern, text)
		}
	}
}

// freePort returns a port that nobody listened on a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func TestUsageErrorsExitWithTwo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"node1", "port"}, os.Getenv, io.Discard, &out); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	if want := `port "port": not a port`; !strings.Contains(out.String(), want) {
		t.Errorf("said %q, want %q in it", &out, want)
	}
}

func TestHelpExitsWithZero(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, os.Getenv, &out, io.Discard); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	for _, want := range []string{"NODE_ID", "NATS_URL", "-data", "LOG_FORMAT"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not name %s", want)
		}
	}
}
