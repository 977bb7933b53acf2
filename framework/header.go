package framework

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/catga-go/catga/internal/wire"
)

// Header holds the headers of a message. NATS keeps the case of their names, and publishers in
// other languages differ in it, so Get ignores it. The zero Header can be read, not written.
type Header map[string][]string

// Get returns the first value of key, ignoring case, or "".
func (h Header) Get(key string) string {
	if v, ok := h[key]; ok && len(v) > 0 {
		return v[0]
	}
	for k, v := range h {
		if len(v) > 0 && strings.EqualFold(k, key) {
			return v[0]
		}
	}
	return ""
}

// Set replaces key, in whatever case it stands there.
func (h Header) Set(key, value string) {
	for k := range h {
		if k != key && strings.EqualFold(k, key) {
			delete(h, k)
		}
	}
	h[key] = []string{value}
}

// checkHeader refuses what a user may not set: the headers of the server and of this project would
// change what becomes of the message, and the bytes would not arrive as they are.
func checkHeader(key, value string) error {
	for _, reserved := range []string{wire.ReservedNATS, wire.Reserved, "ce-"} {
		if len(key) >= len(reserved) && strings.EqualFold(key[:len(reserved)], reserved) {
			return &ConfigError{"header", key, fmt.Sprintf("names that begin with %s are reserved", reserved)}
		}
	}
	switch {
	case strings.EqualFold(key, "traceparent"), strings.EqualFold(key, "tracestate"), strings.EqualFold(key, wire.ContentType):
		return &ConfigError{"header", key, "is reserved; it is written for you"}
	case key == "":
		return &ConfigError{"header", key, "is empty"}
	case len(key)+len(value) > maxHeader:
		return &ConfigError{"header", key, fmt.Sprintf("has %d bytes with its value; at most %d", len(key)+len(value), maxHeader)}
	case strings.IndexFunc(key, badHeaderName) >= 0:
		return &ConfigError{"header", key, "has a character that header names may not have: use printable ASCII without spaces and colons"}
	case strings.ContainsAny(value, "\r\n"), strings.TrimSpace(value) != value:
		return &ConfigError{"header " + key, value, "has a line break, or space around it, which do not survive the wire"}
	}
	return nil
}

const maxHeader = 16 << 10

func badHeaderName(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }

// escapeID makes any ID a legal header value; unescapeID is its inverse, and lenient with what
// other clients wrote.
func escapeID(id string) string { return url.PathEscape(id) }

func unescapeID(s string) string {
	id, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return id
}
