package paint

import (
	"image"
	"math"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

func TestDetectionsAreDrawnWhereTheyAre(t *testing.T) {
	f := &vision.Frame{Pix: make([]byte, 200*100*3), Width: 200, Height: 100, Stride: 600, Format: vision.BGR24}
	mask := &vision.Mask{X: 120, Y: 50, W: 20, H: 20, Runs: []uint32{0, 400}}
	for name, c := range map[string]struct {
		d        vision.Detection
		on, free image.Point
	}{
		"box":     {vision.Detection{Label: "a", Box: vision.Box{X: 20, Y: 40, W: 60, H: 30}}, image.Pt(20, 50), image.Pt(50, 55)},
		"turned":  {vision.Detection{Label: "a", Box: vision.Box{X: 40, Y: 30, W: 40, H: 40}, Oriented: &vision.OrientedBox{X: 60, Y: 50, W: 28, H: 28, Angle: math.Pi / 4}}, image.Pt(60, 30), image.Pt(42, 32)},
		"region":  {vision.Detection{Label: "a", Box: vision.Box{X: 120, Y: 50, W: 20, H: 20}, Mask: mask}, image.Pt(120, 60), image.Pt(130, 60)},
		"outside": {vision.Detection{Label: "Ä×\n", Box: vision.Box{X: -50, Y: -50, W: 1e6, H: 60}}, image.Pt(100, 10), image.Pt(100, 60)},
	} {
		t.Run(name, func(t *testing.T) {
			canvas := Frame(f, 100) // half the size
			canvas.Detections([]vision.Detection{c.d})
			painted := func(p image.Point) bool {
				for dy := -1; dy <= 1; dy++ {
					for dx := -1; dx <= 1; dx++ {
						if px := canvas.Image.RGBAAt(p.X/2+dx, p.Y/2+dy); px.R > 60 {
							return true
						}
					}
				}
				return false
			}
			if !painted(c.on) || painted(c.free) {
				t.Errorf("drawn at %v: %v, at %v: %v", c.on, painted(c.on), c.free, painted(c.free))
			}
		})
	}
}

func TestGrayFrames(t *testing.T) {
	f := &vision.Frame{Pix: []byte{10, 200}, Width: 2, Height: 1, Stride: 2, Format: vision.Gray8}
	if px := Frame(f, 100).Image.RGBAAt(1, 0); px.R != 200 || px.G != 200 || px.B != 200 {
		t.Errorf("pixel is %v", px)
	}
}
