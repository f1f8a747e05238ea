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
	results, took, missed := s.consult(ctx, x)
	var out outcome
	if missed == "" {
		out, missed = x.decide(ctx, results)
	}
	if missed != "" {
		out = x.without(missed)
	}
	out.look.Took = took
	return out
}

// decide lets the rule decide by what the large model saw, one result a picture.
func (x *second) decide(ctx context.Context, results []infer.Result) (out outcome, missed string) {
	p, picture := x.part, (*float32)(nil)
	p.Defects = nil
	for n := range results {
		e := &x.exhibits[n]
		if !x.lane.gather(&p, &results[n], e) {
			return outcome{}, MissedPart
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
		return outcome{}, MissedLate
	}
	c := x.lane.Cascade
	return outcome{part: p, decision: d, look: Look{Model: c.about(), Why: x.why, Score: &score, Remote: c.Remote != nil}}, ""
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
	case c.Unfit != "":
		return MissedDown
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
// turn at the accelerator. It gives what was seen so far, how long that took, runs that
// failed included, and why it isn't all.
func (s *Station) consult(ctx context.Context, x *second) (out []infer.Result, took time.Duration, missed string) {
	c, n := x.lane.Cascade, len(x.exhibits)
	if n == 0 {
		return nil, 0, MissedPicture
	}
	if missed := s.hindrance(c, n, x.by); missed != "" {
		return nil, 0, missed
	}
	likely := time.Duration(n) * s.likely(c)
	if !s.budget.spend(likely, c.Budget) {
		return nil, 0, MissedBudget
	}
	defer func() { s.budget.settle(likely, took) }()
	for i := range x.exhibits {
		e := &x.exhibits[i]
		r, ran, err := s.show(ctx, c, e, x.by.Add(-time.Duration(n-1-i)*s.slowest(c)))
		took += ran
		switch {
		case err == nil:
			shift(r.Detections, e.x, e.y)
			out = append(out, r)
			continue
		case ctx.Err() != nil:
			return out, took, MissedStopped
		case errors.Is(err, errOpen):
			return out, took, MissedBreaker
		case errors.Is(err, sched.ErrLate), errors.Is(err, sched.ErrStale), errors.Is(err, context.DeadlineExceeded):
			return out, took, MissedLate
		}
		if s.mayWarn() {
			s.log.Warn("the large model gave no result", "model", c.about().Name, "err", err)
		}
		return out, took, MissedFailed
	}
	return out, took, ""
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
// the deadline: the slot is the model's until it answers. Ran is how long it ran, also
// where that came to nothing.
func (s *Station) show(ctx context.Context, c *Cascade, e *exhibit, by time.Time) (r infer.Result, ran time.Duration, err error) {
	timely, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	began := time.Now()
	if c.Remote != nil {
		r, err = c.Remote.look(timely, &e.frame)
	} else {
		captured := e.captured
		turn, late := s.large.Take(timely, sched.Ask{
			Model: s.costs(costName(c.About)), Deadline: by, Newest: func() (time.Time, bool) { return captured, true },
		})
		if late != nil {
			return r, 0, late
		}
		began = time.Now()
		r, err = c.Large.InferOf(ctx, groupOf(turn), &e.frame, e.pool, e.slot)
		turn.Done(err == nil)
	}
	switch {
	case err == nil:
		return r, spent(&r), nil
	case errors.Is(err, errOpen):
		return r, 0, err
	}
	return r, time.Since(began), err
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
	if c == nil || c.Unfit != "" {
		return
	}
	if c.Remote != nil {
		c.Remote.practise(ctx, func() bool { return s.current() == l })
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
		_, err = c.Large.InferOf(ctx, groupOf(turn), &f, pool, 0)
		turn.Done(err == nil)
	}
}
