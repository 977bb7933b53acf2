package main

import (
	"io/fs"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/catga-go/catga/embedded"
)

// wantEmpty fails the test for every file below dir.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != dir {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// startLocked starts a server that this demo has no password for.
func startLocked(t *testing.T, port int) (*embedded.Server, error) {
	t.Helper()
	return embedded.Start(embedded.Config{
		Port: port, StoreDir: t.TempDir(), Token: "secret", Logger: slog.New(slog.DiscardHandler),
	})
}
