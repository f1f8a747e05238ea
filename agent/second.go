package agent

import (
	"context"
	"errors"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
	"github.com/sightline-edge/sightline/vision/shm"
)

// second is a part in doubt, with what it takes to look at it again.
type second struct {
	lane     *lane
	why      string
	part     vision.Part // as the first model saw it
	decision vision.Decision
	rule     judge
	exhibits []exhibit
	by       time.Time // when the decision must stand at the latest
}

// outcome is what a second look came to.
type outcome struct {
	part     vision.Part
	decision vision.Decision
	look     Look // of the large model; with Missed it had no part in it
}

// without is the configured answer where the large model can't look.
func (x *second) without(missed string) outcome {
	c := x.lane.Cascade
	return outcome{part: x.part, decision: c.otherwise(x.decision), look: Look{Model: c.about(), Why: x.why, Missed: missed, Remote: c.Remote != nil}}
}

// lookAgain lets the large model look, and the rule decide by what it sees. It may take
// longer than there is time: then that is what it gives.
func (s *Station) lookAgain(ctx context.Context, x *second) outcome {
	results, missed := s.consult(ctx, x)
	took := time.Duration(0)
	for i := range results {
		took += spent(&results[i])
	}
	if missed != "" {
		out := x.without(missed)
		out.look.Took = took
		return out
	}
	p, picture := x.part, (*float32)(nil)
	p.Defects = nil
	for n := range results {
		e := &x.exhibits[n]
		if !x.lane.gather(&p, &results[n], e) {
			out := x.without(MissedPart)
			out.look.Took = took
			return out
		}
		if v := results[n].Score; v != nil && (picture == nil || *v > *picture) {
			picture = v
		}
	}
	if e := &x.exhibits[0]; e.album != nil { // its evidence is of this view
		p.Box, p.Best, p.BestSeen = e.box, e.seq, e.captured
	}
	score := worstOf(&p, picture)
	d := x.rule.of(ctx, p)
	if time.Now().After(x.by) {
		out := x.without(MissedLate)
		out.look.Took = took
		return out
	}
	c := x.lane.Cascade
	return outcome{part: p, decision: d, look: Look{Model: c.about(), Why: x.why, Took: took, Score: &score, Remote: c.Remote != nil}}
}

// hindrance is why the large model can't be asked to look at so many pictures by that
// time; "" if it can.
func (s *Station) hindrance(c *Cascade, pictures int, by time.Time) string {
	s.mu.Lock()
	stopping := s.stopping
	s.mu.Unlock()
	switch {
	case stopping:
		return MissedStopped
	case s.step() >= sched.Slower || s.strained != nil && s.strained():
		return MissedOverload
	case c.Remote != nil:
		return c.Remote.hindrance(pictures, by)
	}
	switch cost := s.costs(costName(c.About)); {
	case ready(c.Large) != nil:
		return MissedDown
	case cost.Runs() < practiceRuns:
		return MissedUnmeasured
	}
	return "" // whether it fits the deadline the scheduler decides, which tries again what was slow once
}

// consult shows the large model the part's pictures one after the other, each in its
// turn at the accelerator. It gives what was seen so far, and why that isn't all.
func (s *Station) consult(ctx context.Context, x *second) (out []infer.Result, missed string) {
	c, n := x.lane.Cascade, len(x.exhibits)
	if n == 0 {
		return nil, MissedPicture
	}
	if missed := s.hindrance(c, n, x.by); missed != "" {
		return nil, missed
	}
	likely := time.Duration(n) * s.likely(c)
	if !s.budget.spend(likely, c.Budget) {
		return nil, MissedBudget
	}
	took := time.Duration(0)
	defer func() { s.budget.settle(likely, took) }()
	for i := range x.exhibits {
		e := &x.exhibits[i]
		r, err := s.show(ctx, c, e, x.by.Add(-time.Duration(n-1-i)*s.slowest(c)))
		switch {
		case err == nil:
			took += spent(&r)
			shift(r.Detections, e.x, e.y)
			out = append(out, r)
			continue
		case ctx.Err() != nil:
			return out, MissedStopped
		case errors.Is(err, errOpen):
			return out, MissedBreaker
		case errors.Is(err, sched.ErrLate), errors.Is(err, sched.ErrStale), errors.Is(err, context.DeadlineExceeded):
			return out, MissedLate
		}
		if s.mayWarn() {
			s.log.Warn("the large model gave no result", "model", c.about().Name, "err", err)
		}
		return out, MissedFailed
	}
	return out, ""
}

// likely is what a look will cost.
func (s *Station) likely(c *Cascade) time.Duration {
	if c.Remote != nil {
		p50, _, _ := c.Remote.quantiles()
		return p50
	}
	return s.costs(costName(c.About)).P50()
}

// slowest is what all but a few looks take at most.
func (s *Station) slowest(c *Cascade) time.Duration {
	if c.Remote != nil {
		_, p99, _ := c.Remote.quantiles()
		return p99
	}
	return s.costs(costName(c.About)).P99()
}

// show waits for a turn and lets the large model look at one picture. It isn't ended by
// the deadline: the slot is the model's until it answers.
func (s *Station) show(ctx context.Context, c *Cascade, e *exhibit, by time.Time) (infer.Result, error) {
	timely, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	if c.Remote != nil {
		return c.Remote.look(timely, &e.frame)
	}
	captured := e.captured
	turn, err := s.large.Take(timely, sched.Ask{
		Model: s.costs(costName(c.About)), Deadline: by, Newest: func() (time.Time, bool) { return captured, true },
	})
	if err != nil {
		return infer.Result{}, err
	}
	r, err := c.Large.Infer(ctx, &e.frame, e.pool, e.slot)
	turn.Done(err == nil)
	return r, err
}

// practiceRuns is how many runs tell how long a model takes. What they look at is
// empty, as large as what cameras commonly give.
const (
	practiceRuns   = 3
	practiceWidth  = 1280
	practiceHeight = 720
)

// practise measures how long the lane's large model takes, unless others have: nobody
// can say that it fits a deadline before.
func (s *Station) practise(ctx context.Context, l *lane) {
	c := l.Cascade
	if c == nil {
		return
	}
	if c.Remote != nil {
		c.Remote.practise(ctx)
		return
	}
	if _, err := c.Large.Ready(ctx); err != nil {
		return // the agent goes, or the model is given up, which is told
	}
	cost := s.costs(costName(c.About))
	pool, err := shm.NewPool(0, 1, practiceWidth*practiceHeight*vision.BGR24.Channels())
	if err != nil {
		s.log.Error("the large model can't be measured", "err", err)
		return
	}
	defer pool.Release()
	defer c.Large.Forget(pool)
	f := vision.Frame{Width: practiceWidth, Height: practiceHeight, Stride: practiceWidth * vision.BGR24.Channels(), Format: vision.BGR24}
	for tries := 0; cost.Runs() < practiceRuns && tries < 2*practiceRuns && ctx.Err() == nil; tries++ {
		turn, err := s.large.Take(ctx, sched.Ask{Model: cost, Newest: func() (time.Time, bool) { return time.Now(), true }})
		if err != nil {
			return
		}
		_, err = c.Large.Infer(ctx, &f, pool, 0)
		turn.Done(err == nil)
	}
}
