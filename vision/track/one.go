package track

import (
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// velocity in pixels a second.
type velocity struct{ x, y float32 }

// track is one part while it is followed: an alpha-beta filter on the box's
// centre, with the size smoothed.
type track struct {
	id      string
	cx, cy  float32 // predicted or filtered centre
	w, h    float32
	v       velocity
	dt      float32 // seconds since the last update
	seen    uint64  // Seq of the last frame that showed it
	shown   vision.Box
	hits    int
	lent    int    // hits of the track that this one was adopted from
	skipped uint64 // pictures around and between the frames that showed it
	slipped bool   // it may have left unconfirmed because of them
	missing time.Duration

	name      string
	first     uint64
	firstTime time.Time
	lastTime  time.Time
	labels    map[string]float32 // summed scores

	best      uint64 // Seq of the best view
	bestBox   vision.Box
	bestTime  time.Time
	bestScore float32
	score     float32
	evidence  evidence // of all views
	whole     evidence // of those that the border doesn't cut

	born    vision.Box   // where it was seen first
	entered bool         // its centre has been in Decide.Zone
	left    bool         // and has left it
	counts  bool         // the newest view gives evidence
	told    *vision.Part // as it was decided; nil before
}

func newTrack(id string, f Frame) *track {
	return &track{id: id, name: f.Name, first: f.Seq, firstTime: f.Captured, labels: map[string]float32{}}
}

// predict moves the track by its velocity.
func (t *track) predict(dt time.Duration) {
	s := float32(dt.Seconds())
	t.dt += s
	t.cx += t.v.x * s
	t.cy += t.v.y * s
}

func (t *track) box() vision.Box {
	return vision.Box{X: t.cx - t.w/2, Y: t.cy - t.h/2, W: t.w, H: t.h}
}

// moves is how many views its position and velocity rest on.
func (t *track) moves() int { return t.hits + t.lent }

// fresh reports whether the prediction is still near the truth.
func (t *track) fresh() bool { return t.missing < 500*time.Millisecond }

// The filter's gains: 0.7 of a new position is believed, 0.3 of a new
// velocity; the first velocity wholly.
const (
	gainPosition = 0.7
	gainVelocity = 0.3
	gainSize     = 0.4
)

// update takes the box that this frame shows.
func (t *track) update(f Frame, d vision.Detection, cfg *Config) {
	x, y := d.Box.Center()
	switch {
	case t.moves() == 0:
		t.cx, t.cy, t.w, t.h = x, y, d.Box.W, d.Box.H
		t.born = d.Box
	default:
		t.correct(x, y)
		t.w += gainSize * (d.Box.W - t.w)
		t.h += gainSize * (d.Box.H - t.h)
	}
	t.hits++
	t.dt, t.missing = 0, 0
	t.seen, t.shown, t.lastTime = f.Seq, d.Box, f.Captured
	t.labels[d.Label] += d.Score
	t.score = max(t.score, d.Score)
	t.counts = t.told == nil && t.inZone(f, cfg.Decide)
	if !t.counts {
		return
	}
	view := wholeness(d.Box, f)
	quality := d.Score * view
	t.evidence.look(f.Seq, quality)
	if view > cutView {
		t.whole.look(f.Seq, quality)
	}
	if quality > t.bestScore {
		t.best, t.bestBox, t.bestTime, t.bestScore = f.Seq, d.Box, f.Captured, quality
	}
}

func (t *track) correct(x, y float32) {
	ex, ey := x-t.cx, y-t.cy
	if t.dt > 0 {
		g := float32(gainVelocity)
		if t.moves() == 1 {
			g = 1
		}
		t.v.x += g * ex / t.dt
		t.v.y += g * ey / t.dt
	}
	t.cx += gainPosition * ex
	t.cy += gainPosition * ey
}

// cutView is the wholeness of a part that touches the picture's border.
const cutView = 0.5

// wholeness is 1 for a box well inside the picture, a little less for one near
// its border, and half for one that touches it: such a view may show half a part.
func wholeness(b vision.Box, f Frame) float32 {
	const touching, near = 2, 0.2 // pixels; box sizes
	room := min(b.X, b.Y, float32(f.Width)-b.X-b.W, float32(f.Height)-b.Y-b.H)
	if room <= touching {
		return cutView
	}
	return 0.9 + 0.1*min(1, room/(near*max(b.W, b.H)))
}

// ended reports whether the part is gone: hidden for longer than Hold, or
// last seen moving out of the picture, where it now is by its velocity.
func (t *track) ended(f Frame, cfg Config) bool {
	if t.missing >= cfg.Hold {
		return true
	}
	if t.moves() < cfg.Confirm {
		return t.missing >= 300*time.Millisecond
	}
	visible := t.box().Intersect(vision.Box{W: float32(f.Width), H: float32(f.Height)}).Area()
	return t.missing >= 300*time.Millisecond && wholeness(t.shown, f) <= cutView && visible < 0.05*t.w*t.h
}

func (t *track) label() string {
	best, label := float32(-1), ""
	for l, s := range t.labels {
		if s > best || s == best && l < label {
			best, label = s, l
		}
	}
	return label
}

// defects are what the views of the whole part show, where there were enough of
// them: at the border the cut itself looks like a defect. Of a part that is
// never whole in the picture all views count.
func (t *track) defects(cfg Config) []vision.Evidence {
	if t.whole.frames >= cfg.Evidence {
		return t.whole.list(cfg)
	}
	return t.evidence.list(cfg)
}

func (t *track) part(cfg Config) vision.Part {
	return vision.Part{
		ID: t.id, Camera: cfg.Camera, Label: t.label(), Score: t.score, Box: t.bestBox,
		Defects: t.defects(cfg),
		Frames:  t.hits, First: t.first, Last: t.seen, Best: t.best,
		Name: t.name, Seen: t.firstTime, LastSeen: t.lastTime, BestSeen: t.bestTime,
	}
}
