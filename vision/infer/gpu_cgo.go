//go:build cgo

package infer

// #cgo LDFLAGS: -ldl
// #include "gpu.h"
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

// askGPU asks CUDA's driver for its first device. What it opens stays open: the
// provider uses it next, or the process runs without.
func askGPU() gpu {
	var g C.sightline_gpu
	err, why := C.sightline_ask_gpu(&g), C.GoString(&g.why[0])
	switch {
	case err == C.NO_LIBRARY:
		return gpu{err: "NVIDIA's driver isn't there (" + why + ")"}
	case err == C.NO_SYMBOL:
		return gpu{err: "libcuda.so.1 lacks functions of CUDA's driver: install the driver that goes with this GPU"}
	case err == C.NO_DEVICE:
		return gpu{err: "NVIDIA's driver sees no GPU"}
	case err != 0:
		return gpu{err: fmt.Sprintf("NVIDIA's driver says %q (error %d)", why, int(err))}
	}
	return gpu{name: C.GoString(&g.name[0]), capability: fmt.Sprintf("%d.%d", int(g.major), int(g.minor)), driver: driverOf(os.DirFS("/"))}
}

// loadable says why the system's loader can't open a library, "" if it can.
func loadable(name string) string {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	why := C.sightline_loadable(c)
	if why == nil {
		return ""
	}
	defer C.free(unsafe.Pointer(why))
	return C.GoString(why)
}

// inferVersion is what TensorRT's library says of itself, 0 where it says nothing.
func inferVersion(name string) int {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return int(C.sightline_infer_version(c))
}
