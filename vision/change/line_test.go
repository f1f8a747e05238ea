package change_test

import (
	"math"
	"os"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// line is a drawn line on which parts come, stop for a while, and go on; every
// third gets a scratch while it stands.
type line struct {
	sigma   float64 // of the noise
	part    float64 // side, pixels
	add     float64 // contrast of a part
	scratch float64 // side, pixels
	mark    float64 // contrast of a scratch
	speed   float64 // pixels a frame
	stand   int     // frames that the line stands with a part in the middle
	shake   float64 // pixels
	light   float64 // share by which the light swells
	person  bool    // a shadow passes now and then
	format  vision.PixelFormat
}

const lineParts = 6

// film draws the line: one part is in view at a time, and for as long none.
func (l line) film() film {
	d := newDesk()
	d.sigma, d.w, d.h = l.sigma, 320, 160
	if l.format != 0 {
		d.format = l.format
	}
	way := float64(d.w) + l.part // of a part through the picture
	half := int(way / l.speed / 2)
	cycle := 4*half + l.stand // in, stand, out, and as long nothing
	at := func(n int) (x float64, scratched bool) {
		i, n := n/cycle, n%cycle
		moved := min(n, half) + max(0, n-half-l.stand)
		return float64(moved)*l.speed - l.part, i%3 == 1 && n > half+l.stand/2
	}
	jitter := func(n int) (x, y float64) {
		return l.shake * math.Sin(float64(n)*2.1), l.shake * math.Sin(float64(n)*1.3)
	}
	d.light = func(n int) float64 { return 1 + l.light*math.Sin(float64(n)/90) }
	d.paint = func(n int, d *desk) {
		x, scratched := at(n)
		dx, dy := jitter(n)
		d.rect(x+dx, 40+dy, l.part, l.part, grey(l.add))
		if scratched {
			d.rect(x+dx+l.part*0.4, 40+dy+l.part*0.6, l.scratch, l.scratch, grey(l.mark))
		}
		if l.person {
			for i := range 10 {
				d.rect(float64(n%700)*2-500+float64(4*i), 0, 200-float64(8*i), 160, grey(-3))
			}
		}
	}
	return film{rate: 30, next: func(n int) (*vision.Frame, []vision.Detection, bool) {
		if n >= lineParts*cycle+settled {
			return nil, nil, false
		}
		var seen []vision.Detection
		if n >= settled {
			x, scratched := at(n - settled)
			whole := vision.Box{X: float32(x), Y: 40, W: float32(l.part), H: float32(l.part)}
			cut := whole.Intersect(vision.Box{W: float32(d.w), H: float32(d.h)})
			if cut.Area() > 0.3*whole.Area() {
				seen = append(seen, vision.Detection{Label: "part", Score: 0.9, Box: cut})
				if scratched {
					seen = append(seen, vision.Detection{Label: "defect", Score: 0.8,
						Box: vision.Box{X: float32(x + l.part*0.4), Y: float32(40 + l.part*0.6), W: float32(l.scratch), H: float32(l.scratch)}})
				}
			}
		}
		return d.draw(n - settled), seen, true
	}}
}

// Parts that stop, get a scratch while they stand, creep, are tiny, grey on grey
// or shaken, in any light and noise: the parts and verdicts are the same.
func TestLines(t *testing.T) {
	base := line{sigma: 2, part: 50, add: 60, scratch: 3, mark: -40, speed: 4, stand: 60}
	for _, c := range []struct {
		name   string
		change func(l *line)
		always bool // also without SIGHTLINE_FAULTS=full
	}{
		{"plain", func(*line) {}, false},
		{"grey", func(l *line) { l.format = vision.Gray8 }, false},
		{"creeping", func(l *line) { l.speed = 0.7 }, false},
		{"fast", func(l *line) { l.speed = 12 }, true},
		{"heavy noise", func(l *line) { l.sigma, l.mark = 9, -80 }, false},
		{"no noise", func(l *line) { l.sigma = 0 }, false},
		{"grey on grey", func(l *line) { l.add, l.mark = 6, -20 }, true},
		{"tiny", func(l *line) { l.part, l.scratch, l.speed = 10, 2, 2 }, true},
		{"shaken", func(l *line) { l.shake = 0.5 }, true},
		{"light swells", func(l *line) { l.light = 0.2 }, false},
		{"a person's shadow", func(l *line) { l.person = true }, false},
		{"scratch of 2", func(l *line) { l.scratch, l.mark = 2, -60 }, false},
	} {
		l := base
		c.change(&l)
		t.Run(c.name, func(t *testing.T) {
			if !c.always && os.Getenv("SIGHTLINE_FAULTS") != "full" {
				t.Skip("with SIGHTLINE_FAULTS=full")
			}
			t.Parallel()
			s := show(l.film())
			t.Logf("%d frames, %.0f %% skipped, %d of %d empty ones; %d parts, %d with the gate; %+v",
				s.frames, s.share(), s.spared, s.empty, len(s.whole), len(s.gated), s.stats)
			s.same(t, 3)
			bad := 0
			for i := range s.gated {
				if verdict(&s.gated[i]) == vision.Fail {
					bad++
				}
			}
			if len(s.gated) != lineParts || bad != lineParts/3 {
				t.Errorf("%d parts, %d of them bad; drawn were %d and %d", len(s.gated), bad, lineParts, lineParts/3)
			}
		})
	}
}
