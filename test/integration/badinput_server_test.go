package integration

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

// A server may be about to get JetStream, so it is waited for, as long as the context says.
func TestBadInput_ServerWithoutJetStream(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true})
	must(t, err)
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	began := time.Now()
	node, err := framework.Connect(within(t, 300*time.Millisecond), framework.Config{NodeID: "node", InProcess: srv, Logger: frameworktest.Logger(t)})
	var unavailable *framework.UnavailableError
	if !errors.As(err, &unavailable) || unavailable.Stream != "CATGA_EVENTS" || node != nil {
		t.Errorf("Connect = %v, want an *UnavailableError", err)
	}
	contains(t, err, "JetStream")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// A group that somebody has made otherwise is left alone and named.
func TestBadInput_IncompatibleConsumer(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	_, err := jetStream(t, node).CreateConsumer(soon(t), "CATGA_EVENTS", jetstream.ConsumerConfig{
		Durable: "g:stamped", FilterSubject: "catga.event.stamped", AckPolicy: jetstream.AckNonePolicy,
	})
	must(t, err, framework.Subscribe(node, ignore[stamped], framework.InGroup("g")))
	err = node.Run(soon(t))
	var mismatch *framework.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Consumer != "g:stamped" || mismatch.Field != "ack_policy" {
		t.Errorf("Run = %v, want a *MismatchError of g:stamped and its ack_policy", err)
	}
	if ready := node.WaitReady(soon(t)); !errors.As(ready, &mismatch) {
		t.Errorf("WaitReady = %v", ready)
	}
	must(t, framework.Publish(soon(t), node, stamped{})) // publishing does not need it
}

// A stream that lacks what is needed and can have it gets it; what its owner added stays.
func TestExistingStream_IsCompletedAndKeepsWhatItsOwnerAdded(t *testing.T) {
	t.Parallel()
	srv := frameworktest.NewServer(t)
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	_, err = js.CreateStream(soon(t), jetstream.StreamConfig{
		Name: "CATGA_EVENTS", Subjects: []string{"catga.event.stamped", "theirs.>"}, MaxAge: 30 * 24 * time.Hour, Description: "theirs",
	})
	must(t, err)
	_, err = js.Publish(soon(t), "catga.event.stamped", []byte(`{"n":1}`))
	must(t, err)
	node := connect(t, srv, "node")
	got := make(chan stamped, 1)
	must(t, framework.Subscribe(node, sink(got), framework.FromStart()))
	run(t, node)
	if e := receive(t, got); e.N != 1 {
		t.Errorf("got %+v", e)
	}
	s, err := js.Stream(soon(t), "CATGA_EVENTS")
	must(t, err)
	if cfg := s.CachedInfo().Config; cfg.MaxAge != 30*24*time.Hour || cfg.Description != "theirs" || !cfg.AllowMsgSchedules {
		t.Errorf("config = %+v", cfg)
	}
	must(t, errorOf(js.Publish(soon(t), "theirs.x", nil)))
}
