package idempotency

import (
	"errors"
	"strings"
	"testing"
)

func TestKeys_HoldAnyID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "order-1", "a b:c*.>", "é\x00", strings.Repeat("x", 1<<16)} {
		event, request := EventKey("billing", "acme.v1.Shipped", id), RequestKey("CreateOrder", id)
		if err := errors.Join(checkKey(event), checkKey(request)); err != nil {
			t.Errorf("id %.20q: %v", id, err)
		}
		if !strings.HasPrefix(event, "e.billing.acme.v1.Shipped.") || !strings.HasPrefix(request, "r.CreateOrder.") {
			t.Errorf("keys %s, %s", event, request)
		}
	}
	if RequestKey("A", "1") == RequestKey("A", "2") || RequestKey("A", "1") == RequestKey("B", "1") {
		t.Error("different requests share a key")
	}
}

func TestCheckKey(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"a", "a.b", "r.Kind.0af", "A-b_c/d=.9", strings.Repeat("k", maxKeyLength), "_s", "_sx.1"} {
		if err := checkKey(key); err != nil {
			t.Errorf("good key: %v", err)
		}
	}
	for _, key := range []string{"", ".", "a.", ".a", "a..b", "a b", "a*", ">", "é", "a\n", "a:b", "_s.x", strings.Repeat("k", maxKeyLength+1)} {
		var bad *KeyError
		if err := checkKey(key); !errors.As(err, &bad) {
			t.Errorf("key %.20q: %v, want a *KeyError", key, err)
		}
	}
}
