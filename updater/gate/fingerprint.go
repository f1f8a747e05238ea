package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/vision/infer"
)

// Fingerprint names what a model's answers rest on besides itself: the
// runtime's file and version, provider, precision, driver, processor, and on an
// accelerator its name and the engine, of which no two builds are alike. A
// bundle that passed the gate under another fingerprint must pass it again.
// info is of Worker.Ready.
func Fingerprint(info infer.Info) (string, error) {
	f, err := os.Open(info.Library)
	if err != nil {
		return "", fmt.Errorf("fingerprint the runtime: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("fingerprint the runtime: read %s: %w", info.Library, err)
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", fmt.Errorf("fingerprint the processor: %w", err)
	}
	return fingerprint(info, hex.EncodeToString(h.Sum(nil)), string(cpu)), nil
}

func fingerprint(info infer.Info, library, cpuinfo string) string {
	h := sha256.New()
	parts := []string{info.Runtime, library, info.Provider, info.Precision, info.Driver, runtime.GOARCH, processor(cpuinfo)}
	if info.GPU != "" || info.Engine != "" {
		parts = append(parts, info.GPU, info.Engine)
	}
	for _, s := range parts {
		fmt.Fprintf(h, "%d:%s;", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// processor is what tells processor models apart in /proc/cpuinfo, each kind
// of core once: the name on x86, implementer and part on ARM, and what
// instructions they have.
func processor(cpuinfo string) string {
	var kinds []string
	for line := range strings.Lines(cpuinfo) {
		key, value, _ := strings.Cut(line, ":")
		switch key = strings.TrimSpace(key); key {
		case "model name", "CPU implementer", "CPU part", "CPU variant", "flags", "Features":
			if kind := key + "=" + strings.TrimSpace(value); !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	slices.Sort(kinds)
	return strings.Join(kinds, "\n")
}
