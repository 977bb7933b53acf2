package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// What a zero Config means.
const (
	defaultHost      = "127.0.0.1"
	defaultMaxMemory = 256 << 20

	// A dead client is noticed after pings × interval; the server's own 2 × 2 minutes would leave
	// its requests to nobody for as long.
	pingInterval = 5 * time.Second
	maxPingsOut  = 2
)

// SyncMode says when the store is synced to the disk. It matters for a power cut or a crash of the
// operating system only: the end of the process, however violent, loses nothing in either mode.
type SyncMode uint8

const (
	// SyncInterval syncs every 2 minutes, the server's default: a power cut may take the
	// acknowledged messages of that time.
	SyncInterval SyncMode = iota
	// SyncAlways syncs before every acknowledgement, which is slower by what the disk needs for it.
	SyncAlways
)

// Config says how the server runs. The zero value listens on nats://127.0.0.1:4222 with a
// temporary store.
type Config struct {
	// StoreDir holds the streams. It is made if it does not exist, locked while the server runs,
	// and never removed. "" is a temporary folder, removed when the server ends.
	StoreDir string
	// Host is the address to listen on. Default 127.0.0.1: not reachable from other machines.
	Host string
	// Port is the TCP port: 0 is 4222, -1 any free one, to be had from [Server.URL].
	Port int
	// NoListen opens no port at all, Host and Port mean nothing then: clients come from within
	// the process, through [Server.InProcessConn].
	NoListen bool
	// Name is the server's name in logs and tools. Default: its random ID.
	Name string

	// MaxStore bounds the store, in bytes. 0 is three quarters of what the disk has left, the
	// present content of the store included. A full store refuses what is published, and goes
	// on when there is room again; a full disk would stop its streams until a restart.
	MaxStore int64
	// MaxMemory bounds streams and buckets kept in memory, in bytes. 0 is 256 MiB.
	MaxMemory int64
	// Sync says when the store is synced to the disk. Default [SyncInterval].
	Sync SyncMode

	// Username with Password, or Token: what clients must show, in-process ones too. Default: nothing.
	Username, Password, Token string

	// Logger gets the server's errors and warnings under their own levels, its start and end as
	// Info, and all other notices as Debug. nil is [slog.Default].
	Logger *slog.Logger
}

// validate reports the first field that cannot be used.
func (c *Config) validate() error {
	switch {
	case c.Port < server.RANDOM_PORT || c.Port > 65535:
		return &ConfigError{Field: "Port", Value: c.Port, Reason: "use -1 for any free port, 0 for 4222, or 1 to 65535"}
	case c.MaxStore < 0:
		return &ConfigError{Field: "MaxStore", Value: c.MaxStore, Reason: "use bytes, or 0 for a quota computed from the free space"}
	case c.MaxMemory < 0:
		return &ConfigError{Field: "MaxMemory", Value: c.MaxMemory, Reason: "use bytes, or 0 for 256 MiB"}
	case c.Sync > SyncAlways:
		return &ConfigError{Field: "Sync", Value: c.Sync, Reason: "use SyncInterval or SyncAlways"}
	case c.Token != "" && c.Username+c.Password != "":
		// The value stays out: it is a secret.
		return &ConfigError{Field: "Token", Value: "(set)", Reason: "use either a token or a user and a password"}
	case (c.Username == "") != (c.Password == ""):
		return &ConfigError{Field: "Username", Value: c.Username, Reason: "a user and a password need each other"}
	}
	return nil
}

// options translates a validated Config, with the store folder in use, for the server.
func (c *Config) options(storeDir string) *server.Options {
	return &server.Options{
		ServerName:             c.Name,
		Host:                   cmp.Or(c.Host, defaultHost),
		Port:                   c.Port, // 0 and -1 mean the same to the server
		DontListen:             c.NoListen,
		JetStream:              true,
		StoreDir:               storeDir,
		JetStreamMaxStore:      c.MaxStore, // 0: the server computes the quota, after it has read the store
		JetStreamMaxMemory:     cmp.Or(c.MaxMemory, defaultMaxMemory),
		SyncAlways:             c.Sync == SyncAlways,
		Username:               c.Username,
		Password:               c.Password,
		Authorization:          c.Token,
		PingInterval:           pingInterval,
		MaxPingsOut:            maxPingsOut,
		NoSublistCache:         true, // the cache costs more than it saves where reply subjects are new each time
		NoSigs:                 true, // signals belong to the program, not to a library in it
		DisableJetStreamBanner: true,
	}
}

// checkPort says at once, and in a type, what the server would only log.
func (c *Config) checkPort() error {
	if c.NoListen || c.Port == server.RANDOM_PORT {
		return nil
	}
	host, port := cmp.Or(c.Host, defaultHost), cmp.Or(c.Port, server.DEFAULT_PORT)
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))) //nolint:noctx // a bind does not wait
	if errors.Is(err, syscall.EADDRINUSE) {
		return &PortTakenError{Host: host, Port: port, Err: syscall.EADDRINUSE}
	}
	if err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	return l.Close()
}
