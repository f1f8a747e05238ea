package optics

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

// barrel is a usual lens at 1920x1080.
var barrel = &Calibration{Width: 1920, Height: 1080, camera: matrix{1500, 1500, 955, 545}, result: matrix{1500, 1500, 955, 545}, d: [12]float64{-.3, .1, .001, -.0005, -.01}}

// BenchmarkCopy is the bare thing: what any pass over the picture costs at least.
func BenchmarkCopy(b *testing.B) {
	src, dst := noise(1920, 1080, vision.BGR24, 1), make([]byte, 1920*1080*3)
	b.SetBytes(int64(len(dst)))
	for b.Loop() {
		copy(dst, src.Pix)
	}
}

// BenchmarkMap is the first picture of a size.
func BenchmarkMap(b *testing.B) {
	o, err := New(Config{Calibration: barrel})
	if err != nil {
		b.Fatal(err)
	}
	src, dst := noise(1920, 1080, vision.BGR24, 1), &vision.Frame{Pix: make([]byte, 1920*1080*3)}
	for b.Loop() {
		o.known = known{}
		if err := o.Apply(dst, src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	for _, bc := range []struct {
		name string
		cfg  Config
	}{
		{"nothing", Config{}},
		{"mirror=vertical", Config{Mirror: "vertical"}},
		{"mirror=horizontal", Config{Mirror: "horizontal"}},
		{"rotate=180", Config{Rotate: 180}},
		{"rotate=90", Config{Rotate: 90}},
		{"rotate=270", Config{Rotate: 270}},
		{"rotate=90+mirror", Config{Rotate: 90, Mirror: "horizontal"}},
		{"undistort", Config{Calibration: barrel}},
		{"undistort+mirror+rotate=90", Config{Calibration: barrel, Mirror: "horizontal", Rotate: 90}},
		{"undistort+roi=960x540", Config{Calibration: barrel, ROI: [4]int{100, 100, 960, 540}}},
		{"roi=960x540", Config{ROI: [4]int{100, 100, 960, 540}}},
	} {
		for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
			b.Run(fmt.Sprintf("%s/%d", bc.name, 8*format.Channels()), func(b *testing.B) {
				o, err := New(bc.cfg)
				if err != nil {
					b.Fatal(err)
				}
				src, dst := noise(1920, 1080, format, 1), &vision.Frame{Pix: make([]byte, 1920*1080*3)}
				if err := o.Apply(dst, src); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(dst.Pix)))
				b.ReportAllocs()
				for b.Loop() {
					if err := o.Apply(dst, src); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
