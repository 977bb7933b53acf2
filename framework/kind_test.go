package framework

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type (
	plainEvent          struct{ Event }
	reliableOne         struct{ ReliableEvent }
	ask                 struct{ Request[None] }
	generic[T any]      struct{ ReliableEvent }
	namedGeneric[T any] struct{ ReliableEvent }
	valueKind           struct{ ReliableEvent }
	pointerKind         struct{ ReliableEvent }
	renamed             struct{ ReliableEvent }
	spacedKind          struct{ ReliableEvent }
	emptyKind           struct{ ReliableEvent }
	wildKind            struct{ ReliableEvent }
	longKind            struct{ ReliableEvent }
	gapKind             struct{ ReliableEvent }
	twiceRenamed        struct{ ReliableEvent }
	touchyKind          struct {
		ReliableEvent
		p *int
	}
	naturalKey struct {
		Request[None]
		Key string
	}
	naturalPointerKey struct {
		ReliableEvent
		Key string
	}
	angryKey struct{ ReliableEvent }
)

func (namedGeneric[T]) Kind() string                { return "acme.v1.Named" }
func (valueKind) Kind() string                      { return "by-value" }
func (*pointerKind) Kind() string                   { return "by-pointer" }
func (renamed) Kind() string                        { return "Now" }
func (renamed) KindAliases() []string               { return []string{"Before", "long.before"} }
func (spacedKind) Kind() string                     { return "a b" }
func (emptyKind) Kind() string                      { return "" }
func (wildKind) Kind() string                       { return "orders.*" }
func (longKind) Kind() string                       { return strings.Repeat("k", 129) }
func (gapKind) Kind() string                        { return "a..b" }
func (twiceRenamed) KindAliases() []string          { return []string{"Old", "Old"} }
func (t touchyKind) Kind() string                   { return string(rune(*t.p)) }
func (k naturalKey) IdempotencyKey() string         { return k.Key }
func (k *naturalPointerKey) IdempotencyKey() string { return k.Key }
func (angryKey) IdempotencyKey() string             { panic("no key today") }

func TestSpecOf_ReadsKindAndGuaranteeOffTheType(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		spec    *typeSpec
		kind    string
		qos     QoS
		request bool
		aliases []string
	}{
		{specOf[plainEvent](), "plainEvent", AtMostOnce, false, nil},
		{specOf[reliableOne](), "reliableOne", AtLeastOnce, false, nil},
		{specOf[*reliableOne](), "reliableOne", AtLeastOnce, false, nil},
		{specOf[ask](), "ask", AtLeastOnce, true, nil},
		{specOf[namedGeneric[int]](), "acme.v1.Named", AtLeastOnce, false, nil},
		{specOf[valueKind](), "by-value", AtLeastOnce, false, nil},
		{specOf[*valueKind](), "by-value", AtLeastOnce, false, nil},
		{specOf[pointerKind](), "by-pointer", AtLeastOnce, false, nil},
		{specOf[renamed](), "Now", AtLeastOnce, false, []string{"Before", "long.before"}},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			t.Parallel()
			if tt.spec.err != nil {
				t.Fatal(tt.spec.err)
			}
			if tt.spec.kind != tt.kind || tt.spec.qos != tt.qos || tt.spec.request != tt.request {
				t.Errorf("spec = %+v", tt.spec)
			}
			if d := cmp.Diff(tt.aliases, tt.spec.aliases); d != "" {
				t.Errorf("aliases (-want +got):\n%s", d)
			}
		})
	}
}

func TestSpecOf_RefusesTypesWithoutAUsableKind(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err   error
		wants string
	}{
		"bare event":           {specOf[Event]().err, "bare marker"},
		"bare request":         {specOf[Request[None]]().err, "bare marker"},
		"interface":            {specOf[AnyEvent]().err, "interface"},
		"generic without Kind": {specOf[generic[int]]().err, "Kind()"},
		"spaces":               {specOf[spacedKind]().err, `has " " in it`},
		"empty":                {specOf[emptyKind]().err, "is empty"},
		"wildcard":             {specOf[wildKind]().err, `has "*" in it`},
		"over-long":            {specOf[longKind]().err, "129 characters"},
		"empty token":          {specOf[gapKind]().err, "empty token"},
		"alias twice":          {specOf[twiceRenamed]().err, "named twice"},
		"Kind panics":          {specOf[touchyKind]().err, "panics on a zero value"},
		"declared, bad kind":   {NewEvent[int]("a b", AtLeastOnce).spec.err, `has " " in it`},
		"declared, bad QoS":    {NewEvent[int]("a", QoS(7)).spec.err, "neither"},
		"declared, nil codec":  {NewEvent[int]("a", AtLeastOnce, UseCodec(nil)).spec.err, "nil"},
		"declared interface":   {NewRequest[error, int]("a").spec.err, "interface"},
		"zero declaration":     {declaredSpec(EventType[int]{}.spec).err, "NewEvent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cfg *ConfigError
			if !errors.As(tt.err, &cfg) || !strings.Contains(tt.err.Error(), tt.wants) {
				t.Errorf("error = %v, want a *ConfigError with %q", tt.err, tt.wants)
			}
		})
	}
}

func TestPrepare_FindsTheNaturalIDAndRefusesNil(t *testing.T) {
	t.Parallel()
	if out, err := prepare(specOf[naturalKey](), naturalKey{Key: "k"}); err != nil || out.ID != "k" {
		t.Errorf("value = %+v, %v", out, err)
	}
	if out, err := prepare(specOf[naturalPointerKey](), naturalPointerKey{Key: "k"}); err != nil || out.ID != "k" {
		t.Errorf("value of a type with a pointer method = %+v, %v", out, err)
	}
	if out, err := prepare(specOf[*naturalPointerKey](), &naturalPointerKey{Key: "k"}); err != nil || out.ID != "k" {
		t.Errorf("pointer = %+v, %v", out, err)
	}
	var cfg *ConfigError
	if _, err := prepare(specOf[*reliableOne](), (*reliableOne)(nil)); !errors.As(err, &cfg) {
		t.Errorf("nil pointer: %v", err)
	}
	if _, err := prepare(specOf[angryKey](), angryKey{}); !errors.As(err, &cfg) || !strings.Contains(err.Error(), "no key today") {
		t.Errorf("panicking key: %v", err)
	}
}

func TestCheckHeader_RefusesWhatWouldNotArriveAsItIs(t *testing.T) {
	t.Parallel()
	for key, value := range map[string]string{
		"Nats-Rollup": "all", "nats-msg-id": "x", "CATGA-Id": "x", "ce-id": "x", "Traceparent": "x", "content-type": "x",
		"": "x", "a b": "x", "a:b": "x", "ä": "x", "ok": "line\nbreak", "ok2": " space", "big": strings.Repeat("x", 17<<10),
	} {
		var cfg *ConfigError
		if err := checkHeader(key, value); !errors.As(err, &cfg) {
			t.Errorf("checkHeader(%q) = %v, want a *ConfigError", key, err)
		}
	}
	for key, value := range map[string]string{"tenant": "a", "X-Thing": "ä b", "natsy": ""} {
		if err := checkHeader(key, value); err != nil {
			t.Errorf("checkHeader(%q) = %v", key, err)
		}
	}
}

func TestHeader_GetIgnoresCaseAndSetReplacesInAnyCase(t *testing.T) {
	t.Parallel()
	h := Header{"tenant": {"a"}}
	if got := h.Get("Tenant"); got != "a" {
		t.Errorf("Get = %q", got)
	}
	h.Set("TENANT", "b")
	if d := cmp.Diff(Header{"TENANT": {"b"}}, h); d != "" {
		t.Errorf("after Set (-want +got):\n%s", d)
	}
	if got := Header(nil).Get("x"); got != "" {
		t.Errorf("Get of nil = %q", got)
	}
}

func TestConfig_RefusesEachBadField(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*Config){
		"NodeID":         func(c *Config) { c.NodeID = "a b" },
		"Namespace":      func(c *Config) { c.Namespace = "Upper" },
		"Replicas":       func(c *Config) { c.Replicas = 2 },
		"Provision":      func(c *Config) { c.Provision = 9 },
		"EventsMaxBytes": func(c *Config) { c.EventsMaxBytes = -1 },
		"DedupMaxKeys":   func(c *Config) { c.DedupMaxKeys = 1 },
		"ConnectTimeout": func(c *Config) { c.ConnectTimeout = -1 },
		"EventsMaxAge":   func(c *Config) { c.EventsMaxAge = -time.Hour },
		"DedupTTL":       func(c *Config) { c.DedupTTL = time.Second },
		"EventDedupTTL":  func(c *Config) { c.EventDedupTTL = 48 * time.Hour },
		"Lease":          func(c *Config) { c.Lease = 1500 * time.Millisecond },
		"RequestTimeout": func(c *Config) { c.RequestTimeout = -1 },
		"Heartbeat":      func(c *Config) { c.Heartbeat = time.Millisecond },
		"NodeTimeout":    func(c *Config) { c.NodeTimeout = c.Heartbeat },
		"SoftStop":       func(c *Config) { c.SoftStop = -1 },
		"ForgetAfter":    func(c *Config) { c.ForgetAfter = time.Second },
		"LagInterval":    func(c *Config) { c.LagInterval = time.Millisecond },
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			var cfg Config
			cfg.withDefaults()
			if err := cfg.validate(); err != nil {
				t.Fatalf("defaults: %v", err)
			}
			change(&cfg)
			var bad *ConfigError
			if err := cfg.validate(); !errors.As(err, &bad) || bad.Option != field {
				t.Errorf("validate = %v, want a *ConfigError of %s", err, field)
			}
		})
	}
}
