package infer

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// noise is a frame of seeded random pixels.
func noise(w, h int, format vision.PixelFormat, seed uint64) *vision.Frame {
	stride := w * format.Channels()
	f := &vision.Frame{Pix: make([]byte, stride*h), Width: w, Height: h, Stride: stride, Format: format}
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range f.Pix {
		f.Pix[i] = byte(r.Uint32())
	}
	return f
}

func BenchmarkFill(b *testing.B) {
	for _, g := range [][3]int{{1920, 1080, 640}, {1920, 1080, 416}, {640, 360, 416}, {1130, 460, 256}, {1280, 720, 640}, {640, 640, 640}} {
		for _, plain := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dx%d-%d/plain=%v", g[0], g[1], g[2], plain), func(b *testing.B) {
				in := YOLOv8.defaults().Input
				in.Width, in.Height = g[2], g[2]
				f := NewFiller(in)
				blob, frame := f.NewBlob(), noise(g[0], g[1], vision.BGR24, 1)
				b.SetBytes(int64(len(frame.Pix)))
				b.ReportAllocs()
				if _, err := f.Fill(blob, frame); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if plain {
						f.resampleGo(blob.Data, frame.Pix, frame.Stride)
					} else if _, err := f.Fill(blob, frame); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
