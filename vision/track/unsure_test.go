package track

import (
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// TestPartsBetweenSkippedPicturesAreNoticed: what is in view for too few inspected
// frames makes no part, but isn't passed over in silence.
func TestPartsBetweenSkippedPicturesAreNoticed(t *testing.T) {
	oneOf := func(n int) func(int) bool { return func(frame int) bool { return frame%n != 0 } }
	for name, c := range map[string]struct {
		belt        belt
		least, most uint64
	}{
		"every frame":                  {belt{parts: 20, spacing: 1.5, speed: 800, rate: 30, noise: 2}, 0, 0},
		"one of three, enough":         {belt{parts: 20, spacing: 1.5, speed: 800, rate: 30, noise: 2, drop: oneOf(3)}, 0, 0},
		"one of twelve":                {belt{parts: 20, spacing: 1.5, speed: 800, rate: 30, noise: 2, drop: oneOf(12)}, 20, 60},
		"one of twenty":                {belt{parts: 20, spacing: 1.5, speed: 800, rate: 30, noise: 2, drop: oneOf(20)}, 19, 40},
		"a stall while one goes by":    {belt{parts: 12, spacing: 3, speed: 600, rate: 30, drop: func(n int) bool { return n > 183 && n < 240 }}, 1, 1},
		"fast, every frame, too short": {belt{parts: 20, spacing: 1.5, speed: 12000, rate: 30}, 0, 0},
	} {
		tr := New(Config{Roles: roles})
		done := c.belt.run(tr)
		t.Logf("%s: %d parts of %d, unsure %d", name, len(done), c.belt.parts, tr.Unsure())
		if got := tr.Unsure(); got < c.least || got > c.most {
			t.Errorf("%s: unsure of %d, want %d to %d; %d parts", name, got, c.least, c.most, len(done))
		}
	}
}

// TestFlickerIsNotUnsure, with frames of which two of three are skipped, on a belt
// whose parts are known.
func TestFlickerIsNotUnsure(t *testing.T) {
	for _, every := range []int{1, 3} {
		tr := New(Config{Roles: roles})
		parts, flickers := 0, 0
		for n := every; n < 3000; n += every {
			var dets []vision.Detection
			if x := float32(5 * (n % 180)); x < width-60 {
				dets = append(dets, det("part", 0.9, x, 100, 60, 60))
			}
			if n > 300 && n%60 == 0 {
				dets = append(dets, det("part", 0.9, float32(100+n%7*50), 250, 60, 60))
				flickers++
			}
			f := Frame{Seq: uint64(n), Clock: time.Duration(n) * time.Second / 30, Width: width, Height: height}
			parts += len(tr.Update(f, dets))
		}
		parts += len(tr.Flush())
		if parts != 17 || tr.Unsure() != 0 || flickers < 40 {
			t.Errorf("one of %d: %d parts, unsure of %d after %d flickers", every, parts, tr.Unsure(), flickers)
		}
	}
}

// TestGapIsNoticed: one picture showed a part, and the next came 4 s later. Whether
// the camera gave pictures meanwhile makes the difference.
func TestGapIsNoticed(t *testing.T) {
	for _, skipped := range []uint64{0, 100} {
		tr := New(Config{Roles: roles})
		at := func(seq uint64, clock time.Duration, dets ...vision.Detection) {
			tr.Update(Frame{Seq: seq, Clock: clock, Width: width, Height: height}, dets)
		}
		at(1, 0)
		at(2, 40*time.Millisecond, det("part", 0.9, 100, 100, 60, 60))
		at(3+skipped, 4*time.Second)
		if want := min(skipped, 1); tr.Unsure() != want {
			t.Errorf("%d pictures skipped: unsure of %d, want %d", skipped, tr.Unsure(), want)
		}
	}
}
