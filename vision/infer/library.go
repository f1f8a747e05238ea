package infer

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// LibraryEnv names the ONNX Runtime library by environment.
const LibraryEnv = "SIGHTLINE_ONNXRUNTIME"

// FindLibrary gives the path of ONNX Runtime's shared library: the configured
// one, the one that LibraryEnv names, one beside the executable or in its
// ../lib/sightline, or one of the system. One that is named must exist.
func FindLibrary(configured string) (string, error) {
	for _, named := range [][2]string{{configured, "the configuration (infer.onnxruntime)"}, {os.Getenv(LibraryEnv), LibraryEnv}} {
		if named[0] == "" {
			continue
		}
		if _, err := os.Stat(named[0]); err != nil {
			return "", fmt.Errorf("find ONNX Runtime: %s names %s: %w (run `make setup`, or name the libonnxruntime.so that is to be used)", named[1], named[0], err)
		}
		return named[0], nil
	}
	dirs := libraryDirs()
	for _, dir := range dirs {
		for _, name := range [...]string{"libonnxruntime.so.1", "libonnxruntime.so"} {
			path := filepath.Join(dir, name)
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("find ONNX Runtime: no libonnxruntime.so.1 in %s: run `make setup` in the source tree, or set infer.onnxruntime or %s to the library's path", strings.Join(dirs, ", "), LibraryEnv)
}

func libraryDirs() []string {
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		bin := filepath.Dir(exe)
		dirs = append(dirs, bin, filepath.Join(bin, "..", "lib", "sightline"))
	}
	dirs = append(dirs, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	if triplet != "" {
		dirs = append(dirs, filepath.Join("/usr/lib", triplet))
	}
	return append(dirs, "/usr/local/lib", "/usr/lib")
}
