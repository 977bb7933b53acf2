// Command demo is the order cluster: nodes that share orders over NATS JetStream and tell each
// other of them, with the HTTP API to try it. Run it with -h for what it can do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const sameSignal = 300 * time.Millisecond

// The exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal drains, the second ends the process as if nobody had asked for signals. What
	// comes within the same moment is the first one again: some send it to a process and to its group.
	context.AfterFunc(ctx, func() { time.AfterFunc(sameSignal, stop) })
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main without the process around it. It returns when ctx has ended and all is drained.
func run(ctx context.Context, args []string, getenv func(string) string, out, errOut io.Writer) int {
	cfg, err := parseConfig(args, getenv, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(errOut, "demo: %v\n(demo -h says what there is)\n", err)
		return exitUsage
	}
	d := &demo{cfg: cfg, log: newLogger(out, cfg.logJSON, cfg.logLevel), out: out}
	if err := d.run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprintf(errOut, "demo: %v\n", err)
		return exitError
	}
	return exitOK
}

// demo is one run of this program.
type demo struct {
	cfg config
	log *slog.Logger
	out io.Writer
}

func (d *demo) run(ctx context.Context) error {
	switch d.cfg.mode {
	case modeServer:
		return d.hosted(ctx, d.runServer)
	case modeNode:
		if d.cfg.natsURL != "" {
			return d.runNode(ctx, d.cfg.natsURL)
		}
		return d.hosted(ctx, func(ctx context.Context, k *keeper, _ *tenure) error { return d.runNode(ctx, k.url()) })
	default:
		return d.runCluster(ctx)
	}
}

// runNode runs one node until ctx ends.
func (d *demo) runNode(ctx context.Context, url string) error {
	n, err := startNode(ctx, d.nodeConfig(d.cfg.nodeID, d.cfg.port, url))
	if err != nil {
		return err
	}
	d.printHelp(url, []*node{n})
	return errors.Join(n.wait(ctx), n.end())
}

// runServer waits. It is asked to host the server, so another one that has the port is an error.
func (d *demo) runServer(ctx context.Context, k *keeper, t *tenure) error {
	if t.server == nil {
		return fmt.Errorf("host a server on port %d: another one is there", k.port)
	}
	_, _ = fmt.Fprintf(d.out, "\nReady: NATS %s\n\nTry, each in its own terminal:\n"+
		"  demo node1 5001\n  demo node2 5002\n  demo node3 5003\n\n", k.url())
	<-ctx.Done()
	return nil
}

// hosted runs f with a server on this machine, hosted by this process while no other does.
// It ends after f, so that the node can still drain over it.
func (d *demo) hosted(ctx context.Context, f func(context.Context, *keeper, *tenure) error) error {
	k := &keeper{port: d.cfg.natsPort, store: d.cfg.dataDir, patience: findPatience, log: d.log}
	if d.cfg.nodeID != "" {
		k.log = d.log.With(slog.String(nodeKey, d.cfg.nodeID))
	}
	if k.store == "" {
		shared, err := enterFolder(ctx, k.port)
		if err != nil {
			return err
		}
		defer d.closing("leave folder", shared.leave)
		k.store = shared.store()
	}
	t, err := k.find(ctx)
	if err != nil {
		return err
	}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan error, 1)
	go func() { kept <- k.keep(keeping, t) }()
	err = f(ctx, k, t)
	stop()
	return errors.Join(err, <-kept)
}

// closing is for defer: what fails at the very end is logged.
func (d *demo) closing(what string, f func() error) {
	if err := f(); err != nil {
		d.log.Error("not ended well", slog.String("step", what), slog.String("err", err.Error()))
	}
}
