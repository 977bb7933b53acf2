package discovery

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/provision"
)

// Config says how a registry works. The zero value is usable. All processes of a cluster must use
// the same Bucket, Namespace, TTL and Heartbeat.
type Config struct {
	Bucket    string         // key-value bucket; default "<namespace>_nodes"
	Namespace string         // first token of the subjects on which members answer; default "catga"
	Replicas  int            // of the bucket: 1, 3 or 5; default 1
	TTL       time.Duration  // without a beat for that long a node is offline; at least 1s, default 30s
	Heartbeat time.Duration  // time between two beats; at most half the TTL, default a third of it
	Forget    time.Duration  // offline nodes are listed for that long; default 1h
	Mode      provision.Mode // whether the bucket may be created or is only checked; default Create
	Logger    *slog.Logger   // default slog.Default()
}

func (c Config) withDefaults() Config {
	c.Namespace = cmp.Or(c.Namespace, "catga")
	c.Bucket = cmp.Or(c.Bucket, c.Namespace+"_nodes")
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.TTL = cmp.Or(c.TTL, 30*time.Second)
	c.Heartbeat = cmp.Or(c.Heartbeat, c.TTL/3)
	c.Forget = cmp.Or(c.Forget, time.Hour)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

func (c Config) validate() error {
	switch {
	case !isToken(c.Bucket, 128):
		return &ConfigError{"Bucket", c.Bucket, "want [A-Za-z0-9_-]{1,128}"}
	case !isToken(c.Namespace, 32):
		return &ConfigError{"Namespace", c.Namespace, "want one subject token of at most 32 characters"}
	case c.Replicas < 1 || c.Replicas > 5:
		return &ConfigError{"Replicas", c.Replicas, "want 1 to 5"}
	case c.TTL < time.Second:
		return &ConfigError{"TTL", c.TTL, "want at least 1s"}
	case c.Heartbeat <= 0 || c.Heartbeat > c.TTL/2:
		return &ConfigError{"Heartbeat", c.Heartbeat, fmt.Sprintf("want at most half the TTL of %v", c.TTL)}
	case c.Forget < 0:
		return &ConfigError{"Forget", c.Forget, "want at least 0"}
	}
	return nil
}

// stream is the bucket as a stream. LimitMarkerTTL makes the server leave a marker where a key
// expired: without it the followers would never hear of a lost node.
func (c Config) stream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                   streamName(c.Bucket),
		Description:            "node registry",
		Subjects:               []string{keyPrefix(c.Bucket) + ">"},
		MaxMsgsPerSubject:      1,
		MaxAge:                 c.TTL,
		MaxMsgSize:             2 * maxEntry, // the headers count too
		MaxMsgs:                -1,
		MaxBytes:               -1,
		MaxConsumers:           maxFollowers,
		Duplicates:             min(c.TTL, 2*time.Minute),
		Storage:                jetstream.FileStorage,
		Replicas:               c.Replicas,
		Discard:                jetstream.DiscardNew,
		AllowRollup:            true,
		DenyDelete:             true,
		AllowDirect:            true,
		AllowMsgTTL:            true,
		SubjectDeleteMarkerTTL: c.markerTTL(),
	}
}

// markerTTL is how long it can still be seen that a node left or expired, in whole seconds as the
// server wants it.
func (c Config) markerTTL() time.Duration {
	return max(c.TTL.Truncate(time.Second), time.Second)
}

// maxFollowers bounds the processes that can follow the bucket at once; the server's own default
// of 1,000 would be reached by processes that only publish.
const maxFollowers = 10_000

func streamName(bucket string) string { return "KV_" + bucket }
func keyPrefix(bucket string) string  { return "$KV." + bucket + "." }

// isToken says whether s is [A-Za-z0-9_-]{1,most}: safe as a subject token and as a key.
func isToken(s string, most int) bool {
	return s != "" && len(s) <= most && strings.IndexFunc(s, notInToken) < 0
}

func notInToken(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
		return false
	}
	return true
}
