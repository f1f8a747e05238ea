package agent

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/shm"
	"github.com/sightline-edge/sightline/vision/track"
)

// inferCut runs a model on what the recipe wants to be seen of a frame. What it sees
// is in the whole frame's pixels.
func (s *Station) inferCut(ctx context.Context, w *infer.Worker, l *lane, v *view, g infer.Group, f *capture.Frame) (infer.Result, error) {
	v.memory.use(w, f.Pool)
	v.large.only(f.Pool)
	return inferROI(ctx, w, l.ROI, g, f)
}

func inferROI(ctx context.Context, w *infer.Worker, roi [4]int, g infer.Group, f *capture.Frame) (infer.Result, error) {
	if roi == ([4]int{}) {
		return w.InferOf(ctx, g, &f.Frame, f.Pool, f.Slot)
	}
	cut := f.Cut(roi[0], roi[1], roi[2], roi[3])
	r, err := w.InferOf(ctx, g, &cut, f.Pool, f.Slot)
	shift(r.Detections, max(roi[0], 0), max(roi[1], 0))
	return r, err
}

// shift moves what was seen in a cut to where it lies in the whole frame.
func shift(dets []vision.Detection, x, y int) {
	dx, dy := float32(x), float32(y)
	for n := range dets {
		d := &dets[n]
		d.Box.X += dx
		d.Box.Y += dy
		if d.Oriented != nil {
			d.Oriented.X += dx
			d.Oriented.Y += dy
		}
		if d.Mask != nil {
			d.Mask.X += x
			d.Mask.Y += y
		}
	}
}

// memory is the memory that a worker was last shown frames in.
type memory struct {
	mu     sync.Mutex    // protects the rest
	worker *infer.Worker // that looked into it last
	pool   *shm.Pool     // retained
}

// use tells the worker when frames come in other memory, and the one before it that it
// gets none any more: memory that nobody looks into is given back.
func (m *memory) use(w *infer.Worker, p *shm.Pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pool == p && m.worker == w {
		return
	}
	if m.pool != nil {
		m.worker.Forget(m.pool)
		m.pool.Release()
	}
	p.Retain()
	m.pool, m.worker = p, w
}

// only lets go of the memory that the last frame came in if frames come in other memory
// now: a part in doubt may be hours away.
func (m *memory) only(p *shm.Pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pool != nil && m.pool != p {
		m.worker.Forget(m.pool)
		m.pool.Release()
		m.pool = nil
	}
}

// forget lets go of the memory that the last frame came in.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pool != nil {
		m.pool.Release()
		m.pool = nil
	}
}

// assemble fills a part with what the cameras show of it: all evidence, each with
// its view where there are several. It is false where a model that knows parts sees
// none.
func (s *Station) assemble(p *vision.Part, l *lane, glances []glance) bool {
	found := true
	several := len(glances) > 1
	for n := range glances {
		g := &glances[n]
		if g.frame == nil {
			continue
		}
		f := &g.frame.Frame
		if several {
			p.Views = append(p.Views, vision.View{Camera: g.view.camera.Name(), Seq: f.Seq, Captured: f.Captured, Width: f.Width, Height: f.Height})
		}
		if p.Frames++; p.Frames == 1 {
			p.First, p.Last, p.Best = f.Seq, f.Seq, f.Seq
			p.Seen, p.LastSeen, p.BestSeen = f.Captured, f.Captured, f.Captured
			p.Camera = g.view.camera.Name()
		}
		if f.Captured.Before(p.Seen) {
			p.Seen = f.Captured
		}
		if f.Captured.After(p.LastSeen) {
			p.LastSeen = f.Captured
		}
		if g.reason == "" {
			found = s.see(p, l.Track, g, len(p.Views)) && found
		}
	}
	return found
}

// see adds what one camera shows. Of several parts in a picture the trigger means the
// one in the middle.
func (s *Station) see(p *vision.Part, cfg track.Config, g *glance, views int) bool {
	f := &g.frame.Frame
	whole := vision.Box{W: float32(f.Width), H: float32(f.Height)}
	parts, defects := sides(cfg, g.result.Detections)
	box, label, score := whole, "part", float32(1)
	if knowsParts(cfg) {
		if len(parts) == 0 {
			return false
		}
		one := middle(parts, whole)
		box, label, score = one.Box, one.Label, one.Score
	}
	g.box = box
	if views <= 1 {
		p.Box, p.Label, p.Score = box, label, score
	}
	for _, e := range evidenceOf(defects, parts, box) {
		e.View = max(views-1, 0)
		p.Defects = append(p.Defects, e)
	}
	return true
}

// sides separates parts from defects by their roles.
func sides(cfg track.Config, all []vision.Detection) (parts, defects []vision.Detection) {
	for _, d := range all {
		switch cfg.Roles[d.Label] {
		case vision.PartRole:
			if d.Score >= cmp.Or(cfg.Start, 0.5) {
				parts = append(parts, d)
			}
		case vision.DefectRole:
			defects = append(defects, d)
		}
	}
	return parts, defects
}

func knowsParts(cfg track.Config) bool {
	for _, role := range cfg.Roles {
		if role == vision.PartRole {
			return true
		}
	}
	return false
}

// middle is the part whose centre is nearest to the picture's.
func middle(parts []vision.Detection, whole vision.Box) vision.Detection {
	x, y := whole.Center()
	away := func(d vision.Detection) float32 {
		cx, cy := d.Box.Center()
		return (cx-x)*(cx-x) + (cy-y)*(cy-y)
	}
	return slices.MinFunc(parts, func(a, b vision.Detection) int { return cmp.Compare(away(a), away(b)) })
}

// evidenceOf is the best score of each label, without defects that lie on another
// part than the one in that box.
func evidenceOf(defects, parts []vision.Detection, box vision.Box) []vision.Evidence {
	var out []vision.Evidence
	shapes := map[string][]vision.Detection{}
	for _, d := range defects {
		x, y := d.Box.Center()
		other := func(p vision.Detection) bool { return p.Box != box && p.Box.Contains(x, y) }
		if !box.Contains(x, y) && slices.ContainsFunc(parts, other) {
			continue
		}
		n := slices.IndexFunc(out, func(e vision.Evidence) bool { return e.Label == d.Label })
		switch {
		case n < 0:
			out = append(out, vision.Evidence{Label: d.Label, Score: d.Score, Frames: 1, Box: d.Box})
		case d.Score > out[n].Score:
			out[n].Score, out[n].Box = d.Score, d.Box
		}
		if d.Mask != nil || d.Oriented != nil {
			shapes[d.Label] = append(shapes[d.Label], d)
		}
	}
	for n := range out {
		out[n].Show(shapes[out[n].Label])
	}
	return out
}

// portrait cuts the part's picture out of the view with the worst to see.
func (s *Station) portrait(p vision.Part, glances []glance) *crop {
	var frames []*capture.Frame // one for each of the part's views: a camera may have given none
	for i := range glances {
		if f := glances[i].frame; f != nil {
			frames = append(frames, f)
		}
	}
	if len(frames) == 0 {
		return nil
	}
	n, box := 0, p.Box
	worst := float32(-1)
	for _, e := range p.Defects {
		if e.Score > worst && e.View < len(frames) {
			worst, n = e.Score, e.View
		}
	}
	f := frames[n]
	if n > 0 || box.Area() == 0 {
		box = vision.Box{W: float32(f.Width), H: float32(f.Height)}
	}
	c := &crop{view: n}
	c.cut(&f.Frame, box)
	return c
}

// How far back the journal is looked through for triggers of earlier runs.
const (
	recallMost = 20_000 // results of the station
	recallTime = 5 * time.Second
)

// recall reads from the journal which triggers were answered of late, and how often
// which part was inspected. A trigger is known again only where the clock leaves no
// doubt that it is within the window: an old PASS must never stand for a new part.
func (s *Station) recall(ctx context.Context) {
	defer close(s.recalled)
	now := time.Now()
	ctx, cancel := context.WithTimeout(ctx, recallTime)
	defer cancel()
	answers, err := s.history(ctx, recallMost)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("earlier triggers aren't known", "err", err)
		return
	}
	var all []past
	for _, r := range slices.Backward(answers) {
		told := r.Answer()
		all = append(all, past{Answer{
			Trigger: r.Trigger, Part: serial(r.ID, r.Trigger), Attempt: r.Attempt, Recipe: r.Recipe, Verdict: told.Verdict, Reason: told.Reason, Seq: r.Seq,
		}, now.Sub(r.Decided)})
	}
	s.ledger.recall(s, now, all)
}

// serial is the part's ID as a trigger gave it: without one the part has the trigger's.
func serial(id, trigger string) string {
	if id == trigger {
		return ""
	}
	return id
}
