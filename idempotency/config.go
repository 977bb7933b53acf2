package idempotency

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/provision"
)

const (
	defaultTTL     = 24 * time.Hour
	defaultMaxKeys = 4_000_000
	minMaxKeys     = 1024
	defaultLease   = 10 * time.Second
	maxAttempt     = 2 * time.Second
	kvStream       = "KV_"
)

// Config describes a [Store]. Bucket is required; every other field has a default.
type Config struct {
	// Bucket is the name of the key-value bucket: letters, digits, - and _, at most 128.
	Bucket string
	// Replicas is 1, 3 or 5. The default is 1.
	Replicas int
	// TTL is the bucket's: the longest life of a record, counted from its last change. A claim
	// older than that is forgotten. It must exceed Lease. The default is 24 hours.
	TTL time.Duration
	// MaxKeys bounds the number of records; beyond it the oldest are forgotten. A record costs
	// the server some 260 bytes of memory. At least 1,024; the default is 4,000,000.
	MaxKeys int64
	// Lease is how long a session outlives its process, or a process its connection: whole seconds.
	// It is renewed every quarter of it. The default is 10 seconds.
	Lease time.Duration
	// Mode says whether the bucket may be created and updated, or is only checked.
	Mode provision.Mode
	// Logger hears of undecodable records and lost sessions. The default is [slog.Default].
	Logger *slog.Logger
}

// A ConfigError reports a field of [Config] that cannot be used.
type ConfigError struct {
	Field  string
	Value  any
	Reason string
}

// Error names the field, its value and the reason.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("idempotency config: %s %v: %s", e.Field, e.Value, e.Reason)
}

// Open provisions the bucket and returns the store on it. The bucket is an ordinary key-value
// bucket, except that it forgets the oldest key at its bound instead of refusing a new one. The
// connection of js carries everything; Open starts no goroutine and there is nothing to close. It
// reports a [*ConfigError] before it talks to the server.
func Open(ctx context.Context, js jetstream.JetStream, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	stream, err := provision.Stream(ctx, js, cfg.stream(), cfg.Mode)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", cfg.Bucket, err)
	}
	return &Store{
		bucket: newBucket(js, stream, cfg),
		lease:  cfg.Lease,
		log:    cfg.Logger,
	}, nil
}

func (c Config) withDefaults() Config {
	c.Replicas = orDefault(c.Replicas, 1)
	c.TTL = orDefault(c.TTL, defaultTTL)
	c.MaxKeys = orDefault(c.MaxKeys, defaultMaxKeys)
	c.Lease = orDefault(c.Lease, defaultLease)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func orDefault[T comparable](v, byDefault T) T {
	var zero T
	if v == zero {
		return byDefault
	}
	return v
}

func (c Config) validate() error {
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`).MatchString(c.Bucket):
		return &ConfigError{"Bucket", c.Bucket, "want 1 to 128 letters, digits, - or _"}
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return &ConfigError{"Replicas", c.Replicas, "want 1, 3 or 5"}
	case c.Lease < time.Second || c.Lease%time.Second != 0:
		return &ConfigError{"Lease", c.Lease, "want whole seconds, at least one"}
	case c.TTL <= c.Lease:
		return &ConfigError{"TTL", c.TTL, "want more than the lease"}
	case c.MaxKeys < minMaxKeys:
		return &ConfigError{"MaxKeys", c.MaxKeys, "want at least 1024"}
	}
	return nil
}

// stream is the bucket's stream. It is made directly because the key-value API knows no bucket with
// message TTLs but without markers, nor one that drops its oldest key: without markers an expired
// key is simply absent, and costs nothing.
func (c Config) stream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              kvStream + c.Bucket,
		Description:       "idempotency records and sessions",
		Subjects:          []string{"$KV." + c.Bucket + ".>"},
		Storage:           jetstream.FileStorage,
		Replicas:          c.Replicas,
		MaxMsgsPerSubject: 1,
		MaxMsgs:           c.MaxKeys,
		Discard:           jetstream.DiscardOld,
		MaxAge:            c.TTL,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		Duplicates:        min(2*time.Minute, c.TTL),
		AllowRollup:       true,
		DenyDelete:        true,
		AllowDirect:       true,
		AllowMsgTTL:       true,
	}
}
