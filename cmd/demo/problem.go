package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/catga-go/catga/framework"
)

// problem is an error answer of RFC 9457. It tells the client what the client can use, and nothing
// of what is inside.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Handlers *int   `json:"handlers,omitempty"` // live nodes that handle the request, where that is the point
}

// Error lets a problem travel as the error that it is.
func (p *problem) Error() string { return p.Detail }

func newProblem(status int, detail string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// The problems that always read the same.
const (
	detailDraining   = "this node is draining; ask another one"
	detailNotReady   = "this node is not ready"
	detailKeyReused  = "the idempotency key was used with another order"
	detailNoOrder    = "no such order"
	detailNoPage     = "no such page"
	detailTooLarge   = "the body is over 64 KiB"
	detailOrderFails = "the order could not be processed"
	detailInternal   = "something went wrong here"
	detailStoreAway  = "the orders cannot be reached; try again"
	detailNoAnswer   = "no answer in time"
	detailUnknown    = "the order may have been taken or not; repeat it with the same Idempotency-Key"
)

// problemOf translates what the cluster says. What it does not know is internal.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if silent, ok := errors.AsType[*framework.NoReplyError](err); ok {
		return noReply(silent)
	}
	if no, ok := errors.AsType[*framework.Rejection](err); ok {
		return newProblem(http.StatusUnprocessableEntity, no.Message)
	}
	if _, ok := errors.AsType[*framework.RemoteError](err); ok {
		return newProblem(http.StatusBadGateway, detailOrderFails)
	}
	switch {
	case errors.Is(err, framework.ErrKeyReused):
		return newProblem(http.StatusUnprocessableEntity, detailKeyReused)
	case errors.Is(err, framework.ErrClosed):
		return newProblem(http.StatusServiceUnavailable, detailDraining)
	case errors.Is(err, framework.ErrOutcomeUnknown):
		return newProblem(http.StatusServiceUnavailable, detailUnknown)
	case errors.Is(err, errNoOrder):
		return newProblem(http.StatusNotFound, detailNoOrder)
	case errors.Is(err, errStoreAway):
		return newProblem(http.StatusServiceUnavailable, detailStoreAway)
	case errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusGatewayTimeout, detailNoAnswer)
	default:
		return newProblem(http.StatusInternalServerError, detailInternal)
	}
}

func noReply(e *framework.NoReplyError) *problem {
	p := newProblem(http.StatusGatewayTimeout, fmt.Sprintf("no answer in time; live nodes that handle %s: %d", e.Kind, e.Handlers))
	p.Handlers = &e.Handlers
	return p
}

// write sends p. A client that is asked to come back is told when.
func (p *problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeBody(w, p.Status, p)
}

// writeJSON sends v with the status.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	writeBody(w, status, v)
}

func writeBody(w http.ResponseWriter, status int, v any) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone, or else it arrives
}
