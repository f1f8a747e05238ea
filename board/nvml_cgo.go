//go:build cgo

package board

import (
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// needed are the functions that are called in any case. Calling one that the
// installed library doesn't have would end the program, so each is looked up.
var needed = []string{"nvmlDeviceGetName"}

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
func askNVML() func() ([]GPU, []Problem) {
	d := &driver{lib: nvml.New()}
	return d.ask
}

func (d *driver) ask() ([]GPU, []Problem) {
	if !d.up && !d.open() {
		if d.why == "" {
			return nil, nil
		}
		return nil, []Problem{{"nvml", d.why}}
	}
	count, ret := d.lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return nil, d.lost("count GPUs", ret)
	}
	var list []GPU
	for i := range min(count, maxList) {
		dev, ret := d.lib.DeviceGetHandleByIndex(i)
		switch ret {
		case nvml.SUCCESS:
			list = append(list, d.gpu(dev))
		case nvml.ERROR_NO_PERMISSION, nvml.ERROR_INSUFFICIENT_POWER, nvml.ERROR_IRQ_ISSUE:
			return list, []Problem{{"nvml", "open a GPU: " + ret.Error()}}
		default:
			return list, d.lost("open a GPU", ret)
		}
	}
	return list, nil
}

// open loads and initialises the library, at most once in nvmlRetry.
func (d *driver) open() bool {
	now := time.Now()
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
		d.why = "initialise: " + ret.Error()
		return false
	}
	d.lookup = map[string]bool{}
	for _, name := range needed {
		if !d.has(name) {
			d.why = "the library has no " + name
			return false
		}
	}
	d.up = true
	return true
}

// lost closes the library: after a driver was unloaded or a GPU fell off the
// bus it must be opened anew.
func (d *driver) lost(what string, ret nvml.Return) []Problem {
	d.why = what + ": " + ret.Error()
	d.up, d.next = false, time.Now().Add(nvmlRetry)
	_ = d.lib.Shutdown() // what is wrong is told already
	return []Problem{{"nvml", d.why}}
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
	if d.has("nvmlDeviceGetMemoryInfo") {
		if m, ret := dev.GetMemoryInfo(); ret == nvml.SUCCESS && m.Total > 0 && m.Used <= m.Total {
			g.MemoryTotal, g.MemoryUsed = &m.Total, &m.Used
		}
	}
	if d.has("nvmlDeviceGetPowerUsage") {
		if mw, ret := dev.GetPowerUsage(); ret == nvml.SUCCESS && mw < 10_000_000 {
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

func hertz(mhz uint32, ret nvml.Return) *uint64 {
	if ret != nvml.SUCCESS || mhz == 0 {
		return nil
	}
	return ptr(uint64(mhz) * 1_000_000)
}

func ptr[T any](v T) *T { return &v }
