package framework_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/catga-go/catga/embedded"
	"github.com/catga-go/catga/framework"
)

func TestConnect_ShowsItsCredentialsAndNeverSpeaksOfThem(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		server       embedded.Config
		right, wrong framework.Config
	}{
		"user and password": {
			embedded.Config{Username: "ann", Password: "s3cret"},
			framework.Config{User: "ann", Password: "s3cret"},
			framework.Config{User: "ann", Password: "wr0ng"},
		},
		"token": {
			embedded.Config{Token: "s3cret"},
			framework.Config{Token: "s3cret"},
			framework.Config{Token: "wr0ng"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.server.StoreDir, tt.server.Port, tt.server.Logger = t.TempDir(), -1, slog.New(slog.DiscardHandler)
			srv, err := embedded.Start(tt.server)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = srv.Close() })
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			tt.right.NodeID, tt.right.URL = "right", srv.URL()
			node, err := framework.Connect(ctx, tt.right)
			if err != nil {
				t.Fatal(err)
			}
			if err := node.Close(ctx); err != nil {
				t.Error(err)
			}
			tt.wrong.NodeID, tt.wrong.URL = "wrong", strings.Replace(srv.URL(), "nats://", "nats://eve:p4ss@", 1)
			_, err = framework.Connect(ctx, tt.wrong)
			if !errors.Is(err, nats.ErrAuthorization) {
				t.Fatalf("wrong credentials: %v, want %v", err, nats.ErrAuthorization)
			}
			for _, secret := range []string{"wr0ng", "p4ss"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("error %q has %q in it", err, secret)
				}
			}
		})
	}
}

func TestConnect_UnreadableURLIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"nats://eve:p4ss@a b:4222", "nats://localhost:4222,nats://eve:p4ss@%zz", "nats://[::1", "nats://"} {
		_, err := framework.Connect(t.Context(), framework.Config{URL: bad})
		var cfg *framework.ConfigError
		if !errors.As(err, &cfg) || cfg.Option != "URL" || strings.Contains(err.Error(), "p4ss") {
			t.Errorf("Connect = %v, want a *ConfigError of URL without the password", err)
		}
	}
	_, err := framework.Connect(t.Context(), framework.Config{URL: "nats://t0ken@127.0.0.1:1"})
	if err == nil || strings.Contains(err.Error(), "t0ken") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Connect = %v, want an error with the address and without the token", err)
	}
}
