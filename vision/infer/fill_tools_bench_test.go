package infer

import (
	"fmt"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// BenchmarkFillTools has the interpolations beside OpenCV's linear one, stretched to
// detectors' sizes and cropped to classifiers'.
func BenchmarkFillTools(b *testing.B) {
	for _, c := range []struct {
		w, h, size int
		resize     Resize
		share      float64
	}{{1920, 1080, 224, Crop, 0.875}, {1920, 1080, 640, Stretch, 0}, {640, 480, 224, Crop, 0.875}} {
		for _, how := range []Interpolation{Linear, Area, Bilinear, Bicubic, Nearest} {
			for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
				b.Run(fmt.Sprintf("%dx%d-%s-%d/%s/%d", c.w, c.h, c.resize, c.size, how, 8*format.Channels()), func(b *testing.B) {
					f := NewFiller(Input{Width: c.size, Height: c.size, Colour: RGB, Scale: 1.0 / 255,
						Mean: [3]float64{.485, .456, .406}, Std: [3]float64{.229, .224, .225},
						Resize: c.resize, CropShare: c.share, Interpolation: how})
					blob, frame := f.NewBlob(), noise(c.w, c.h, format, 1)
					if _, err := f.Fill(blob, frame); err != nil {
						b.Fatal(err)
					}
					b.ReportAllocs()
					for b.Loop() {
						if _, err := f.Fill(blob, frame); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
