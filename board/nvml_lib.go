//go:build cgo && nvml

package board

import (
	"fmt"
	"slices"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// needed are the functions that are called in any case, each under any of its
// names. go-nvml binds them when they are first called; calling one that the
// installed library doesn't have would end the program, so each is looked up.
var needed = [][]string{
	{"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"}, {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"},
	{"nvmlDeviceGetName"}, {"nvmlShutdown"}, {"nvmlErrorString"},
}

// maxWatts is more than any card draws.
const maxWatts = 10_000

// driver is the state of the opened library. Only the goroutine that asks
// touches it, and there is never more than one.
type driver struct {
	lib    nvml.Interface
	up     bool
	next   time.Time // of the next try to open it
	why    string    // the last one failed; empty: there is no library
	lookup map[string]bool
}

// askNVML gives what asks libnvidia-ml.so.1, which is opened at its first call.
// Where it isn't installed there are no GPUs and no problems.
func askNVML() func() ([]GPU, []Problem) { return newDriver(nvml.New()).ask }

func newDriver(lib nvml.Interface) *driver { return &driver{lib: lib} }

func (d *driver) ask() ([]GPU, []Problem) {
	if !d.up && !d.open(time.Now()) {
		if d.why == "" {
			return nil, nil
		}
		return nil, []Problem{{"nvml", d.why}}
	}
	count, ret := d.lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		d.shutdown("count the GPUs: " + clean([]byte(ret.Error())))
		return nil, []Problem{{"nvml", d.why}}
	}
	var list []GPU
	var problems []Problem
	for i := range min(count, maxList) {
		dev, ret := d.lib.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS {
			problems = append(problems, Problem{"nvml", fmt.Sprintf("open GPU %d: %s", i, clean([]byte(ret.Error())))})
			continue
		}
		list = append(list, d.gpu(dev))
	}
	if len(list) == 0 && len(problems) > 0 {
		d.shutdown(problems[0].Why)
	}
	return list, problems
}

// open loads and initialises the library, at most once in nvmlRetry.
func (d *driver) open(now time.Time) bool {
	if now.Before(d.next) {
		return false
	}
	d.next = now.Add(nvmlRetry)
	switch ret := d.lib.Init(); ret {
	case nvml.SUCCESS, nvml.ERROR_ALREADY_INITIALIZED:
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		d.why = ""
		return false
	default:
		d.why = "initialise: " + clean([]byte(ret.Error()))
		return false
	}
	d.lookup = map[string]bool{}
	for _, names := range needed {
		if !slices.ContainsFunc(names, d.has) {
			d.why = "the library has no " + names[0]
			return false
		}
	}
	d.up = true
	return true
}

// shutdown is for a library that answers no more: after a driver was unloaded
// or the GPU fell off the bus it must be initialised anew.
func (d *driver) shutdown(why string) {
	d.up, d.why, d.next = false, why, time.Now().Add(nvmlRetry)
	_ = d.lib.Shutdown() // what is wrong is told already
}

func (d *driver) has(name string) bool {
	known, asked := d.lookup[name]
	if !asked {
		known = d.lib.Extensions().LookupSymbol(name) == nil
		d.lookup[name] = known
	}
	return known
}

// gpu asks for each value; what the card doesn't support is absent.
func (d *driver) gpu(dev nvml.Device) GPU {
	g := GPU{Name: "NVIDIA GPU"}
	if name, ret := dev.GetName(); ret == nvml.SUCCESS && name != "" {
		g.Name = clean([]byte(name))
	}
	if d.has("nvmlDeviceGetUtilizationRates") {
		if u, ret := dev.GetUtilizationRates(); ret == nvml.SUCCESS && u.Gpu <= 100 {
			g.Load = ptr(float64(u.Gpu) / 100)
		}
	}
	if d.has("nvmlDeviceGetTemperature") {
		if c, ret := dev.GetTemperature(nvml.TEMPERATURE_GPU); ret == nvml.SUCCESS && c <= hottest/1000 {
			g.Celsius = ptr(float64(c))
		}
	}
	d.memory(dev, &g)
	if d.has("nvmlDeviceGetPowerUsage") {
		if mw, ret := dev.GetPowerUsage(); ret == nvml.SUCCESS && mw <= maxWatts*1000 {
			g.Power = ptr(float64(mw) * milli)
		}
	}
	if d.has("nvmlDeviceGetClockInfo") {
		g.Clock = hertz(dev.GetClockInfo(nvml.CLOCK_SM))
	}
	if d.has("nvmlDeviceGetMaxClockInfo") {
		g.ClockMax = hertz(dev.GetMaxClockInfo(nvml.CLOCK_SM))
	}
	if d.has("nvmlDeviceGetCurrentClocksThrottleReasons") {
		if mask, ret := dev.GetCurrentClocksThrottleReasons(); ret == nvml.SUCCESS {
			g.Throttled = throttled(mask)
		}
	}
	return g
}

// memory asks as nvidia-smi does: the first form of the question counts what
// the driver reserves (0.6 GB on an H200) as used.
func (d *driver) memory(dev nvml.Device, g *GPU) {
	if d.has("nvmlDeviceGetMemoryInfo_v2") {
		if m, ret := dev.GetMemoryInfo_v2(); ret == nvml.SUCCESS && m.Total > 0 && m.Used <= m.Total {
			g.MemoryTotal, g.MemoryUsed = &m.Total, &m.Used
			return
		}
	}
	if d.has("nvmlDeviceGetMemoryInfo") {
		if m, ret := dev.GetMemoryInfo(); ret == nvml.SUCCESS && m.Total > 0 && m.Used <= m.Total {
			g.MemoryTotal, g.MemoryUsed = &m.Total, &m.Used
		}
	}
}

func hertz(mhz uint32, ret nvml.Return) *uint64 {
	if ret != nvml.SUCCESS || mhz == 0 || mhz > maxHertz/1_000_000 {
		return nil
	}
	return ptr(uint64(mhz) * 1_000_000)
}

func ptr[T any](v T) *T { return &v }
