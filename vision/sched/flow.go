package sched

import "time"

// handful is how many results the window in which misses are counted holds at least:
// where work is rare it grows, up to GovernorConfig.Widest.
const handful = 4

// flow is what a governor knows of a stream.
type flow struct {
	stream  *Stream
	samples []sample      // of the widest window, the oldest first
	wide    time.Duration // the window for misses that its results asked for last; 0: not known
	rate    float64       // turns a second when it last had no limit; 0: not known
	limit   float64       // that is set; 0: none
}

type sample struct {
	at    time.Time
	stats Stats
}

// look is what has happened to a stream.
type look struct {
	span   time.Duration // that rates are of
	recent Stats         // in it
	counts Stats         // in the window for misses, which holds that one

	first, last time.Time // between which samples of it something was missed; zero: nothing was
}

// window is the least that anything is counted over.
func (f *flow) window(least time.Duration) time.Duration {
	if hz := f.stream.config.MinRate; hz > 0 {
		return max(least, 4*period(hz))
	}
	return least
}

// look takes a sample and tells what has happened; least and widest are of
// GovernorConfig.
func (f *flow) look(now time.Time, least, widest time.Duration) look {
	window := f.window(least)
	stats := f.stream.Stats()
	for len(f.samples) > 1 && now.Sub(f.samples[1].at) >= max(window, widest) {
		f.samples = f.samples[1:]
	}
	f.samples = append(f.samples, sample{now, stats})
	from := len(f.samples) - 1
	for from > 0 && now.Sub(f.samples[from].at) < window {
		from--
	}
	l := look{span: now.Sub(f.samples[from].at), recent: *stats.since(&f.samples[from].stats)}
	for from > 0 && now.Sub(f.samples[from].at) < widest && stats.since(&f.samples[from].stats).judged() < handful {
		from--
	}
	first := &f.samples[from]
	l.counts = *stats.since(&first.stats)
	if n, span := l.counts.judged(), now.Sub(first.at); n >= handful || span >= widest {
		if f.wide = span; n == 0 {
			f.wide = 0
		}
	}
	l.first, l.last = spread(f.samples[from:])
	return l
}

// spread is between which samples something was missed.
func spread(samples []sample) (first, last time.Time) {
	for i := 1; i < len(samples); i++ {
		if samples[i].stats.missed() > samples[i-1].stats.missed() {
			if last = samples[i].at; first.IsZero() {
				first = samples[i-1].at
			}
		}
	}
	return first, last
}

// since is what was counted after first, as far as a governor asks.
func (c *Stats) since(first *Stats) *Stats {
	return &Stats{
		Grants: c.Grants - first.Grants,
		InTime: c.InTime - first.InTime,
		Late:   c.Late - first.Late,

		RefusedLate:  c.RefusedLate - first.RefusedLate,
		RefusedStale: c.RefusedStale - first.RefusedStale,

		Busy:   c.Busy - first.Busy,
		Waited: c.Waited - first.Waited,
	}
}

// missed counts work that had a time to be done by and wasn't.
func (c *Stats) missed() uint64 { return c.Late + c.RefusedLate + c.RefusedStale }

// judged counts work that was in time or missed.
func (c *Stats) judged() uint64 { return c.InTime + c.missed() }
