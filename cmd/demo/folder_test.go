package main

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"
)

func TestFolderGoesWithItsLastUser(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	first, second := enter(t), enter(t)
	if first.store() != second.store() {
		t.Fatalf("stores %s and %s of one port", first.store(), second.store())
	}
	if err := os.MkdirAll(first.store(), 0o700); err != nil {
		t.Fatal(err)
	}
	leave(t, first)
	if _, err := os.Stat(second.store()); err != nil {
		t.Errorf("after the first left: %v", err)
	}
	leave(t, second)
	if _, err := os.Stat(second.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the last left: %v, want it gone", err)
	}
}

// Users come and go; whoever is inside finds the folder, whoever else leaves at that moment.
func TestFolderIsThereWhileAnybodyUsesIt(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for range 50 {
				f, err := enterFolder(t.Context(), 4222)
				if err != nil {
					t.Error(err)
					return
				}
				if !f.current() {
					t.Error("inside a folder that is not there")
				}
				if err := f.leave(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
}

func enter(t *testing.T) *folder {
	t.Helper()
	f, err := enterFolder(t.Context(), 4222)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func leave(t *testing.T, f *folder) {
	t.Helper()
	if err := f.leave(); err != nil {
		t.Fatal(err)
	}
}
