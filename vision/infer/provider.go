package infer

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Provider names what computes a model: ONNX Runtime's execution providers.
type Provider string

// The providers.
const (
	Auto     Provider = "auto"     // the fastest that the library and the machine have without building engines
	CPU      Provider = "cpu"      //
	CUDA     Provider = "cuda"     // needs a library that was built with it, its driver and cuDNN
	TensorRT Provider = "tensorrt" // the same, and minutes to build an engine; only where it is named
)

// Providers lists them all, for help texts and errors.
func Providers() []Provider { return []Provider{Auto, CPU, CUDA, TensorRT} }

// ProviderEnv names the provider by environment.
const ProviderEnv = "SIGHTLINE_PROVIDER"

// FindProvider gives the provider that is configured, else the one that
// ProviderEnv names, else Auto.
func FindProvider(configured string) (Provider, error) {
	return ParseProvider(cmp.Or(configured, os.Getenv(ProviderEnv)))
}

// ParseProvider reads a provider's name; "" is Auto.
func ParseProvider(s string) (Provider, error) {
	if s == "" {
		return Auto, nil
	}
	if p := Provider(strings.ToLower(s)); slices.Contains(Providers(), p) {
		return p, nil
	}
	return "", fmt.Errorf("provider %q is unknown: known are auto, cpu, cuda, tensorrt", s)
}

// candidates are the providers to try in turn.
func (p Provider) candidates() []Provider {
	switch p {
	case Auto, "":
		return []Provider{CUDA, CPU}
	}
	return []Provider{p}
}

// libraryFile is the provider's own library, which ONNX Runtime loads from
// beside its own; "" for what is in the core.
func (p Provider) libraryFile() string {
	switch p {
	case CUDA, TensorRT:
		return "libonnxruntime_providers_" + string(p) + ".so"
	}
	return ""
}

// Accelerated tells whether an accelerator is to compute with this library: the file
// of its provider is there. What it then can do is known once a worker has loaded.
func (p Provider) Accelerated(library string) bool {
	first := p.candidates()[0]
	return first.libraryFile() != "" && first.missing(library) == ""
}

// missing says why the provider can't be had with this library, "" if it may
// be. ONNX Runtime would say so too, but as an error in the log.
func (p Provider) missing(library string) string {
	file := p.libraryFile()
	if file == "" {
		return ""
	}
	dirs := []string{filepath.Dir(library)}
	if real, err := filepath.EvalSymlinks(library); err == nil {
		dirs = append(dirs, filepath.Dir(real))
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return ""
		}
	}
	return fmt.Sprintf("%s: there is no %s beside ONNX Runtime", p, file)
}

// precision is in which numbers a provider computes a model of float32, as its
// session is set up here.
func (p Provider) precision() string { return "float32" }

// driverFile is where NVIDIA's kernel module tells its version.
const driverFile = "/proc/driver/nvidia/version"

var driverVersion = regexp.MustCompile(`\s(\d+\.\d+(?:\.\d+)?)\s`)

// driver is the version of the accelerator's driver, "" where none is used or
// it doesn't tell.
func (p Provider) driver() string {
	if p.libraryFile() == "" {
		return ""
	}
	b, err := os.ReadFile(driverFile)
	if err != nil {
		return ""
	}
	m := driverVersion.FindSubmatch(b)
	if m == nil {
		return ""
	}
	return string(m[1])
}
