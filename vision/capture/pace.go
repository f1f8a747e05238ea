package capture

import (
	"math"
	"time"
)

// Limits of pace.
const (
	paceBucket = int64(time.Second)           // of arrival, for which the fastest frame is kept
	paceKept   = 20                           // buckets
	paceLeap   = int64(50 * time.Millisecond) // a frame that comes so much before the line has another clock
	paceHeld   = int64(10 * time.Second)      // no network or camera holds a frame longer
	paceDrift  = 1e-3                         // by which a clock may run faster or slower than ours; quartz has 2e-4
	paceLie    = 3e-3                         // a clock that is slower than this is none
	paceSteady = 5                            // buckets after which the line is trusted
)

// pace lays a camera's clock over ours. What a frame takes on its way is at
// least what the fastest take, so the line below all delays, of a clock that
// may drift, is the clock's offset; a frame above it was held up on the way.
type pace struct {
	low           []fastest // of each bucket, oldest first
	camera, mono  int64     // of the last frame
	mean          float64   // where the line is anchored, ns after low[0].camera
	offset, slope float64   // ns over low[0].delay there, ns per ns
	lies          bool      // the stamps don't follow time
}

// fastest is the frame of a bucket that took least.
type fastest struct {
	began         int64 // first arrival of the bucket, ns
	camera, delay int64 // ns; delay is arrival less camera, on clocks of any origin
}

// at takes a frame's stamp by the camera's clock and its arrival by ours, both
// in ns, and gives when it was taken by ours: never after its arrival, and never
// before the frame before it. Stamps that wrap round must be unrolled before.
// A clock that was set anew begins a new line.
func (p *pace) at(camera, arrival int64) (mono int64) {
	if len(p.low) > 0 && p.leaps(camera, arrival) {
		*p = pace{mono: p.mono}
	}
	p.note(camera, arrival)
	p.fit()
	mono = camera + p.delay(camera)
	if p.lies || mono > arrival {
		mono = arrival
	}
	mono = min(max(mono, arrival-paceHeld, p.mono+1), arrival)
	p.camera, p.mono = camera, mono
	return mono
}

// delay is the line's, ns.
func (p *pace) delay(camera int64) int64 {
	first := p.low[0]
	return first.delay + int64(p.offset+p.slope*(float64(camera-first.camera)-p.mean))
}

// lag is by how much the camera's clock lies behind ours, its fastest way
// included, ns. steady tells that this has held for some seconds.
func (p *pace) lag() (ns int64, steady bool) {
	if len(p.low) == 0 {
		return 0, false
	}
	return p.delay(p.camera), len(p.low) > paceSteady && !p.lies
}

// leaps tells a clock that was set or stands still, or another camera's.
func (p *pace) leaps(camera, arrival int64) bool {
	over := arrival - camera - p.delay(camera)
	return camera <= p.camera || over < -paceLeap || over > paceHeld
}

func (p *pace) note(camera, arrival int64) {
	f := fastest{arrival, camera, arrival - camera}
	n := len(p.low)
	switch {
	case n == 0 || arrival-p.low[n-1].began >= paceBucket:
		if n == paceKept {
			p.low = append(p.low[:0], p.low[1:]...)
		}
		p.low = append(p.low, f)
	case f.delay < p.low[n-1].delay:
		f.began = p.low[n-1].began
		p.low[n-1] = f
	}
}

// fit draws the highest line that lies below all points, measured at their
// middle, among those of a plausible drift.
func (p *pace) fit() {
	first := p.low[0]
	p.mean = 0
	for _, l := range p.low {
		p.mean += float64(l.camera-first.camera) / float64(len(p.low))
	}
	p.slope = steepest(p.under, paceDrift)
	p.offset = p.under(p.slope)
	p.lies = false
	last := p.low[len(p.low)-1]
	if p.slope < paceDrift*0.99 || len(p.low) <= paceSteady {
		return
	}
	// A clock that is too slow, and not a network that grows slower: all points
	// lie on one steep line.
	s := steepest(p.under, 1e3)
	rise := s * float64(last.camera-first.camera)
	p.lies = s > paceLie
	for _, l := range p.low {
		above := float64(l.delay-first.delay) - p.under(s) - s*(float64(l.camera-first.camera)-p.mean)
		p.lies = p.lies && above < rise/10+float64(5*time.Millisecond)
	}
}

// under is how high a line of that slope may lie at the middle.
func (p *pace) under(slope float64) float64 {
	first, low := p.low[0], math.Inf(1)
	for _, l := range p.low {
		low = min(low, float64(l.delay-first.delay)-slope*(float64(l.camera-first.camera)-p.mean))
	}
	return low
}

// steepest finds where the concave f is highest within ±limit.
func steepest(f func(float64) float64, limit float64) float64 {
	a, b := -limit, limit
	for range 60 {
		l, r := a+(b-a)/3, b-(b-a)/3
		if f(l) < f(r) {
			a = l
		} else {
			b = r
		}
	}
	return (a + b) / 2
}

// Limits of backlog.
const (
	backlogMost  = 3 * time.Second        // after the first frame, everything is handed over
	backlogFirst = 100 * time.Millisecond // for what may follow a frame in a burst
)

// backlog tells the old frames that many cameras and servers send in a burst
// when somebody connects: they come faster than they were taken.
type backlog struct {
	began           int64 // arrival of the first frame
	camera, arrival int64 // of the last frame
	frames          int
}

// next takes a frame's stamp by the camera and its arrival, ns. old tells that
// the one before it was part of a burst; wait is how long a fresher one should be
// waited for before this one is handed over: 0 for a stream at its own pace.
func (b *backlog) next(camera, arrival int64) (old bool, wait time.Duration) {
	passed, came := camera-b.camera, arrival-b.arrival
	b.camera, b.arrival = camera, arrival
	if b.frames++; b.frames == 1 {
		b.began = arrival
		return false, backlogFirst
	}
	left := backlogMost - time.Duration(arrival-b.began)
	if left <= 0 || passed <= 0 || came >= passed/2 {
		return false, 0
	}
	return true, min(max(time.Duration(passed/2), backlogFirst), 2*backlogFirst, left)
}
