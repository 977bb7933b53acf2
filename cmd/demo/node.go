package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/metrics"
)

// What bounds the failover: a killed node's session ends after lease, its messages are delivered
// again after ackWait, both at the latest; an order is then processed elsewhere.
const (
	namespace = "catga"
	lease     = 2 * time.Second
	ackWait   = 3 * time.Second

	startTimeout = 30 * time.Second // to connect, make what is missing, and consume
	softStop     = 10 * time.Second // for handlers when the node drains
	closeTimeout = 5 * time.Second  // for HTTP and the connection, when nothing is left to do
)

// nodeConfig says what one node of this process is.
type nodeConfig struct {
	id      string
	listen  string // address of the HTTP API
	natsURL string
	work    time.Duration
	log     *slog.Logger // of the process
}

// node is one node of the cluster with its HTTP API.
type node struct {
	id       string
	endpoint string
	node     *framework.Node
	api      *api
	http     *http.Server
	listener net.Listener
	log      *slog.Logger

	stop   context.CancelFunc // ends the run
	ran    chan error         // what Run returned; size 1
	served chan error         // what Serve returned; size 1
}

// startNode joins the cluster and serves HTTP when it returns. End the node with end.
func startNode(ctx context.Context, cfg nodeConfig) (*node, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	n := &node{id: cfg.id, ran: make(chan error, 1), served: make(chan error, 1)}
	n.log = cfg.log.With(slog.String(nodeKey, cfg.id))
	if err := n.start(ctx, cfg); err != nil {
		n.abandon()
		return nil, fmt.Errorf("start %s: %w", cfg.id, err)
	}
	return n, nil
}

func (n *node) start(ctx context.Context, cfg nodeConfig) (err error) {
	// The port first: it costs nothing and is what most often goes wrong.
	n.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.listen)
	if err != nil {
		return err
	}
	host, port := splitAddress(cfg.listen, n.listener.Addr())
	n.endpoint = endpoint(host, port)

	registry := prometheus.NewRegistry() // one for each node, since each has its own /metrics
	hooks, err := nodeMetrics(registry)
	if err != nil {
		return err
	}
	n.node, err = framework.Connect(ctx, framework.Config{
		NodeID: cfg.id, Endpoint: n.endpoint, Namespace: namespace, URL: cfg.natsURL,
		Lease: lease, SoftStop: softStop, Hooks: hooks, Logger: n.log,
	})
	if err != nil {
		return err
	}
	store, err := openKVStore(ctx, n.node.Conn(), namespace)
	if err != nil {
		return err
	}
	if err := n.handle(&shop{node: cfg.id, store: store, publisher: n.node, work: cfg.work, log: n.log}); err != nil {
		return err
	}
	n.api = &api{
		backend: &service{Node: n.node, store: store},
		gate:    newGate(),
		metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		log:     n.log,
	}
	return n.run(ctx)
}

func nodeMetrics(registry *prometheus.Registry) (framework.Hooks, error) {
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := registry.Register(c); err != nil {
			return framework.Hooks{}, err
		}
	}
	return metrics.New(registry)
}

// handle is what the node does for the cluster.
func (n *node) handle(s *shop) error {
	return errors.Join(
		framework.Handle(n.node, s.process, framework.WithAckWait(ackWait)),
		framework.Subscribe(n.node, s.created),
		framework.Subscribe(n.node, s.shipped, framework.WithAckWait(ackWait)),
	)
}

// run consumes, and serves HTTP once it does.
func (n *node) run(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // start-up's deadline is not the run's
	n.stop = stop
	go func() { n.ran <- n.node.Run(running) }()
	if err := n.node.WaitReady(ctx); err != nil {
		return err
	}
	n.http = newHTTPServer(n.api.handler(), n.log)
	go func() { n.served <- n.http.Serve(n.listener) }()
	return nil
}

// wait returns when ctx ends, with nil, or when the node cannot go on, with the reason.
func (n *node) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.ran:
		n.ran <- err // for end
		return fmt.Errorf("%s ended by itself: %w", n.id, reason(err))
	case err := <-n.served:
		return fmt.Errorf("%s serves no http: %w", n.id, err)
	}
}

// reason stands in for a nil error where there should have been one.
func reason(err error) error {
	if err == nil {
		return errors.New("no reason given")
	}
	return err
}

// end takes the node out of the cluster: no new orders, those in flight are answered, what runs
// here finishes, the rest goes to other nodes. HTTP says so until the end.
func (n *node) end() error {
	n.log.Info("draining")
	ctx, cancel := context.WithTimeout(context.Background(), orderTimeout+closeTimeout)
	defer cancel()
	err := n.api.gate.close(ctx)

	n.stop()
	err = errors.Join(err, n.drained())

	ctx, cancel = context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err = errors.Join(err, n.http.Shutdown(ctx), n.node.Close(ctx)); err != nil {
		return fmt.Errorf("end %s: %w", n.id, err)
	}
	n.log.Info("stopped")
	return nil
}

// drained waits until the node has handed back what it does not finish.
func (n *node) drained() error {
	ctx, cancel := context.WithTimeout(context.Background(), softStop+closeTimeout)
	defer cancel()
	select {
	case err := <-n.ran:
		return err
	case <-ctx.Done():
		return errors.New("drain: not finished in time")
	}
}

// abandon releases what a failed start has taken.
func (n *node) abandon() {
	if n.listener != nil {
		_ = n.listener.Close()
	}
	if n.node != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = n.node.Close(ctx) // ends the run too
	}
	if n.stop != nil {
		n.stop()
		_ = n.drained() // the start has failed with it, or with something before
	}
}

// splitAddress is the host that was asked for, with the port that was given.
func splitAddress(asked string, given net.Addr) (host string, port int) {
	host, _, _ = net.SplitHostPort(asked)
	_, digits, _ := net.SplitHostPort(given.String())
	port, _ = strconv.Atoi(digits)
	return host, port
}
