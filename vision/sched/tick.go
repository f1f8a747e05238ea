package sched

import (
	"fmt"
	"time"
)

// state is how a member fares.
type state struct {
	m      *Member
	bad    float64 // missed share of its work, once that has held; 0: no trouble
	uneasy bool    // it is too near to trouble for a step to be taken back
	why    string
	last   time.Time // when something was missed; zero: not in the window
	busy   time.Duration
	slower bool // it has more turns than the step Slower would leave it
}

// survey looks at all streams of a member.
func (g *Governor) survey(m *Member, now time.Time) state {
	s := state{m: m}
	unmet, missed, all := 0.0, uint64(0), uint64(0)
	var first, last time.Time // misses
	for _, f := range m.flows {
		l := f.look(now, g.c.Window, g.c.Widest)
		span, d := l.span, &l.recent
		if span <= 0 {
			continue
		}
		s.busy += d.Busy
		hz, least := float64(d.Grants)/span.Seconds(), f.stream.config.MinRate
		if f.limit == 0 && d.Grants > 0 && span >= time.Second {
			f.rate = hz
		}
		s.slower = s.slower || max(least, f.rate/2) < 0.95*f.rate
		if m.config.Class != BestEffort { // which has what is left over
			missed += l.counts.missed()
			all += l.counts.judged()
			if !l.first.IsZero() {
				if first.IsZero() || l.first.Before(first) {
					first = l.first
				}
				last = later(last, l.last)
			}
		}
		// A camera that gives too little is no trouble of the scheduler's: its stream
		// hardly waits. One turn may be under way, or about to be.
		if want := least * span.Seconds(); float64(d.Grants) < 0.9*want-1 && d.Waited > span/2 {
			unmet = max(unmet, 1-float64(d.Grants)/want)
			s.why = fmt.Sprintf("min_rate: %.1f of %.1f per second", hz, least)
		}
	}
	if s.last = last; unmet > 0 {
		s.last = now
	}
	s.bad = m.held(unmet, now, g.c.Raise)
	s.uneasy = unmet > 0
	if missed > 1 { // once is by chance
		share := float64(missed) / float64(all)
		s.uneasy = s.uneasy || share > g.c.Share/2
		if share > g.c.Share && last.Sub(first) >= g.c.Raise && now.Sub(last) < g.c.Raise {
			s.bad = max(s.bad, share)
			s.why = fmt.Sprintf("late: %d of %d", missed, all)
		}
	}
	return s
}

// held gives unmet once it has been more than 0 for so long.
func (m *Member) held(unmet float64, now time.Time, long time.Duration) float64 {
	if unmet == 0 {
		m.unmet = time.Time{}
	} else if m.unmet.IsZero() {
		m.unmet = now
	}
	if unmet > 0 && now.Sub(m.unmet) >= long {
		return unmet
	}
	return 0
}

// Tick looks at all members and changes at most one step, besides those that
// Pressure asks for. Now must not go back.
func (g *Governor) Tick(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.floor.set(now, g.pressure, g.c.Calm)
	states := make([]state, 0, len(g.members))
	worst, uneasy := -1, false
	for i, m := range g.members {
		s := g.survey(m, now)
		states = append(states, s)
		uneasy = uneasy || s.uneasy
		g.missed = later(g.missed, s.last)
		if s.bad > 0 && (worst < 0 || m.config.Class.before(states[worst].m.config.Class) ||
			m.config.Class == states[worst].m.config.Class && s.bad > states[worst].bad) {
			worst = i
		}
	}
	if uneasy {
		g.calm = time.Time{}
	} else if g.calm.IsZero() {
		if g.calm = g.missed; g.calm.IsZero() {
			g.calm = now
		}
	}
	wait := max(g.wait, g.shows())
	if worst >= 0 || g.lowered != nil || g.quiet.IsZero() {
		g.quiet = now // a step that was taken back is on trial
	} else if now.Sub(g.quiet) >= 4*wait {
		g.quiet, g.wait, g.tried = now, max(g.wait/2, g.c.Calm), g.tried/2
	}
	switch {
	case worst >= 0:
		g.raise(states, states[worst], now)
	case !g.calm.IsZero() && now.Sub(g.calm) >= wait:
		g.lower(now)
	}
	g.strained = uneasy || g.floor.level >= floors[len(floors)-1].level
	for _, m := range g.members {
		m.settle(now, &g.floor)
		g.strained = g.strained || m.Step() != Full
	}
}

// shows is how long it takes until trouble shows, if there is any.
func (g *Governor) shows() time.Duration {
	longest := g.c.Window
	for _, m := range g.members {
		for _, f := range m.flows {
			longest = max(longest, f.window(g.c.Window))
			if m.config.Class != BestEffort {
				longest = max(longest, f.wide)
			}
		}
	}
	return longest + g.c.Raise
}

// raise gives one step of one member for the trouble of s: of the lowest class,
// there of the one that stands highest, there of the one in trouble, else of the
// one that costs most.
func (g *Governor) raise(states []state, s state, now time.Time) {
	var victim *state
	var step Step
	for i := range states {
		o := &states[i]
		next, ok := o.gives(s)
		switch {
		case !ok:
			continue
		case victim == nil || o.goesBefore(victim, s.m):
			victim, step = o, next
		}
	}
	if victim == nil {
		return
	}
	if g.lowered != nil {
		g.wait = min(2*max(g.wait, g.tried), g.c.MaxCalm)
		g.lowered = nil
	}
	victim.m.load = step
	victim.m.because = s.why
	if victim.m != s.m {
		victim.m.because = s.m.config.Name + " " + s.why
	}
	g.restart()
}

// gives tells which step o could give next for the trouble of s. What has taken no
// time has none to give, unless the trouble is its own. Nothing inspected at all
// is no help to those who miss less than half.
func (o *state) gives(s state) (Step, bool) {
	c := &o.m.config
	if s.m.config.Class != c.Class && c.Class.before(s.m.config.Class) || o.busy == 0 && o.m != s.m {
		return 0, false
	}
	switch at := max(o.m.load, o.m.Step()); {
	case at < Slower && !c.Fixed && o.slower:
		return Slower, true
	case at < Smaller && c.Smaller:
		return Smaller, true
	case at < Nothing && (c.Class != s.m.config.Class || o.bad >= 0.5):
		return Nothing, true
	}
	return 0, false
}

func (o *state) goesBefore(other *state, troubled *Member) bool {
	switch a, b := o.m.config.Class, other.m.config.Class; {
	case a != b:
		return b.before(a)
	case o.m.load != other.m.load:
		return o.m.load < other.m.load
	case o.m == troubled || other.m == troubled:
		return o.m == troubled
	}
	return o.busy > other.busy
}

// lower takes one step of one member back: of the highest class, there of the one
// that stands lowest.
func (g *Governor) lower(now time.Time) {
	if g.lowered != nil {
		// The last time has proved good, the next may bring the trouble back.
		g.lowered, g.wait, g.tried = nil, g.c.Calm, max(g.wait, g.tried)
	}
	var best *Member
	for _, m := range g.members {
		if m.load > Full && (best == nil || m.config.Class.before(best.config.Class) ||
			m.config.Class == best.config.Class && m.load > best.load) {
			best = m
		}
	}
	g.calm = now
	if best == nil {
		g.tried = 0
		return
	}
	for best.load--; !best.has(best.load); best.load-- {
	}
	g.lowered = best
	g.restart()
}

// restart forgets what happened before a step was changed.
func (g *Governor) restart() {
	for _, m := range g.members {
		m.unmet = time.Time{}
		for _, f := range m.flows {
			f.samples = nil
		}
	}
}

// has tells whether the member has the step at all.
func (m *Member) has(s Step) bool {
	return s == Full || s == Nothing || s == Slower && !m.config.Fixed || s == Smaller && m.config.Smaller
}

// settle puts the step into effect that load and pressure ask for.
func (m *Member) settle(now time.Time, f *floor) {
	least := f.step(m.config.Class)
	for !m.has(least) {
		least--
	}
	step, why := m.load, m.because
	if least > step {
		step, why = least, f.source
	}
	if step == Full {
		why = ""
	}
	if step != m.stats.Step {
		m.stats.Step, m.stats.Since = step, now
		m.stats.Entered[step]++
		m.now.Store(uint32(step))
	}
	m.stats.Why = why
	for _, f := range m.flows {
		limit := 0.0
		if step >= Slower && !m.config.Fixed && f.rate > 0 {
			limit = max(f.stream.config.MinRate, f.rate/2)
		}
		if limit != f.limit {
			f.limit = limit
			f.stream.Limit(limit)
		}
	}
}
