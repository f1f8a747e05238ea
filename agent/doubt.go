package agent

import (
	"slices"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/quality"
)

// doubt is a time in which a camera's pictures had a fault that is to reject.
type doubt struct {
	fault    quality.Fault
	from, to time.Time // capture of the pictures; to is zero while it holds
}

// keepDoubts is how many are remembered: a part that was in view over more than
// so many has long been rejected.
const keepDoubts = 64

// distrust notes which faults that are to reject hold with the picture of that
// time, and which have ended.
func (c *Camera) distrust(at time.Time, found []quality.Finding) {
	found = slices.DeleteFunc(slices.Clone(found), func(f quality.Finding) bool { return c.cfg.Checks[f.Fault] != Rejects })
	c.mu.Lock()
	defer c.mu.Unlock()
	open := map[quality.Fault]bool{}
	for i := range c.doubts {
		d := &c.doubts[i]
		if !d.to.IsZero() {
			continue
		}
		if slices.ContainsFunc(found, func(f quality.Finding) bool { return f.Fault == d.fault }) {
			open[d.fault] = true
		} else {
			d.to = at
		}
	}
	for _, f := range found {
		if !open[f.Fault] {
			c.doubts = append(c.doubts, doubt{fault: f.Fault, from: f.Since})
		}
	}
	c.doubts = slices.Delete(c.doubts, 0, max(0, len(c.doubts)-keepDoubts))
}

// lies gives the reason for which a part gets NONE, "" for none: the camera's
// pictures had a fault that is to reject while it was in view, however they are now.
func (c *Camera) lies(p *vision.Part) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.doubts {
		if !p.LastSeen.Before(d.from) && (d.to.IsZero() || p.Seen.Before(d.to)) {
			return vision.ReasonCamera + d.fault.String()
		}
	}
	return ""
}
