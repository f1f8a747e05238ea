package board

import (
	"errors"
	"io/fs"
	"math/bits"

	"golang.org/x/sys/unix"
)

// disk is how large the file system at dir is and what a program without
// privileges may still use of it, bytes. It asks the kernel, not the root.
func (t *tree) disk(dir string) (total, free *uint64) {
	if dir == "" {
		return nil, nil
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.problem(dir, "%v", err)
		}
		return nil, nil
	}
	over, all := bits.Mul64(s.Blocks, uint64(s.Bsize))
	_, left := bits.Mul64(s.Bavail, uint64(s.Bsize))
	if s.Bsize <= 0 || s.Blocks == 0 || over != 0 || s.Bavail > s.Blocks {
		t.problem(dir, "%d blocks of %d bytes can't be", s.Blocks, s.Bsize)
		return nil, nil
	}
	return &all, &left
}
