//go:build cgo

package infer

// #cgo CFLAGS: -O3
// #include "fill.h"
import "C"

import "unsafe"

// resample runs the C kernel; it is three times as fast as the plain form.
func (f *Filler) resample(data []float32, pix []byte, stride int) {
	g := &f.geo
	C.sightline_fill(
		(*C.uint8_t)(unsafe.Pointer(&pix[0])), C.size_t(stride),
		(*C.int32_t)(unsafe.Pointer(&g.cols.offset[0])), (*C.int16_t)(unsafe.Pointer(&g.cols.weight[0])),
		(*C.int32_t)(unsafe.Pointer(&g.ys.offset[0])), (*C.int16_t)(unsafe.Pointer(&g.ys.weight[0])),
		C.int(g.at.w), C.int(g.at.h), C.int(g.safe), C.int(g.whole),
		(*C.int16_t)(unsafe.Pointer(&f.rows[0])),
		f.planeC(data, 0), f.planeC(data, 1), f.planeC(data, 2), C.size_t(f.in.Width),
		f.tableC(0), f.tableC(1), f.tableC(2), C.float(f.hi), C.float(f.lo))
}

func (f *Filler) planeC(data []float32, c int) *C.float {
	return (*C.float)(unsafe.Pointer(&f.plane(data, c)[0]))
}

func (f *Filler) tableC(c int) *C.float { return (*C.float)(unsafe.Pointer(&f.table(c)[0])) }

func (k *filter) along3(dst, src []byte) {
	t := &k.across
	C.sightline_along(
		(*C.uint8_t)(unsafe.Pointer(&dst[0])), (*C.uint8_t)(unsafe.Pointer(&src[0])), C.int(len(src)), C.int(len(t.first)),
		(*C.int32_t)(unsafe.Pointer(&t.first[0])), (*C.int32_t)(unsafe.Pointer(&t.start[0])), (*C.int32_t)(unsafe.Pointer(&t.weight[0])),
		(*C.int32_t)(unsafe.Pointer(&k.pair[0])), (*C.int16_t)(unsafe.Pointer(&k.split[0])))
}

func (k *filter) blend(dst []byte, first int, weights []int32) {
	C.sightline_blend(
		(*C.uint8_t)(unsafe.Pointer(&dst[0])), (*C.uint8_t)(unsafe.Pointer(&k.ring[0])), C.int(k.depth), C.int(first),
		(*C.int32_t)(unsafe.Pointer(&weights[0])), C.int(len(weights)), C.int(len(dst)))
}
