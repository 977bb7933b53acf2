package integration

import (
	"context"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

func TestLostReply_CallerFindsTheAnswerInTheRecord(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		wire := &link{server: srv}
		caller, worker := connect(t, srv, "caller", over(wire)), connect(t, srv, "worker")
		started, release := make(chan struct{}), make(chan struct{})
		must(t, framework.Handle(worker, func(context.Context, ask) (string, error) {
			close(started)
			<-release
			return "answer", nil
		}))
		frameworktest.Run(t, worker)
		answer := sending(within(t, time.Hour), caller, ask{})
		receive(t, started)
		wire.cut()
		close(release)
		drainedOff(t, worker) // acknowledged: the reply was sent to nobody
		wire.mend()
		began := time.Now()
		if r := receive(t, answer); r.err != nil || r.value != "answer" || r.info.Replayed || r.info.Node != "worker" {
			t.Errorf("answer = %+v", r)
		}
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("it took %v from the end of the outage", took)
		}
	})
}

func TestLostReply_OfAConnectedCallerIsFoundWithinASecond(t *testing.T) {
	natstest.FakeTime(t, func(t *testing.T) {
		srv := frameworktest.NewServer(t)
		caller, worker := connect(t, srv, "caller"), connect(t, srv, "worker", over(&link{server: srv, mute: "_INBOX."}))
		ended := make(chan time.Time, 1)
		must(t, framework.Handle(worker, func(context.Context, ask) (string, error) {
			ended <- time.Now()
			return "answer", nil
		}))
		frameworktest.Run(t, worker)
		r := receive(t, sending(within(t, time.Hour), caller, ask{}))
		if r.err != nil || r.value != "answer" || r.info.Replayed {
			t.Errorf("answer = %+v", r)
		}
		if took := time.Since(receive(t, ended)); took < 100*time.Millisecond || took > 2*time.Second {
			t.Errorf("found %v after the handler: want from the record, which is looked at each second", took)
		}
	})
}
