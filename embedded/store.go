package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// lockFile lies in the store folder and stays there: a lock file that is removed while somebody
// opens it can be locked twice.
const lockFile = "catga.lock"

// store is the server's folder, locked. The server itself takes no lock, and two of them on one
// folder destroy each other's streams without an error.
type store struct {
	dir       string
	lock      *flock.Flock
	temporary bool
}

// openStore makes and locks dir, or a temporary folder for "".
func openStore(dir string) (*store, error) {
	s := &store{temporary: dir == ""}
	if err := s.make(dir); err != nil {
		return nil, fmt.Errorf("make store: %w", err)
	}
	s.lock = flock.New(filepath.Join(s.dir, lockFile), flock.SetPermissions(0o600))
	locked, err := s.lock.TryLock()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock store %s: %w", s.dir, err), s.close())
	}
	if !locked {
		return nil, &LockedError{StoreDir: s.dir}
	}
	return s, nil
}

func (s *store) make(dir string) (err error) {
	if s.temporary {
		s.dir, err = os.MkdirTemp("", "catga-")
		return err
	}
	if s.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	return os.MkdirAll(s.dir, 0o750)
}

// close unlocks the folder, and removes it if it was temporary.
func (s *store) close() error {
	err := s.lock.Unlock()
	if s.temporary {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	if err != nil {
		return fmt.Errorf("close store %s: %w", s.dir, err)
	}
	return nil
}
