package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

type line struct {
	framework.ReliableEvent
	N    int    `json:"n"`
	Text string `json:"text,omitempty"`
	Key  string `json:"-"`
}

func (l line) IdempotencyKey() string { return l.Key }

func TestPublishBatch_StoresInOrder(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	const n = 500
	batch := make([]line, n)
	for i := range batch {
		batch[i] = line{N: i}
	}
	must(t, framework.PublishBatch(soon(t), node, batch))
	all := messages(t, node, "CATGA_EVENTS")
	if len(all) != n {
		t.Fatalf("%d events stored, want %d", len(all), n)
	}
	for i, m := range all {
		if string(m.Data) != fmt.Sprintf(`{"n":%d}`, i) {
			t.Fatalf("event %d is %s", i, m.Data)
		}
	}
}

func TestPublishBatch_NamesWhatFailedAndStoresTheRest(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	huge := strings.Repeat("x", int(node.Conn().MaxPayload()))
	err := framework.PublishBatch(soon(t), node, []line{{N: 0}, {N: 1, Text: huge}, {N: 2}, {N: 3, Text: huge}})
	var batch *framework.BatchError
	var large *framework.TooLargeError
	if !errors.As(err, &batch) || len(batch.Failed) != 2 || batch.Failed[1] == nil || batch.Failed[3] == nil {
		t.Fatalf("got %v, want a *BatchError of entries 1 and 3", err)
	}
	if !errors.As(batch.Failed[3], &large) || large.Kind != "line" || large.Limit > node.Conn().MaxPayload() || large.Size <= large.Limit {
		t.Errorf("entry 3: %v", batch.Failed[3])
	}
	if n := stored(t, node, "CATGA_EVENTS"); n != 2 {
		t.Errorf("%d events stored, want the other two", n)
	}
}

func TestPublishBatch_InvalidEntryMeansNothingIsSent(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	err := framework.PublishBatch(soon(t), node, []*line{{N: 0}, nil, {N: 2}})
	var batch *framework.BatchError
	var config *framework.ConfigError
	if !errors.As(err, &batch) || len(batch.Failed) != 1 || !errors.As(batch.Failed[1], &config) {
		t.Errorf("got %v, want a *BatchError of entry 1", err)
	}
	if n := stored(t, node, "CATGA_EVENTS"); n != 0 {
		t.Errorf("%d events stored, want none", n)
	}
	must(t, framework.PublishBatch(soon(t), node, []line(nil)))
}

func TestPublishBatch_OfOneAlsoReturnsABatchError(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	ended, end := context.WithCancel(t.Context())
	end()
	for n := 1; n <= 3; n++ {
		var batch *framework.BatchError
		err := framework.PublishBatch(ended, node, make([]line, n))
		if !errors.As(err, &batch) || len(batch.Failed) != n || !errors.Is(err, context.Canceled) {
			t.Errorf("%d entries, context ended: %v", n, err)
		}
	}
	must(t, node.Close(soon(t)))
	for n := 1; n <= 3; n++ {
		var batch *framework.BatchError
		err := framework.PublishBatch(soon(t), node, make([]line, n))
		if !errors.As(err, &batch) || len(batch.Failed) != n || !errors.Is(err, framework.ErrClosed) {
			t.Errorf("%d entries, node closed: %v", n, err)
		}
	}
}

func TestPublishBatch_EntriesHaveTheirOwnIDs(t *testing.T) {
	t.Parallel()
	node := frameworktest.NewNode(t)
	got := make(chan framework.Info, 10)
	must(t, framework.Subscribe(node, infos[line](got)))
	run(t, node)
	must(t, framework.PublishBatch(soon(t), node, []line{{Key: "a"}, {Key: "b"}, {Key: "a"}, {}}, framework.WithCorrelation("c"), framework.WithHeader("h", "v")))
	ids := map[string]int{}
	for range 3 {
		i := receive(t, got)
		if i.Correlation != "c" || i.Header.Get("h") != "v" {
			t.Errorf("info = %+v", i)
		}
		if strings.HasPrefix(i.ID, "~") {
			i.ID = "generated"
		}
		ids[i.ID]++
	}
	acknowledged(t, node, "node=test:line")
	empty(t, "the repeated entry was handled", got)
	diff(t, "ids", ids, map[string]int{"a": 1, "b": 1, "generated": 1})
}
