//go:build cgo

package board

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "nvml.h"
import "C"

import (
	"fmt"
	"strings"
	"time"
	"unsafe"
)

// nvmlFile is where the loader finds NVIDIA's library, if it is installed.
const nvmlFile = "libnvidia-ml.so.1"

// maxWatts is more than any card draws.
const maxWatts = 10_000

// driver is the state of the library. Only the goroutine that asks touches
// it, and there is never more than one.
type driver struct {
	file string
	lib  *C.nvml_library // nil until it was loaded; stays for good
	up   bool            // initialised
	next time.Time       // of the next try
	why  string          // the last one failed; empty: there is no library
}

// askNVML gives what asks the library, which is loaded at the first call.
// Where it isn't installed there are no GPUs and no problems.
func askNVML() func() ([]GPU, []Problem) { return (&driver{file: nvmlFile}).ask }

func (d *driver) ask() ([]GPU, []Problem) {
	if !d.up && !d.open(time.Now()) {
		if d.why == "" {
			return nil, nil
		}
		return nil, []Problem{{"nvml", d.why}}
	}
	var count C.uint
	if code := C.nvml_count(d.lib, &count); code != C.NVML_SUCCESS {
		d.shutdown("count the GPUs: " + d.text(code))
		return nil, []Problem{{"nvml", d.why}}
	}
	var list []GPU
	var problems []Problem
	for i := range min(count, maxList) {
		var g C.nvml_gpu
		if code := C.nvml_read(d.lib, i, &g); code != C.NVML_SUCCESS {
			problems = append(problems, Problem{"nvml", fmt.Sprintf("open GPU %d: %s", i, d.text(code))})
			continue
		}
		list = append(list, d.gpu(&g))
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
	if d.lib == nil {
		file := C.CString(d.file)
		defer C.free(unsafe.Pointer(file))
		var why *C.char
		if d.lib = C.nvml_open(file, &why); d.lib == nil {
			if d.why = C.GoString(why); strings.Contains(d.why, "cannot open shared object file") {
				d.why = "" // it isn't installed
			}
			return false
		}
	}
	code := C.nvml_init(d.lib)
	d.up = code == C.NVML_SUCCESS || code == C.NVML_ALREADY_INITIALIZED
	if !d.up {
		d.why = "initialise: " + d.text(code)
	}
	return d.up
}

// shutdown is for a library that answers no more: after a driver was unloaded
// or the GPU fell off the bus it must be initialised anew.
func (d *driver) shutdown(why string) {
	d.up, d.why, d.next = false, why, time.Now().Add(nvmlRetry)
	C.nvml_shutdown(d.lib)
}

func (d *driver) text(code C.int) string {
	if s := C.nvml_text(d.lib, code); s != nil {
		return clean([]byte(C.GoString(s)))
	}
	return fmt.Sprintf("error %d", code)
}

// gpu is what was answered and can be believed.
func (d *driver) gpu(g *C.nvml_gpu) GPU {
	out := GPU{Name: clean([]byte(C.GoString(&g.name[0])))}
	if out.Name == "" {
		out.Name = "NVIDIA GPU"
	}
	if g.has&C.NVML_HAS_LOAD != 0 && g.load <= 100 {
		out.Load = ptr(float64(g.load) / 100)
	}
	if g.has&C.NVML_HAS_TEMPERATURE != 0 && g.celsius <= hottest/1000 {
		out.Celsius = ptr(float64(g.celsius))
	}
	if g.has&C.NVML_HAS_MEMORY != 0 && g.memory_total > 0 && g.memory_used <= g.memory_total {
		out.MemoryTotal, out.MemoryUsed = ptr(uint64(g.memory_total)), ptr(uint64(g.memory_used))
	}
	if g.has&C.NVML_HAS_POWER != 0 && g.milliwatts <= maxWatts*1000 {
		out.Power = ptr(float64(g.milliwatts) * milli)
	}
	if g.has&C.NVML_HAS_CLOCK != 0 {
		out.Clock = megahertz(g.mhz)
	}
	if g.has&C.NVML_HAS_CLOCK_MAX != 0 {
		out.ClockMax = megahertz(g.max_mhz)
	}
	if g.has&C.NVML_HAS_THROTTLE != 0 {
		out.Throttled = throttled(uint64(g.throttle))
	}
	return out
}

func megahertz(v C.uint) *uint64 {
	if v == 0 || v > maxHertz/1_000_000 {
		return nil
	}
	return ptr(uint64(v) * 1_000_000)
}

func ptr[T any](v T) *T { return &v }
