package integration

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/catga-go/catga/embedded"
	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type (
	entered struct {
		framework.ReliableEvent
		N int `json:"n"`
	}
	double struct {
		framework.Request[int]
		N int `json:"n"`
	}
)

// restartable is a server of listen that a test can restart, on its store and port.
type restartable struct{ *embedded.Server }

func listenRestartable(t *testing.T) *restartable {
	t.Helper()
	r := &restartable{listen(t)}
	t.Cleanup(func() { _ = r.Close() }) // the present one, after the nodes
	return r
}

func (r *restartable) restart(t *testing.T) {
	t.Helper()
	u, err := url.Parse(r.URL())
	must(t, err)
	port, err := strconv.Atoi(u.Port())
	must(t, err)
	must(t, r.Close())
	r.Server, err = embedded.Start(embedded.Config{StoreDir: r.StoreDir(), Port: port, MaxStore: 1 << 30, Logger: frameworktest.Logger(t)})
	must(t, err)
}

// load publishes and sends without a pause until it is stopped, and notes what was accepted.
type load struct {
	node            *framework.Node
	next            counter
	quit            chan struct{}
	workers         sync.WaitGroup
	stored, answers sync.Map // number → true
	storedCount     counter
	answered        counter
	failed          chan error
}

func startLoad(t *testing.T, node *framework.Node) *load {
	t.Helper()
	l := &load{node: node, quit: make(chan struct{}), failed: make(chan error, 100)}
	ctx := soon(t)
	for range 2 {
		l.workers.Go(func() { l.repeat(ctx, l.publish) })
		l.workers.Go(func() { l.repeat(ctx, l.send) })
	}
	return l
}

func (l *load) repeat(ctx context.Context, f func(context.Context, int) error) {
	for {
		select {
		case <-l.quit:
			return
		default:
		}
		if err := f(ctx, int(l.next.Add(1))); err != nil {
			select {
			case l.failed <- err:
			default:
			}
			return
		}
	}
}

func (l *load) publish(ctx context.Context, n int) error {
	// What is neither stored nor not, is published again: that is what ErrOutcomeUnknown asks for.
	err := framework.Publish(ctx, l.node, entered{N: n}, framework.WithID(strconv.Itoa(n)))
	for errors.Is(err, framework.ErrOutcomeUnknown) && ctx.Err() == nil {
		err = framework.Publish(ctx, l.node, entered{N: n}, framework.WithID(strconv.Itoa(n)))
	}
	if err == nil {
		l.stored.Store(n, true)
		l.storedCount.Add(1)
	}
	return err
}

func (l *load) send(ctx context.Context, n int) error {
	got, err := framework.Send(ctx, l.node, double{N: n})
	if err == nil && got != 2*n {
		err = errors.New("the answer of another request: " + strconv.Itoa(got))
	}
	if err == nil {
		l.answers.Store(n, true)
		l.answered.Add(1)
	}
	return err
}

// passes waits until so much more has been accepted.
func (l *load) passes(t *testing.T, more int64) {
	t.Helper()
	events, requests := l.storedCount.Load()+more, l.answered.Load()+more
	eventually(t, "the load passes", func() bool {
		return len(l.failed) > 0 || l.storedCount.Load() >= events && l.answered.Load() >= requests
	})
}

func (l *load) stop(t *testing.T) {
	t.Helper()
	close(l.quit)
	l.workers.Wait()
	for len(l.failed) > 0 {
		t.Errorf("a call failed: %v", <-l.failed)
	}
}

func TestServerRestart_UnderLoadLosesNothingThatWasAccepted(t *testing.T) {
	t.Parallel()
	srv := listenRestartable(t)
	var handled sync.Map // number → *counter
	var requests sync.Map
	count := func(m *sync.Map, n int) {
		c, _ := m.LoadOrStore(n, new(counter))
		c.(*counter).Add(1)
	}
	for _, name := range []string{"node1", "node2"} {
		node := connect(t, srv.Server, name, at(srv.URL()))
		must(t,
			framework.Subscribe(node, func(_ context.Context, m entered) error {
				count(&handled, m.N)
				return nil
			}, framework.InGroup("g"), framework.WithAckWait(time.Second)),
			framework.Handle(node, func(_ context.Context, m double) (int, error) {
				count(&requests, m.N)
				return 2 * m.N, nil
			}, framework.WithAckWait(time.Second)))
		running(t, node)
	}
	l := startLoad(t, connect(t, srv.Server, "caller", at(srv.URL())))
	l.passes(t, 100)
	srv.restart(t)
	l.passes(t, 100)
	l.stop(t)
	l.stored.Range(func(n, _ any) bool {
		eventually(t, "stored event "+strconv.Itoa(n.(int))+" is handled", func() bool {
			_, ok := handled.Load(n)
			return ok
		})
		return true
	})
	requests.Range(func(n, runs any) bool {
		if got := runs.(*counter).Load(); got != 1 {
			t.Errorf("request %d ran %d times", n, got)
		}
		return true
	})
}

func TestServerRestart_WhileAHandlerRunsItsCallerIsAnswered(t *testing.T) {
	t.Parallel()
	srv := listenRestartable(t)
	caller, worker := connect(t, srv.Server, "caller", at(srv.URL())), connect(t, srv.Server, "worker", at(srv.URL()))
	started, release := make(chan struct{}, 10), make(chan struct{})
	must(t, framework.Handle(worker, func(_ context.Context, m double) (int, error) {
		started <- struct{}{}
		<-release
		return 2 * m.N, nil
	}))
	running(t, worker)
	answer := sending(soon(t), caller, double{N: 21})
	receive(t, started)
	srv.restart(t)
	close(release) // perhaps before the node is connected again
	if r := receive(t, answer); r.err != nil || r.value != 42 || r.info != (framework.ReplyInfo{Node: "worker", Attempts: 1}) {
		t.Errorf("answer = %+v", r)
	}
	eventually(t, "the node is ready again", func() bool { return worker.Ready() == nil })
	empty(t, "it ran twice", started)
}
