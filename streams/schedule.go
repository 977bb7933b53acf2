package streams

import (
	"context"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Schedule stores msg so that the server itself sends it to target at the given time, to the
// millisecond or two; at once if that has passed. The subject of msg is the schedule's own: nothing
// else may be published on it, and a second schedule on it replaces the first (see
// [Names.SchedEvent]). The target is another subject of the same stream. The server passes on payload
// and headers, but not a Nats-Msg-Id. Schedule fails as [Publisher.Store] does and never changes msg.
func (p *Publisher) Schedule(ctx context.Context, msg *nats.Msg, target string, at time.Time) error {
	header := make(nats.Header, len(msg.Header)+2)
	maps.Copy(header, msg.Header)
	// The client's own option cuts the time to seconds and so fires up to 1 s early.
	header[jetstream.ScheduleHeader] = []string{"@at " + at.UTC().Format(time.RFC3339Nano)}
	header[jetstream.ScheduleTargetHeader] = []string{target}
	_, err := p.Store(ctx, &nats.Msg{Subject: msg.Subject, Header: header, Data: msg.Data})
	return err
}
