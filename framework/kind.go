package framework

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Lengths that keep subjects, durables and KV keys inside what the server takes.
const (
	maxKind  = 128
	maxToken = 64
	maxID    = 1024
)

// typeSpec is what a message type says about itself. It is made once per type and never changes.
type typeSpec struct {
	goType  reflect.Type // T, also for messages used as *T
	kind    string
	aliases []string
	qos     QoS
	request bool
	codec   Codec // nil: the node decides
	keyed   bool  // has IdempotencyKey
	err     error // why the type cannot be used: returned by every call with it
}

type (
	kinded  interface{ Kind() string }
	aliased interface{ KindAliases() []string }
	keyed   interface{ IdempotencyKey() string }
)

// specs caches what reflection finds in a type. Types do not change, so neither do the entries:
// two goroutines that meet a new type at once store the same facts.
var specs sync.Map //nolint:gochecknoglobals // a cache of immutable facts, like the one of encoding/json

// specOf is the spec of the marked type M, which may be T or *T.
func specOf[M any]() *typeSpec {
	t := reflect.TypeFor[M]()
	if s, ok := specs.Load(t); ok {
		return s.(*typeSpec) //nolint:forcetypeassert // the only type stored
	}
	s, _ := specs.LoadOrStore(t, inspect(t))
	return s.(*typeSpec) //nolint:forcetypeassert // the only type stored
}

// inspect reads the spec off a marked type.
func inspect(t reflect.Type) *typeSpec {
	base := t
	if base.Kind() == reflect.Pointer {
		base = base.Elem()
	}
	s := &typeSpec{goType: base}
	if s.err = usable(t, base); s.err != nil {
		return s
	}
	zero := reflect.New(base).Interface() // *T has the methods of T too
	_, s.request = zero.(interface{ isRequest() })
	if _, ok := zero.(interface{ atLeastOnce() }); ok || s.request {
		s.qos = AtLeastOnce
	}
	_, s.keyed = zero.(keyed)
	s.kind, s.aliases, s.err = names(base, zero)
	return s
}

func usable(t, base reflect.Type) error {
	switch {
	case base.Kind() == reflect.Interface:
		return &ConfigError{"message type", t.String(), "is an interface; use the concrete type, its kind is fixed at compile time"}
	case base.Kind() == reflect.Pointer:
		return &ConfigError{"message type", t.String(), "is a pointer to a pointer; use T or *T"}
	case base.PkgPath() == reflect.TypeFor[None]().PkgPath() && isMarker(base):
		return &ConfigError{"message type", t.String(), "is a bare marker; embed it in a struct of your own"}
	}
	return nil
}

func isMarker(t reflect.Type) bool {
	return t.Name() == "Event" || t.Name() == "ReliableEvent" || strings.HasPrefix(t.Name(), "Request[")
}

// names asks the zero value for its kind and its former ones. A method that cannot stand a zero
// value is reported, not passed on as a panic.
func names(base reflect.Type, zero any) (kind string, aliases []string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &ConfigError{"message type", base.String(), fmt.Sprintf("its Kind or KindAliases method panics on a zero value: %v", r)}
		}
	}()
	kind = base.Name()
	if k, ok := zero.(kinded); ok {
		kind = k.Kind()
	} else if strings.Contains(kind, "[") {
		return "", nil, &ConfigError{"message type", base.String(), "is generic and so has no name of its own; give it a Kind() method"}
	}
	if a, ok := zero.(aliased); ok {
		aliases = slices.Clone(a.KindAliases())
	}
	return kind, aliases, checkNames(base.String(), kind, aliases)
}

// checkNames validates a kind and its aliases; of says whose they are.
func checkNames(of, kind string, aliases []string) error {
	if reason := badKind(kind); reason != "" {
		return &ConfigError{"kind of " + of, kind, reason}
	}
	for i, a := range aliases {
		if reason := badKind(a); reason != "" {
			return &ConfigError{"kind alias of " + of, a, reason}
		}
		if a == kind || slices.Contains(aliases[:i], a) {
			return &ConfigError{"kind alias of " + of, a, "is named twice"}
		}
	}
	return nil
}

// badKind says why kind is not tokens of [A-Za-z0-9_-] joined by dots, or "".
func badKind(kind string) string {
	const rule = "a kind is tokens of letters, digits, _ and - joined by dots, at most 128 characters"
	switch {
	case kind == "":
		return "is empty; " + rule
	case len(kind) > maxKind:
		return fmt.Sprintf("has %d characters; %s", len(kind), rule)
	}
	for token := range strings.SplitSeq(kind, ".") {
		if token == "" {
			return "has an empty token; " + rule
		}
		if at := strings.IndexFunc(token, notToken); at >= 0 {
			return fmt.Sprintf("has %q in it; %s", firstRune(token[at:]), rule)
		}
	}
	return ""
}

// badToken says why s is not one token, as node IDs and groups are, or "".
func badToken(s string) string {
	const rule = "1 to 64 letters, digits, _ and -"
	switch {
	case s == "":
		return "is empty; want " + rule
	case len(s) > maxToken:
		return fmt.Sprintf("has %d characters; want %s", len(s), rule)
	}
	if at := strings.IndexFunc(s, notToken); at >= 0 {
		return fmt.Sprintf("has %q in it; want %s", firstRune(s[at:]), rule)
	}
	return ""
}

func firstRune(s string) string {
	_, size := utf8.DecodeRuneInString(s)
	return s[:size]
}

func notToken(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '-':
		return false
	}
	return true
}

// prepare makes the spec and the checked value of one message that is about to be sent.
func prepare[M any](s *typeSpec, message M) (*Outgoing, error) {
	if s.err != nil {
		return nil, s.err
	}
	v := any(message)
	if rv := reflect.ValueOf(v); !rv.IsValid() || rv.Kind() == reflect.Pointer && rv.IsNil() {
		return nil, &ConfigError{"message", fmt.Sprintf("%T", v), "is nil; there is nothing to send"}
	}
	out := &Outgoing{Kind: s.kind, QoS: s.qos, Value: v, spec: s}
	if !s.keyed {
		return out, nil
	}
	id, err := naturalID(v)
	out.ID = id
	return out, err
}

// naturalID asks the message for its idempotency key.
func naturalID(v any) (id string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &ConfigError{"IdempotencyKey", fmt.Sprintf("%T", v), fmt.Sprintf("panics: %v", r)}
		}
	}()
	if k, ok := v.(keyed); ok {
		return k.IdempotencyKey(), nil
	}
	p := reflect.New(reflect.TypeOf(v)) // T whose method is on *T
	p.Elem().Set(reflect.ValueOf(v))
	if k, ok := reflect.TypeAssert[keyed](p); ok {
		return k.IdempotencyKey(), nil
	}
	return "", nil
}
