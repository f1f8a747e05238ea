package infer

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// gpu is the accelerator that a session of this process uses: CUDA's first device.
type gpu struct {
	name       string
	capability string // CUDA's compute capability, as 8.7
	driver     string // version; of a Jetson without one its release of L4T
	err        string // why there is none
}

// Where NVIDIA's kernel module tells its version, and where a Jetson its release.
const (
	driverFile  = "proc/driver/nvidia/version"
	releaseFile = "etc/nv_tegra_release"
)

var (
	driverVersion = regexp.MustCompile(`\s(\d+\.\d+(?:\.\d+)?)\s`)
	l4tRelease    = regexp.MustCompile(`# (R\d+) \(release\), REVISION: ([\d.]+)`)
)

// driver is the version of the accelerator's driver, "" where none is used or
// it doesn't tell.
func (p Provider) driver() string {
	if p.libraryFile() == "" {
		return ""
	}
	return driverOf(os.DirFS("/"))
}

func driverOf(root fs.FS) string {
	if b, err := fs.ReadFile(root, driverFile); err == nil {
		if m := driverVersion.FindSubmatch(b); m != nil {
			return string(m[1])
		}
	}
	if b, err := fs.ReadFile(root, releaseFile); err == nil {
		if m := l4tRelease.FindSubmatch(b); m != nil {
			return fmt.Sprintf("L4T %s.%s", m[1], m[2])
		}
	}
	return ""
}

// sharedFile is what ONNX Runtime's own library and those of its providers share.
const sharedFile = "libonnxruntime_providers_shared.so"

// inferLibrary begins the name of TensorRT's library.
const inferLibrary = "libnvinfer.so"

// imports are the libraries that a library names as needed; those that ONNX Runtime
// brings itself are left out, since it loads them.
func imports(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close()
	all, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var out []string
	for _, name := range all {
		if !strings.HasPrefix(name, "libonnxruntime") {
			out = append(out, name)
		}
	}
	return out, nil
}

// unready says why the provider can't compute here, "" if it may: its library is
// absent, the loader doesn't find something that it needs, or there is no GPU.
func (p Provider) unready(library string) string {
	if why := p.missing(library); why != "" {
		return why
	}
	path := p.file(library)
	if path == "" {
		return "" // in the core
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), sharedFile)); err != nil {
		return fmt.Sprintf("%s: there is no %s beside %s", p, sharedFile, p.libraryFile())
	}
	needs, err := imports(path)
	if err != nil {
		return fmt.Sprintf("%s: %v", p, err)
	}
	for _, name := range needs {
		if why := loadable(name); why != "" {
			return fmt.Sprintf("%s: %s needs %s, which the loader doesn't find (%s): install it, or name its folder in LD_LIBRARY_PATH", p, p.libraryFile(), name, why)
		}
	}
	if g := askGPU(); g.err != "" {
		return fmt.Sprintf("%s: %s", p, g.err)
	}
	return ""
}

// tensorRTVersion is the version of the library that the provider's own names, as
// 10.3.0; "" where it doesn't tell.
func tensorRTVersion(library string) string {
	needs, err := imports(TensorRT.file(library))
	if err != nil {
		return ""
	}
	for _, name := range needs {
		if strings.HasPrefix(name, inferLibrary) {
			return inferVersionText(inferVersion(name))
		}
	}
	return ""
}

// inferVersionText reads what getInferLibVersion gives: from TensorRT 10 on two
// digits each for minor version and patch, before that one for the minor version.
func inferVersionText(n int) string {
	switch {
	case n <= 0:
		return ""
	case n >= 100000:
		return fmt.Sprintf("%d.%d.%d", n/10000, n/100%100, n%100)
	}
	return fmt.Sprintf("%d.%d.%d", n/1000, n/100%10, n%100)
}
