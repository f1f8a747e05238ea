package agent

import (
	"context"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/rules"
	"github.com/sightline-edge/sightline/vision/sched"
	"github.com/sightline-edge/sightline/vision/track"
)

// measure counts a frame with a result.
func (s *Station) measure(f *flight, r *run, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats.First.IsZero() {
		s.stats.First = f.frame.Captured
	}
	s.stats.Inferred++
	f.view.inferred++
	s.stats.Last = now
	s.ages.add(now.Sub(f.frame.Captured))
	s.runs.add(r.result.Run)
}

// failedFrame counts a frame that the model gave no result for. Where each
// picture is a part, that part gets NONE.
func (s *Station) failedFrame(ctx context.Context, f *flight, r *run) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	s.stats.Lost++
	f.view.lost++
	f.view.regate = true
	s.mu.Unlock()
	if s.mayWarn() {
		s.log.Warn("frame without a result", "seq", f.frame.Seq, "err", r.err)
	}
	r.lane.eyes[f.view.index].last = nil
	if s.cfg.Track.Mode != track.Pictures {
		return
	}
	for _, p := range r.lane.eyes[f.view.index].tracker.Update(track.Frame{
		Seq: f.frame.Seq, Captured: f.frame.Captured, Name: f.frame.Name, Width: f.frame.Width, Height: f.frame.Height,
	}, nil) {
		s.tell(r.lane, p, vision.Decision{Reason: vision.ReasonModelFailed})
	}
}

// finish decides the parts that were still in view.
func (s *Station) finish(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // what was seen is told also when the agent goes
	s.decideAll(ctx)
	s.lane.leave(nil)
}

// decideAll decides the parts that are in view. A switch that is on is over
// with them.
func (s *Station) decideAll(ctx context.Context) {
	if o := s.switching(); o != nil && o.began {
		s.complete(ctx, o)
	}
	for _, p := range s.lane.flush() {
		s.decide(ctx, s.lane, p)
	}
}

// decideView decides the parts that are in one camera's view.
func (s *Station) decideView(ctx context.Context, v *view) {
	for _, p := range s.lane.eyes[v.index].tracker.Flush() {
		s.decide(ctx, s.lane, p)
	}
}

// decide gives a part that ended its verdict, unless it is the verdict of the
// lane before to give.
func (s *Station) decide(ctx context.Context, l *lane, p vision.Part) {
	c := l.claims[p.ID]
	delete(l.claims, p.ID)
	if c.settled() {
		delete(l.crops, p.ID)
		return
	}
	switch d, judged := s.decision(ctx, l, p); {
	case judged && l.Cascade != nil:
		s.doubtful(ctx, l, p, d)
	default:
		s.tell(l, p, d)
	}
	if c != nil {
		c.told = true
	}
}

// awaitRule waits for the rule that the station began to load at its start.
func (s *Station) awaitRule(ctx context.Context) {
	select {
	case r := <-s.coming:
		s.ruleCame(r)
	case <-ctx.Done():
	}
}

// ruleCame gives the first lane its rule; nil if it can't be loaded.
func (s *Station) ruleCame(r *rules.Rule) {
	s.coming = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first.Rule, s.loading = r, false
}

// decision is the part's, and whether the rule made it.
func (s *Station) decision(ctx context.Context, l *lane, p vision.Part) (d vision.Decision, judged bool) {
	s.mu.Lock()
	stopping, failed := s.stopping, s.failure != nil || l.dead != nil
	s.mu.Unlock()
	if s.step() == sched.Nothing { // too few pictures of the part were inspected to pass it
		return vision.Decision{Reason: vision.ReasonOverload}, false
	}
	switch {
	case failed: // the model is given up: what is left of the part was not inspected
		return vision.Decision{Reason: vision.ReasonModelFailed}, false
	case stopping:
		return vision.Decision{Reason: vision.ReasonStopped}, false
	}
	if l == s.first && s.coming != nil {
		s.awaitRule(ctx)
	}
	if l.Rule == nil {
		return vision.Decision{Reason: vision.ReasonNoRule}, false
	}
	v := s.of(&p)
	if why := v.camera.lies(&p); why != "" {
		return vision.Decision{Reason: why}, false
	}
	return l.Rule.Decide(ctx, p, v.width, v.height), true
}

// tell hands the decision to the recorder, which tells it once it is on disk, behind
// those that wait for the large model.
func (s *Station) tell(l *lane, p vision.Part, d vision.Decision) {
	l.takeExhibit(p.ID).release()
	s.lineup.pass(s.inspection(l, p, d))
}

// inspection is the part with its decision, and what is kept of it.
func (s *Station) inspection(l *lane, p vision.Part, d vision.Decision) *Inspection {
	c := l.crops[p.ID]
	delete(l.crops, p.ID)
	about := l.about(l.little[p.ID])
	delete(l.little, p.ID)
	return &Inspection{
		Part: p, Decision: d, Told: d, Decided: time.Now(), Recipe: l.Recipe,
		Station: s.cfg.ID, Line: s.cfg.Line, Camera: s.of(&p).camera.Name(), Model: about, station: s, lane: l, rule: l.Rule, crop: c,
	}
}
