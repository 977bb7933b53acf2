// Package jsapi knows where the JetStream API of a context is, for requests that the client library
// has no call for.
package jsapi

import (
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Prefix is what requests to the API begin with, its last dot included: that of the domain or the
// API prefix that a context with these options was made with, or the usual one.
func Prefix(opts jetstream.JetStreamOptions) string {
	switch {
	case opts.Domain != "":
		return "$JS." + opts.Domain + ".API."
	case opts.APIPrefix == "":
		return jetstream.DefaultAPIPrefix
	default:
		return strings.TrimSuffix(opts.APIPrefix, ".") + "."
	}
}
