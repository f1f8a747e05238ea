package board

import (
	"bytes"
	"slices"
	"strings"
)

const (
	devfreqClass = "sys/class/devfreq"
	fullLoad     = 1000              // of a Jetson's GPU, in thousandths
	maxHertz     = 1_000_000_000_000 // no clock runs faster
)

// Names of a Jetson's integrated GPU behind the dot of its device, as
// 17000000.ga10b: Orin is ga10b, Xavier gv11b; newer kernels say gpu.
var tegraGPUs = []string{"gpu", "ga10b", "gv11b", "gp10b", "gm20b"}

// Where a Jetson's load is, if the device has no devfreq entry.
var tegraLoads = []string{
	"sys/devices/gpu.0/load",
	"sys/devices/platform/gpu.0/load",
	"sys/devices/platform/bus@0/17000000.gpu/load",
	"sys/devices/platform/17000000.gpu/load",
}

// tegra are a Jetson's integrated GPUs, by sysfs: load in thousandths beside
// the device, clocks in Hz of its devfreq entry (the kernel's Documentation/
// ABI/testing/sysfs-class-devfreq), temperature of the thermal zone.
func (t *tree) tegra(zones []Temperature) []GPU {
	var list []GPU
	names := t.names(devfreqClass)
	slices.Sort(names)
	for _, device := range names {
		_, kind, dotted := strings.Cut(device, ".")
		if !dotted || !slices.Contains(tegraGPUs, kind) || len(list) == maxList {
			continue
		}
		dir := devfreqClass + "/" + device
		list = append(list, GPU{
			Name: t.chipName(dir+"/device/of_node/compatible", kind), Integrated: true,
			Load:     t.scaled(dir+"/device/load", 0, fullLoad, 1.0/fullLoad),
			Clock:    t.unsigned(dir+"/cur_freq", maxHertz),
			ClockMax: t.unsigned(dir+"/max_freq", maxHertz),
		})
	}
	for _, name := range tegraLoads {
		if len(list) > 0 && list[0].Load != nil {
			break
		}
		load := t.scaled(name, 0, fullLoad, 1.0/fullLoad)
		switch {
		case load == nil:
		case len(list) > 0:
			list[0].Load = load
		default:
			list = append(list, GPU{Name: "gpu", Integrated: true, Load: load})
		}
	}
	if len(list) == 1 {
		list[0].Celsius = zoneOf(zones, "GPU-therm", "gpu-thermal")
	}
	return list
}

// chipName is the first of a device tree's compatible names, without its
// maker, or kind.
func (t *tree) chipName(compatible, kind string) string {
	b, ok := t.file(compatible)
	if !ok {
		return kind
	}
	_, name, _ := bytes.Cut(b, []byte(","))
	if s := clean(name); s != "" {
		return s
	}
	return kind
}

func zoneOf(zones []Temperature, names ...string) *float64 {
	for _, z := range zones {
		if slices.Contains(names, z.Name) {
			return &z.Celsius
		}
	}
	return nil
}

// join puts what sysfs and NVML tell of GPUs together. On a Jetson NVML knows
// the integrated one too and calls it (nvgpu), but answers hardly anything.
func join(tegra, asked []GPU) []GPU {
	list := slices.Clone(tegra)
	for _, g := range asked {
		if len(tegra) != 1 || !strings.HasSuffix(g.Name, "(nvgpu)") {
			list = append(list, g)
			continue
		}
		fill(&list[0], g)
	}
	return list
}

// fill takes from NVML what sysfs didn't tell.
func fill(to *GPU, from GPU) {
	to.Name = from.Name
	set(&to.Load, from.Load)
	set(&to.Celsius, from.Celsius)
	set(&to.Power, from.Power)
	set(&to.Clock, from.Clock)
	set(&to.ClockMax, from.ClockMax)
	to.Throttled = from.Throttled
}

func set[T any](to **T, from *T) {
	if *to == nil {
		*to = from
	}
}
