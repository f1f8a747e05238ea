package track

import (
	"github.com/sightline-edge/sightline/vision"
)

// A stream may skip time without telling: a camera or a network that was
// stalled goes on with pictures that are a second newer, stamped as if they
// were the next. Then all parts have moved by one and the same step, more than
// association allows for.
const (
	jumpParts = 2    // parts that must agree on the step
	jumpIoU   = 0.75 // of each of them with its moved track, on average
	jumpGain  = 1.25 // by how much the step must explain the frame better than none
	jumpMost  = 16   // parts in view; among more the search isn't worth its time
)

// jump looks for the step that explains the frame clearly better than
// standing still does, and moves the confirmed tracks by it.
func (t *Tracker) jump(parts []vision.Detection) {
	var open []*track
	for _, tr := range t.tracks {
		if tr.hits >= t.cfg.Confirm && tr.fresh() {
			open = append(open, tr)
		}
	}
	if min(len(open), len(parts)) < jumpParts || len(open) > jumpMost {
		return
	}
	best, n := agreement(open, parts, velocity{})
	if n == len(open) && best/float32(n) >= jumpIoU {
		return // as nearly always
	}
	best *= jumpGain
	var step velocity
	for _, tr := range open {
		for _, d := range parts {
			x, y := d.Box.Center()
			s := velocity{x - tr.cx, y - tr.cy}
			if !t.forward(s) {
				continue
			}
			if sum, n := agreement(open, parts, s); n >= jumpParts && sum/float32(n) >= jumpIoU && sum > best {
				best, step = sum, s
			}
		}
	}
	for _, tr := range open {
		tr.cx += step.x
		tr.cy += step.y
	}
}

// agreement sums the IoU of the tracks that land on a detection when all are
// moved by the step.
func agreement(open []*track, parts []vision.Detection, step velocity) (sum float32, n int) {
	for _, tr := range open {
		b := tr.box()
		b.X += step.x
		b.Y += step.y
		best := float32(0)
		for _, d := range parts {
			best = max(best, b.IoU(d.Box))
		}
		if best > 0.5 {
			sum += best
			n++
		}
	}
	return sum, n
}

// forward tells whether the step goes the belt's way: skipped time never
// moves parts back.
func (t *Tracker) forward(s velocity) bool { return s.x*t.belt.x+s.y*t.belt.y > 0 }
