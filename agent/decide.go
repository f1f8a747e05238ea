package agent

import (
	"context"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/track"
)

// clock is the time that the tracker goes by: of a recording its own, else
// when the picture was taken, since the agent's start.
func (s *Station) clock(f *vision.Frame) time.Duration {
	if s.cfg.Camera.Live() {
		return f.Captured.Sub(s.began)
	}
	return f.Media
}

// measure counts a frame with a result.
func (s *Station) measure(f *flight, r *run, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats.First.IsZero() {
		s.stats.First = f.frame.Captured
	}
	s.stats.Inferred++
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
	quiet := time.Since(s.warned) < time.Second
	if !quiet {
		s.warned = time.Now()
	}
	s.mu.Unlock()
	if !quiet {
		s.log.Warn("frame without a result", "seq", f.frame.Seq, "err", r.err)
	}
	if s.cfg.Track.Mode != track.Pictures {
		return
	}
	for _, p := range r.lane.tracker.Update(track.Frame{
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
	for _, p := range s.lane.tracker.Flush() {
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
	s.tell(l, p, s.decision(ctx, l, p))
	if c != nil {
		c.told = true
	}
}

func (s *Station) decision(ctx context.Context, l *lane, p vision.Part) vision.Decision {
	s.mu.Lock()
	stopping, failed := s.stopping, s.failure != nil || l.dead != nil
	s.mu.Unlock()
	switch {
	case failed: // the model is given up: what is left of the part was not inspected
		return vision.Decision{Reason: vision.ReasonModelFailed}
	case stopping:
		return vision.Decision{Reason: vision.ReasonStopped}
	case l.Rule == nil:
		return vision.Decision{Reason: vision.ReasonNoRule}
	}
	return l.Rule.Decide(ctx, p, s.width, s.height)
}

// tell hands the decision to the recorder, which tells it once it is on disk.
func (s *Station) tell(l *lane, p vision.Part, d vision.Decision) {
	c := l.crops[p.ID]
	delete(l.crops, p.ID)
	s.recorder.decided(&Inspection{
		Part: p, Decision: d, Told: d, Decided: time.Now(),
		Station: s.cfg.ID, Line: s.cfg.Line, Source: s.cfg.Source, Model: l.About, station: s, lane: l, crop: c,
	})
}
