package uplink

import (
	"math/rand/v2"
	"time"
)

// outage says when to connect again. Time since the connection's end is cut
// into windows, each half as long again as the one before, and there is one
// attempt in each, at the same random share of it. Devices that lost their
// broker together so come back evenly, whenever it does: a share of their own
// in every window would leave a tail, and growing faster a peak.
type outage struct {
	share  float64 // 0 to 1
	start  time.Time
	window time.Duration
}

// longestWindow is the longest between two attempts.
const longestWindow = 30 * time.Second

func newOutage(now time.Time, first time.Duration) *outage {
	return &outage{share: rand.Float64(), start: now, window: first}
}

// next is the time of the next attempt, after now.
func (o *outage) next(now time.Time) time.Time {
	for {
		at := o.start.Add(time.Duration(o.share * float64(o.window)))
		o.start = o.start.Add(o.window)
		o.window = min(o.window+o.window/2, longestWindow)
		if at.After(now) {
			return at
		}
	}
}

// pause is a wait that doubles each time, from least to most.
type pause struct {
	least, most time.Duration
	last        time.Duration
}

// next is the wait, with up to a third more or less so that devices don't
// stay in step.
func (p *pause) next() time.Duration {
	p.last = min(max(2*p.last, p.least), p.most)
	return jitter(p.last)
}

func (p *pause) reset() { p.last = 0 }

// jitter is from two thirds to four thirds of d.
func jitter(d time.Duration) time.Duration {
	return d*2/3 + rand.N(d*2/3+1)
}
