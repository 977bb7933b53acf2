package framework

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// Info is what a handler may know about its message.
type Info struct {
	Kind        string // as published; a former name of the type for old messages
	ID          string // "" for a QoS 0 event, unless its publisher set one
	Group, Node string // that handle it
	Correlation string
	Causation   string // ID of the message whose handler sent this one
	QoS         QoS
	Attempt     int       // runs of the handler for this message, this one included
	Published   time.Time // when the server stored it; zero for a QoS 0 event
	Stream      string
	Sequence    uint64
	Header      Header // shared with the framework: read only
}

type infoKey struct{}

// InfoFrom returns the info of the message being handled. Outside a handler it is the zero Info, so
// handlers can be tested as plain functions.
func InfoFrom(ctx context.Context) Info {
	if info, ok := ctx.Value(infoKey{}).(*Info); ok {
		return *info
	}
	return Info{}
}

// ContextWithInfo is for tests of handlers that use [InfoFrom].
func ContextWithInfo(ctx context.Context, info Info) context.Context {
	return context.WithValue(ctx, infoKey{}, &info)
}

// Incoming is one message on its way to its handler. It is valid until the handler returns.
type Incoming struct {
	Info
	message, response any
}

// Message is a pointer to the decoded message: *M for a message type M, and for a type *M itself.
func (in *Incoming) Message() any { return in.message }

// Response is the handler's answer, once next has returned nil; always nil for events.
func (in *Incoming) Response() any { return in.response }

type (
	// HandlerFunc is a handler as middleware sees it.
	HandlerFunc func(ctx context.Context, in *Incoming) error

	// Middleware wraps the handlers of requests and events alike. It is called once per
	// registration; the func it returns runs for each message. What it puts into ctx reaches the
	// handler. It may call next once, or not at all: then its own result is the handler's, and a
	// request without an error and without a response is answered with the zero response.
	Middleware func(next HandlerFunc) HandlerFunc

	// PublishFunc sends one message.
	PublishFunc func(ctx context.Context, out *Outgoing) error

	// PublishMiddleware wraps everything that is sent, requests included. It is called once per
	// node; the func it returns runs for each message and may set its ID, correlation and headers.
	// In a batch next returns once the message is ready to go, and its outcome is in the
	// [*BatchError].
	PublishMiddleware func(next PublishFunc) PublishFunc
)

// chain wraps h in m, the first outermost.
func chain(h HandlerFunc, m ...Middleware) HandlerFunc {
	for _, wrap := range slices.Backward(m) {
		if wrap != nil {
			h = wrap(h)
		}
	}
	return h
}

func chainPublish(p PublishFunc, m []PublishMiddleware) PublishFunc {
	for _, wrap := range slices.Backward(m) {
		if wrap != nil {
			p = wrap(p)
		}
	}
	return p
}

// guard turns a panic of the handler or its middleware into a [*PanicError]. It is the outermost
// layer of every handler.
func guard(h HandlerFunc) HandlerFunc {
	return func(ctx context.Context, in *Incoming) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = &PanicError{Value: r, Stack: debug.Stack()}
			}
		}()
		return readable(h(ctx, in))
	}
}

// readable is err, or a [*PanicError] in the place of one whose Error method panics, as that of a nil
// pointer does: it would end the process later, where the error is written down.
func readable(err error) (same error) {
	if err == nil {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			same = &PanicError{Value: fmt.Sprintf("Error method of the handler's %T: %v", err, r), Stack: debug.Stack()}
		}
	}()
	_ = err.Error()
	return err
}
