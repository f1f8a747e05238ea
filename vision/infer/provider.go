package infer

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Provider names what computes a model: ONNX Runtime's execution providers.
type Provider string

// The providers.
const (
	Auto     Provider = "auto"     // the first of the others that the library and the machine have, the fastest first
	CPU      Provider = "cpu"      //
	CUDA     Provider = "cuda"     // needs a library that was built with it, its driver and cuDNN
	TensorRT Provider = "tensorrt" // the same and TensorRT, and minutes to build an engine, which is kept
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

// Precision is in which numbers a model of float32 may be computed.
type Precision string

// The precisions.
const (
	Full Precision = "float32" // as in training, and without TF32
	Half Precision = "float16" // where TensorRT finds it faster; CUDA and the CPU stay with Full
)

// ParsePrecision reads a precision's name; "" is Full.
func ParsePrecision(s string) (Precision, error) {
	switch p := Precision(s); p {
	case "":
		return Full, nil
	case Full, Half:
		return p, nil
	}
	return "", fmt.Errorf("precision %q is unknown: known are float32, float16", s)
}

// candidates are the providers to try in turn.
func (p Provider) candidates() []Provider {
	switch p {
	case Auto, "":
		return []Provider{TensorRT, CUDA, CPU}
	}
	return []Provider{p}
}

// chooses tells whether a provider that can't be had is passed over.
func (p Provider) chooses() bool { return len(p.candidates()) > 1 }

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
	return slices.ContainsFunc(p.candidates(), func(c Provider) bool { return c.libraryFile() != "" && c.missing(library) == "" })
}

// missing says why the provider can't be had with this library, "" if it may
// be. ONNX Runtime would say so too, but as an error in the log.
func (p Provider) missing(library string) string {
	if file := p.libraryFile(); file != "" && p.file(library) == "" {
		return fmt.Sprintf("%s: there is no %s beside ONNX Runtime", p, file)
	}
	return ""
}

// file is the path of the provider's own library, "" where there is none.
func (p Provider) file(library string) string {
	dirs := []string{filepath.Dir(library)}
	if real, err := filepath.EvalSymlinks(library); err == nil {
		dirs = append(dirs, filepath.Dir(real))
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, p.libraryFile())
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// precision is in which numbers the provider computes, where wanted is asked for.
func (p Provider) precision(wanted Precision) Precision {
	if p == TensorRT && wanted == Half {
		return Half
	}
	return Full
}
