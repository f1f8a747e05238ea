package transfer

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// reserve makes the file that long and takes the room for it on the disk, so
// that what is begun can be ended; so many bytes more must be free besides.
func reserve(f *os.File, length, besides int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%s is no file", f.Name())
	}
	free, err := available(f)
	if err != nil {
		return err
	}
	need := max(length-st.Blocks*512, 0) + besides
	if need > free {
		return &NoRoom{Need: need, Have: free}
	}
	if st.Size > length {
		if err := f.Truncate(length); err != nil {
			return fmt.Errorf("shorten %s: %w", f.Name(), err)
		}
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Fallocate(int(f.Fd()), 0, 0, length)
	}
	switch {
	case err == nil:
		return nil
	case full(err):
		return &NoRoom{Need: need, Have: free}
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		// Such a disk keeps no room; it was seen to be there.
		if err := f.Truncate(length); err != nil {
			return fmt.Errorf("make %s: %w", f.Name(), err)
		}
		return nil
	}
	return fmt.Errorf("take the room for %s: %w", f.Name(), err)
}

// full reports whether the error says that the disk is.
func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// Free is how many bytes the disk of a folder has for us.
func Free(dir string) (int64, error) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, fmt.Errorf("look how much room the disk has: %w", err)
	}
	defer f.Close()
	return available(f)
}

// available is how many bytes the disk has for us.
func available(f *os.File) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("look how much room the disk has: %w", err)
	}
	if st.Blocks == 0 { // it doesn't know, or has no limit
		return math.MaxInt64, nil
	}
	return int64(st.Bavail) * st.Bsize, nil
}
