package bundle

import (
	"os"
	"syscall"
)

// OpenFile opens an archive to read it. What isn't a regular file has
// ErrInvalid: a pipe would be waited for, and an archive is read more than once.
func OpenFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = refuse("%s: it is no regular file, as an archive is", path)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}
