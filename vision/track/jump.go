package track

import (
	"math"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// A stream's clock may be wrong without telling: a camera or a network that was
// stalled goes on with pictures that are a second newer, stamped as if they
// were the next; or with old ones, stamped a second late. Then all parts lie
// one and the same step from where the last frame showed them, and nowhere near
// where they are expected.
const (
	jumpParts = 2    // parts that must agree on the step
	jumpFit   = 0.5  // of each of them on average, as agreement counts it
	jumpGain  = 0.35 // by how much each must fit better than its prediction does
	jumpMost  = 16   // parts in view; among more the search isn't worth its time
)

// jump looks for the step since the last frame that explains this one clearly
// better than the tracks' own predictions do, and moves the tracks by it.
func (t *Tracker) jump(parts []vision.Detection) {
	before := t.jumps
	defer func() {
		if t.jumps == before {
			t.jumps = 0
		}
	}()
	var open []*track
	var expected, shown []vision.Box
	for _, tr := range t.tracks {
		if tr.moves() < t.cfg.Confirm || !tr.fresh() {
			continue
		}
		expected = append(expected, tr.box())
		if tr.missing == 0 {
			open, shown = append(open, tr), append(shown, tr.shown)
		}
	}
	if len(open) == 1 && len(expected) == 1 {
		t.jumpAlone(open[0], parts)
		return
	}
	if min(len(open), len(parts)) < jumpParts || len(open) > jumpMost {
		return
	}
	still, n := agreement(expected, parts, velocity{})
	if n == len(open) && still >= jumpFit*float32(n) {
		return // as nearly always
	}
	moved, found := t.findStep(open, shown, parts, still)
	if !found {
		return
	}
	if t.regain(open, moved) {
		return
	}
	for i, tr := range open {
		x, y := shown[i].Center()
		tr.jump(x+moved.x, y+moved.y, t.jumps > 0)
	}
	t.jumps++
}

// regain tells whether most tracks expected this step. Then the clock is right:
// the others are moved by the step, and on at the belt's pace. Such a track was
// mistaken for some frames, as one that took each part at the border for the one
// before, and would lose its part again and again.
func (t *Tracker) regain(open []*track, moved velocity) bool {
	var stray []*track
	for _, tr := range open {
		b := tr.shown
		b.X, b.Y = b.X+moved.x, b.Y+moved.y
		if tr.box().IoU(b) <= 0.5 {
			stray = append(stray, tr)
		}
	}
	if 2*len(stray) >= len(open) {
		return false
	}
	for _, tr := range stray {
		x, y := tr.shown.Center()
		tr.cx, tr.cy, tr.v = x+moved.x, y+moved.y, t.belt
	}
	return true
}

// findStep is the step that explains the detections best, by the agreement with
// what was shown, and clearly better than the predictions do, whose agreement
// is still. Where parts lie at equal distances, several steps do: then the one
// nearest to what was expected.
func (t *Tracker) findStep(open []*track, shown []vision.Box, parts []vision.Detection, still float32) (moved velocity, found bool) {
	const same = 0.05 // agreement, a part
	best, off := float32(0), float32(0)
	for i, from := range shown {
		expected := step(from, open[i].box())
		for _, d := range parts {
			s := step(from, d.Box)
			if !t.forward(s, from) {
				continue
			}
			sum, n := agreement(shown, parts, s)
			least := still + jumpGain*float32(n)
			if n < jumpParts || sum < jumpFit*float32(n) || sum < least {
				continue
			}
			far := abs(s.x-expected.x) + abs(s.y-expected.y)
			slack := same * float32(n)
			if !found || sum > best+slack || sum > best-slack && far < off {
				best, off, moved, found = sum, far, s, true
			}
		}
	}
	return moved, found
}

// jump puts a track where its part is. Once it is the clock that was wrong, and
// the velocity stays; when it happens again at once, that may be wrong too.
func (t *track) jump(x, y float32, again bool) {
	if sx, sy := t.shown.Center(); again && t.dt > 0 {
		t.v.x += gainVelocity * ((x-sx)/t.dt - t.v.x)
		t.v.y += gainVelocity * ((y-sy)/t.dt - t.v.y)
	}
	t.cx, t.cy = x, y
}

func step(from, to vision.Box) velocity {
	x0, y0 := from.Center()
	x1, y1 := to.Center()
	return velocity{x1 - x0, y1 - y0}
}

// agreement tells how well boxes land on detections when all are moved by the
// step: for each that lands 0 (IoU 0.5) to 1 (IoU 1), so that few that fit
// exactly count more than many that fit so so.
func agreement(boxes []vision.Box, parts []vision.Detection, step velocity) (sum float32, n int) {
	for _, b := range boxes {
		b.X += step.x
		b.Y += step.y
		best := float32(0)
		for _, d := range parts {
			best = max(best, b.IoU(d.Box))
		}
		if best > 0.5 {
			sum += 2*best - 1
			n++
		}
	}
	return sum, n
}

// forward tells whether a step goes the belt's way, or nowhere: whatever the
// clock says, parts don't go back. A belt that stands has no way.
func (t *Tracker) forward(s velocity, from vision.Box) bool {
	const slack = 0.1 // box sizes
	if max(abs(t.belt.x)/max(from.W, 1), abs(t.belt.y)/max(from.H, 1)) < standing {
		return true
	}
	back := slack * (abs(t.belt.x)*from.W + abs(t.belt.y)*from.H)
	return s.x*t.belt.x+s.y*t.belt.y > -back
}

func abs(v float32) float32 { return max(v, -v) }

// What a part that is alone in view may do in one step.
const (
	aloneTime = 1500 * time.Millisecond // by so much the clock may be wrong
	aloneSide = 0.15                    // beside its way, in sizes
	aloneSize = 0.7                     // of the smaller box to the larger one, as areas
)

// jumpAlone moves the only track to the one place where its part can be now, if
// it isn't where it is expected. With no other part to agree, that must lie on its
// way, show a box of its size, and be no other track's.
func (t *Tracker) jumpAlone(tr *track, parts []vision.Detection) {
	var found *vision.Detection
	for i := range parts {
		d := &parts[i]
		if tr.cost(*d, t.belt) < never {
			return // as nearly always
		}
		known := func(o *track) bool { return o != tr && o.cost(*d, t.belt) < never }
		if slices.ContainsFunc(t.tracks, known) || !tr.reaches(d.Box) {
			continue
		}
		if found != nil {
			return // which of them?
		}
		found = d
	}
	if found != nil {
		x, y := found.Box.Center()
		tr.jump(x, y, t.jumps > 0)
		t.jumps++
	}
}

// reaches tells whether the part can have come to this box since it was last
// seen, if the clock is wrong.
func (t *track) reaches(b vision.Box) bool {
	small, large := min(b.Area(), t.shown.Area()), max(b.Area(), t.shown.Area())
	speed := float32(math.Hypot(float64(t.v.x), float64(t.v.y)))
	if speed == 0 || small < aloneSize*large {
		return false
	}
	s := step(t.shown, b)
	size := float32(math.Sqrt(float64(large)))
	along, beside := (s.x*t.v.x+s.y*t.v.y)/speed, abs(s.x*t.v.y-s.y*t.v.x)/speed
	return beside < aloneSide*size && along > -aloneSide*size && along < speed*(t.dt+float32(aloneTime.Seconds()))
}
