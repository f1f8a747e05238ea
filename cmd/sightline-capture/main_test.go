package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sightline-edge/sightline/vision/capture"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sightline-capture": main})
}

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Files: files,
		Condition: func(cond string) (bool, error) {
			return cond == "media" && capture.HaveMedia, nil
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("GOCOVERDIR", os.Getenv("GOCOVERDIR"))
			return nil
		},
	})
}

// installed is this program under its name, as the agent finds it.
func installed(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sightline-capture")
	if err := os.Symlink(self, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// aloneKey, in the environment, says that this process has a network of its own.
const aloneKey = "SIGHTLINE_TEST_ALONE"

// alone runs the test once more where there is no network but loopback: looking
// for cameras asks on every network that there is. It returns true there.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneKey) != "" {
		return true
	}
	cmd := exec.Command("unshare", "-rn", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), aloneKey+"=1")
	out, err := cmd.CombinedOutput()
	switch {
	case strings.Contains(string(out), "unshare: ") || strings.Contains(string(out), "ip: not found") || errors.Is(err, exec.ErrNotFound):
		t.Skipf("left out: a network of its own: %v: %s", err, out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func TestDevices(t *testing.T) {
	if !capture.HaveMedia {
		t.Skip("left out: built without GStreamer (-tags media or gocv)")
	}
	fake, err := exec.LookPath("arv-fake-gv-camera-0.8")
	if err != nil {
		t.Skip("left out: no arv-fake-gv-camera-0.8 (Debian's aravis-tools)")
	}
	if !alone(t) {
		return
	}
	program := installed(t)
	want := capture.Device{Source: "aravis:Aravis-Fake-LISTED", Name: "Aravis Fake", Driver: "GigEVision", Bus: "127.0.0.1", Serial: "LISTED"}
	for until := time.Now().Add(30 * time.Second); ; {
		camera := exec.Command(fake, "-i", "127.0.0.1", "-s", "LISTED")
		if err := camera.Start(); err != nil {
			t.Fatal(err)
		}
		all, err := capture.GenICamDevices(t.Context(), program)
		_ = camera.Process.Kill() // it may have ended
		_ = camera.Wait()
		if err == nil && slices.ContainsFunc(all, func(d capture.Device) bool { return cmp.Equal(d, want) }) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%+v, %v; want %+v", all, err, want)
		}
	}
}

// The library is looked for when it is needed, not when the program starts.
func TestDevicesWithoutAravis(t *testing.T) {
	if !capture.HaveMedia {
		t.Skip("left out: built without GStreamer (-tags media or gocv)")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "libaravis-0.8.so.0"), nil, 0o644); err != nil { // found first, and no library
		t.Fatal(err)
	}
	t.Setenv("LD_LIBRARY_PATH", dir)
	if _, err := capture.GenICamDevices(t.Context(), installed(t)); err == nil || !strings.Contains(err.Error(), "install libaravis-0.8-0") {
		t.Errorf("without the library: %v", err)
	}
}

// TestDevicesAreReadByTheProgramWithOpenCV: the built program becomes the one beside it.
func TestDevicesAreReadByTheProgramWithOpenCV(t *testing.T) {
	bin := os.Getenv("SIGHTLINE_BIN")
	if bin == "" {
		t.Skip("left out: SIGHTLINE_BIN isn't set (make test sets it)")
	}
	plain := filepath.Join(bin, "sightline-capture")
	for _, file := range []string{plain, plain + withOpenCV} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("left out: %v", err)
		}
	}
	alone := filepath.Join(t.TempDir(), "sightline-capture")
	data, err := os.ReadFile(plain)
	if err == nil {
		err = os.WriteFile(alone, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{plain: "no such file or directory", alone: "needs sightline-capture-opencv beside"} {
		cam, err := capture.New(capture.Config{Source: "/dev/v4l/by-id/none", CaptureBinary: program})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- cam.Run(ctx) }()
		tick := time.NewTicker(20 * time.Millisecond)
		for until := time.Now().Add(20 * time.Second); !strings.Contains(cam.Stats().LastError, want); <-tick.C {
			if time.Now().After(until) {
				t.Errorf("%s: %q, want %q", program, cam.Stats().LastError, want)
				break
			}
		}
		tick.Stop()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
