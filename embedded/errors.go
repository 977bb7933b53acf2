package embedded

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by a server that has ended.
var ErrClosed = errors.New("embedded server is closed")

// A ConfigError names the field that cannot be used, its value, and what to do.
type ConfigError struct {
	Field  string
	Value  any
	Reason string
}

// Error says it in one line.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("config %s %v: %s", e.Field, e.Value, e.Reason)
}

// A LockedError reports a store folder that another server uses, in this process or another.
type LockedError struct {
	StoreDir string
}

// Error says it in one line.
func (e *LockedError) Error() string {
	return fmt.Sprintf("lock store %s: another server uses it", e.StoreDir)
}

// A PortTakenError reports an address that something else listens on.
type PortTakenError struct {
	Host string
	Port int
	Err  error // what the system said
}

// Error says it in one line.
func (e *PortTakenError) Error() string {
	return fmt.Sprintf("listen on %s port %d: %v", e.Host, e.Port, e.Err)
}

// Unwrap returns what the system said.
func (e *PortTakenError) Unwrap() error { return e.Err }
