package framework

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/internal/provision"
	"github.com/catga-go/catga/streams"
)

// Config describes a node. The zero value connects to nats://localhost:4222 with the host name as
// the node's ID. [Connect] checks all of it and returns a [*ConfigError] for what it cannot use.
type Config struct {
	// NodeID names the node in the cluster: 1 to 64 letters, digits, _ and -. No two live
	// processes may have the same. Default: the host name, what it may not hold replaced by -.
	NodeID string
	// Endpoint, Version and Metadata are shown to the other nodes.
	Endpoint, Version string
	Metadata          map[string]string
	// Namespace keeps several systems on one NATS apart: a lower-case letter, then up to 31 of
	// a-z, 0-9 and -. Default: catga.
	Namespace string

	// URL is the server's, or several with commas. Default: nats://localhost:4222.
	URL string
	// Conn is a connection to use instead, for everything. The node never closes it; pings and
	// reconnects are as its owner set them. With a reconnect buffer (the client's default) replies
	// to deliveries may be sent late, which costs a needless delivery: nats.ReconnectBufSize(-1).
	Conn *nats.Conn
	// InProcess is a server in this process to use instead, such as one of package embedded.
	InProcess nats.InProcessConnProvider
	// Credentials, of which the server's configuration says what it wants.
	CredsFile, NKeyFile, User, Password, Token string
	TLS                                        *tls.Config
	// ConnectTimeout bounds the first connection. Default: 5s.
	ConnectTimeout time.Duration

	// Provision says whether streams, buckets and consumers are created and updated, or only
	// checked. Default: Create.
	Provision Provision
	// Domain is the JetStream domain. Default: none.
	Domain string
	// Replicas of all streams and buckets: 1, 3 or 5. Default: 1.
	Replicas int
	// EventsMaxAge is how long QoS 1 events are stored, at least a minute. Default: 7 days.
	EventsMaxAge time.Duration
	// EventsMaxBytes bounds their size, the oldest going first. Default: 0, the server's limit.
	EventsMaxBytes int64

	// DedupTTL is how long the ID of a request, or of an event whose ID was given, is remembered,
	// and the answer of a request kept. Default: 24h.
	DedupTTL time.Duration
	// EventDedupTTL is the same for events with a generated ID. Default: 15m.
	EventDedupTTL time.Duration
	// DedupMaxKeys bounds the number of remembered IDs, at some 260 bytes of the server's memory each;
	// at the bound the oldest are forgotten. Default: 10,000,000.
	DedupMaxKeys int64
	// Lease is after how long without a sign of life the work of a process may be taken over:
	// whole seconds. Default: 10s.
	Lease time.Duration
	// RequestTimeout is the deadline of a Send whose context has none. Default: 30s.
	RequestTimeout time.Duration

	// Heartbeat is how often a node shows that it lives. Default: a third of NodeTimeout, or 10s.
	Heartbeat time.Duration
	// NodeTimeout is after how long without a heartbeat a node is lost: at least 1s and twice Heartbeat.
	// Default: three times Heartbeat.
	NodeTimeout time.Duration
	// SoftStop is how long handlers may go on in a drain before their context ends. Default: 30s.
	SoftStop time.Duration
	// ForgetAfter is after how long away the position of a node's own groups is forgotten.
	// Default: 7 days.
	ForgetAfter time.Duration
	// LagInterval is how often the server is asked how far behind the groups are. Default: 5s.
	LagInterval time.Duration

	// Codec encodes what has no other codec. Default: JSON().
	Codec Codec
	// KindCodecs are codecs of single kinds. Every codec named here is also understood on arrival.
	KindCodecs map[string]Codec
	// Middleware wraps every handler, the first outermost.
	Middleware []Middleware
	// PublishMiddleware wraps everything that is sent, the first outermost.
	PublishMiddleware []PublishMiddleware
	Hooks             Hooks
	// Logger hears of retries, dead letters, lost connections and the like, never of payloads.
	// Default: slog.Default().
	Logger *slog.Logger
}

// Provision says whether a node may create and update streams, buckets and consumers.
type Provision uint8

// The two ways.
const (
	Create Provision = iota // and update
	Verify                  // only check: somebody else owns them
)

func (p Provision) mode() provision.Mode {
	if p == Verify {
		return provision.Verify
	}
	return provision.Create
}

const (
	day          = 24 * time.Hour
	minHeartbeat = 100 * time.Millisecond
)

func (c *Config) withDefaults() {
	orDefault(&c.NodeID, hostName())
	orDefault(&c.Namespace, "catga")
	orDefault(&c.URL, nats.DefaultURL)
	orDefault(&c.ConnectTimeout, 5*time.Second)
	orDefault(&c.Replicas, 1)
	orDefault(&c.EventsMaxAge, 7*day)
	orDefault(&c.DedupTTL, day)
	orDefault(&c.EventDedupTTL, min(15*time.Minute, c.DedupTTL))
	orDefault(&c.DedupMaxKeys, 10_000_000)
	orDefault(&c.Lease, 10*time.Second)
	orDefault(&c.RequestTimeout, 30*time.Second)
	if c.NodeTimeout > 0 {
		orDefault(&c.Heartbeat, max(c.NodeTimeout/3, minHeartbeat))
	}
	orDefault(&c.Heartbeat, 10*time.Second)
	orDefault(&c.NodeTimeout, 3*c.Heartbeat)
	orDefault(&c.SoftStop, 30*time.Second)
	orDefault(&c.ForgetAfter, 7*day)
	orDefault(&c.LagInterval, 5*time.Second)
	orDefault(&c.Logger, slog.Default())
}

func orDefault[T comparable](field *T, byDefault T) {
	var zero T
	if *field == zero {
		*field = byDefault
	}
}

// hostName is the host's name as a node ID.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "node"
	}
	name = strings.Map(func(r rune) rune {
		if notToken(r) {
			return '-'
		}
		return r
	}, name)
	return name[:min(len(name), maxToken)]
}

// validate checks what withDefaults has completed.
func (c *Config) validate() error {
	if reason := badToken(c.NodeID); reason != "" {
		return &ConfigError{"NodeID", c.NodeID, reason}
	}
	if !streams.CheckNamespace(c.Namespace) {
		return &ConfigError{"Namespace", c.Namespace, "want a lower-case letter, then up to 31 of a-z, 0-9 and -"}
	}
	if c.Provision > Verify {
		return &ConfigError{"Provision", c.Provision, "want Create or Verify"}
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		return &ConfigError{"Replicas", c.Replicas, "want 1, 3 or 5"}
	}
	if c.EventsMaxBytes < 0 {
		return &ConfigError{"EventsMaxBytes", c.EventsMaxBytes, "must be 0 (no limit of its own) or above"}
	}
	if c.DedupMaxKeys < 1024 {
		return &ConfigError{"DedupMaxKeys", c.DedupMaxKeys, "must be at least 1,024"}
	}
	if c.Conn != nil && c.InProcess != nil {
		return &ConfigError{"InProcess", "set", "cannot be combined with Conn: choose one"}
	}
	for s := range strings.SplitSeq(c.URL, ",") {
		if _, err := parseURL(s); err != nil {
			return &ConfigError{"URL", "(not shown: it may hold a password)", "cannot be read: " + err.Error()}
		}
	}
	return c.validateTimes()
}

func (c *Config) validateTimes() error {
	for _, f := range []struct {
		name        string
		value, most time.Duration
		least       time.Duration
	}{
		{"ConnectTimeout", c.ConnectTimeout, time.Hour, time.Millisecond},
		{"EventsMaxAge", c.EventsMaxAge, 100 * 365 * day, time.Minute},
		{"DedupTTL", c.DedupTTL, 365 * day, time.Minute},
		{"EventDedupTTL", c.EventDedupTTL, c.DedupTTL, time.Second},
		{"Lease", c.Lease, time.Hour, time.Second},
		{"RequestTimeout", c.RequestTimeout, 30 * day, time.Millisecond},
		{"Heartbeat", c.Heartbeat, time.Hour, minHeartbeat},
		{"NodeTimeout", c.NodeTimeout, day, max(time.Second, 2*c.Heartbeat)},
		{"SoftStop", c.SoftStop, day, time.Millisecond},
		{"ForgetAfter", c.ForgetAfter, 365 * day, time.Minute},
		{"LagInterval", c.LagInterval, time.Hour, 100 * time.Millisecond},
	} {
		if f.value < f.least || f.value > f.most {
			return &ConfigError{f.name, f.value, fmt.Sprintf("must be %v to %v", f.least, f.most)}
		}
	}
	if c.Lease%time.Second != 0 {
		return &ConfigError{"Lease", c.Lease, "must be whole seconds, the server's unit"}
	}
	if c.DedupTTL <= c.Lease {
		return &ConfigError{"DedupTTL", c.DedupTTL, "must be above Lease"}
	}
	return nil
}
