package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/catga-go/catga/framework"
)

// fakeBackend answers from its fields.
type fakeBackend struct {
	order    Order
	replayed bool
	err      error
	ready    error
	nodes    []framework.NodeInfo
	asked    chan CreateOrder // gets every order, if set
	key      string
	release  chan struct{} // holds an order back until it is closed, if set
}

func (f *fakeBackend) Order(_ context.Context, req CreateOrder, key string) (Order, bool, error) {
	f.key = key
	if f.asked != nil {
		f.asked <- req
	}
	if f.release != nil {
		<-f.release
	}
	return f.order, f.replayed, f.err
}

func (f *fakeBackend) Find(_ context.Context, id string) (Order, error) {
	if f.err == nil && id != f.order.OrderID {
		return Order{}, errNoOrder
	}
	return f.order, f.err
}

func (f *fakeBackend) Nodes() []framework.NodeInfo { return f.nodes }
func (f *fakeBackend) Ready() error                { return f.ready }

func (f *fakeBackend) Self() framework.NodeInfo {
	if len(f.nodes) == 0 {
		return framework.NodeInfo{}
	}
	return f.nodes[0]
}

func newAPI(b backend) *api {
	return &api{
		backend: b, gate: newGate(), log: slog.New(slog.DiscardHandler),
		metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics\n") }),
	}
}

var someOrder = Order{OrderID: "abc12345", Status: "Created", ProcessedBy: "node1"}

const (
	someOrderJSON = `{"orderId":"abc12345","status":"Created","processedBy":"node1"}`
	goodBody      = `{"productId":"product-123","quantity":2}`
)

// threeNodes is the cluster of SPEC.md §4 with one node gone.
func threeNodes() []framework.NodeInfo {
	seen := time.Date(2025, 10, 10, 12, 0, 0, 123456789, time.FixedZone("", 7200))
	return []framework.NodeInfo{
		{ID: "node1", Endpoint: "http://localhost:5001", LastSeen: seen, Load: 0.25, Online: true, Instance: "i", Version: "v"},
		{ID: "node2", Endpoint: "http://localhost:5002", LastSeen: seen, Online: true, Draining: true},
		{ID: "node3", Endpoint: "http://localhost:5003", LastSeen: seen},
	}
}

func TestEveryAnswerIsPinned(t *testing.T) {
	t.Parallel()
	const nodesJSON = `[{"nodeId":"node1","endpoint":"http://localhost:5001","isOnline":true},` +
		`{"nodeId":"node2","endpoint":"http://localhost:5002","isOnline":true},` +
		`{"nodeId":"node3","endpoint":"http://localhost:5003","isOnline":false}]`
	for _, tt := range []struct {
		name, request string // method, path, body
		backend       fakeBackend
		status        int
		body          string
	}{
		{"an order", "POST /orders " + goodBody, fakeBackend{order: someOrder}, 201, someOrderJSON},
		{"its lookup", "GET /orders/abc12345", fakeBackend{order: someOrder}, 200, someOrderJSON},
		{
			"health", "GET /health",
			fakeBackend{nodes: threeNodes()},
			200,
			`{"currentNode":{"nodeId":"node1","endpoint":"http://localhost:5001","lastSeen":"2025-10-10T10:00:00Z","load":0.25,"isOnline":true},` +
				`"totalNodes":3,"onlineNodes":2,"nodes":` + nodesJSON + `}`,
		},
		{"nodes", "GET /nodes", fakeBackend{nodes: threeNodes()}, 200, nodesJSON},
		{"no nodes", "GET /nodes", fakeBackend{}, 200, `[]`},
		{"live", "GET /livez", fakeBackend{ready: errors.New("x")}, 200, "ok"},
		{"ready", "GET /readyz", fakeBackend{}, 200, "ok"},
		{"not ready", "GET /readyz", fakeBackend{ready: errors.New("secret")}, 503, problemJSON(503, "this node is not ready")},
		{"metrics", "GET /metrics", fakeBackend{}, 200, "metrics"},

		{"no page", "GET /nothing", fakeBackend{}, 404, problemJSON(404, "no such page")},
		{"no root", "GET /", fakeBackend{}, 404, problemJSON(404, "no such page")},
		{"no order", "GET /orders/zzzzzzzz", fakeBackend{order: someOrder}, 404, problemJSON(404, "no such order")},
		{"no order id", "GET /orders/a.b", fakeBackend{err: errors.New("asked")}, 404, problemJSON(404, "no such order")},
		{"wrong method", "GET /orders", fakeBackend{}, 405, problemJSON(405, "allowed here: POST")},
		{"wrong method for a page", "DELETE /health", fakeBackend{}, 405, problemJSON(405, "allowed here: GET, HEAD")},

		{"no json", "POST /orders hello", fakeBackend{}, 400, problemJSON(400, "the body is not valid JSON")},
		{"half json", `POST /orders {"productId":`, fakeBackend{}, 400, problemJSON(400, "the body is not valid JSON")},
		{"nothing", "POST /orders", fakeBackend{}, 400, problemJSON(400, "the body is not valid JSON")},
		{"an array", "POST /orders []", fakeBackend{}, 400, problemJSON(400, "the body is not a JSON object")},
		{"null", "POST /orders null", fakeBackend{}, 400, problemJSON(400, "productId is empty")},
		{"unknown field", `POST /orders {"productId":"p","quantity":1,"price":2}`, fakeBackend{}, 400, problemJSON(400, `unknown field \"price\"`)},
		{"wrong type", `POST /orders {"productId":"p","quantity":"2"}`, fakeBackend{}, 400, problemJSON(400, "quantity cannot be a string")},
		{"too many", `POST /orders {"productId":"p","quantity":9223372036854775808}`, fakeBackend{}, 400, problemJSON(400, "quantity cannot be a number 9223372036854775808")},
		{"a fraction", `POST /orders {"productId":"p","quantity":1.5}`, fakeBackend{}, 400, problemJSON(400, "quantity cannot be a number 1.5")},
		{"trailing data", "POST /orders " + goodBody + "{}", fakeBackend{}, 400, problemJSON(400, "the body goes on after the order")},
		{"trailing garbage", "POST /orders " + goodBody + "]", fakeBackend{}, 400, problemJSON(400, "the body goes on after the order")},
		{"no product", `POST /orders {"quantity":1}`, fakeBackend{}, 400, problemJSON(400, "productId is empty")},
		{"blank product", `POST /orders {"productId":" ","quantity":1}`, fakeBackend{}, 400, problemJSON(400, "productId is empty")},
		{"none", `POST /orders {"productId":"p","quantity":0}`, fakeBackend{}, 400, problemJSON(400, "quantity is below 1")},
		{"fewer than none", `POST /orders {"productId":"p","quantity":-1}`, fakeBackend{}, 400, problemJSON(400, "quantity is below 1")},
		{"too large", `POST /orders ` + goodBody + strings.Repeat(" ", maxBody), fakeBackend{}, 413, problemJSON(413, "the body is over 64 KiB")},

		{"key with another body", "POST /orders " + goodBody, failing(framework.ErrKeyReused), 422, problemJSON(422, "the idempotency key was used with another order")},
		{"a business no", "POST /orders " + goodBody, failing(&framework.Rejection{Code: "x", Message: "sold out"}), 422, problemJSON(422, "sold out")},
		{"the handler fails", "POST /orders " + goodBody, failing(&framework.RemoteError{Node: "node2", Message: "secret"}), 502, problemJSON(502, "the order could not be processed")},
		{"closed", "POST /orders " + goodBody, failing(framework.ErrClosed), 503, problemJSON(503, "this node is draining; ask another one")},
		{"outcome unknown", "POST /orders " + goodBody, failing(framework.ErrOutcomeUnknown), 503, problemJSON(503, "the order may have been taken or not; repeat it with the same Idempotency-Key")},
		{"store away", "GET /orders/abc12345", failing(fmt.Errorf("%w: secret", errStoreAway)), 503, problemJSON(503, "the orders cannot be reached; try again")},
		{"too slow", "POST /orders " + goodBody, failing(context.DeadlineExceeded), 504, problemJSON(504, "no answer in time")},
		{"anything else", "POST /orders " + goodBody, failing(errors.New("secret")), 500, problemJSON(500, "something went wrong here")},
		{
			"no node answers", "POST /orders " + goodBody,
			failing(&framework.NoReplyError{Kind: "CreateOrder", ID: "secret", Handlers: 2, Err: context.DeadlineExceeded}), 504,
			`{"type":"about:blank","title":"Gateway Timeout","status":504,"detail":"no answer in time; live nodes that handle CreateOrder: 2","handlers":2}`,
		},
		{
			"no node is there", "POST /orders " + goodBody, failing(&framework.NoReplyError{Kind: "CreateOrder", Err: context.DeadlineExceeded}), 504,
			`{"type":"about:blank","title":"Gateway Timeout","status":504,"detail":"no answer in time; live nodes that handle CreateOrder: 0","handlers":0}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := serve(newAPI(&tt.backend), tt.request, nil)
			if got.Code != tt.status {
				t.Errorf("status %d, want %d", got.Code, tt.status)
			}
			if diff := cmp.Diff(tt.body+"\n", got.Body.String()); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if problem := got.Header().Get("Content-Type") == "application/problem+json"; problem != (tt.status >= 400) {
				t.Errorf("content type %s with status %d", got.Header().Get("Content-Type"), tt.status)
			}
		})
	}
}

func TestOrderReachesTheClusterAsItWasSent(t *testing.T) {
	t.Parallel()
	b := &fakeBackend{order: someOrder, asked: make(chan CreateOrder, 1)}
	got := serve(newAPI(b), "POST /orders "+goodBody, http.Header{"Idempotency-Key": {`"key 1"`}})
	if diff := cmp.Diff(CreateOrder{ProductID: "product-123", Quantity: 2}, <-b.asked); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if b.key != "key 1" {
		t.Errorf("key %q", b.key)
	}
	if got.Header().Get("Location") != "/orders/abc12345" {
		t.Errorf("location %q", got.Header().Get("Location"))
	}
}

func TestReplayedOrderSaysSo(t *testing.T) {
	t.Parallel()
	for _, replayed := range []bool{true, false} {
		got := serve(newAPI(&fakeBackend{order: someOrder, replayed: replayed}), "POST /orders "+goodBody, nil)
		if header := got.Header().Get("Idempotent-Replayed"); (header == "true") != replayed {
			t.Errorf("replayed %v: header %q", replayed, header)
		}
	}
}

func TestBadIdempotencyKeyIsAProblem(t *testing.T) {
	t.Parallel()
	b := &fakeBackend{order: someOrder}
	got := serve(newAPI(b), "POST /orders "+goodBody, http.Header{"Idempotency-Key": {`"open`}})
	if got.Code != http.StatusBadRequest || got.Body.String() != problemJSON(400, errBadKey.Error())+"\n" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestLargestBodyIsTaken(t *testing.T) {
	t.Parallel()
	body := goodBody + strings.Repeat(" ", maxBody-len(goodBody))
	if got := serve(newAPI(&fakeBackend{order: someOrder}), "POST /orders "+body, nil); got.Code != http.StatusCreated {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestDrainingNodeAnswersWhatItHasAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	b := &fakeBackend{order: someOrder, asked: make(chan CreateOrder, 1), release: make(chan struct{})}
	a := newAPI(b)
	inFlight := make(chan *httptest.ResponseRecorder)
	go func() { inFlight <- serve(a, "POST /orders "+goodBody, nil) }()
	<-b.asked

	drained := make(chan error)
	go func() { drained <- a.gate.close(t.Context()) }()
	for !a.gate.closed() {
		runtime.Gosched() // the gate tells nobody that it closes
	}
	for request, want := range map[string]string{
		"POST /orders " + goodBody: problemJSON(503, "this node is draining; ask another one"),
		"GET /readyz":              problemJSON(503, "this node is draining; ask another one"),
		"GET /livez":               "ok",
	} {
		got := serve(a, request, nil)
		if got.Body.String() != want+"\n" {
			t.Errorf("%s while draining: %d %s", request, got.Code, got.Body)
		}
	}
	close(b.release)
	if got := <-inFlight; got.Code != http.StatusCreated {
		t.Errorf("the order in flight: %d %s", got.Code, got.Body)
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
}

func TestPanicIsAProblemToo(t *testing.T) {
	t.Parallel()
	a := newAPI(&fakeBackend{})
	a.metrics = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") })
	got := serve(a, "GET /metrics", nil)
	if got.Code != http.StatusInternalServerError || got.Body.String() != problemJSON(500, "something went wrong here")+"\n" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func failing(err error) fakeBackend { return fakeBackend{err: err} }

// problemJSON is the whole body of a problem; detail is JSON already.
func problemJSON(status int, detail string) string {
	return fmt.Sprintf(`{"type":"about:blank","title":"%s","status":%d,"detail":"%s"}`, http.StatusText(status), status, detail)
}

// serve runs one request, given as "METHOD path body".
func serve(a *api, request string, header http.Header) *httptest.ResponseRecorder {
	parts := append(strings.SplitN(request, " ", 3), "")
	r := httptest.NewRequestWithContext(context.Background(), parts[0], parts[1], strings.NewReader(parts[2]))
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	a.handler().ServeHTTP(w, r)
	return w
}
