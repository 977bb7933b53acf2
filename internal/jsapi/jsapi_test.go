package jsapi_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/catga-go/catga/internal/jsapi"
)

func TestPrefix_IsThatOfTheContext(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		opts jetstream.JetStreamOptions
		want string
	}{
		{jetstream.JetStreamOptions{}, "$JS.API."},
		{jetstream.JetStreamOptions{APIPrefix: "$JS.API."}, "$JS.API."},
		{jetstream.JetStreamOptions{Domain: "hub"}, "$JS.hub.API."},
		{jetstream.JetStreamOptions{APIPrefix: "mine"}, "mine."},
		{jetstream.JetStreamOptions{APIPrefix: "yours.js."}, "yours.js."},
	} {
		if got := jsapi.Prefix(tt.opts); got != tt.want {
			t.Errorf("prefix of %+v is %q, want %q", tt.opts, got, tt.want)
		}
	}
}
