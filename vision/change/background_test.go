package change_test

import (
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/change"
)

// On a belt that was learnt as empty, faint and small parts are followed when
// they come, and the empty belt after them is skipped again.
func TestEmptyThenPart(t *testing.T) {
	for _, c := range []struct {
		name string
		size float64
		add  float64
	}{
		{"part", 60, 40}, {"faint part", 60, 8}, {"small part", 12, 25},
	} {
		d := newDesk()
		d.belt = 6
		at := func(n int) float64 { return 6*float64(n-300) - c.size }
		d.paint = func(n int, d *desk) {
			d.rect(at(n), 90, c.size, c.size, grey(c.add))
		}
		g := change.New(change.Config{})
		skipped, missed, last := 0, 0, 0
		for n := range 420 {
			things := 0
			if x := at(n); x > -c.size*0.7 && x < float64(d.w)-c.size*0.3 {
				things = 1
			}
			if g.Pass(d.draw(n), time.Duration(n)*time.Second/30) {
				g.Seen(uint64(n+1), things)
				last = n
			} else if things > 0 && n-last > 2 {
				missed++
			} else if n > 150 {
				skipped++
			}
		}
		if missed > 0 {
			t.Errorf("%s: in %d frames it was more than 12 pixels from where it was last inspected", c.name, missed)
		}
		if skipped < 100 {
			t.Errorf("%s: only %d frames of the empty belt were skipped", c.name, skipped)
		}
	}
}

// emptyBelt is a belt that moves, which the gate knows as empty, and the number of
// the next frame.
func emptyBelt(t *testing.T, format vision.PixelFormat, rough float64) (*desk, *change.Gate, int) {
	t.Helper()
	d := newDesk()
	d.format, d.belt, d.rough = format, 6, rough
	g := change.New(change.Config{Refresh: time.Hour})
	for n := range 150 {
		if g.Pass(d.draw(n), time.Duration(n)*frame) {
			g.Seen(uint64(n+1), 0)
		}
	}
	for n := 150; n < 200; n++ {
		if g.Pass(d.draw(n), time.Duration(n)*frame) {
			g.Seen(uint64(n+1), 0)
			continue
		}
		return d, g, n + 1
	}
	t.Fatalf("an empty belt isn't skipped: %+v", g.Stats())
	return nil, nil, 0
}

// Whatever lies on an empty belt passes in the frame that shows it first.
func TestOnEmptyBelt(t *testing.T) {
	for _, c := range []struct {
		name  string
		rough float64 // of the belt
		paint func(d *desk)
	}{
		{"small", 1.6, func(d *desk) { d.rect(150, 101, 6, 6, grey(35)) }},
		{"soft, as large as a tile", 0.3, func(d *desk) { d.soft(168, 104, 8, 4.5) }},
		{"soft, as large as an area", 1.6, func(d *desk) { d.soft(160, 96, 45, 3) }},
		{"grey on grey", 1.6, func(d *desk) { d.rect(120, 80, 60, 60, grey(8)) }},
		{"of another colour", 1.6, func(d *desk) { d.rect(120, 80, 40, 40, [3]float64{45, -10, 0}) }},
	} {
		for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
			d, g, n := emptyBelt(t, format, c.rough)
			d.paint = func(_ int, d *desk) { c.paint(d) }
			if !g.Pass(d.draw(n), time.Duration(n)*frame) {
				t.Errorf("%s, format %d: it was taken for the empty belt", c.name, format)
			}
		}
	}
}

// A belt that differs too much in itself is always looked at, however long
// nothing was seen on it.
func TestWildBelt(t *testing.T) {
	d := newDesk()
	d.belt, d.rough = 6, 6
	g := change.New(change.Config{})
	for n := range 200 {
		if !g.Pass(d.draw(n), time.Duration(n)*frame) {
			t.Fatalf("frame %d of a wild belt was skipped", n)
		}
		g.Seen(uint64(n+1), 0)
	}
}

// As long as it isn't known what was seen in a frame that differed from the empty
// belt, the next one isn't skipped as empty: it would be given that frame's parts.
func TestResultIsAwaited(t *testing.T) {
	d, g, n := emptyBelt(t, vision.BGR24, 1.6)
	part := true
	d.paint = func(_ int, d *desk) {
		if part {
			d.rect(100, 80, 50, 50, grey(60))
		}
	}
	if !g.Pass(d.draw(n), time.Duration(n)*frame) {
		t.Fatal("a part was taken for the empty belt")
	}
	part = false
	if !g.Pass(d.draw(n+1), time.Duration(n+1)*frame) {
		t.Error("the part's frame has no result yet, and the next was skipped as empty")
	}
	g.Seen(uint64(n+1), 1)
	if !g.Pass(d.draw(n+2), time.Duration(n+2)*frame) {
		t.Error("a frame after one with a part was skipped as empty")
	}
	g.Seen(uint64(n+2), 0)
	g.Seen(uint64(n+3), 0)
	if g.Pass(d.draw(n+3), time.Duration(n+3)*frame) {
		t.Error("the belt is empty again, and the frame passed")
	}
}

// Light that swells by a tenth doesn't make an empty belt another one.
func TestEmptyInOtherLight(t *testing.T) {
	d, g, n := emptyBelt(t, vision.BGR24, 1.6)
	gain := 1.0
	d.light = func(int) float64 { return gain }
	passed := 0
	for ; gain < 1.1; gain += 0.002 {
		if g.Pass(d.draw(n), time.Duration(n)*frame) {
			g.Seen(uint64(n+1), 0)
			passed++
		}
		n++
	}
	if passed > 15 {
		t.Errorf("%d of 50 frames passed", passed)
	}
	gain = 0.3 // the lamp failed
	if !g.Pass(d.draw(n), time.Duration(n)*frame) {
		t.Error("a dark picture was skipped")
	}
}
