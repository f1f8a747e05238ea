//go:build !cgo

package infer

func (f *Filler) resample(data []float32, pix []byte, stride int) {
	f.resampleGo(data, pix, stride)
}
