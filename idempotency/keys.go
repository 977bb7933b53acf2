package idempotency

import (
	"strings"

	"github.com/catga-go/catga/internal/wire"
)

const (
	sessionPrefix = "_s."
	maxKeyLength  = 1024 // the server drops connections whose protocol line exceeds 4096
)

// EventKey is the key of an event with the given ID, for one group of its consumers. The group must
// be a token and the kind made of tokens that a subject may hold; the ID may be anything.
func EventKey(group, kind, id string) string {
	return "e." + group + "." + kind + "." + wire.Token(id)
}

// RequestKey is the key of a request with the given ID. The kind must be made of tokens that a
// subject may hold; the ID may be anything.
func RequestKey(kind, id string) string {
	return "r." + kind + "." + wire.Token(id)
}

func sessionKey(id string) string { return sessionPrefix + id }

// checkKey accepts what the client's key-value API does, so that its tools can read every record.
func checkKey(key string) error {
	switch {
	case key == "":
		return &KeyError{key, "empty"}
	case len(key) > maxKeyLength:
		return &KeyError{key, "longer than 1024 bytes"}
	case strings.HasPrefix(key, sessionPrefix):
		return &KeyError{key, "reserved for sessions"}
	}
	dot := true // as if one stood before the key: no token is empty
	for i := range len(key) {
		if key[i] == '.' && dot || key[i] != '.' && !keyByte(key[i]) {
			return &KeyError{key, "want tokens of letters, digits and -/_= joined by dots"}
		}
		dot = key[i] == '.'
	}
	if dot {
		return &KeyError{key, "ends with a dot"}
	}
	return nil
}

func keyByte(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	}
	return strings.IndexByte("-/_=", b) >= 0
}
