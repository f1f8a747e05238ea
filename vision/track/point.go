package track

import (
	"math"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// pointSlack is how far a part must be from a line to be on one side of it, and
// out of a zone to have left it, in sizes of the part: boxes tremble.
const pointSlack = 0.05

func slack(w, h float32) float32 {
	return pointSlack * float32(math.Sqrt(float64(max(w, 0)*max(h, 0))))
}

// undecided tells whether a track is a part that no one has been told of.
func (t *track) undecided(cfg Config) bool { return t.told == nil && t.hits >= cfg.Confirm }

// decide makes the part what it is told to be.
func (t *track) decide(cfg Config) vision.Part {
	p := t.part(cfg)
	t.told = &p
	return p
}

// due tells whether a part is at its decision point or beyond.
func (t *track) due(f Frame, d Decide) bool {
	switch d.At {
	case AtLine:
		return t.beyond(t.cx, t.cy, f, d.Line)
	case AtZone:
		return t.left
	case AtFrames:
		return t.hits >= d.Frames
	}
	return false
}

// beyond tells whether a point lies beyond the line, seen from where the track
// began. For one that began on the line both sides are beyond.
func (t *track) beyond(x, y float32, f Frame, l Line) bool {
	bx, by := t.born.Center()
	from, to := l.distance(bx, by, f), l.distance(x, y, f)
	if least := slack(t.born.W, t.born.H); abs(from) <= least {
		return abs(to) > least
	}
	return from*to < 0
}

// distance of a point from the line in pixels, less than 0 on one side.
func (l Line) distance(x, y float32, f Frame) float32 {
	w, h := float32(f.Width), float32(f.Height)
	dx, dy := (l.X1-l.X0)*w, (l.Y1-l.Y0)*h
	n := float32(math.Hypot(float64(dx), float64(dy)))
	if n == 0 {
		return 0
	}
	return (dx*(y-l.Y0*h) - dy*(x-l.X0*w)) / n
}

// inZone notes where the part is by the zone, and tells whether what is seen of
// it now counts. What was seen before it came into the zone counts only if it
// never does.
func (t *track) inZone(f Frame, d Decide) bool {
	if d.At != AtZone {
		return true
	}
	z := d.pixels(f)
	in := z.Contains(t.cx, t.cy)
	if in && !t.entered {
		t.entered = true
		t.evidence, t.whole, t.bestScore = evidence{}, evidence{}, 0
	}
	t.left = t.entered && !grown(z, slack(t.w, t.h)).Contains(t.cx, t.cy)
	return in || !t.entered
}

// pixels is the zone in a frame.
func (d Decide) pixels(f Frame) vision.Box {
	w, h := float32(f.Width), float32(f.Height)
	return vision.Box{X: d.Zone.X * w, Y: d.Zone.Y * h, W: d.Zone.W * w, H: d.Zone.H * h}
}

func grown(b vision.Box, by float32) vision.Box {
	return vision.Box{X: b.X - by, Y: b.Y - by, W: b.W + 2*by, H: b.H + 2*by}
}

// A decided part that is hidden for longer than Hold is remembered for a while:
// it may stand under somebody's hand. What then appears beyond the decision
// point, where no new part comes from, and where that part was left or should be
// by now, is that part. Everywhere else it is a new one: two verdicts for one
// part cost a good part at worst, none for a part costs more.
const (
	awayFor  = 30 * time.Second
	awayMost = 16  // parts that are remembered, the newest ones
	awayFit  = 0.5 // IoU
	standing = 0.1 // speed, in sizes a second, below which a belt is taken to stand
)

// lose remembers a part that was decided, or lost while it was crossing.
func (t *Tracker) lose(tr *track, f Frame) {
	if tr.told == nil || tr.missing < t.cfg.Hold || !t.past(tr, tr.cx, tr.cy, f) {
		return
	}
	if t.away = append(t.away, tr); len(t.away) > awayMost {
		t.away = slices.Delete(t.away, 0, 1)
	}
}

// past tells whether a point lies where parts only come after their decision.
func (t *Tracker) past(tr *track, x, y float32, f Frame) bool {
	switch d := t.cfg.Decide; d.At {
	case AtLine:
		return tr.beyond(x, y, f, d.Line)
	case AtZone:
		return tr.left && !grown(d.pixels(f), slack(tr.w, tr.h)).Contains(x, y)
	}
	return false
}

// forget moves the remembered parts on, and drops those that are gone for good.
func (t *Tracker) forget(dt time.Duration) {
	if len(t.away) == 0 {
		return
	}
	for _, tr := range t.away {
		if t.beltSeen >= t.last-dt { // what others do tells more than what it did
			tr.v = t.belt
		}
		tr.predict(dt)
		tr.missing += dt
	}
	t.away = slices.DeleteFunc(t.away, func(tr *track) bool { return tr.missing > t.cfg.Hold+awayFor })
}

// back takes a detection for the decided part that is seen again, if it is one.
func (t *Tracker) back(f Frame, d vision.Detection) bool {
	best, found, stood := float32(awayFit), -1, false
	x, y := d.Box.Center()
	for i, tr := range t.away {
		if _, known := tr.labels[d.Label]; !known || !t.past(tr, x, y, f) {
			continue
		}
		if iou := tr.box().IoU(d.Box); iou > best {
			best, found, stood = iou, i, false
		}
		if iou := tr.shown.IoU(d.Box); iou > best && !t.movedOn(tr) {
			best, found, stood = iou, i, true
		}
	}
	if found < 0 {
		return false
	}
	tr := t.away[found]
	t.away = slices.Delete(t.away, found, found+1)
	tr.cx, tr.cy, tr.dt = x, y, 0
	if stood {
		tr.v = velocity{}
	}
	tr.update(f, d, &t.cfg)
	t.tracks = append(t.tracks, tr)
	return true
}

// movedOn tells whether other parts have shown that the belt moves since the
// part was last seen.
func (t *Tracker) movedOn(tr *track) bool {
	return t.beltSeen > t.last-tr.missing && max(abs(t.belt.x)/max(tr.w, 1), abs(t.belt.y)/max(tr.h, 1)) > standing
}
