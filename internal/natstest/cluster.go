package natstest

import (
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	clusterSize     = 3
	clusterTries    = 3
	clusterPatience = 15 * time.Second
)

// Cluster runs three servers as one JetStream cluster on the loopback interface, and returns them
// when it has a leader and all are current. Every server has to know all routes from the start, so the
// ports are chosen beforehand; if somebody else takes one meanwhile, it tries again with others.
func Cluster(tb testing.TB) []*server.Server {
	tb.Helper()
	for range clusterTries {
		servers := startCluster(tb)
		if settled(servers) {
			return servers
		}
		for _, srv := range servers {
			Stop(srv)
		}
	}
	tb.Fatalf("no cluster after %d tries of %v", clusterTries, clusterPatience)
	return nil
}

func startCluster(tb testing.TB) []*server.Server {
	tb.Helper()
	routes, dir := freeRoutes(tb), tb.TempDir()
	servers := make([]*server.Server, 0, len(routes))
	for i, route := range routes {
		port, err := strconv.Atoi(route.Port())
		if err != nil {
			tb.Fatal(err)
		}
		name := "n" + strconv.Itoa(i)
		srv, err := server.NewServer(&server.Options{
			ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}, Routes: routes,
			JetStream: true, StoreDir: filepath.Join(dir, name), NoSigs: true, NoLog: true,
		})
		if err != nil {
			tb.Fatalf("new server: %v", err)
		}
		srv.Start()
		tb.Cleanup(func() { Stop(srv) })
		servers = append(servers, srv)
	}
	return servers
}

// freeRoutes are three addresses that nobody listened on a moment ago.
func freeRoutes(tb testing.TB) []*url.URL {
	tb.Helper()
	routes := make([]*url.URL, 0, clusterSize)
	for range clusterSize {
		l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: l.Addr().String()})
	}
	return routes
}

func settled(servers []*server.Server) bool {
	limit, tick := time.After(clusterPatience), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		leaders, current := 0, 0
		for _, srv := range servers {
			if srv.JetStreamIsLeader() {
				leaders++
			}
			if srv.JetStreamIsCurrent() {
				current++
			}
		}
		if leaders == 1 && current == len(servers) {
			return true
		}
		select {
		case <-tick.C:
		case <-limit:
			return false
		}
	}
}
