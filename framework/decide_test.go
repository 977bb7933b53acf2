package framework

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	p := policy{retries: 3, backoff: backoff{first: time.Second, most: 5 * time.Minute}}
	for _, tt := range []struct {
		name   string
		ended  ended
		policy policy
		fate   fate
		reason string
		after  time.Duration // where it is exact
	}{
		{"no error is done", ended{}, p, fateDone, "", 0},
		{"done although the lease was lost: the record decides", ended{lost: true}, p, fateDone, "", 0},
		{"an error is retried", ended{err: boom}, p, fateRetry, "", 0},
		{"the last retry's error is dead", ended{err: boom, fails: 3}, p, fateBury, ReasonError, 0},
		{"no retries: the first error is dead", ended{err: boom}, policy{}, fateBury, ReasonError, 0},
		{"a panic is retried", ended{err: &PanicError{Value: "x"}}, p, fateRetry, "", 0},
		{"the last retry's panic says so", ended{err: &PanicError{Value: "x"}, fails: 3}, p, fateBury, ReasonPanic, 0},
		{"permanent is dead at once", ended{err: Permanent(boom)}, p, fateBury, ReasonPermanent, 0},
		{"permanent is found under wrapping", ended{err: fmt.Errorf("a: %w", Permanent(boom))}, p, fateBury, ReasonPermanent, 0},
		{"an event's rejection is dead with its code", ended{err: Reject("no-stock", "none left")}, p, fateBury, "no-stock", 0},
		{"a request's rejection is its answer", ended{err: Reject("no-stock", "none left"), request: true}, p, fateRejected, "", 0},
		{"retry after waits that long", ended{err: RetryAfter(boom, time.Hour)}, p, fateRetry, "", time.Hour},
		{"retry after counts as a try", ended{err: RetryAfter(boom, time.Hour), fails: 3}, p, fateBury, ReasonError, 0},
		{"a drain counts nothing", ended{err: boom, drained: true, fails: 3}, p, fateOpened, "", 0},
		{"a lost lease says nothing", ended{err: boom, lost: true, fails: 3}, p, fateLeft, "", 0},
		{"a rejection stands in a drain", ended{err: Reject("c", "m"), drained: true, request: true}, p, fateRejected, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := decide(tt.ended, tt.policy)
			if got.fate != tt.fate || got.reason != tt.reason || tt.after != 0 && got.after != tt.after {
				t.Errorf("decide(%+v) = %+v, want fate %d, reason %q, after %v", tt.ended, got, tt.fate, tt.reason, tt.after)
			}
			if (got.reason == "") != (got.fate != fateBury) {
				t.Errorf("reason %q does not go with fate %d", got.reason, got.fate)
			}
		})
	}
}

func TestBackoff_DoublesUpToMostWithJitterOfHalf(t *testing.T) {
	t.Parallel()
	b := backoff{first: time.Second, most: 5 * time.Minute}
	for fails, whole := range map[int]time.Duration{
		0: time.Second, 1: 2 * time.Second, 4: 16 * time.Second, 8: 256 * time.Second,
		9: 5 * time.Minute, 61: 5 * time.Minute, 62: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		for range 100 {
			if d := b.delay(fails); d < whole/2 || d > whole {
				t.Fatalf("delay after %d failures = %v, want %v to %v", fails, d, whole/2, whole)
			}
		}
	}
	if d := (backoff{}).delay(3); d != 0 {
		t.Errorf("no backoff waits %v", d)
	}
}
