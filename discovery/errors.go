package discovery

import (
	"errors"
	"fmt"
)

// ErrTaken is what every [*TakenError] wraps.
var ErrTaken = errors.New("node ID is taken")

// ErrClosed is returned by [Registry.Join] on a closed registry.
var ErrClosed = errors.New("registry is closed")

// A TakenError reports that another process holds the node ID, or has taken it over.
type TakenError struct {
	ID       string // the node ID
	Instance string // the instance that was refused or displaced
	Holder   Node   // the entry of the process that holds the ID
}

// Error names both processes.
func (e *TakenError) Error() string {
	return fmt.Sprintf("node ID %s of instance %s is taken by instance %s at %q",
		e.ID, e.Instance, e.Holder.Instance, e.Holder.Endpoint)
}

// Unwrap makes errors.Is(err, ErrTaken) true.
func (e *TakenError) Unwrap() error { return ErrTaken }

// A ConfigError reports a setting that [Open] or [Registry.Join] cannot work with.
type ConfigError struct {
	Setting string
	Value   any
	Reason  string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("setting %s %v: %s", e.Setting, e.Value, e.Reason)
}
