package framework

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/catga-go/catga/streams"
)

// Handle answers requests of type Q. A node has one handler for a kind, and the nodes share the
// work. It may be called before Run and while it runs. Errors: a [*ConfigError], or a
// [*DuplicateHandlerError]. What fails before Run also fails Run, so the errors of several
// registrations can be joined, or left to Run.
func Handle[Q RequestOf[R], R any](n *Node, h func(context.Context, Q) (R, error), opts ...HandleOption) error {
	return handle(n, specOf[Q](), h, opts)
}

// Subscribe handles events of type E: on every node, or as [InGroup] and [OnEveryNode] say. Several
// subscriptions to one kind on one node need different groups. For the rest see [Handle].
func Subscribe[E AnyEvent](n *Node, h func(context.Context, E) error, opts ...SubscribeOption) error {
	return subscribe(n, specOf[E](), h, opts)
}

func handle[Q, R any](n *Node, s *typeSpec, h func(context.Context, Q) (R, error), opts []HandleOption) error {
	cfg := defaultHandlerConfig()
	for _, o := range opts {
		if o != nil {
			o.applyHandle(&cfg)
		}
	}
	cfg.name, cfg.scope = requestGroup, sharedGroup
	return n.register(s, cfg, binding{
		missing:     h == nil,
		newMessage:  newOf[Q],
		newResponse: newOf[R],
		call: func(ctx context.Context, in *Incoming) error {
			r, err := h(ctx, valueOf[Q](in.message))
			in.response = r
			return err
		},
	})
}

func subscribe[E any](n *Node, s *typeSpec, h func(context.Context, E) error, opts []SubscribeOption) error {
	cfg := defaultHandlerConfig()
	for _, o := range opts {
		if o != nil {
			o.applySubscribe(&cfg)
		}
	}
	return n.register(s, cfg, binding{
		missing:    h == nil,
		newMessage: newOf[E],
		call: func(ctx context.Context, in *Incoming) error {
			return h(ctx, valueOf[E](in.message))
		},
	})
}

// binding is a typed handler without its types: below this line nothing is generic.
type binding struct {
	missing                 bool
	newMessage, newResponse func() any
	call                    HandlerFunc
}

// newOf makes what a codec decodes an M into: a *T for M = T as for M = *T.
func newOf[M any]() any {
	if t := reflect.TypeFor[M](); t.Kind() == reflect.Pointer {
		return reflect.New(t.Elem()).Interface()
	}
	return new(M)
}

// valueOf is the inverse of newOf.
func valueOf[M any](decoded any) M {
	if p, ok := decoded.(*M); ok {
		return *p
	}
	return decoded.(M) //nolint:forcetypeassert // newOf made it
}

// handler is one registration. It does not change once registered.
type handler struct {
	binding

	spec  *typeSpec
	ref   HandlerRef
	cfg   handlerConfig
	codec Codec
	run   HandlerFunc // guard, middleware, handler
	hooks HandlerHooks
}

type handlerKey struct{ kind, group string }

// register checks a registration and adds it. A node that runs starts it at once.
func (n *Node) register(s *typeSpec, cfg handlerConfig, b binding) error {
	if err := n.usable(); err != nil {
		return err
	}
	h, err := n.newHandler(s, cfg, b)
	if err == nil {
		if _, added := n.handlers.add(handlerKey{h.ref.Kind, h.ref.Group}, h); !added {
			err = &DuplicateHandlerError{Kind: h.ref.Kind, Group: h.ref.Group}
		}
	}
	if err != nil {
		n.noteFailure(err)
		return err
	}
	n.wake()
	return nil
}

func (n *Node) newHandler(s *typeSpec, cfg handlerConfig, b binding) (*handler, error) {
	if s.err != nil {
		return nil, s.err
	}
	if b.missing {
		return nil, &ConfigError{"handler of " + s.kind, nil, "is nil"}
	}
	if err := cfg.check(s, n.cfg.DedupTTL); err != nil {
		return nil, err
	}
	group := cfg.groupOn(n.cfg.NodeID)
	for _, kind := range append([]string{s.kind}, s.aliases...) {
		if err := n.claimKind(kind, s); err != nil {
			return nil, err
		}
		if name := n.names.Durable(group, kind); len(name) > maxDurable {
			return nil, &ConfigError{"group", group, fmt.Sprintf("is too long: with the kind, consumer %s has %d characters, at most %d", name, len(name), maxDurable)}
		}
	}
	if _, taken := n.handlers.get(handlerKey{s.kind, group}); taken { // before hooks hear of it
		return nil, &DuplicateHandlerError{Kind: s.kind, Group: group}
	}
	h := &handler{
		binding: b, spec: s, cfg: cfg, codec: n.codecs.writing(s.kind, s),
		ref: HandlerRef{Kind: s.kind, Group: group, Node: n.cfg.NodeID, QoS: s.qos, Concurrency: cfg.concurrency},
	}
	h.run = guard(chain(b.call, slices.Concat(n.cfg.Middleware, cfg.middleware)...))
	if n.cfg.Hooks.Handler != nil {
		h.hooks = n.cfg.Hooks.Handler(h.ref)
	}
	return h, nil
}

const maxDurable = 255 // of the server, for stream and consumer names

// noteFailure keeps the error of a registration for Run.
func (n *Node) noteFailure(err error) {
	for {
		old := n.failures.Load()
		var next []error
		if old != nil {
			next = append(next, *old...)
		}
		next = append(next, err)
		if n.failures.CompareAndSwap(old, &next) {
			return
		}
	}
}

// subjects are what one loop of h listens to for one of its kinds.
func (h *handler) subjects(names streams.Names, kind string) (stream string, filters []string) {
	if h.spec.request {
		return names.Requests(), []string{names.Request(kind)}
	}
	return names.Events(), []string{names.Event(kind), names.Retry(h.ref.Group, kind)}
}

// kinds are the names that h consumes: the present one first.
func (h *handler) kinds() []string { return append([]string{h.ref.Kind}, h.spec.aliases...) }
