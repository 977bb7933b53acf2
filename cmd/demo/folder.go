package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
)

// folder is where the server of a port keeps its data when nobody said where: the same for every
// process of this user and machine, so that one can go on where another was killed, and removed by
// the last one that leaves.
//
// Each process holds a shared lock on a file in it. Who leaves lets go of it and tries for the
// exclusive lock: only the last one can get it. A newcomer may have opened the file just before it
// was removed, and gets a lock on a file that is nowhere; it looks, and starts over.
type folder struct {
	dir  string
	lock *flock.Flock
}

const (
	lockPoll   = 20 * time.Millisecond
	enterTries = 1000 // each is lost only to somebody who leaves at that moment
)

var errMoved = fmt.Errorf("%w any more", os.ErrNotExist)

// enterFolder makes the folder for the server of port and registers this process as a user.
func enterFolder(ctx context.Context, port int) (*folder, error) {
	dir, err := folderPath(port)
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir}
	for range enterTries {
		var done bool
		if done, err = f.enter(ctx); done {
			return f, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
			break // those two come from a folder that somebody is just removing
		}
	}
	return nil, fmt.Errorf("enter %s: %w", dir, err)
}

// folderPath is private to the user: in a folder that all can write to, others could be there first.
func folderPath(port int) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for the server's data: %w; name one with -data", err)
	}
	host, err := os.Hostname() // a home folder may be shared by several machines
	if err != nil {
		return "", fmt.Errorf("find a folder for the server's data: %w; name one with -data", err)
	}
	return filepath.Join(cache, "catga-demo", host+"-"+strconv.Itoa(port)), nil
}

// store is the folder for the server itself.
func (f *folder) store() string { return filepath.Join(f.dir, "store") }

func (f *folder) enter(ctx context.Context) (done bool, err error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return false, err
	}
	f.lock = flock.New(filepath.Join(f.dir, "users.lock"), flock.SetPermissions(0o600))
	if _, err = f.lock.TryRLockContext(ctx, lockPoll); err != nil {
		return false, err
	}
	if f.current() {
		return true, nil
	}
	return false, errors.Join(errMoved, f.lock.Unlock())
}

// current says whether the file that is locked is the one that others find.
func (f *folder) current() bool {
	held, err := f.lock.Stat()
	if err != nil {
		return false
	}
	found, err := os.Stat(f.lock.Path())
	return err == nil && os.SameFile(held, found)
}

// leave unregisters the process, and removes the folder if it was the last.
func (f *folder) leave() error {
	if err := f.lock.Unlock(); err != nil {
		return fmt.Errorf("leave %s: %w", f.dir, err)
	}
	last, err := f.lock.TryLock()
	if errors.Is(err, os.ErrNotExist) {
		return nil // another one left at the same moment, and it was the last
	}
	if err == nil && last && f.current() {
		err = f.remove()
	}
	if err = errors.Join(err, f.lock.Unlock()); err != nil {
		return fmt.Errorf("leave %s: %w", f.dir, err)
	}
	return nil
}

// remove moves the folder out of the way first: a newcomer finds the whole of it, or nothing, but
// never what is left of it.
func (f *folder) remove() error {
	parent := filepath.Dir(f.dir)
	gone, err := os.MkdirTemp(parent, "gone-")
	if err != nil {
		return err
	}
	err = errors.Join(os.Rename(f.dir, filepath.Join(gone, filepath.Base(f.dir))), os.RemoveAll(gone))
	_ = os.Remove(parent) // if no other port has its folder there
	return err
}
