package agent

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
	"github.com/sightline-edge/sightline/vision/track"
)

// glance is what one camera shows of a part.
type glance struct {
	view   *view
	frame  *capture.Frame // held until the inquiry is over
	result infer.Result
	small  bool       // the small model looked
	reason string     // why there is none; "" with a result
	box    vision.Box // of the part in it; all of it for models that know no parts
}

// inquire inspects the part of a trigger to its decision.
func (s *Station) inquire(q *inquiry, l *lane) {
	s.bystanders.Hold()
	defer s.bystanders.Release()
	glances := make([]glance, len(s.views))
	var wg sync.WaitGroup
	for n, v := range s.views {
		glances[n].view = v
		wg.Go(func() { s.glance(q, l, &glances[n]) })
	}
	wg.Wait()
	defer func() {
		for _, g := range glances {
			if g.frame != nil {
				g.frame.Release()
			}
		}
	}()
	p, d := s.weigh(q, l, glances)
	s.conclude(q, l, p, d, glances)
}

// glance takes the frame of one camera and lets the model look at it.
func (s *Station) glance(q *inquiry, l *lane, g *glance) {
	f, err := s.expose(q, l, g.view)
	switch {
	case errors.Is(err, errTaken):
		g.reason = vision.ReasonOverrun
		return
	case err != nil:
		g.reason = vision.ReasonNoFrame
		return
	}
	g.frame = f
	if int(q.exposed.Add(1)) == len(s.views) {
		q.enter(vision.ReasonLate)
	}
	g.result, err = s.inspectOne(q, l, g)
	switch {
	case err == nil:
	case errors.Is(err, sched.ErrStale):
		g.reason = vision.ReasonStale
	case errors.Is(err, sched.ErrLate), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		g.reason = vision.ReasonLate
	default:
		g.reason = vision.ReasonModelFailed
		s.lostFrame(g.view, f, err)
	}
}

// Defaults of TriggerConfig.
const (
	defaultMaxDelay = 50 * time.Millisecond
	defaultLate     = 100 * time.Millisecond
)

// expose binds the trigger to its frame. One that may have had another recipe's
// exposure is none.
func (s *Station) expose(q *inquiry, l *lane, v *view) (*capture.Frame, error) {
	f, err := s.bind(q, v)
	if err == nil && !v.exposedFor(l, f) {
		f.Release()
		return nil, errLost
	}
	return f, err
}

// exposedFor tells whether a frame surely has the exposure of that lane's recipe, or
// without one that of the camera's configuration.
func (v *view) exposedFor(l *lane, f *capture.Frame) bool {
	_, configured := v.camera.cfg.Source.Exposure()
	return f.Exposure == cmp.Or(l.Exposure, configured)
}

func (s *Station) bind(q *inquiry, v *view) (*capture.Frame, error) {
	c := v.camera
	switch {
	case c.cfg.Source.Triggers():
		return c.fire(q.ctx, q.places[v.index], v.shutter, q.At.Add(cmp.Or(s.cfg.Trigger.MaxDelay, defaultMaxDelay)))
	case c.awaitsTrigger():
		return v.shutter.pulse(q.ctx, s.reserve(q, v))
	}
	return v.shutter.at(q.ctx, q.At)
}

// reserve keeps others from the exposure that a hardware trigger made for q.
func (s *Station) reserve(q *inquiry, v *view) *span {
	return v.shutter.reserve(q.At, s.cfg.Trigger.Slack, cmp.Or(s.cfg.Trigger.Late, defaultLate))
}

// forgo keeps others from the exposures of a trigger that isn't inspected: a line has
// made them all the same.
func (s *Station) forgo(q *inquiry) {
	for _, v := range s.views {
		if v.camera.awaitsTrigger() && !v.camera.cfg.Source.Triggers() {
			s.reserve(q, v)
		}
	}
}

// inspectOne waits for a turn at the accelerator and runs the model on the frame,
// once more if the worker died under it.
func (s *Station) inspectOne(q *inquiry, l *lane, g *glance) (infer.Result, error) {
	for try := 0; ; try++ {
		r, err := s.inspectOnce(q, l, g)
		if !errors.Is(err, infer.ErrWorkerLost) || try == 1 {
			return r, err
		}
	}
}

func (s *Station) inspectOnce(q *inquiry, l *lane, g *glance) (infer.Result, error) {
	v, f := g.view, g.frame
	model, cost := s.choose(l)
	g.small = model == l.Small
	if _, err := model.Ready(q.ctx); err != nil { // others have the turns while its worker starts
		return infer.Result{}, err
	}
	deadline, _ := q.ctx.Deadline()
	turn, err := v.stream.Take(q.ctx, sched.Ask{
		Model: cost, Deadline: deadline, MaxAge: s.cfg.MaxAge,
		Newest: func() (time.Time, bool) { return f.Captured, true },
	})
	if err != nil {
		return infer.Result{}, err
	}
	// It isn't ended by the deadline: the model goes on with the frame, whatever the answer was.
	r, err := s.inferCut(s.hard, model, l, v, groupOf(turn), f)
	turn.Done(err == nil)
	if err == nil {
		s.sawTriggered(v, l, f, r)
	}
	return r, err
}

// sawTriggered counts a frame with a result.
func (s *Station) sawTriggered(v *view, l *lane, f *capture.Frame, r infer.Result) {
	now := time.Now()
	v.lookedAt.Store(now.UnixNano())
	s.measure(&flight{view: v, frame: f}, &run{lane: l, result: r}, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	l.tally.runs.add(r.Run)
	l.tally.ages.add(now.Sub(f.Captured))
}

// lostFrame counts a frame that the model gave no result for.
func (s *Station) lostFrame(v *view, f *capture.Frame, err error) {
	s.mu.Lock()
	s.stats.Lost++
	v.lost++
	s.mu.Unlock()
	if s.mayWarn() {
		s.log.Warn("frame without a result", "seq", f.Seq, "err", err)
	}
}

// mayWarn is true once a second, for what may go wrong with each frame.
func (s *Station) mayWarn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.warned) < time.Second {
		return false
	}
	s.warned = time.Now()
	return true
}

// weigh makes one part of what the cameras show, and lets the rule decide.
func (s *Station) weigh(q *inquiry, l *lane, glances []glance) (vision.Part, vision.Decision) {
	p := s.bare(q)
	missing := ""
	for n := range glances {
		g := &glances[n]
		if g.reason == vision.ReasonOverrun || missing == "" {
			missing = g.reason
		}
	}
	if missing == vision.ReasonNoFrame && len(glances) > 1 {
		missing = vision.ReasonViewMissing
	}
	found := s.assemble(&p, l, glances)
	for _, g := range glances {
		if g.reason == "" {
			g.view.screen.offer(time.Now(), &g.frame.Frame, []track.View{{Part: p}}, g.result.Detections)
		}
	}
	switch {
	case missing != "":
		return p, vision.Decision{Reason: missing}
	case !found:
		return p, vision.Decision{Reason: vision.ReasonNoPart}
	}
	if l == s.first && s.isLoading() {
		return p, vision.Decision{Reason: vision.ReasonNoRule}
	}
	rule := s.ruleOf(l)
	if rule == nil {
		return p, vision.Decision{Reason: vision.ReasonNoRule}
	}
	for _, g := range glances {
		if why := g.view.camera.lies(&p); why != "" {
			return p, vision.Decision{Reason: why}
		}
	}
	return s.reconsider(q, l, glances, p, rule)
}

// fresh is the decision about a part, unless a picture of it is older by now than the
// station allows.
func (s *Station) fresh(p *vision.Part, d vision.Decision, now time.Time) vision.Decision {
	if d.Verdict != vision.None && s.cfg.MaxAge > 0 && now.Sub(p.Seen) > s.cfg.MaxAge {
		return vision.Decision{Reason: vision.ReasonStale}
	}
	return d
}

// concludeLate answers at the last moment with the reason of the stage that it is in.
func (s *Station) concludeLate(q *inquiry, l *lane) {
	stage, mine := q.claim()
	if !mine {
		return
	}
	if stage == vision.ReasonNoFrame && len(s.views) > 1 {
		stage = vision.ReasonViewMissing
	}
	p, d, now := s.bare(q), vision.Decision{Reason: stage}, time.Now()
	if o := q.insteadOf(); o != nil && stage != vision.ReasonStopped {
		p, d = o.part, s.fresh(&o.part, o.decision, now)
	}
	s.record(q, l, p, d, nil, now)
}

// conclude gives the decision, unless the time was up before.
func (s *Station) conclude(q *inquiry, l *lane, p vision.Part, d vision.Decision, glances []glance) {
	if _, mine := q.claim(); !mine {
		return
	}
	now := time.Now() // that the record tells: until then a frame may have grown too old
	s.record(q, l, p, s.fresh(&p, d, now), glances, now)
}

// record hands the decision to the recorder, which answers once it is on disk.
func (s *Station) record(q *inquiry, l *lane, p vision.Part, d vision.Decision, glances []glance, now time.Time) {
	i := &Inspection{
		Part: p, Decision: d, Told: d, Decided: now, Deadline: s.byOf(q).Add(-q.ahead()), Recipe: l.Recipe,
		Station: s.cfg.ID, Line: s.cfg.Line, Camera: p.Camera, station: s, lane: l, rule: s.ruleOf(l), ask: q,
	}
	i.Model = l.about(slices.ContainsFunc(glances, func(g glance) bool { return g.small }))
	q.adorn(i)
	if s.cfg.Pictures && len(glances) > 0 {
		i.crop = s.portrait(p, glances)
	}
	s.recorder.decided(i)
}
