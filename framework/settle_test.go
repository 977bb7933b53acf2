package framework

import (
	"testing"
	"time"
)

func TestRecordTTL_OutlivesTheAckWait(t *testing.T) {
	t.Parallel()
	n := &Node{cfg: Config{DedupTTL: 24 * time.Hour, EventDedupTTL: 15 * time.Minute}}
	for _, tt := range []struct {
		name    string
		request bool
		userID  bool
		options []func(*handlerConfig)
		want    time.Duration
	}{
		{"event with a generated ID", false, false, nil, 15 * time.Minute},
		{"event with a given ID", false, true, nil, 24 * time.Hour},
		{"request", true, false, nil, 24 * time.Hour},
		{"as the handler says", true, true, []func(*handlerConfig){WithDedup(time.Hour).(handlerOption)}, time.Hour},
		{"not less than twice the ack wait", true, true, []func(*handlerConfig){WithDedup(time.Second).(handlerOption)}, 30 * time.Second},
		{"for a long ack wait, too", false, false, []func(*handlerConfig){WithAckWait(time.Hour).(handlerOption)}, 2 * time.Hour},
		{"never more than the bucket keeps", false, false, []func(*handlerConfig){WithAckWait(12 * time.Hour).(handlerOption), WithDedup(0).(handlerOption)}, 24 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := defaultHandlerConfig()
			for _, o := range tt.options {
				o(&cfg)
			}
			r := &run{arrival: arrival{userID: tt.userID}, h: &handler{spec: &typeSpec{request: tt.request}, cfg: cfg}}
			if got := n.recordTTL(r); got != tt.want {
				t.Errorf("recordTTL = %v, want %v", got, tt.want)
			}
		})
	}
}
