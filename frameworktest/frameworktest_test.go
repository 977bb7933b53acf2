package frameworktest_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
)

func TestMain(m *testing.M) {
	stop := frameworktest.RegisterClock()
	code := m.Run()
	stop()
	os.Exit(code)
}

type shipped struct {
	framework.ReliableEvent
	Order string `json:"order"`
}

func TestFakeTime_RetriesOfAnHourPassInAMoment(t *testing.T) { //nolint:paralleltest // FakeTime runs alone
	world := time.Now()
	frameworktest.FakeTime(t, func(t *testing.T) {
		node := frameworktest.NewNode(t)
		began, handled := time.Now(), make(chan int, 1)
		err := framework.Subscribe(node, func(ctx context.Context, _ shipped) error {
			if attempt := framework.InfoFrom(ctx).Attempt; attempt == 3 {
				handled <- attempt
				return nil
			}
			return framework.RetryAfter(errors.New("later"), 30*time.Minute)
		})
		if err != nil {
			t.Fatal(err)
		}
		frameworktest.Run(t, node)
		if err := framework.Publish(t.Context(), node, shipped{Order: "o"}); err != nil {
			t.Fatal(err)
		}
		<-handled
		if took := time.Since(began); took < time.Hour || took > time.Hour+time.Minute {
			t.Errorf("two retries of 30m took %v of fake time", took)
		}
	})
	if took := time.Since(world); took > 20*time.Second {
		t.Errorf("and %v of real time", took)
	}
}

func TestRecorder_KeepsWhatIsPublishedAndFailsWhatItIsTold(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	r := frameworktest.Recorder{Err: func(m *framework.Outgoing) error {
		if e, ok := m.Value.(shipped); ok && e.Order == "bad" {
			return broken
		}
		return nil
	}}
	if err := framework.Publish(t.Context(), &r, shipped{Order: "1"}, framework.WithID("id")); err != nil {
		t.Fatal(err)
	}
	if err := framework.Publish(t.Context(), &r, shipped{Order: "bad"}); !errors.Is(err, broken) {
		t.Errorf("Publish = %v, want %v", err, broken)
	}
	err := framework.PublishBatch(t.Context(), &r, []shipped{{Order: "2"}, {Order: "bad"}, {Order: "3"}})
	var batch *framework.BatchError
	if !errors.As(err, &batch) || len(batch.Failed) != 1 || !errors.Is(batch.Failed[1], broken) {
		t.Errorf("PublishBatch = %v, want entry 1 to fail", err)
	}
	got := frameworktest.Published[shipped](&r)
	if len(got) != 3 || got[0].Order != "1" || got[1].Order != "2" || got[2].Order != "3" {
		t.Errorf("published %v", got)
	}
	if m := r.Messages()[0]; m.ID != "id" || m.Kind != "shipped" || m.QoS != framework.AtLeastOnce {
		t.Errorf("first message = %+v", m)
	}
}
