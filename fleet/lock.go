package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrInUse is Open's error for a directory that is served already.
var ErrInUse = errors.New("it is in use by another sightline-fleet serve: stop that one")

// lock takes the directory for this process: two services would each tell
// devices of watermarks that the other one has. Commands for people don't ask
// for it. It ends with the process, however that ends.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "serve.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the fleet's directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve the fleet in %s: %w", dir, err), f.Close())
	}
	return f, nil
}
