//go:build !cgo

package infer

func (f *Filler) resample(data []float32, pix []byte, stride int) {
	f.resampleGo(data, pix, stride)
}

func (k *filter) along3(dst, src []byte) { k.along3Go(dst, src) }

func (k *filter) blend(dst []byte, first int, weights []int32) { k.blendGo(dst, first, weights) }
