package main

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/catga-go/catga/framework"
)

// orderTimeout bounds a POST /orders. A node that is killed with an order is replaced within 6 s.
const orderTimeout = 10 * time.Second

// readTimeout bounds a GET /orders/{id}.
const readTimeout = 3 * time.Second

// backend is what the HTTP API needs of a node.
type backend interface {
	// Order creates an order; replayed says that the answer is the stored one of an earlier call
	// with this key. An empty key is none.
	Order(ctx context.Context, req CreateOrder, key string) (order Order, replayed bool, err error)
	// Find returns an order, or errNoOrder.
	Find(ctx context.Context, id string) (Order, error)
	Self() framework.NodeInfo
	Nodes() []framework.NodeInfo
	// Ready is nil while the node takes part in the cluster.
	Ready() error
}

// api is the HTTP API of one node.
type api struct {
	backend backend
	gate    *gate // orders pass it; closed while the node drains
	metrics http.Handler
	log     *slog.Logger
}

// handler routes what SPEC.md §4 lists. Each path answers all methods, since the mux would refuse
// the wrong ones in plain text.
func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	route(mux, http.MethodPost, "/orders", a.postOrder)
	route(mux, http.MethodGet, "/orders/{id}", a.getOrder)
	route(mux, http.MethodGet, "/health", a.getHealth)
	route(mux, http.MethodGet, "/nodes", a.getNodes)
	route(mux, http.MethodGet, "/livez", a.getLive)
	route(mux, http.MethodGet, "/readyz", a.getReady)
	route(mux, http.MethodGet, "/metrics", a.metrics.ServeHTTP)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		newProblem(http.StatusNotFound, detailNoPage).write(w)
	})
	return a.guard(mux)
}

func route(mux *http.ServeMux, method, path string, h http.HandlerFunc) {
	allowed := method
	if method == http.MethodGet {
		allowed = "GET, HEAD" // the mux gives HEAD to it too
	}
	mux.HandleFunc(method+" "+path, h)
	mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allowed)
		newProblem(http.StatusMethodNotAllowed, "allowed here: "+allowed).write(w)
	})
}

func (a *api) postOrder(w http.ResponseWriter, r *http.Request) {
	if !a.gate.enter() {
		newProblem(http.StatusServiceUnavailable, detailDraining).write(w)
		return
	}
	defer a.gate.leave()
	order, replayed, err := a.order(w, r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	w.Header().Set("Location", "/orders/"+order.OrderID)
	writeJSON(w, http.StatusCreated, order)
}

func (a *api) order(w http.ResponseWriter, r *http.Request) (Order, bool, error) {
	req, err := readOrder(w, r)
	if err != nil {
		return Order{}, false, err
	}
	key, err := parseKey(r.Header.Values("Idempotency-Key"))
	if err != nil {
		return Order{}, false, newProblem(http.StatusBadRequest, err.Error())
	}
	ctx, cancel := context.WithTimeout(r.Context(), orderTimeout)
	defer cancel()
	return a.backend.Order(ctx, req, key)
}

func (a *api) getOrder(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !isOrderID(id) {
		newProblem(http.StatusNotFound, detailNoOrder).write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	order, err := a.backend.Find(ctx, id)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, order)
}

func (a *api) getHealth(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, viewHealth(a.backend.Self(), a.backend.Nodes()))
}

func (a *api) getNodes(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, viewNodes(a.backend.Nodes()))
}

// getLive says that the process serves HTTP; nothing outside the process has a part in it.
func (a *api) getLive(w http.ResponseWriter, _ *http.Request) { writeOK(w) }

// getReady says whether to send orders here.
func (a *api) getReady(w http.ResponseWriter, _ *http.Request) {
	switch {
	case a.gate.closed():
		newProblem(http.StatusServiceUnavailable, detailDraining).write(w)
	case a.backend.Ready() != nil:
		newProblem(http.StatusServiceUnavailable, detailNotReady).write(w)
	default:
		writeOK(w)
	}
}

func writeOK(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// fail answers with the problem that err is; what the client is not told is logged.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError && r.Context().Err() == nil {
		a.log.LogAttrs(r.Context(), slog.LevelWarn, "request failed",
			slog.String("path", r.URL.Path), slog.Int("status", p.Status), slog.String("err", err.Error()))
	}
	p.write(w)
}

// guard answers for a handler that panics.
func (a *api) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				a.log.LogAttrs(r.Context(), slog.LevelError, "request panicked",
					slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
				newProblem(http.StatusInternalServerError, detailInternal).write(w)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// newHTTPServer bounds how long a client may take for each part of a request.
func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10*time.Second + orderTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
