package board

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// Whatever a file of the kernel holds, reading it neither fails nor gives a
// value that can't be.
func FuzzTexts(f *testing.F) {
	for _, name := range []string{"orin-nano", "agx-orin", "xavier-nx", "pc", "vm", "garbage"} {
		for _, file := range machine(f, name) {
			f.Add(file.Data)
		}
	}
	paths := []string{"etc/nvpmodel.conf", "sys/class/devfreq/17000000.gpu/device/of_node/compatible"}
	good := machine(f, "orin-nano")
	for name := range good {
		paths = append(paths, name)
	}
	for _, name := range []string{"sys_vendor", "product_name", "board_serial"} {
		paths = append(paths, "sys/class/dmi/id/"+name)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		tree := fstest.MapFS{}
		for _, p := range paths {
			tree[p] = &fstest.MapFile{Data: text}
		}
		r := New(Config{Root: tree})
		r.Read()
		sane(t, r.Read())
		for _, p := range paths { // each alone among good ones
			if !strings.Contains(p, "stat") && len(text) > 200 {
				continue
			}
			tree := maps.Clone(good)
			tree[p] = &fstest.MapFile{Data: text}
			sane(t, Read(tree))
		}
	})
}

func sane(t *testing.T, r Reading) {
	t.Helper()
	in := func(what string, v *float64, low, high float64) {
		if v != nil && (!finite(*v) || *v < low || *v > high) {
			t.Errorf("%s is %v", what, *v)
		}
	}
	names := []string{
		r.Identity.Model, r.Identity.Serial, r.Identity.OS, r.Identity.Kernel, r.Identity.Hostname,
		r.Identity.L4T, r.Identity.JetPack, r.PowerMode,
	}
	for _, c := range r.Temperatures {
		in(c.Name, &c.Celsius, -55, 150)
		names = append(names, c.Name)
	}
	for _, g := range r.GPUs {
		in("load", g.Load, 0, 1)
		in("temperature", g.Celsius, -55, 150)
		names = append(names, g.Name)
	}
	for _, l := range r.Rails {
		in("voltage", l.Volts, 0, 60)
		in("current", l.Amps, -1, 100)
		in("power", l.Watts, -60, 6000)
		names = append(names, l.Name)
	}
	for _, fan := range r.Fans {
		in("drive", fan.Drive, 0, 1)
		names = append(names, fan.Name)
	}
	in("processor", r.CPU, 0, 1)
	in("load", r.Load, 0, maxLoad)
	in("power", r.Power, 0, 6000)
	if r.MemoryTotal != nil && (*r.MemoryTotal == 0 || r.MemoryAvailable != nil && *r.MemoryAvailable > *r.MemoryTotal) {
		t.Errorf("memory %v %v", *r.MemoryTotal, r.MemoryAvailable)
	}
	for _, n := range names {
		if !utf8.ValidString(n) || strings.ContainsAny(n, "\x00\n\x1b") || len(n) > 300 {
			t.Errorf("a name is %q", n)
		}
	}
}
