package agent

import (
	"slices"
	"time"
)

// Limits of rhythm.
const (
	rhythmGaps  = 7               // of which the median is the camera's period; four of them are a new one
	rhythmLeast = 3               // from when on it is better known than by the reader
	rhythmFull  = 3               // gaps at the camera's pace in a row after which no picture waits any more
	backlogMost = 3 * time.Second // no reading of what was kept takes longer, at the latest it is another pace
)

// rhythm knows at what pace a camera's pictures come, and which of them may have waited
// on their way: its reader stood still or was started anew, and what it reads first was
// kept for it meanwhile. What comes at once is a backlog, but so is what comes at the
// pace of a decoder that is little faster than the camera: only some gaps as long as the
// camera's tell that it is over.
type rhythm struct {
	expected time.Duration   // what the reader measures, until there are gaps enough; 0: unknown
	gaps     []time.Duration // the newest last
	last     time.Time       // picture; zero: none yet
	behind   time.Time       // since when those that come may have waited; zero: they haven't
	since    []time.Duration // gaps since then
}

// period is the time between two pictures, 0 while it isn't known.
func (r *rhythm) period() time.Duration {
	if r.expected > 0 && len(r.gaps) < rhythmLeast || len(r.gaps) == 0 {
		return r.expected
	}
	sorted := slices.Sorted(slices.Values(r.gaps))
	return sorted[(len(sorted)-1)/2] // the lower one of two: it refuses more
}

// next tells of the next picture whether it may have waited, or is another one than the
// first since the one before it.
func (r *rhythm) next(captured time.Time) (held bool) {
	gap, period := captured.Sub(r.last), r.period()
	first := r.last.IsZero()
	r.last = captured
	switch {
	case first:
		return false
	case period > 0 && gap > 5*period/2: // of those that come so seldom from now on the fourth has made the period another
		r.behind, r.since = captured, nil
		r.learn(gap)
		return true
	case r.behind.IsZero():
		r.learn(gap)
		return false
	}
	r.since = append(r.since, gap)
	if len(r.since) > rhythmGaps {
		r.since = r.since[1:]
	}
	switch {
	case captured.Sub(r.behind) > max(backlogMost, 5*period): // then that is the camera's pace
		r.gaps, r.behind, r.since = r.since, time.Time{}, nil
		return false
	case gap >= 9*period/10:
		r.learn(gap)
	}
	if r.caughtUp(period) {
		r.behind, r.since = time.Time{}, nil
	}
	return !r.behind.IsZero()
}

// caughtUp tells whether the last gaps are as long as the camera's. One that is longer
// doesn't stand for others.
func (r *rhythm) caughtUp(period time.Duration) bool {
	if len(r.since) < rhythmFull {
		return false
	}
	sum := time.Duration(0)
	for _, gap := range r.since[len(r.since)-rhythmFull:] {
		sum += min(gap, 5*period/4)
	}
	return sum >= rhythmFull*period*9/10
}

func (r *rhythm) learn(gap time.Duration) {
	if r.gaps = append(r.gaps, gap); len(r.gaps) > rhythmGaps {
		r.gaps = slices.Delete(r.gaps, 0, len(r.gaps)-rhythmGaps)
	}
}
