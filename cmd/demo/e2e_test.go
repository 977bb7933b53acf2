package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestThreeNodesServeOneShop(t *testing.T) {
	t.Parallel()
	out, stop := inProcess(t, freePort(t), map[string]string{"NODE_PORT": "0"})
	urls := endpoints(t, out, 3)

	order := postOrder(t, urls[0], `"key 1"`, 201)
	if replayed := order.header.Get("Idempotent-Replayed"); replayed != "" {
		t.Errorf("the first order is a replay: %s", replayed)
	}
	if order.Status != "Created" || !isOrderID(order.OrderID) {
		t.Errorf("order %v", order.Order)
	}
	out.wait(t, `(?m)^\[(node\d)\] 📦 Processing order `+order.OrderID+` on `+order.ProcessedBy+`$`)
	for i := range urls {
		out.wait(t, fmt.Sprintf(`(?m)^\[node%d\] 📝 \[QoS 0\] Order created event received \(may be lost\)$`, i+1))
		out.wait(t, fmt.Sprintf(`(?m)^\[node%d\] 📦 \[QoS 1\] Order shipped event received \(guaranteed delivery\)$`, i+1))
	}
	for i, url := range urls {
		if diff := cmp.Diff(order.Order, getJSON[Order](t, url+"/orders/"+order.OrderID)); diff != "" {
			t.Errorf("order at node%d (-want +got):\n%s", i+1, diff)
		}
		waitHealth(t, url, 3, 3)
	}
	if again := postOrder(t, urls[1], "key 1", 400); again.Order != (Order{}) { // bare keys have no spaces
		t.Errorf("order %v under a bad key", again)
	}

	wantOneOrder(t, urls)
	store := out.wait(t, `nats server started url=\S+ store=(\S+)`)[1]
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(store); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("temporary store %s: %v, want it gone", store, err)
	}
}

// wantOneOrder sends one key 21 times, to all nodes at once.
func wantOneOrder(t *testing.T, urls []string) {
	t.Helper()
	answers := make(chan answer)
	for i := range 21 {
		go func() { answers <- post(t, urls[i%len(urls)], "same-key", goodBody) }()
	}
	first, replayed := <-answers, 0
	for range 20 {
		if a := <-answers; a.Order != first.Order || a.status != 201 {
			t.Errorf("answer %d %v, another was %v", a.status, a.Order, first.Order)
		} else if a.header.Get("Idempotent-Replayed") == "true" {
			replayed++
		}
	}
	if replayed < 19 { // the first one read may be a replay as well as the original
		t.Errorf("%d of 20 repeats say that they are", replayed)
	}
	if a := post(t, urls[0], "same-key", `{"productId":"other","quantity":2}`); a.status != 422 {
		t.Errorf("the key with another body: %d", a.status)
	}
}

func TestEveryShippedOrderOfAHundredReachesEveryNode(t *testing.T) {
	t.Parallel()
	out, _ := inProcess(t, freePort(t), map[string]string{"NODE_PORT": "0", "LOG_FORMAT": "json"})
	urls := endpoints(t, out, 3)
	orders := make(chan answer)
	const orderCount = 100
	for i := range orderCount {
		go func() { orders <- post(t, urls[i%len(urls)], "", goodBody) }()
	}
	want := map[string]bool{}
	for range orderCount {
		if a := <-orders; a.status == 201 {
			want[a.OrderID] = true
		}
	}
	if len(want) != orderCount {
		t.Fatalf("%d distinct orders, want %d", len(want), orderCount)
	}
	for i := range urls {
		received := map[string]bool{}
		for n := orderCount; len(received) < orderCount; n++ { // an event may come twice, none may be missing
			pattern := fmt.Sprintf(`Order shipped event received.*"node":"node%d","order_id":"([0-9a-z]{8})"`, i+1)
			for _, line := range out.waitN(t, pattern, n) {
				received[line[1]] = true
			}
		}
		if diff := cmp.Diff(want, received); diff != "" {
			t.Errorf("shipped orders at node%d (-want +got):\n%s", i+1, diff)
		}
	}
}

func TestClusterMovesToAnotherPortIfItsOwnIsTaken(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	other, err := startLocked(t, port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	out, _ := inProcess(t, port, map[string]string{"NODE_PORT": "0"})
	out.wait(t, fmt.Sprintf(`the usual nats port is taken, using another taken=%d url=nats://127.0.0.1:\d+`, port))
	postOrder(t, endpoints(t, out, 3)[2], "", 201)
}

func TestClusterKeepsItsDataWhereItIsTold(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	env := map[string]string{"NODE_PORT": "0", "DATA_DIR": data}
	out, stop := inProcess(t, freePort(t), env)
	order := postOrder(t, endpoints(t, out, 3)[0], "", 201)
	stop()

	out, _ = inProcess(t, freePort(t), env)
	got := getJSON[Order](t, endpoints(t, out, 3)[0]+"/orders/"+order.OrderID)
	if diff := cmp.Diff(order.Order, got); diff != "" {
		t.Errorf("order after a restart (-want +got):\n%s", diff)
	}
}

func TestTakenHTTPPortEndsTheProgram(t *testing.T) {
	t.Parallel()
	taken := freePort(t)
	other, err := startLocked(t, taken)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	out, stop := inProcess(t, freePort(t), map[string]string{"NODE_PORT": strconv.Itoa(taken)})
	out.wait(t, `demo: start node1: listen tcp .*address already in use`)
	if code := stop(); code != exitError {
		t.Errorf("exit code %d, want %d", code, exitError)
	}
}

// Ctrl-C while an order is in work: it is answered, and nothing is left.
func TestInterruptAnswersTheOrderInFlight(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	node := startChild(t, cache, freePort(t), "-work", "1s", "node1", "0")
	url := endpoints(t, node.out, 1)[0]
	answered := make(chan answer, 1)
	go func() { answered <- post(t, url, "", goodBody) }()
	node.out.wait(t, "Processing order")

	code := node.interrupt(t)
	if a := <-answered; a.status != 201 || a.ProcessedBy != "node1" {
		t.Errorf("order in flight: %d %v", a.status, a.Order)
	}
	if code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	wantEmpty(t, cache)
}

// Who cannot wait for the drain sends another signal.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	t.Parallel()
	node := startChild(t, t.TempDir(), freePort(t), "-work", "1m", "node1", "0")
	url := endpoints(t, node.out, 1)[0]
	posted := make(chan struct{})
	go func() {
		defer close(posted)
		if resp, err := client.Post(url+"/orders", "application/json", strings.NewReader(goodBody)); err == nil { //nolint:noctx // it ends with the process
			_ = resp.Body.Close()
		}
	}()
	node.out.wait(t, "Processing order")
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = node.cmd.Process.Signal(os.Interrupt)
			continue
		case <-node.exited:
		}
		break
	}
	<-posted
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("ended %v after the first signal", took)
	}
}

// kill -9 of the node that hosts the server, with orders in work on it.
func TestKilledHostLosesNoOrder(t *testing.T) {
	t.Parallel()
	cache, port := t.TempDir(), freePort(t)
	host := startChild(t, cache, port, "-work", "300ms", "node1", "0")
	endpoints(t, host.out, 1)
	two := startChild(t, cache, port, "-work", "300ms", "node2", "0")
	three := startChild(t, cache, port, "-work", "300ms", "node3", "0")
	urls := []string{endpoints(t, two.out, 1)[0], endpoints(t, three.out, 1)[0]}
	waitHealth(t, urls[0], 3, 3)
	done := postOrder(t, urls[0], "", 201)

	const orders = 12
	answers := make(chan answer, orders)
	for i := range orders {
		go func() { answers <- post(t, urls[i%2], fmt.Sprintf("order-%d", i), goodBody) }()
	}
	host.out.waitN(t, "Processing order", 1)
	host.kill()
	killed := time.Now()
	distinct := map[string]bool{}
	for range orders {
		a := <-answers
		if a.status != 201 {
			t.Errorf("order: %d %s", a.status, a.body)
		}
		distinct[a.OrderID] = true
	}
	if took := time.Since(killed); took > 6*time.Second {
		t.Errorf("answered %v after the kill, want 6s", took)
	}
	if len(distinct) != orders {
		t.Errorf("%d different orders, want %d", len(distinct), orders)
	}
	if diff := cmp.Diff(done.Order, getJSON[Order](t, urls[1]+"/orders/"+done.OrderID)); diff != "" {
		t.Errorf("order from before (-want +got):\n%s", diff)
	}

	// node1 starts again at once, under its old name.
	back := startChild(t, cache, port, "node1", "0")
	postOrder(t, endpoints(t, back.out, 1)[0], "", 201)
	for _, c := range []*child{back, two, three} {
		if code := c.interrupt(t); code != exitOK {
			t.Errorf("exit code %d, want %d", code, exitOK)
		}
	}
	wantEmpty(t, cache)
}

// ---------------------------------------------------------------- client

// answer is what a client sees of POST /orders.
type answer struct {
	Order

	status int
	header http.Header
	body   string
}

// client reuses no connection: one that is idle would outlive the test.
var client = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

func post(t *testing.T, url, key, body string) (a answer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/orders", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return a
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	a.status, a.header, a.body = resp.StatusCode, resp.Header, string(text)
	if a.status == http.StatusCreated {
		if err := json.Unmarshal(text, &a.Order); err != nil {
			t.Error(err)
		}
	}
	return a
}

func postOrder(t *testing.T, url, key string, status int) answer {
	t.Helper()
	a := post(t, url, key, goodBody)
	if a.status != status {
		t.Fatalf("POST /orders: %d %s, want %d", a.status, a.body, status)
	}
	return a
}

func getJSON[T any](t *testing.T, url string) (v T) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// waitHealth asks until the node has heard of the others.
func waitHealth(t *testing.T, url string, total, online int) {
	t.Helper()
	var h healthView
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if h = getJSON[healthView](t, url+"/health"); h.TotalNodes == total && h.OnlineNodes == online {
			return
		}
	}
	t.Fatalf("health %+v, want %d of %d", h, online, total)
}

// endpoints waits until the demo is ready and returns where its nodes listen.
func endpoints(t *testing.T, out *output, n int) (urls []string) {
	t.Helper()
	out.wait(t, "Ctrl-C drains")
	for _, match := range out.waitN(t, `node\d (http://\S+?)(?:,|\n)`, n) {
		urls = append(urls, match[1])
	}
	return urls
}
