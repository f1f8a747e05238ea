package rules

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

var update = flag.Bool("update", false, "write std.wasm.zst and std.version anew")

// TestStandardModuleIsFresh compiles the standard rule and compares; with
// -update it writes the module instead.
func TestStandardModuleIsFresh(t *testing.T) {
	if !*update {
		made, err := os.ReadFile("std.version")
		if err != nil {
			t.Fatal(err)
		}
		if v := strings.TrimSpace(string(made)); v != runtime.Version() {
			t.Skipf("left out: std.wasm.zst was compiled by %s, this is %s", v, runtime.Version())
		}
	}
	wasm := buildGuest(t, "./std")
	if *update {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("std.wasm.zst", enc.EncodeAll(wasm, nil), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("std.version", []byte(runtime.Version()+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := Standard()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, wasm) {
		t.Errorf("std.wasm.zst holds %d bytes that differ from the %d compiled now: run go generate ./vision/rules", len(have), len(wasm))
	}
}

// buildGuest compiles a package to a rule's module, the same on each machine.
func buildGuest(t testing.TB, pkg string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-buildmode=c-shared", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWASM=", "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile %s for wasip1: %v\n%s", pkg, err, text)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}
