//go:build cgo && (media || gocv)

package capture

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "aravis_media.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"unsafe"
)

// told makes an error of a message from C, and frees it.
func told(text *C.char) error {
	if text == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(text))
	return errors.New(C.GoString(text))
}

// loadAravis loads the library once for the process.
var loadAravis = sync.OnceValue(func() error {
	// Names that are no camera's are looked up in DNS, which may be out of reach.
	_ = os.Setenv("RES_OPTIONS", "timeout:1 attempts:1") // can't fail for such names
	if err := told(C.sl_load()); err != nil {
		return fmt.Errorf("industrial cameras need Aravis: install libaravis-0.8-0 (%w)", err)
	}
	return nil
})

// aravisDevice is what Aravis tells of a camera that answered.
type aravisDevice struct {
	id, physical, address, vendor, model, serial, protocol string
}

// lookAravis asks every network and the USB for cameras; that takes a second.
func lookAravis() []aravisDevice {
	C.sl_look()
	all := make([]aravisDevice, int(C.sl_found()))
	for i := range all {
		text := func(what C.int) string { return C.GoString(C.sl_found_text(C.uint(i), what)) }
		all[i] = aravisDevice{text(C.SL_ID), text(C.SL_PHYSICAL), text(C.SL_ADDRESS),
			text(C.SL_VENDOR), text(C.SL_MODEL), text(C.SL_SERIAL), text(C.SL_PROTOCOL)}
	}
	return all
}

// aravisCamera is an open camera. Its settings may be used by one goroutine at
// a time; next, giveBack and underruns by another beside it.
type aravisCamera struct{ c C.sl_camera }

func openAravis(name string) (*aravisCamera, error) {
	a := &aravisCamera{}
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	if err := told(C.sl_open(n, &a.c)); err != nil {
		return nil, err
	}
	return a, nil
}

// halt ends what a process that died has left running.
func (a *aravisCamera) halt() { C.sl_halt(&a.c) }

func (a *aravisCamera) close()             { C.sl_close(&a.c) }
func (a *aravisCamera) gigE() bool         { return a.c.gige != 0 }
func (a *aravisCamera) controls() bool     { return C.sl_controls(&a.c) != 0 }
func (a *aravisCamera) takeControl() error { return told(C.sl_take_control(&a.c)) }

func (a *aravisCamera) has(feature string) bool {
	f := C.CString(feature)
	defer C.free(unsafe.Pointer(f))
	return C.sl_has(&a.c, f) != 0
}

// entries are what a feature of choice offers.
func (a *aravisCamera) entries(feature string) ([]string, error) {
	f := C.CString(feature)
	defer C.free(unsafe.Pointer(f))
	var joined *C.char
	if err := told(C.sl_entries(&a.c, f, &joined)); err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(joined))
	return strings.Fields(C.GoString(joined)), nil
}

func (a *aravisCamera) setText(feature, value string) error {
	f, v := C.CString(feature), C.CString(value)
	defer C.free(unsafe.Pointer(f))
	defer C.free(unsafe.Pointer(v))
	return told(C.sl_set_text(&a.c, f, v))
}

func (a *aravisCamera) integer(feature string) (int64, error) {
	f := C.CString(feature)
	defer C.free(unsafe.Pointer(f))
	var v C.int64_t
	err := told(C.sl_get_integer(&a.c, f, &v))
	return int64(v), err
}

func (a *aravisCamera) setInteger(feature string, value int64) error {
	f := C.CString(feature)
	defer C.free(unsafe.Pointer(f))
	return told(C.sl_set_integer(&a.c, f, C.int64_t(value)))
}

func (a *aravisCamera) integerBounds(feature string) (least, most, step int64, err error) {
	f := C.CString(feature)
	defer C.free(unsafe.Pointer(f))
	var lo, hi, by C.int64_t
	err = told(C.sl_integer_bounds(&a.c, f, &lo, &hi, &by))
	return int64(lo), int64(hi), max(int64(by), 1), err
}

// quantity is a setting whose feature is named in several ways.
type quantity C.int

const (
	rateOf     quantity = C.SL_RATE     // frames a second
	exposureOf quantity = C.SL_EXPOSURE // µs
	gainOf     quantity = C.SL_GAIN     // dB, or what the camera counts it in
)

func (a *aravisCamera) can(q quantity) bool { return C.sl_can(&a.c, C.int(q)) != 0 }

func (a *aravisCamera) bounds(q quantity) (least, most float64, err error) {
	var lo, hi C.double
	err = told(C.sl_bounds(&a.c, C.int(q), &lo, &hi))
	return float64(lo), float64(hi), err
}

func (a *aravisCamera) get(q quantity) (float64, error) {
	var v C.double
	err := told(C.sl_get(&a.c, C.int(q), &v))
	return float64(v), err
}

func (a *aravisCamera) set(q quantity, v float64) error {
	return told(C.sl_set(&a.c, C.int(q), C.double(v)))
}

func (a *aravisCamera) setTrigger(source string) error {
	s := C.CString(source)
	defer C.free(unsafe.Pointer(s))
	return told(C.sl_set_trigger(&a.c, s))
}

func (a *aravisCamera) clearTriggers() { C.sl_clear_triggers(&a.c) }
func (a *aravisCamera) canFire() bool  { return C.sl_can_fire(&a.c) != 0 }
func (a *aravisCamera) fire() error    { return told(C.sl_fire(&a.c)) }

// payload is how many bytes a buffer must have.
func (a *aravisCamera) payload() (int, error) {
	var n C.size_t
	err := told(C.sl_payload(&a.c, &n))
	return int(n), err
}

func (a *aravisCamera) start(payload, buffers int) error {
	return told(C.sl_start(&a.c, C.size_t(payload), C.int(buffers)))
}

// aravisBuffer is a picture as it came, or what there is of it.
type aravisBuffer struct {
	c C.sl_buffer

	complete             bool
	payload              int // kind of the content, 1 for a picture
	id                   uint64
	stamp, arrived       int64 // ns by the camera's clock; ns of CLOCK_REALTIME
	format               uint32
	width, height, extra int    // pixels; bytes at the end of each row
	data                 []byte // the stream's, until giveBack
}

// next waits up to so many µs for a buffer, not at all if it is 0.
func (a *aravisCamera) next(wait uint64) (b aravisBuffer, ok bool) {
	if C.sl_next(&a.c, C.uint64_t(wait), &b.c) == 0 {
		return b, false
	}
	b.complete, b.payload = b.c.status == 0, int(b.c.payload)
	b.id, b.stamp, b.arrived = uint64(b.c.id), int64(b.c.stamp), int64(b.c.arrived)
	b.format, b.width, b.height, b.extra = uint32(b.c.format), int(b.c.width), int(b.c.height), int(b.c.padding)
	if b.c.data != nil {
		b.data = unsafe.Slice((*byte)(b.c.data), int(b.c.size))
	}
	return b, true
}

func (a *aravisCamera) giveBack(b *aravisBuffer) { C.sl_give_back(&a.c, &b.c) }

// underruns is how often no buffer was free; Aravis counts packets here, not frames.
func (a *aravisCamera) underruns() uint64 { return uint64(C.sl_underruns(&a.c)) }

// register reads one of the camera's registers, from any goroutine.
func (a *aravisCamera) register(address uint64) (uint32, error) {
	var v C.uint32_t
	err := told(C.sl_read_register(&a.c, C.uint64_t(address), &v))
	return uint32(v), err
}
