package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/natstest"
)

func TestKeepersAgreeOnOneHost(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, freePort(t), t.TempDir())
	found := make(chan *tenure)
	for range 3 {
		go func() {
			got, err := k.find(t.Context())
			if err != nil {
				t.Error(err)
			}
			found <- got
		}()
	}
	hosts := 0
	var all []*tenure
	for range 3 {
		got := <-found
		if got == nil {
			t.FailNow()
		}
		if all = append(all, got); got.server != nil {
			hosts++
		}
	}
	if hosts != 1 {
		t.Errorf("%d hosts of one port", hosts)
	}
	for _, one := range all {
		if err := one.end(); err != nil {
			t.Errorf("end: %v", err)
		}
	}
}

func TestNextKeeperHostsWhenTheHostLeaves(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, freePort(t), t.TempDir())
	first, err := k.find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	acked := publish(t, k.url(), 100)

	second, err := k.find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second.server != nil {
		t.Fatal("two hosts")
	}
	keep(t, k, second)
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, k.url()); got != acked {
		t.Errorf("%d messages in the store, %d were acked", got, acked)
	}
}

func TestNextKeeperHostsWhenTheHostIsKilled(t *testing.T) {
	t.Parallel()
	port, data := freePort(t), t.TempDir()
	host := startChild(t, t.TempDir(), port, "-data", data, "server")
	host.out.wait(t, "Ready: NATS")
	k := newKeeper(t, port, data)
	watching, err := k.find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if watching.server != nil {
		t.Fatal("two hosts")
	}
	keep(t, k, watching)

	acked := publish(t, k.url(), 500)
	host.kill()
	if got := stored(t, k.url()); got != acked {
		t.Errorf("%d messages in the store, %d were acked", got, acked)
	}
}

func TestServerChildLeavesNothing(t *testing.T) {
	t.Parallel()
	cache, port := t.TempDir(), freePort(t)
	first := startChild(t, cache, port, "server")
	first.out.wait(t, "Ready: NATS")

	second := startChild(t, cache, port, "server")
	second.out.wait(t, `demo: host a server on port \d+: another one is there`)
	<-second.exited
	if code := second.cmd.ProcessState.ExitCode(); code != exitError {
		t.Errorf("the second server's exit code is %d, want %d", code, exitError)
	}

	if code := first.interrupt(t); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	wantEmpty(t, cache)
}

func TestPortOfSomethingElseIsAnError(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	k := newKeeper(t, l.Addr().(*net.TCPAddr).Port, t.TempDir())
	k.patience = time.Millisecond
	if _, err := k.find(t.Context()); !errors.Is(err, errForeign) {
		t.Errorf("find: %v, want errForeign", err)
	}
}

func TestServerThatWantsCredentialsIsAnError(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	other, err := startLocked(t, port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := newKeeper(t, port, t.TempDir()).find(t.Context()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("find: %v, want an authorization error", err)
	}
}

func newKeeper(t *testing.T, port int, store string) *keeper {
	t.Helper()
	return &keeper{port: port, store: store, patience: findPatience, log: slog.New(slog.DiscardHandler)}
}

// keep lets k follow the server until the test ends.
func keep(t *testing.T, k *keeper, on *tenure) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	kept := make(chan error, 1)
	go func() { kept <- k.keep(ctx, on) }()
	t.Cleanup(func() {
		cancel()
		if err := <-kept; err != nil {
			t.Errorf("keep: %v", err)
		}
	})
}

// publish stores n messages and returns how many the server acknowledged.
func publish(t *testing.T, url string, n int) (acked uint64) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js := natstest.JetStream(t, nc)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := js.Publish(t.Context(), "s", []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		acked++
	}
	return acked
}

// stored asks the server, once there is one again, how many messages it has.
func stored(t *testing.T, url string) uint64 {
	t.Helper()
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		s, err := natstest.JetStream(t, nc).Stream(ctx, "S")
		switch {
		case err == nil:
			return s.CachedInfo().State.Msgs
		case ctx.Err() != nil:
			t.Fatal(fmt.Errorf("no server again: %w", err))
		}
	}
}
