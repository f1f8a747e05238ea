package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockDir makes the directory and takes it for this process; NATS wouldn't
// notice a second one. The lock ends with the process, however that ends.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the broker's directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the broker's directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the broker's directory %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// storeName is the broker's store in its directory.
const storeName = "transient"

// emptyStore is the path of a store with nothing in it. What an earlier broker
// left is removed: nothing rests on it, and NATS, given a store that was damaged
// or is another version's, may grant subscriptions that it never serves.
func emptyStore(dir string) (string, error) {
	store := filepath.Join(dir, storeName)
	if err := os.RemoveAll(store); err != nil {
		return "", fmt.Errorf("empty the broker's store: %w", err)
	}
	return store, nil
}
