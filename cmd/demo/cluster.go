package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"github.com/catga-go/catga/embedded"
)

// clusterSize is how many nodes run in one process.
const clusterSize = 3

// runCluster runs three nodes and their server until ctx ends.
func (d *demo) runCluster(ctx context.Context) error {
	url := d.cfg.natsURL
	if url == "" {
		srv, err := d.clusterServer()
		if err != nil {
			return err
		}
		defer d.closing("close server", srv.Close)
		url = srv.URL()
	}
	nodes, err := d.startNodes(ctx, url)
	if err == nil {
		d.printHelp(url, nodes)
		err = waitAny(ctx, nodes)
	}
	return errors.Join(err, endAll(nodes))
}

// clusterServer starts the server of this process on the usual port, or on another if it is taken.
func (d *demo) clusterServer() (*embedded.Server, error) {
	cfg := embedded.Config{Port: d.cfg.natsPort, StoreDir: d.cfg.dataDir, Logger: d.log}
	srv, err := embedded.Start(cfg)
	if _, taken := errors.AsType[*embedded.PortTakenError](err); taken {
		cfg.Port = -1
		if srv, err = embedded.Start(cfg); err == nil {
			d.log.Info("the usual nats port is taken, using another",
				slog.Int("taken", d.cfg.natsPort), slog.String("url", srv.URL()))
		}
	}
	return srv, err
}

// startNodes starts them one after another, so that the log can be read. Those that were started
// are returned with an error, too.
func (d *demo) startNodes(ctx context.Context, url string) ([]*node, error) {
	var nodes []*node
	for i := range clusterSize {
		port := d.cfg.port
		if port != 0 {
			port += i
		}
		n, err := startNode(ctx, d.nodeConfig(fmt.Sprintf("node%d", i+1), port, url))
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func (d *demo) nodeConfig(id string, port int, url string) nodeConfig {
	return nodeConfig{
		id: id, listen: net.JoinHostPort(d.cfg.host, strconv.Itoa(port)), natsURL: url,
		work: d.cfg.work, log: d.log,
	}
}

// waitAny returns when ctx ends, with nil, or when a node fails.
func waitAny(ctx context.Context, nodes []*node) error {
	failed := make(chan error, len(nodes))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, n := range nodes {
		go func() { failed <- n.wait(ctx) }()
	}
	errs := make([]error, 0, len(nodes))
	for range nodes {
		errs = append(errs, <-failed)
		cancel() // one is enough
	}
	return errors.Join(errs...)
}

// endAll ends them together: orders in flight on one may need the others.
func endAll(nodes []*node) error {
	ended := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() { ended <- n.end() }()
	}
	errs := make([]error, 0, len(nodes))
	for range nodes {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// printHelp says what can be done now.
func (d *demo) printHelp(url string, nodes []*node) {
	first, last := nodes[0].endpoint, nodes[len(nodes)-1].endpoint
	ids := make([]string, 0, len(nodes))
	for _, n := range nodes {
		ids = append(ids, n.id+" "+n.endpoint)
	}
	_, _ = fmt.Fprintf(d.out, `
Ready: %s
NATS:  %s

Try:
  curl -X POST %s/orders -d '{"productId":"product-123","quantity":2}'
  curl -X POST %s/orders -H 'Idempotency-Key: "key-1"' -d '{"productId":"product-123","quantity":2}'
  curl %s/orders/ORDER_ID
  curl %s/health
  curl %s/nodes
  curl %s/metrics

Ctrl-C drains and ends, a second one ends at once.

`, strings.Join(ids, ", "), url, first, last, last, first, first, first)
}
