//go:build cgo && nvml

package board

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/google/go-cmp/cmp"
)

// alone runs the test that calls it in a process of its own, and reports
// whether this is that one: a process binds NVIDIA's functions once, to the
// first library.
func alone(t *testing.T) bool {
	t.Helper()
	const mark = "SIGHTLINE_TEST_ALONE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) && !strings.Contains(string(out), "--- SKIP: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

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
	return newDriver(nvml.New(nvml.WithLibraryPath(file)))
}

var orin = GPU{Name: "Orin (nvgpu)"}

// All that a card tells, and one that supports nothing: absent, not 0.
func TestLibraryIsAsked(t *testing.T) {
	if !alone(t) {
		return
	}
	want := []GPU{{
		Name: "NVIDIA RTX A2000 12GB", Load: to(0.37), Celsius: to(61.0), MemoryTotal: to[uint64](12 << 30), MemoryUsed: to[uint64](4e9),
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

// A library before 510 knows only the form that counts what is reserved as used.
func TestLibraryWithoutTheNewMemoryQuestion(t *testing.T) {
	if !alone(t) {
		return
	}
	gpus, _ := standIn(t, "MEMORY_V1").ask()
	if len(gpus) != 2 || gpus[0].MemoryUsed == nil || *gpus[0].MemoryUsed != 4<<30 {
		t.Errorf("got %+v", gpus)
	}
}

// An older library lacks functions; what they would tell is absent.
func TestOldLibrary(t *testing.T) {
	if !alone(t) {
		return
	}
	gpus, problems := standIn(t, "OLD").ask()
	if diff := cmp.Diff([]GPU{{Name: "NVIDIA RTX A2000 12GB"}, orin}, gpus); diff != "" || len(problems) > 0 {
		t.Errorf("%v %s", problems, diff)
	}
}

func TestWildAnswersAreAbsent(t *testing.T) {
	if !alone(t) {
		return
	}
	gpus, problems := standIn(t, "WILD").ask()
	name := strings.Repeat("x", maxName)
	if diff := cmp.Diff([]GPU{{Name: name}, {Name: name}}, gpus); diff != "" || len(problems) > 0 {
		t.Errorf("%v %s", problems, diff)
	}
}

func TestLibraryThatCantBeUsed(t *testing.T) {
	path := func(file string) func(*testing.T) *driver {
		return func(*testing.T) *driver { return newDriver(nvml.New(nvml.WithLibraryPath(file))) }
	}
	fake := func(macro string) func(*testing.T) *driver {
		return func(t *testing.T) *driver { return standIn(t, macro) }
	}
	for name, c := range map[string]struct {
		driver func(*testing.T) *driver
		why    string
	}{
		"no_driver":  {fake("NO_DRIVER"), "initialise: "},
		"incomplete": {fake("INCOMPLETE"), "the library has no nvmlDeviceGetCount_v2"},
		"no_library": {path("nvml_none.go"), ""},
		"not_there":  {path("libnvidia-ml-of-nobody.so.1"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if !alone(t) {
				return
			}
			d := c.driver(t)
			for range 2 { // the second isn't a new try
				gpus, problems := d.ask()
				if len(gpus) > 0 || (c.why == "") != (len(problems) == 0) || c.why != "" && !strings.Contains(problems[0].Why, c.why) {
					t.Errorf("%v %v, want %q", gpus, problems, c.why)
				}
			}
		})
	}
}

// A GPU that falls off the bus is told, and the library is initialised anew a
// minute later.
func TestLostGPU(t *testing.T) {
	if !alone(t) {
		return
	}
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
