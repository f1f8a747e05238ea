package track

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

// film is a drawn belt as a model sees it: the boxes are the scene's own, made as
// bad as the fields say. The scene runs at a thousand pictures a second, so that
// belt can stop and lag at any moment.
type film struct {
	seed    uint64
	speed   float64 // of the belt
	rate    float64 // frames a second
	seconds float64
	belt    func(s float64) float64            // seconds that the belt has run when a frame is taken at s; nil: all
	late    func(n int, s float64) float64     // by how much the stamp of a picture taken at s is late
	hide    func(s float64, b vision.Box) bool // covers a part
	merge   func(n, first int) bool            // parts that touch are one box
	drop    func(n int, s float64) bool
	noise   float32 // pixels, each side
	miss    float32 // share of boxes
	double  float32 // share of boxes that come twice
	shake   float32 // pixels by which the whole picture trembles
	cut     int     // physical parts from this one on are left out; 0: none
	only    int     // of all physical parts only each only-th is there; 0: all
	defects bool    // the scene's defects are seen, each in most frames
}

// told is a part that the tracker gave, with the physical one that it is.
type told struct {
	vision.Part
	truth int     // index of the physical part; -1: none
	place float32 // of the physical part's centre when it was told, in widths
	at    uint64  // frame with which it was told
}

// sight is what a film has shown so far.
type sight struct {
	seq    uint64
	frames map[int]int          // that showed a physical part, well enough to be a part
	bad    map[int]bool         // physical parts whose defects were seen
	truth  map[uint64][]present // of each frame
}

// shown is what a tracker made of it.
type shown struct {
	*sight
	tracker *Tracker
	told    []told
	votes   map[string]map[int]int // in how many frames a part showed a physical one, by ID
	mixed   int                    // parts that showed another physical part in more than a tenth of the frames
}

type present struct {
	index int
	box   vision.Box
}

// play shows a film to a tracker of each config.
func (f film) play(t testing.TB, cfgs ...Config) []*shown {
	t.Helper()
	sc, err := scene.New(scene.Config{Seed: f.seed, Speed: f.speed, Rate: 1000, DefectRate: 0.3})
	if err != nil {
		t.Fatal(err)
	}
	seen := &sight{frames: map[int]int{}, bad: map[int]bool{}, truth: map[uint64][]present{}}
	var out []*shown
	for _, cfg := range cfgs {
		cfg.Roles = filmRoles()
		out = append(out, &shown{sight: seen, tracker: New(cfg), votes: map[string]map[int]int{}})
	}
	rnd := rand.New(rand.NewPCG(f.seed, 7))
	stamp := -1.0
	for n := 0; float64(n)/f.rate < f.seconds; n++ {
		s := float64(n) / f.rate
		if f.drop != nil && f.drop(n, s) {
			continue
		}
		ran := s
		if f.belt != nil {
			ran = f.belt(s)
		}
		stamp = max(stamp+0.001, s)
		if f.late != nil {
			stamp = max(stamp, s+f.late(n, s))
		}
		seen.seq = uint64(n + 1)
		dets := f.see(seen, sc.Truth(max(int(ran*1000), 0)), n, s, rnd)
		frame := Frame{Seq: seen.seq, Clock: time.Duration(stamp * 1e9), Width: scene.DefaultWidth, Height: scene.DefaultHeight}
		for _, o := range out {
			o.tell(o.tracker.Update(frame, dets))
			o.watch(o.tracker.Open(seen.seq))
		}
	}
	for _, o := range out {
		o.tell(o.tracker.Flush())
		o.name()
	}
	return out
}

func filmRoles() map[string]vision.Role {
	all := map[string]vision.Role{"part": vision.PartRole, "cap": vision.PartRole}
	for _, k := range scene.Kinds() {
		all[string(k)] = vision.DefectRole
	}
	return all
}

// see gives the boxes that the model sees in a frame.
func (f film) see(out *sight, truth []scene.PartTruth, n int, s float64, rnd *rand.Rand) []vision.Detection {
	jitter := func() float32 { return (2*rnd.Float32() - 1) * f.noise }
	dx, dy := (2*rnd.Float32()-1)*f.shake, (2*rnd.Float32()-1)*f.shake
	var dets []vision.Detection
	var before *scene.PartTruth
	for i := range truth {
		p := &truth[i]
		if f.cut > 0 && p.Part.Index >= f.cut || f.only > 0 && p.Part.Index%f.only != 0 {
			continue
		}
		out.truth[out.seq] = append(out.truth[out.seq], present{p.Part.Index, p.Clipped})
		if p.Visible < 0.25 || f.hide != nil && f.hide(s, p.Box) || rnd.Float32() < f.miss {
			before = nil
			continue
		}
		out.frames[p.Part.Index]++
		b := p.Clipped
		b.X, b.Y, b.W, b.H = b.X+jitter()+dx, b.Y+jitter()+dy, b.W+jitter(), b.H+jitter()
		d := vision.Detection{Label: "part", Score: 0.55 + 0.4*rnd.Float32(), Box: b}
		if f.noise == 0 {
			d.Score = 0.9
		}
		touches := before != nil && max(before.Box.X-p.Box.X, p.Box.X-before.Box.X) < 1.03*p.Box.W
		if touches && f.merge != nil && f.merge(n, before.Part.Index) {
			last := &dets[len(dets)-1].Box
			x0, y0 := min(last.X, b.X), min(last.Y, b.Y)
			*last = vision.Box{X: x0, Y: y0, W: max(last.X+last.W, b.X+b.W) - x0, H: max(last.Y+last.H, b.Y+b.H) - y0}
			before = nil
		} else {
			dets = append(dets, d)
			before = p
		}
		if rnd.Float32() < f.double {
			again := d
			again.Label, again.Score = "cap", 0.8*d.Score
			again.Box.X += 0.06 * b.W
			again.Box.H *= 0.9
			dets = append(dets, again)
			before = nil
		}
	}
	if f.defects {
		dets = append(dets, seeDefects(out, truth, rnd)...)
	}
	return dets
}

func seeDefects(out *sight, truth []scene.PartTruth, rnd *rand.Rand) (dets []vision.Detection) {
	for i := range truth {
		for _, d := range truth[i].Defects {
			if d.Clipped.Area() > 0 && rnd.Float32() < 0.9 {
				out.bad[truth[i].Part.Index] = true
				dets = append(dets, vision.Detection{Label: string(d.Kind), Score: 0.6 + 0.3*rnd.Float32(), Box: d.Clipped})
			}
		}
	}
	return dets
}

func (s *shown) tell(parts []vision.Part) {
	for _, p := range parts {
		s.told = append(s.told, told{Part: p, truth: -1, at: s.seq})
	}
}

// watch notes which physical part each of the open ones is seen to be, also after
// it was decided.
func (s *shown) watch(open []View) {
	for _, v := range open {
		best, index := float32(0.55), -1
		for _, q := range s.truth[s.seq] {
			if iou := q.box.IoU(v.Part.Box); iou > best {
				best, index = iou, q.index
			}
		}
		if s.votes[v.Part.ID] == nil {
			s.votes[v.Part.ID] = map[int]int{}
		}
		if index >= 0 {
			s.votes[v.Part.ID][index]++
		}
	}
}

// name finds the physical part of each that was told.
func (s *shown) name() {
	for i := range s.told {
		p := &s.told[i]
		most, all := 0, 0
		for index, n := range s.votes[p.ID] {
			if all += n; n > most {
				most, p.truth = n, index
			}
		}
		if 10*most < 9*all {
			s.mixed++
		}
		for _, q := range s.truth[p.at] {
			if x, _ := q.box.Center(); q.index == p.truth {
				p.place = x / scene.DefaultWidth
			}
		}
	}
}

// count compares physical parts with what was told: those that at least
// Confirm frames showed must be told once.
func (s *shown) count() (physical, missed, twice, none int) {
	times := map[int]int{}
	for _, p := range s.told {
		times[p.truth]++
	}
	none = times[-1]
	for i, frames := range s.frames {
		switch {
		case frames < 5:
			continue // may count or not
		case times[i] == 0:
			missed++
		case times[i] > 1:
			twice++
		}
		physical++
	}
	return physical, missed, twice, none
}
