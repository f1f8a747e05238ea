package change_test

import (
	"math"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/change"
)

const settled = 60 // frames of a desk, after which the gate knows its noise

// watch shows a desk to a gate for that many frames and tells which passed.
func watch(d *desk, frames int) (passed []bool, g *change.Gate) {
	g = change.New(change.Config{Refresh: time.Hour})
	for n := range frames {
		passed = append(passed, g.Pass(d.draw(n), time.Duration(n)*time.Second/30))
	}
	return passed, g
}

func count(passed []bool) (n int) {
	for _, p := range passed {
		if p {
			n++
		}
	}
	return n
}

// A still picture is skipped although it is noisy, in colour and in grey; not
// where the noise is such that nobody can tell.
func TestStillIsSkipped(t *testing.T) {
	for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
		for _, sigma := range []float64{0, 0.5, 2, 5, 10} {
			d := newDesk()
			d.format, d.sigma = format, sigma
			passed, _ := watch(d, 260)
			n := count(passed[settled:])
			if wild := sigma > 5 && format == vision.Gray8; wild != (n == len(passed)-settled) || !wild && n > 10 {
				t.Errorf("format %d, noise %v: %d of %d still frames passed", format, sigma, n, len(passed)-settled)
			}
		}
	}
}

// Whatever appears on a standing part passes in the very frame that shows it.
func TestWhatAppearsPasses(t *testing.T) {
	for _, c := range []struct {
		name  string
		sigma float64
		x, y  float64 // of the thing's corner, between the sampled rows too
		w, h  float64
		add   [3]float64
	}{
		{"scratch of 3×3", 2, 150, 101, 3, 3, grey(-30)},
		{"scratch of 3×3 between two cells", 2, 150.5, 102.5, 3, 3, grey(-30)},
		{"scratch of 4×2", 2, 149, 103, 4, 2, grey(30)},
		{"scratch of 2×2", 2, 151, 101, 2, 2, grey(50)},
		{"scratch of 2×2 across two cells", 2, 151, 100, 2, 2, grey(80)},
		{"hair of 1×30", 2, 151, 90, 1, 30, grey(-30)},
		{"hair of 30×2", 2, 141, 101, 30, 2, grey(12)},
		{"tiny part", 2, 152, 100, 6, 6, grey(15)},
		{"grey on grey", 2, 140, 90, 40, 40, grey(3)},
		{"grey on grey, large", 2, 100, 60, 140, 120, grey(2)},
		{"faint over noise", 10, 140, 90, 40, 40, grey(12)},
		{"part of 12 in heavy noise", 10, 140, 90, 12, 12, grey(40)},
		{"without noise", 0, 140, 90, 3, 3, grey(20)},
		{"red for green", 2, 150, 100, 8, 8, [3]float64{0, -30, 40}}, // as bright as before
		{"blue for red", 2, 150, 100, 12, 12, [3]float64{60, 0, -20}},
		{"at the corner", 2, 316, 236, 4, 4, grey(40)},
		{"at the lower border", 2, 100, 238, 6, 2, grey(40)},
	} {
		d := newDesk()
		d.sigma = c.sigma
		d.paint = func(n int, d *desk) {
			d.rect(120, 70, 90, 90, grey(60)) // a part
			if n == settled+30 {
				d.rect(c.x, c.y, c.w, c.h, c.add)
			}
		}
		passed, _ := watch(d, settled+31)
		if !passed[settled+30] {
			t.Errorf("%s: it was not seen", c.name)
		}
		if n := count(passed[settled : settled+30]); n > 2 {
			t.Errorf("%s: %d of 30 frames before it passed", c.name, n)
		}
	}
}

// What has no edges passes by how bright it is, far below the noise of a pixel.
func TestSoftThings(t *testing.T) {
	for _, c := range []struct {
		name               string
		sigma, radius, add float64
		passes             bool
	}{
		{"as large as a tile", 0.5, 7, 3, true},
		{"as large as an area", 0.5, 40, 1.4, true},
		{"everywhere", 0.5, 1e6, 7, true},
		{"everywhere, and little", 0.5, 1e6, 4, false},
	} {
		for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
			d := newDesk()
			d.sigma, d.format = c.sigma, format
			d.paint = func(n int, d *desk) {
				if n == settled+10 {
					d.soft(168, 104, c.radius, c.add)
				}
			}
			passed, _ := watch(d, settled+11)
			if passed[settled+10] != c.passes {
				t.Errorf("%s, format %d: passed is %v", c.name, format, passed[settled+10])
			}
		}
	}
}

// A thing that creeps is seen before it is two pixels from where it was last.
func TestSlowMotion(t *testing.T) {
	for _, c := range []struct {
		name        string
		size, speed float64 // pixels; pixels a frame
		add         float64
		most        float64 // pixels
	}{
		{"part", 60, 0.2, 60, 1},
		{"part, very slow", 60, 0.02, 60, 1},
		{"faint part", 60, 0.2, 12, 2},
		{"small mark", 4, 0.2, 60, 1},
		{"part that goes on after a stop", 60, 0.5, 60, 1},
	} {
		d := newDesk()
		place := func(n int) float64 { return 60 + c.speed*float64(max(n-settled, 0)) }
		d.paint = func(n int, d *desk) { d.rect(place(n), 90, c.size, c.size, grey(c.add)) }
		passed, _ := watch(d, settled+200)
		last := 0.0
		for n, p := range passed {
			if p {
				last = place(n)
			}
			if off := place(n) - last; off > c.most+c.speed {
				t.Errorf("%s: in frame %d it is %.1f pixels from where it was last inspected", c.name, n, off)
				break
			}
		}
	}
}

// A slow pan over a still scene never goes further than a pixel or two unseen.
func TestPan(t *testing.T) {
	for _, speed := range []float64{0.05, 0.2, 1, 4} {
		d := newDesk()
		d.sigma = 3
		d.paint = func(n int, d *desk) {
			for i := range 8 {
				x := float64(i*97) - speed*float64(n)
				d.rect(math.Mod(x+4000, 500)-90, float64(20+i*25), 30, 18, grey(40))
			}
		}
		passed, _ := watch(d, settled+220)
		last := 0
		for n, p := range passed {
			if p {
				last = n
			}
			if off := speed * float64(n-last); off > 1.5 {
				t.Errorf("%v pixels a frame: frame %d is %.1f pixels from the last inspected one", speed, n, off)
				break
			}
		}
	}
}

// Light that changes slowly is followed: no frame is further from the last
// inspected one than what a soft change may be.
func TestLight(t *testing.T) {
	d := newDesk()
	d.format = vision.Gray8
	d.light = func(n int) float64 { return 1 + 0.3*math.Sin(float64(n)/60) }
	passed, _ := watch(d, settled+400)
	last := 1.0
	for n, p := range passed {
		if p {
			last = d.light(n)
		}
		if off := 105 * math.Abs(d.light(n)-last); off > 6.5 {
			t.Errorf("frame %d is %.1f levels from the last inspected one", n, off)
			break
		}
	}
	if n := count(passed[settled:]); n > 200 {
		t.Errorf("%d of 400 frames passed for a slow change of light", n)
	}
}

// A person's shadow glides over the table: it is looked at every few frames.
func TestShadow(t *testing.T) {
	d := newDesk()
	place := func(n int) float64 { return 2*float64(max(n-settled, 0)) - 120 }
	d.paint = func(n int, d *desk) {
		for i := range 10 { // a soft border
			d.rect(place(n)+float64(6*i), 0, 160-float64(12*i), 240, grey(-4))
		}
	}
	passed, _ := watch(d, settled+240)
	gap, last := 0, 0
	for n, p := range passed[settled:] {
		if p {
			last = n
		}
		if x := place(settled + n); x > -100 && x < 260 {
			gap = max(gap, n-last)
		}
	}
	if gap > 8 {
		t.Errorf("%d frames in a row were skipped while the shadow moved", gap)
	}
}

// What always moves in a corner isn't taken for noise: when it stands, something
// faint elsewhere is seen at once.
func TestMotionIsNoNoise(t *testing.T) {
	d := newDesk()
	d.sigma = 0.5
	stop := 4 * settled
	d.paint = func(n int, d *desk) {
		d.rect(float64(min(n, stop)*7%60), 10, 20, 20, grey(50))
		if n == stop+3 {
			d.rect(200, 120, 20, 20, grey(3.5))
		}
	}
	passed, _ := watch(d, stop+4)
	if n := count(passed[:stop]); n != stop {
		t.Errorf("%d of %d frames with motion were skipped", stop-n, stop)
	}
	if passed[stop+2] || !passed[stop+3] {
		t.Errorf("after the motion a still frame passed is %v, and one with something faint %v", passed[stop+2], passed[stop+3])
	}
}
