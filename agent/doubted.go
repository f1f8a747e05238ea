package agent

import (
	"context"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/rules"
)

// doubtful looks whether a part that was followed and decided so is in doubt, and tells
// its verdict, once the large model has looked where it is. The judge goes on meanwhile.
func (s *Station) doubtful(ctx context.Context, l *lane, p vision.Part, d vision.Decision) {
	v, e := s.of(&p), l.takeExhibit(p.ID)
	i := s.inspection(l, p, d)
	x := &second{lane: l, part: p, decision: d, rule: judge{l.Rule.Decide, v.width, v.height}}
	x.by = i.Decided.Add(s.cfg.Deadline - s.recorder.reserve(s.cfg.Deadline))
	first, picture := Look{Model: i.Model, Why: WhyPart}, (*float32)(nil)
	if e != nil {
		first.Took, picture = e.run, e.score
		x.exhibits = []exhibit{*e}
	}
	score := worstOf(&p, picture)
	first.Score = &score
	i.Looks = []Look{first}
	s.budget.part()
	if x.why = l.Cascade.doubt(ctx, x.rule, &p, d, score); x.why == "" {
		e.release()
		s.lineup.pass(i)
		return
	}
	place := s.lineup.join(i)
	answer := make(chan outcome, 1)
	looking := s.looking
	l.asked.Add(1)
	s.asking.Go(func() {
		defer e.release()
		answer <- s.lookAgain(looking, x)
	})
	s.asking.Go(func() {
		defer l.asked.Done()
		i.take(s.await(answer, x))
		s.lineup.settle(place)
	})
}

// await gives what the second look comes to, at the last moment the configured answer.
func (s *Station) await(answer <-chan outcome, x *second) outcome {
	timer := time.NewTimer(time.Until(x.by))
	defer timer.Stop()
	var out outcome
	select {
	case out = <-answer:
	case <-timer.C:
		out = x.without(MissedLate)
	}
	s.budget.count(&out.look)
	return out
}

// take is what the second look came to.
func (i *Inspection) take(o outcome) {
	i.Part, i.Decision, i.Told = o.part, o.decision, o.decision
	i.Looks = append(i.Looks, o.look)
	if o.look.Missed == "" {
		i.byLarge(o.look.Model)
	}
}

// byLarge notes that the evidence is the large model's. The bundle stays the one whose
// rule decided.
func (i *Inspection) byLarge(m Model) {
	m.Bundle = i.Model.Bundle
	i.Model, i.large = m, true
}

// reconsider lets the large model look at the part of a trigger if the decision about
// it is in doubt. What would be answered if that takes too long stands meanwhile.
func (s *Station) reconsider(q *inquiry, l *lane, glances []glance, p vision.Part, rule *rules.Rule) (vision.Part, vision.Decision) {
	j := judge{rule.Decide, glances[0].frame.Width, glances[0].frame.Height}
	d := j.of(q.ctx, p)
	c := l.Cascade
	if c == nil || q.ctx.Err() != nil {
		return p, d
	}
	s.budget.part()
	x := &second{lane: l, part: p, decision: d, rule: j}
	x.by, _ = q.ctx.Deadline()
	if old := p.Seen.Add(s.cfg.MaxAge); s.cfg.MaxAge > 0 && old.Before(x.by) {
		x.by = old
	}
	first, picture := Look{Why: WhyPart}, (*float32)(nil)
	for n := range glances {
		g := &glances[n]
		first.Model = l.about(g.small)
		first.Took += spent(&g.result)
		if v := g.result.Score; v != nil && (picture == nil || *v > *picture) {
			picture = v
		}
		x.exhibits = append(x.exhibits, l.exhibitOf(g, n))
	}
	score := worstOf(&p, picture)
	first.Score = &score
	q.saw(first)
	if x.why = c.doubt(q.ctx, j, &p, d, score); x.why == "" {
		return p, d
	}
	late := x.without(MissedLate)
	q.setInstead(&late)
	if c.Large != nil {
		for n := range glances {
			glances[n].view.large.use(c.Large, glances[n].frame.Pool)
		}
	}
	out := s.lookAgain(s.hard, x)
	s.budget.count(&out.look)
	q.setInstead(&out)
	return out.part, out.decision
}

// exhibitOf is what the large model is shown of a trigger's picture, which lies where it is.
func (l *lane) exhibitOf(g *glance, view int) exhibit {
	f := g.frame
	e := exhibit{pool: f.Pool, slot: f.Slot, box: g.box, view: view, seq: f.Seq, captured: f.Captured}
	e.frame, e.x, e.y = l.shows(&f.Frame, g.box)
	return e
}

// saw notes that a model has looked at each picture of the trigger.
func (q *inquiry) saw(l Look) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.looks = []Look{l}
}

// setInstead notes what a second look came to, or what is to be answered if it doesn't
// come to anything in time.
func (q *inquiry) setInstead(o *outcome) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.decided { // what was answered stays
		q.instead = o
	}
}

// insteadOf is what setInstead noted last, nil for nothing.
func (q *inquiry) insteadOf() *outcome {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.instead
}

// adorn adds which models looked to the inspection that answers the trigger.
func (q *inquiry) adorn(i *Inspection) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i.Looks = q.looks; len(q.looks) > 0 {
		i.Model = q.looks[0].Model
	}
	if o := q.instead; o != nil {
		i.Looks = append(i.Looks[:len(i.Looks):len(i.Looks)], o.look)
		if o.look.Missed == "" {
			i.byLarge(o.look.Model)
		}
	}
}
