package infer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindLibrary(t *testing.T) {
	dir := t.TempDir()
	lib := filepath.Join(dir, "libonnxruntime.so.1")
	if err := os.WriteFile(lib, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none.so")
	for name, c := range map[string]struct {
		configured, env, path, want, err string
	}{
		"configured":          {configured: lib, env: none, want: lib},
		"environment":         {env: lib, want: lib},
		"loader path":         {path: "/nowhere:" + dir, want: lib},
		"configured, absent":  {configured: none, env: lib, err: "infer.onnxruntime"},
		"environment, absent": {env: none, path: dir, err: LibraryEnv},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(LibraryEnv, c.env)
			t.Setenv("LD_LIBRARY_PATH", c.path)
			got, err := FindLibrary(c.configured)
			if got != c.want || (err == nil) != (c.err == "") {
				t.Fatalf("found %q, %v; want %q, error %q", got, err, c.want, c.err)
			}
			if err != nil && (!strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "make setup")) {
				t.Errorf("%v: want it to name %q and what to do", err, c.err)
			}
		})
	}
}
