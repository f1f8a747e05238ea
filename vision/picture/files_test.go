package picture

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// TestFilesFollowsLinks: a folder of links holds pictures; a broken link, a link
// to a folder or to a pipe that nobody writes to is none.
func TestFilesFollowsLinks(t *testing.T) {
	png := []byte("\x89PNG\r\n\x1a\n and more")
	stock, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(stock, "a.png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(stock, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"b.png": "a.png", "gone.png": "nothing.png", "folder": "", "pipe.png": "pipe"} {
		if err := os.Symlink(filepath.Join(stock, to), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Files([]string{dir})
	if want := []string{filepath.Join(dir, "b.png")}; err != nil || !slices.Equal(files, want) {
		t.Errorf("%v, %v: want %v", files, err, want)
	}
}
