package board

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"
)

// machine is a tree of testdata; see README.md there.
func machine(t testing.TB, name string) fstest.MapFS {
	t.Helper()
	a, err := txtar.ParseFile("testdata/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	tree := fstest.MapFS{}
	for _, f := range a.Files {
		text := strings.ReplaceAll(string(f.Data), `\0`+"\n", "\x00")
		tree[f.Name] = &fstest.MapFile{Data: []byte(text), Mode: 0o444}
	}
	return tree
}

var (
	aboutEqual = cmpopts.EquateApprox(1e-9, 1e-9)
	untimed    = cmpopts.IgnoreFields(Reading{}, "Time")
)

func to[T any](v T) *T { return &v }

func TestOrinNano(t *testing.T) {
	want := Reading{
		Identity: Identity{
			Model: "NVIDIA Jetson Orin Nano Developer Kit", Serial: "1420000000001", OS: "Ubuntu 22.04.5 LTS",
			Kernel: "5.15.148-tegra", Hostname: "station7", Cores: 6, L4T: "36.4.3", JetPack: "6.2",
		},
		Temperatures: []Temperature{{"cpu-thermal", 51.437}, {"gpu-thermal", 49.906}, {"tj-thermal", 52.281}},
		Load:         to(1.52), MemoryTotal: to[uint64](7802984 * 1024), MemoryAvailable: to[uint64](4202984 * 1024),
		GPUs: []GPU{{
			Name: "ga10b", Integrated: true, Load: to(0.342), Celsius: to(49.906),
			Clock: to[uint64](306e6), ClockMax: to[uint64](624.75e6),
		}},
		Power: to(5.024 * 1.248),
		Rails: []Rail{
			{"VDD_IN", to(5.024), to(1.248), to(5.024 * 1.248)},
			{"VDD_CPU_GPU_CV", to(5.016), to(0.296), to(5.016 * 0.296)},
			{"VDD_SOC", to(5.016), to(0.328), to(5.016 * 0.328)},
		},
		Fans:      []Fan{{Name: "pwmfan", Drive: to(77.0 / 255)}, {Name: "pwm_tach", RPM: to[uint64](1834)}},
		PowerMode: "15W",
	}
	if d := cmp.Diff(want, Read(machine(t, "orin-nano")), untimed, aboutEqual); d != "" {
		t.Error(d)
	}
}

// Two monitors, a channel that isn't connected, a GPU whose zone is off, load
// only at the old place, a JetPack that was removed again.
func TestAGXOrin(t *testing.T) {
	want := Reading{
		Identity: Identity{
			Model: "Jetson AGX Orin Developer Kit", OS: "Ubuntu 20.04.6 LTS", Kernel: "5.10.120-tegra", L4T: "35.4.1", JetPack: "5.1.2",
		},
		Temperatures: []Temperature{{"CPU-therm", 44.5}},
		Load:         to(0.25), MemoryTotal: to[uint64](31344912 * 1024), MemoryAvailable: to[uint64](28344912 * 1024),
		GPUs: []GPU{{Name: "ga10b", Integrated: true, Load: to(0.0), Clock: to[uint64](306e6), ClockMax: to[uint64](1300.5e6)}},
		Rails: []Rail{
			{"VDD_GPU_SOC", to(19.104), to(0.144), to(19.104 * 0.144)},
			{"VDD_CPU_CV", to(19.104), to(-0.008), to(19.104 * -0.008)},
			{"VDDQ_VDD2_1V8AO", to(4.96), nil, nil},
		},
	}
	if d := cmp.Diff(want, Read(machine(t, "agx-orin")), untimed, aboutEqual); d != "" {
		t.Error(d)
	}
}

func TestXavierNX(t *testing.T) {
	want := Reading{
		Identity:     Identity{Model: "NVIDIA Jetson Xavier NX Developer Kit", L4T: "35.6.9"},
		Temperatures: []Temperature{{"AO-therm", 39.5}, {"GPU-therm", 40}},
		GPUs:         []GPU{{Name: "gv11b", Integrated: true, Load: to(1.0), Celsius: to(40.0), Clock: to[uint64](1109250000)}},
	}
	if d := cmp.Diff(want, Read(machine(t, "xavier-nx")), untimed, aboutEqual); d != "" {
		t.Error(d)
	}
}

func TestPC(t *testing.T) {
	got := Read(machine(t, "pc"))
	want := Reading{
		Identity: Identity{Model: "ASUSTeK COMPUTER INC.", OS: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.8.0-60-generic"},
		Temperatures: []Temperature{
			{"acpitz", 27.8}, {"acpitz #2", 29.8}, {"x86_pkg_temp", 47}, {"nvme Composite", 36.85},
			{"coretemp Package id 0", 47}, {"coretemp Core 0", 45},
		},
		Load: to(0.0), MemoryTotal: to[uint64](32768000 * 1024),
		Fans:     []Fan{{Name: "nct6775", RPM: to[uint64](1021)}, {Name: "nct6775", RPM: to[uint64](0)}},
		Problems: []Problem{{"sys/class/hwmon/hwmon3/temp1_input", "-62000 thousandths of a degree are not believed"}},
	}
	if d := cmp.Diff(want, got, untimed, aboutEqual); d != "" {
		t.Error(d)
	}
}

func TestMachineWithoutSensors(t *testing.T) {
	want := Reading{
		Identity: Identity{OS: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.18.44", Cores: 2},
		Load:     to(0.0), MemoryTotal: to[uint64](24684092 * 1024), MemoryAvailable: to[uint64](24290632 * 1024),
	}
	if d := cmp.Diff(want, Read(machine(t, "vm")), untimed); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Reading{}, Read(fstest.MapFS{}), untimed); d != "" {
		t.Errorf("nothing at all: %s", d)
	}
}

// Absent is absent: nothing of what a broken driver gives is told, and each is counted.
func TestGarbageIsAbsent(t *testing.T) {
	got := Read(machine(t, "garbage"))
	problems := got.Problems
	got.Problems = nil
	want := Reading{GPUs: []GPU{{Name: "gpu", Integrated: true}}} // the device is there
	if d := cmp.Diff(want, got, untimed); d != "" {
		t.Error(d)
	}
	var paths []string
	for _, p := range problems {
		if p.Why == "" {
			t.Errorf("%s has no reason", p.Path)
		}
		paths = append(paths, strings.TrimPrefix(p.Path, "sys/class/"))
	}
	slices.Sort(paths)
	wantPaths := []string{
		"devfreq/17000000.gpu/cur_freq", "devfreq/17000000.gpu/device/load", "etc/nv_tegra_release",
		"hwmon/hwmon0/curr1_input", "hwmon/hwmon0/in1_input", "hwmon/hwmon1/fan1_input", "hwmon/hwmon1/pwm1",
		"proc/loadavg", "proc/meminfo", "proc/meminfo", "proc/stat",
		"thermal/thermal_zone0/temp", "thermal/thermal_zone1/temp", "thermal/thermal_zone2/temp", "thermal/thermal_zone3/temp",
		"thermal/thermal_zone4/temp", "thermal/thermal_zone5/type", "thermal/thermal_zone6/temp", "var/lib/nvpmodel/status",
	}
	if d := cmp.Diff(wantPaths, paths); d != "" {
		t.Errorf("problems: %s", d)
	}
}

// On a real file system: a file that may not be read, a dangling link, a link
// in a circle, a huge file, a folder in a file's place.
func TestFilesThatCantBeRead(t *testing.T) {
	dir := t.TempDir()
	zone := func(n int) string {
		d := fmt.Sprintf("%s/sys/class/thermal/thermal_zone%d", dir, n)
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d+"/type", fmt.Appendf(nil, "zone%d\n", n), 0o644); err != nil {
			t.Fatal(err)
		}
		return d + "/temp"
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(zone(0), []byte("41000\n"), 0o644))
	must(os.Symlink("nowhere", zone(1)))
	must(os.Symlink("temp", zone(2)))
	must(os.WriteFile(zone(3), slices.Repeat([]byte("1"), 1<<20), 0o644))
	must(os.Mkdir(zone(4), 0o755))
	must(os.WriteFile(zone(5), []byte("42000\n"), 0o000)) // root may read it all the same
	got := Read(os.DirFS(dir))
	want := []Temperature{{"zone0", 41}}
	if os.Geteuid() == 0 {
		want = append(want, Temperature{"zone5", 42})
	}
	if d := cmp.Diff(want, got.Temperatures); d != "" {
		t.Error(d)
	}
	if n := len(got.Problems); n < 3 || n > 4 {
		t.Errorf("problems: %v", got.Problems)
	}
}

func TestListsEnd(t *testing.T) {
	tree := fstest.MapFS{}
	for n := range 500 {
		dir := fmt.Sprintf("sys/class/thermal/thermal_zone%d/", n)
		tree[dir+"type"] = &fstest.MapFile{Data: []byte("same")}
		tree[dir+"temp"] = &fstest.MapFile{Data: []byte("40000")}
	}
	for n := range 500 {
		tree[fmt.Sprintf("sys/class/hwmon/hwmon%d/name", n)] = &fstest.MapFile{Data: []byte("ina3221")}
		tree[fmt.Sprintf("sys/class/hwmon/hwmon%d/in1_input", n)] = &fstest.MapFile{Data: []byte("x")}
		tree[fmt.Sprintf("sys/class/hwmon/hwmon%d/in2_input", n)] = &fstest.MapFile{Data: []byte("5000")}
	}
	r := Read(tree)
	if len(r.Temperatures) != maxList || len(r.Rails) != maxList || len(r.Problems) != maxList {
		t.Errorf("%d temperatures, %d rails, %d problems", len(r.Temperatures), len(r.Rails), len(r.Problems))
	}
	if name := r.Temperatures[63].Name; name != "same #64" {
		t.Errorf("the last is called %q", name)
	}
}

// Names come from firmware and drivers, and go into messages and pages.
func TestNamesAreClean(t *testing.T) {
	for text, want := range map[string]string{
		"NVIDIA  Orin\x00rest": "NVIDIA Orin", "\xff\xfe": "", "a\x1b[31mb\nc": "a[31mb c", "  x\t": "x", "": "",
		"K\u202eevil": "Kevil", "größe °C": "größe °C", strings.Repeat("ü", 50): strings.Repeat("ü", 40),
	} {
		if got := clean([]byte(text)); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestProcessorShare(t *testing.T) {
	tree := machine(t, "orin-nano")
	r := New(Config{Root: tree})
	stat := func(line string) *float64 {
		tree["proc/stat"] = &fstest.MapFile{Data: []byte(line + "\n")}
		return r.Read().CPU
	}
	for _, c := range []struct {
		line string
		want *float64
	}{
		{"cpu  100 0 100 800 0 0 0 0 0 0", nil},           // the first has nothing before it
		{"cpu  150 0 100 850 0 0 0 0 0 0", to(0.5)},       // 50 busy, 50 idle
		{"cpu  150 0 100 850 0 0 0 0 0 0", nil},           // no tick has passed
		{"cpu  150 0 100 850 100 0 0 0 0 0", to(0.0)},     // waiting for a disk is idle
		{"cpu  150 0 100 850 100 10 20 70 0 0", to(1.0)},  // interrupts, and what a host took
		{"cpu  150 0 100 950 100 10 20 70 99 9", to(0.0)}, // guests are in user already
		{"cpu  10 0 10 95 0 0 0 0", nil},                  // the counters went back
		{"cpu  20 0 10 95 0 0 0 0", to(1.0)},
		{"nothing", nil},
		{"cpu  30 0 10 105 0 0 0 0", nil}, // and begins anew
	} {
		if d := cmp.Diff(c.want, stat(c.line), aboutEqual); d != "" {
			t.Errorf("%s: %s", c.line, d)
		}
	}
}

func TestDisk(t *testing.T) {
	r := New(Config{Root: fstest.MapFS{}, Disk: t.TempDir()}).Read()
	if r.DiskTotal == nil || r.DiskFree == nil || *r.DiskTotal == 0 || *r.DiskFree > *r.DiskTotal {
		t.Errorf("disk: %v %v", r.DiskTotal, r.DiskFree)
	}
	if r := New(Config{Root: fstest.MapFS{}, Disk: t.TempDir() + "/none"}).Read(); r.DiskTotal != nil || len(r.Problems) != 0 {
		t.Errorf("a folder that isn't there: %v %v", r.DiskTotal, r.Problems)
	}
}

// This machine, whatever it is, can be read, and twice.
func TestThisMachine(t *testing.T) {
	r := New(Config{Root: os.DirFS("/"), Disk: "/", NVML: true})
	first, second := r.Read(), r.Read()
	if first.MemoryTotal == nil || second.Load == nil || first.Identity.Kernel == "" || second.Identity != first.Identity {
		t.Errorf("first %+v\nsecond %+v", first, second)
	}
	for _, p := range second.Problems {
		t.Logf("%s: %s", p.Path, p.Why)
	}
}
