package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// mode is what this process runs.
type mode string

const (
	modeCluster mode = "cluster" // three nodes and a server in one process
	modeNode    mode = "node"    // one node; it hosts the server if nobody does
	modeServer  mode = "server"  // the server alone
)

const (
	defaultHTTPPort = 5001
	defaultNATSPort = 4222
)

// config is everything that arguments and environment say.
type config struct {
	mode     mode
	nodeID   string
	port     int    // of the node's HTTP, or of the first node's; 0 = any free port
	host     string // address that HTTP binds to
	natsURL  string // "" = find or host a server at natsPort
	natsPort int
	dataDir  string        // "" = a folder that goes when it is no longer used
	work     time.Duration // how long the processing of an order pretends to take
	logJSON  bool
	logLevel slog.Level
}

const usage = `The order cluster: three nodes that share orders over NATS JetStream.

  demo [flags]                 three nodes in one process, on HTTP ports 5001 to 5003, and their own server
  demo [flags] NODE [PORT]     one node, e.g. node1 5001; where no server runs, it hosts one
  demo [flags] server          the server alone, for nodes in other terminals

Flags, and the environment variables that win over them and over the arguments:
`

const usageEnv = `
  NODE_ID, NODE_PORT           the arguments NODE and PORT
  NATS_URL                     use this server and host none
  LOG_FORMAT                   text (default) or json
  LOG_LEVEL                    debug, info (default), warn or error
`

// parseConfig reads the arguments without the program's name. flag.ErrHelp means that -h was given
// and the usage has been written to out.
func parseConfig(args []string, getenv func(string) string, out io.Writer) (config, error) {
	c := config{port: defaultHTTPPort}
	p := &parser{getenv: getenv}
	rest, err := c.parseFlags(args, p, out)
	if err != nil {
		return config{}, err
	}
	c.parsePlace(rest, p)
	c.natsURL = getenv("NATS_URL")
	p.parse("LOG_FORMAT", func(s string) (err error) { c.logJSON, err = parseFormat(s); return err })
	p.parse("LOG_LEVEL", func(s string) error { return c.logLevel.UnmarshalText([]byte(s)) })
	return c, errors.Join(p.errs...)
}

// parseFlags reads the flags, lets their variables win, and returns the arguments after them.
func (c *config) parseFlags(args []string, p *parser, out io.Writer) ([]string, error) {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() {
		_, _ = io.WriteString(out, usage)
		fs.PrintDefaults()
		_, _ = io.WriteString(out, usageEnv)
	}
	fs.StringVar(&c.dataDir, "data", "", "keep the server's data in this `folder`, the same for every node (DATA_DIR)")
	fs.StringVar(&c.host, "host", "127.0.0.1", "`address` that HTTP listens on (HTTP_HOST)")
	fs.IntVar(&c.natsPort, "nats-port", defaultNATSPort, "`port` of the server that this process finds or hosts (NATS_PORT)")
	fs.DurationVar(&c.work, "work", 0, "pretend that processing an order takes this `long` (WORK_TIME)")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	p.parse("DATA_DIR", func(s string) error { c.dataDir = s; return nil })
	p.parse("HTTP_HOST", func(s string) error { c.host = s; return nil })
	p.parse("NATS_PORT", func(s string) (err error) { c.natsPort, err = parsePort(s); return err })
	p.parse("WORK_TIME", func(s string) (err error) { c.work, err = time.ParseDuration(s); return err })
	if c.natsPort < 1 || c.natsPort > 65535 {
		p.fail("-nats-port %d: not a port", c.natsPort)
	}
	if c.work < 0 {
		p.fail("-work %v: a duration cannot be negative", c.work)
	}
	return fs.Args(), nil
}

// parsePlace says from the arguments after the flags what runs, and where.
func (c *config) parsePlace(args []string, p *parser) {
	c.mode = modeCluster
	switch {
	case len(args) > 2:
		p.fail("%q: at most a node and a port are expected; flags come before them", args[2])
	case len(args) > 0 && args[0] == string(modeServer):
		c.mode = modeServer
		if len(args) > 1 {
			p.fail("server %q: its port is -nats-port", args[1])
		}
		return
	case len(args) > 0:
		c.mode, c.nodeID = modeNode, args[0]
	}
	if len(args) > 1 && p.getenv("NODE_PORT") == "" {
		p.value("port", args[1], func(s string) (err error) { c.port, err = parsePort(s); return err })
	}
	p.parse("NODE_ID", func(s string) error { c.mode, c.nodeID = modeNode, s; return nil })
	p.parse("NODE_PORT", func(s string) (err error) { c.port, err = parsePort(s); return err })
}

// parser collects what is wrong, so that one run shows all of it.
type parser struct {
	getenv func(string) string
	errs   []error
}

// parse gives set the variable called name, if there is one.
func (p *parser) parse(name string, set func(string) error) {
	if s := p.getenv(name); s != "" {
		p.value(name, s, set)
	}
}

func (p *parser) value(name, s string, set func(string) error) {
	if err := set(s); err != nil {
		p.fail("%s %q: %w", name, s, err)
	}
}

func (p *parser) fail(format string, v ...any) { p.errs = append(p.errs, fmt.Errorf(format, v...)) }

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, errors.New("not a port")
	}
	return int(n), nil
}

func parseFormat(s string) (json bool, err error) {
	switch strings.ToLower(s) {
	case "json":
		return true, nil
	case "text":
		return false, nil
	default:
		return false, errors.New("use text or json")
	}
}

// endpoint is where others reach what listens on host and port.
func endpoint(host string, port int) string {
	ip := net.ParseIP(host)
	if host == "" || ip.IsLoopback() || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port))
}
