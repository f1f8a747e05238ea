package bundle

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestArchiveIsNoFile: a pipe that nobody writes to would be waited for, a
// device read, for ever.
func TestArchiveIsNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero", t.TempDir()} {
		_, err := Open(path)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), path+": it is no regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
