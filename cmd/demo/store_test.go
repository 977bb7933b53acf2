package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catga-go/catga/internal/natstest"
)

// memoryStore is the orderStore of tests that need no server.
type memoryStore struct {
	mu     sync.Mutex
	orders map[string]record
}

func (s *memoryStore) Add(_ context.Context, r record) (record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.orders == nil {
		s.orders = map[string]record{}
	}
	if old, ok := s.orders[r.OrderID]; ok {
		return old, nil
	}
	s.orders[r.OrderID] = r
	return r, nil
}

func (s *memoryStore) Get(_ context.Context, id string) (record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.orders[id]
	if !ok {
		return record{}, errNoOrder
	}
	return r, nil
}

func TestStoresKeepTheFirstOrder(t *testing.T) {
	t.Parallel()
	kv, err := openKVStore(t.Context(), natstest.Connect(t, natstest.Start(t)), "catga")
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]orderStore{"kv": kv, "memory": &memoryStore{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := store.Get(t.Context(), "abc12345"); !errors.Is(err, errNoOrder) {
				t.Errorf("get before add: %v, want errNoOrder", err)
			}
			first := record{Order: someOrder, Message: "m1", ProductID: "p", Quantity: 2}
			second := record{Order: someOrder, Message: "m2", ProductID: "q", Quantity: 3}
			for _, r := range []record{first, second} {
				kept, err := store.Add(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(first, kept); diff != "" {
					t.Errorf("kept (-want +got):\n%s", diff)
				}
			}
			got, err := store.Get(t.Context(), "abc12345")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first, got); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStoreThatIsAwaySaysSo(t *testing.T) {
	t.Parallel()
	nc := natstest.Connect(t, natstest.Start(t))
	kv, err := openKVStore(t.Context(), nc, "catga")
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if _, err := kv.Get(t.Context(), "abc12345"); !errors.Is(err, errStoreAway) {
		t.Errorf("get without a connection: %v, want errStoreAway", err)
	}
}

func TestStoreAsksAgainForALostAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		errs  []error
		calls int
		want  error
	}{
		{"answered", []error{nil}, 1, nil},
		{"lost once", []error{context.DeadlineExceeded, nil}, 2, nil},
		{"refused", []error{errNoOrder, nil}, 1, errNoOrder},
		{"always lost", slices.Repeat([]error{context.DeadlineExceeded}, 9), storeTries, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			_, err := again(t.Context(), func(ctx context.Context) (int, error) {
				if _, bounded := ctx.Deadline(); !bounded {
					t.Error("a try without a deadline")
				}
				calls++
				return calls, tt.errs[calls-1]
			})
			if !errors.Is(err, tt.want) || calls != tt.calls {
				t.Errorf("%v after %d calls, want %v after %d", err, calls, tt.want, tt.calls)
			}
		})
	}
}
