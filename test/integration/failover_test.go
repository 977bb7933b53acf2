package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
)

type work struct{ framework.Request[string] }

// What children find in their environment.
const (
	childURL  = "CATGA_TEST_URL"
	childNode = "CATGA_TEST_NODE"
	childFile = "CATGA_TEST_FILE" // each run of a handler adds a line to it
)

// childConnects connects a child as its environment says.
func childConnects(options ...func(*framework.Config)) *framework.Node {
	cfg := framework.Config{NodeID: os.Getenv(childNode), URL: os.Getenv(childURL)}
	for _, o := range options {
		o(&cfg)
	}
	node, err := framework.Connect(context.Background(), cfg)
	if err != nil {
		childFails(err)
	}
	return node
}

func childFails(err error) {
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(3)
}

// childNotes adds a line to the file of the child. What is written survives the kill.
func childNotes(line string) {
	f, err := os.OpenFile(os.Getenv(childFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(line + "\n")
	}
	if err != nil {
		childFails(err)
	}
	_ = f.Close()
}

// notes are the lines of children's files so far.
func notes(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// childHolds handles work for ever.
func childHolds() {
	node := childConnects(lease(2 * time.Second))
	err := framework.Handle(node, func(ctx context.Context, _ work) (string, error) {
		childNotes("started")
		<-ctx.Done()
		return "", context.Cause(ctx)
	}, framework.WithAckWait(3*time.Second))
	if err := errors.Join(err, node.Run(context.Background())); err != nil {
		childFails(err)
	}
}

func TestFailover_RequestOfAKilledProcessIsAnsweredByAnotherNode(t *testing.T) {
	t.Parallel()
	srv := listen(t)
	file := filepath.Join(t.TempDir(), "notes")
	caller, other := connect(t, srv, "caller"), connect(t, srv, "other", lease(2*time.Second))
	child := spawn(t, "holds", childURL+"="+srv.URL(), childNode+"=victim", childFile+"="+file)
	handling(t, caller, "work", 1)
	answer := sending(soon(t), caller, work{})
	eventually(t, "the child handles it", func() bool { return len(notes(t, file)) == 1 })

	attempt := make(chan int, 10)
	must(t, framework.Handle(other, func(ctx context.Context, _ work) (string, error) {
		attempt <- framework.InfoFrom(ctx).Attempt
		return "saved", nil
	}, framework.WithAckWait(3*time.Second)))
	running(t, other)
	began := time.Now()
	must(t, child.Process.Kill())
	r := receive(t, answer)
	if r.err != nil || r.value != "saved" || r.info != (framework.ReplyInfo{Node: "other", Attempts: 2}) {
		t.Errorf("answer = %+v", r)
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("failover took %v, want at most 6s", took)
	}
	if got := receive(t, attempt); got != 2 {
		t.Errorf("attempt = %d, want 2: the killed one counts", got)
	}
	drainedOff(t, caller)
	empty(t, "it ran again", attempt)
}

// childDies handles work by dying of it.
func childDies() {
	node := childConnects(lease(time.Second))
	err := framework.Handle(node, func(ctx context.Context, _ work) (string, error) {
		childNotes(strconv.Itoa(framework.InfoFrom(ctx).Attempt))
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		childFails(err)
		return "", nil
	}, framework.WithAckWait(time.Second), framework.WithRetries(1))
	if err := errors.Join(err, node.Run(context.Background())); err != nil {
		childFails(err)
	}
}

func TestHandlerThatKillsItsProcessEveryTime_IsDeadLetteredAsCrashed(t *testing.T) {
	t.Parallel()
	srv := listen(t)
	file := filepath.Join(t.TempDir(), "notes")
	caller := connect(t, srv, "caller")
	spawned := atomic.Int64{}
	start := func() {
		spawn(t, "dies", childURL+"="+srv.URL(), childFile+"="+file, childNode+"=victim"+strconv.FormatInt(spawned.Add(1), 10))
	}
	start()
	start()
	start()
	handling(t, caller, "work", 3)
	_, err := framework.Send(soon(t), caller, work{}, framework.WithID("deadly"))
	var remote *framework.RemoteError
	if !errors.As(err, &remote) || remote.Attempts != 2 || remote.ID != "deadly" {
		t.Fatalf("the caller got %v, want a *RemoteError after 2 attempts", err)
	}
	contains(t, err, "2 processes died")
	if runs := strings.Join(notes(t, file), " "); runs != "1 2" {
		t.Errorf("attempts %q ran, want 1 and 2: WithRetries(1)", runs)
	}
	stream, err := jetStream(t, caller).Stream(soon(t), "CATGA_DEAD")
	must(t, err)
	dead, err := stream.GetLastMsgForSubject(soon(t), "catga.dead.requests.work")
	must(t, err)
	if got := dead.Header.Get("Catga-Dead-Reason"); got != framework.ReasonCrashed {
		t.Errorf("reason = %q, want %q", got, framework.ReasonCrashed)
	}
	if got := dead.Header.Get("Catga-Dead-Attempts"); got != "2" {
		t.Errorf("attempts of the dead letter = %s", got)
	}
	drainedOff(t, caller)
}
