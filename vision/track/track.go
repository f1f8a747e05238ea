// Package track turns detections over time into one Part per physical part.
//
// The association follows ByteTrack (Zhang et al., arXiv:2110.06864): confident
// detections are matched with the predicted tracks first, the doubtful rest
// then keeps known tracks alive but starts none. All limits are in seconds,
// not frames, so that a dropped frame or another rate gives the same parts.
package track

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Config of a Tracker. The zero value of each field means its default.
type Config struct {
	Start    float32       // score that starts a track; 0.5
	Keep     float32       // score that keeps one; 0.1
	Confirm  int           // frames that must show a part before it counts; 3
	Hold     time.Duration // how long a part may be hidden; 1.5 s
	Gap      time.Duration // without frames for longer, open parts are decided; 3 s
	Evidence int           // frames that must agree on a defect, at least; 3
	Combine  Combine       // how frames are combined to one score; Standard
	Decide   Decide        // when a part is decided; at its end
	Mode     Mode          // how frames belong together; Stream
	Camera   string        // stands in the parts
	Roles    map[string]vision.Role
}

// Mode says how the frames of a source belong together.
type Mode uint8

// The modes.
const (
	Stream   Mode = iota // frames follow each other, parts are seen in many
	Pictures             // each picture shows one part, which fills it
	Stills               // each picture shows parts of its own
)

func (c Config) withDefaults() Config {
	c.Start = cmp.Or(c.Start, 0.5)
	c.Keep = min(cmp.Or(c.Keep, 0.1), c.Start)
	c.Confirm = cmp.Or(c.Confirm, 3)
	if c.Mode != Stream {
		c.Confirm, c.Decide = 1, Decide{}
	}
	c.Hold = cmp.Or(c.Hold, 1500*time.Millisecond)
	c.Gap = cmp.Or(c.Gap, 3*time.Second)
	c.Evidence = cmp.Or(c.Evidence, 3)
	return c
}

// Frame is what the tracker must know of the frame that was inspected.
type Frame struct {
	Seq           uint64        // from 1
	Clock         time.Duration // of the stream: position in a recording, else any steady clock
	Captured      time.Time     // for the record only
	Name          string        // of a picture from a folder, for the record only
	Width, Height int           // pixels
}

// Tracker follows the parts of one camera. It is not safe for concurrent use.
type Tracker struct {
	cfg    Config
	prefix string
	next   int
	tracks []*track
	away   []*track      // decided and hidden for longer than Hold, see lost
	last   time.Duration // Clock of the last frame
	pace   pace
	jumps  int // frames in a row that needed a jump
	began  bool
	seq    uint64   // of the last frame; 0: there was none
	unsure uint64   // see Unsure
	belt   velocity // how the confirmed parts move, kept while none is in view

	beltSeen time.Duration // Clock when they were last seen to
}

// New makes a tracker. The IDs of its parts begin with six random characters,
// so that they stay unique over restarts without a clock.
func New(cfg Config) *Tracker {
	return &Tracker{cfg: cfg.withDefaults(), prefix: strconv.FormatUint(rand.Uint64N(36*36*36*36*36*36-1)+36*36*36*36*36, 36)[:6]}
}

// Gap is how long without a frame ends the open parts; see Flush.
func (t *Tracker) Gap() time.Duration { return t.cfg.Gap }

// Update takes the detections of the next frame and returns the parts that
// are decided by it: those that came to the decision point, and those that ended
// before: left the picture, or were hidden for longer than Hold.
func (t *Tracker) Update(f Frame, dets []vision.Detection) []vision.Part {
	switch t.cfg.Mode {
	case Pictures:
		return t.picture(f, dets)
	case Stills:
		done := t.Flush()
		t.follow(f, dets, 0)
		return done
	}
	var done []vision.Part
	dt, skipped := f.Clock-t.last, t.skipped(f)
	if t.began && dt > t.cfg.Gap {
		for _, tr := range t.tracks {
			tr.predict(dt)
		}
		t.slip(f, skipped)
		done = t.Flush()
	}
	if !t.began || dt < 0 {
		dt = 0
	}
	t.began, t.last = true, f.Clock
	t.follow(f, dets, t.pace.steady(f.Seq, dt))
	t.slip(f, skipped)
	done = append(done, t.due(f)...)
	return append(done, t.reap(f, dt)...)
}

// follow moves the tracks to this frame and gives them what it shows.
func (t *Tracker) follow(f Frame, dets []vision.Detection, dt time.Duration) {
	parts, defects := t.split(dets)
	for _, tr := range t.tracks {
		tr.predict(dt)
	}
	t.forget(dt)
	t.match(f, t.unmerge(f, parts))
	t.assign(f, defects)
	t.updateBelt()
}

// split separates parts from defects and drops the second box of what is one
// thing: a model with several labels may give the same box under two names.
func (t *Tracker) split(dets []vision.Detection) (parts, defects []vision.Detection) {
	sorted := slices.Clone(dets)
	slices.SortStableFunc(sorted, func(a, b vision.Detection) int { return cmp.Compare(b.Score, a.Score) })
	for _, d := range sorted {
		if a := d.Box.Area(); !(a > 0 && a < 1e12) {
			continue // also NaN
		}
		switch t.cfg.Roles[d.Label] {
		case vision.DefectRole:
			defects = append(defects, d)
		case vision.PartRole:
			same := func(p vision.Detection) bool { return sameThing(p.Box, d.Box) }
			if d.Score >= t.cfg.Keep && !slices.ContainsFunc(parts, same) {
				parts = append(parts, d)
			}
		}
	}
	return parts, defects
}

// match updates tracks from part detections, best first, and starts new ones.
func (t *Tracker) match(f Frame, parts []vision.Detection) {
	n := 0
	for n < len(parts) && parts[n].Score >= t.cfg.Start {
		n++
	}
	t.jump(parts[:n])
	rest := t.associate(f, t.tracks, parts[:n], never)
	open := slices.DeleteFunc(slices.Clone(t.tracks), func(tr *track) bool { return tr.seen == f.Seq })
	t.associate(f, open, parts[n:], 0.85)
	for _, i := range rest {
		d := parts[i]
		known := func(tr *track) bool { return sameThing(tr.box(), d.Box) && tr.fresh() }
		if !slices.ContainsFunc(t.tracks, known) && !t.back(f, d) {
			t.start(f, d)
		}
	}
}

// associate matches at costs below limit and returns the indices of the
// detections left over.
func (t *Tracker) associate(f Frame, tracks []*track, dets []vision.Detection, limit float64) []int {
	pairs := assign(len(tracks), len(dets), limit, func(i, j int) float64 {
		return tracks[i].cost(dets[j], t.belt)
	})
	var rest []int
	for j := range dets {
		if i := pairs[j]; i >= 0 {
			tracks[i].update(f, dets[j], &t.cfg)
		} else {
			rest = append(rest, j)
		}
	}
	return rest
}

// name is the ID of the n-th track.
func (t *Tracker) name(n int) string { return t.prefix + "-" + strconv.Itoa(n) }

func (t *Tracker) start(f Frame, d vision.Detection) {
	t.next++
	tr := newTrack(t.name(t.next), f)
	tr.update(f, d, &t.cfg)
	t.tracks = append(t.tracks, tr)
}

// assign gives each defect to the part seen in this frame whose box holds the
// defect's centre; where boxes overlap, to the one whose centre is nearer.
func (t *Tracker) assign(f Frame, defects []vision.Detection) {
	for _, d := range defects {
		x, y := d.Box.Center()
		var owner *track
		best := float32(0)
		for _, tr := range t.tracks {
			if tr.seen != f.Seq || !tr.shown.Contains(x, y) {
				continue
			}
			cx, cy := tr.shown.Center()
			if dist := (cx-x)*(cx-x) + (cy-y)*(cy-y); owner == nil || dist < best {
				owner, best = tr, dist
			}
		}
		if owner != nil && owner.counts {
			view := wholeness(owner.shown, f)
			owner.evidence.add(f.Seq, d, view, &t.cfg)
			if view > cutView {
				owner.whole.add(f.Seq, d, view, &t.cfg)
			}
		}
	}
}

// due returns the parts that this frame shows at their decision point. They are
// followed on.
func (t *Tracker) due(f Frame) []vision.Part {
	if t.cfg.Decide.At == AtEnd {
		return nil
	}
	var done []vision.Part
	for _, tr := range t.tracks {
		if tr.seen == f.Seq && tr.undecided(t.cfg) && tr.due(f, t.cfg.Decide) {
			done = append(done, tr.decide(t.cfg))
		}
	}
	return done
}

// reap removes the tracks that ended and returns those that were parts.
func (t *Tracker) reap(f Frame, dt time.Duration) []vision.Part {
	var done []vision.Part
	t.tracks = slices.DeleteFunc(t.tracks, func(tr *track) bool {
		if tr.seen == f.Seq {
			return false
		}
		tr.missing += min(dt, 500*time.Millisecond)
		if !tr.ended(f, t.cfg) {
			return false
		}
		if tr.undecided(t.cfg) {
			done = append(done, tr.decide(t.cfg))
		}
		t.unsureOf(tr)
		t.lose(tr, f)
		return true
	})
	return done
}

// updateBelt remembers how the confirmed parts move: the median of each axis.
func (t *Tracker) updateBelt() {
	var xs, ys []float32
	for _, tr := range t.tracks {
		if tr.moves() >= t.cfg.Confirm && tr.missing == 0 {
			xs, ys = append(xs, tr.v.x), append(ys, tr.v.y)
			if tr.dt == 0 {
				t.beltSeen = t.last
			}
		}
	}
	if len(xs) > 0 {
		slices.Sort(xs)
		slices.Sort(ys)
		t.belt = velocity{xs[len(xs)/2], ys[len(ys)/2]}
	}
}

// picture makes the whole picture one part, with every defect in it.
func (t *Tracker) picture(f Frame, dets []vision.Detection) []vision.Part {
	t.next++
	whole := vision.Box{W: float32(f.Width), H: float32(f.Height)}
	tr := newTrack(t.name(t.next), f)
	tr.update(f, vision.Detection{Label: "part", Score: 1, Box: whole}, &t.cfg)
	for _, d := range dets {
		if t.cfg.Roles[d.Label] == vision.DefectRole {
			tr.evidence.add(f.Seq, d, 1, &t.cfg)
		}
	}
	return []vision.Part{tr.part(t.cfg)}
}

// Flush ends all open tracks and returns those that weren't decided yet: the
// stream is over, or the camera was away for longer than Gap. Those that were are
// forgotten: nobody has seen whether the belt moved meanwhile, and what lies where
// they lay may be a part that nobody has decided.
func (t *Tracker) Flush() []vision.Part {
	var done []vision.Part
	for _, tr := range t.tracks {
		if tr.undecided(t.cfg) {
			done = append(done, tr.part(t.cfg))
		}
		t.unsureOf(tr)
	}
	t.tracks, t.away, t.began, t.pace = nil, nil, false, pace{}
	return done
}

// View is an open track in the newest frame, for the live picture.
type View struct {
	Part    vision.Part // of one that was decided, as it was then; Box is where it is now
	Best    bool        // the newest frame is the best view of the part so far
	Decided bool        // Update has returned the part, with this frame or before
}

// Open returns the confirmed parts that the frame with this Seq showed.
func (t *Tracker) Open(seq uint64) []View {
	var open []View
	for _, tr := range t.tracks {
		if tr.seen == seq && (tr.told != nil || tr.hits >= t.cfg.Confirm) {
			open = append(open, tr.view(seq, t.cfg))
		}
	}
	return open
}

func (t *track) view(seq uint64, cfg Config) View {
	v := View{Decided: t.told != nil}
	switch {
	case v.Decided && t.told.Last != seq:
		v.Part = *t.told // it has no better view any more
	default:
		v.Part, v.Best = t.part(cfg), t.best == seq
		if t.evidence.bestScore >= cfg.Start { // the defect is what people want to see
			v.Best = t.evidence.best == seq
		}
	}
	v.Part.Box = t.shown
	return v
}
