package main

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironmentWinsOverArguments(t *testing.T) {
	t.Parallel()
	base := config{mode: modeCluster, port: 5001, host: "127.0.0.1", natsPort: 4222}
	with := func(change func(*config)) config {
		c := base
		change(&c)
		return c
	}
	for _, tt := range []struct {
		name string
		args string
		env  map[string]string
		want config
	}{
		{"nothing is the cluster", "", nil, base},
		{"a node", "node2 5002", nil, with(func(c *config) { c.mode, c.nodeID, c.port = modeNode, "node2", 5002 })},
		{"a node without a port", "node2", nil, with(func(c *config) { c.mode, c.nodeID = modeNode, "node2" })},
		{"the server", "server", nil, with(func(c *config) { c.mode = modeServer })},
		{
			"variables name a node", "",
			map[string]string{"NODE_ID": "node3", "NODE_PORT": "5003"},
			with(func(c *config) { c.mode, c.nodeID, c.port = modeNode, "node3", 5003 }),
		},
		{
			"variables win over arguments", "node1 5001",
			map[string]string{"NODE_ID": "node3", "NODE_PORT": "5003", "NATS_URL": "nats://other:4222"},
			with(func(c *config) { c.mode, c.nodeID, c.port, c.natsURL = modeNode, "node3", 5003, "nats://other:4222" }),
		},
		{
			"a variable wins over a bad argument", "node1 nonsense",
			map[string]string{"NODE_PORT": "5003"},
			with(func(c *config) { c.mode, c.nodeID, c.port = modeNode, "node1", 5003 }),
		},
		{
			"a node's variables do not touch the server", "server",
			map[string]string{"NODE_ID": "node3", "NODE_PORT": "5003"},
			with(func(c *config) { c.mode = modeServer }),
		},
		{
			"the cluster's first port", "",
			map[string]string{"NODE_PORT": "6001"},
			with(func(c *config) { c.port = 6001 }),
		},
		{
			"flags", "-data d -host 0.0.0.0 -nats-port 5222 -work 1s node1", nil,
			with(func(c *config) {
				c.mode, c.nodeID, c.dataDir, c.host, c.natsPort, c.work = modeNode, "node1", "d", "0.0.0.0", 5222, time.Second
			}),
		},
		{
			"variables win over flags", "-data d -host 0.0.0.0 -nats-port 5222 -work 1s",
			map[string]string{"DATA_DIR": "e", "HTTP_HOST": "::1", "NATS_PORT": "6222", "WORK_TIME": "2s"},
			with(func(c *config) { c.dataDir, c.host, c.natsPort, c.work = "e", "::1", 6222, 2*time.Second }),
		},
		{
			"logs", "",
			map[string]string{"LOG_FORMAT": "JSON", "LOG_LEVEL": "debug"},
			with(func(c *config) { c.logJSON, c.logLevel = true, slog.LevelDebug }),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(tt.args, tt.env)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(config{})); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadConfigNamesWhatIsBad(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		env  map[string]string
		want string
	}{
		{"node1 65536", nil, `port "65536": not a port`},
		{"node1 5001 5002", nil, `"5002": at most`},
		{"server 4222", nil, `server "4222": its port is -nats-port`},
		{"-nats-port 0", nil, "-nats-port 0: not a port"},
		{"-work -1s", nil, "-work -1s: a duration cannot be negative"},
		{"-nonsense", nil, "not defined: -nonsense"},
		{"", map[string]string{"NODE_PORT": "x"}, `NODE_PORT "x": not a port`},
		{"", map[string]string{"LOG_FORMAT": "xml"}, `LOG_FORMAT "xml": use text or json`},
		{"", map[string]string{"LOG_LEVEL": "loud"}, `LOG_LEVEL "loud":`},
		{"", map[string]string{"WORK_TIME": "long"}, `WORK_TIME "long":`},
	} {
		t.Run(tt.want, func(t *testing.T) {
			t.Parallel()
			_, err := parse(tt.args, tt.env)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := parse("node1 x", map[string]string{"LOG_FORMAT": "xml", "LOG_LEVEL": "loud"})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("error %v, want three lines", err)
	}
}

func TestEndpointIsReachable(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"127.0.0.1": "http://localhost:5001", "0.0.0.0": "http://localhost:5001", "::": "http://localhost:5001",
		"": "http://localhost:5001", "10.0.0.7": "http://10.0.0.7:5001", "fe80::1": "http://[fe80::1]:5001", "box": "http://box:5001",
	} {
		if got := endpoint(host, 5001); got != want {
			t.Errorf("endpoint of %q is %s, want %s", host, got, want)
		}
	}
}

func parse(args string, env map[string]string) (config, error) {
	return parseConfig(strings.Fields(args), func(name string) string { return env[name] }, io.Discard)
}
