//go:build cgo

package board

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// standIn builds a library that stands in for NVIDIA's.
func standIn(t *testing.T, macros ...string) *driver {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("left out: a library in NVIDIA's place; it needs a C compiler")
	}
	file := filepath.Join(t.TempDir(), "libfake.so")
	args := []string{"-shared", "-fPIC", "-o", file, "testdata/fake_nvml.c"}
	for _, m := range macros {
		args = append(args, "-D"+m)
	}
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return &driver{file: file}
}

var orin = GPU{Name: "Orin (nvgpu)"}

// All that a card tells, and one that supports nothing: absent, not 0.
func TestLibraryIsAsked(t *testing.T) {
	want := []GPU{{
		Name: "NVIDIA RTX A2000 12GB", Load: to(0.37), Celsius: to(61.0), MemoryTotal: to[uint64](12 << 30), MemoryUsed: to[uint64](4 << 30),
		Power: to(43.21), Clock: to[uint64](1200e6), ClockMax: to[uint64](2100e6), Throttled: []string{"too hot"},
	}, orin}
	d := standIn(t)
	for range 2 {
		gpus, problems := d.ask()
		if diff := cmp.Diff(want, gpus, aboutEqual); diff != "" || len(problems) > 0 {
			t.Errorf("%v %s", problems, diff)
		}
	}
}

// An older library lacks functions; what they would tell is absent.
func TestOldLibrary(t *testing.T) {
	gpus, problems := standIn(t, "OLD").ask()
	if diff := cmp.Diff([]GPU{{Name: "NVIDIA RTX A2000 12GB"}, orin}, gpus); diff != "" || len(problems) > 0 {
		t.Errorf("%v %s", problems, diff)
	}
}

func TestWildAnswersAreAbsent(t *testing.T) {
	gpus, problems := standIn(t, "WILD").ask()
	name := strings.Repeat("x", maxName)
	if diff := cmp.Diff([]GPU{{Name: name}, {Name: name}}, gpus); diff != "" || len(problems) > 0 {
		t.Errorf("%v %s", problems, diff)
	}
}

func TestLibraryThatCantBeUsed(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.so")
	if err := exec.Command("cp", "nvml.h", text).Run(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		driver *driver
		why    string
	}{
		"without a driver": {standIn(t, "NO_DRIVER"), "initialise: Driver Not Loaded"},
		"incomplete":       {standIn(t, "INCOMPLETE"), "nvmlDeviceGetCount_v2"},
		"no library":       {&driver{file: text}, "text.so"},
		"not there":        {&driver{file: "libnvidia-ml-of-nobody.so.1"}, ""},
	} {
		for range 2 { // the second isn't a new try
			gpus, problems := c.driver.ask()
			if len(gpus) > 0 || (c.why == "") != (len(problems) == 0) || c.why != "" && !strings.Contains(problems[0].Why, c.why) {
				t.Errorf("%s: %v %v, want %q", name, gpus, problems, c.why)
			}
		}
	}
}

// A GPU that falls off the bus is told, and the library is initialised anew a
// minute later.
func TestLostGPU(t *testing.T) {
	d := standIn(t, "FALLS_OFF")
	if gpus, problems := d.ask(); len(gpus) != 2 || len(problems) > 0 {
		t.Fatalf("%v %v", gpus, problems)
	}
	for range 3 {
		gpus, problems := d.ask()
		if len(gpus) > 0 || len(problems) == 0 || problems[0].Why != "open GPU 0: GPU is lost" {
			t.Errorf("%v %v", gpus, problems)
		}
	}
	if d.up || time.Until(d.next) < nvmlRetry-10*time.Second {
		t.Errorf("up is %v, the next try in %v", d.up, time.Until(d.next))
	}
	if d.next = (time.Time{}); !d.open(time.Now()) {
		t.Error("it isn't initialised anew")
	}
}
