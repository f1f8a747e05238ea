package capture

import (
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Bounds of how old, by a camera's own clock, its pictures arrive when that clock
// goes with ours.
const (
	syncedFrom = -10 * time.Millisecond // two clocks that go together are still not the same
	syncedTo   = time.Second            // well below staleAge, so that a clock that is slow by chance costs no picture
)

// stamped is a picture's time by the camera, of any origin and since 1970 (0 if
// that isn't known), and its arrival, all in ns.
type stamped struct {
	camera, wall, arrival int64
	ok                    bool
}

// rtspClocks tells when an RTSP camera's pictures were taken.
type rtspClocks struct {
	rtp  pace // the stamps of its packets
	wall pace // the same by its reports, against our own time of day
}

// at gives the time on our monotonic clock. The stamps tell how far pictures lie
// apart. Where the camera's time of day goes with ours, and has for some seconds,
// it tells the rest, too: how long the camera itself took.
func (c *rtspClocks) at(s stamped) (int64, vision.Timing) {
	mono := c.rtp.at(s.camera, s.arrival)
	how := vision.Stamped
	if c.rtp.lies {
		how = vision.Arrived
	}
	if s.wall == 0 {
		c.wall = pace{}
		return mono, how
	}
	ours := time.Now().UnixNano() - monotonic() // what to add to a monotonic time
	c.wall.at(s.wall, s.arrival+ours)
	if lag, steady := c.wall.lag(); steady && lag >= syncedFrom.Nanoseconds() && lag <= syncedTo.Nanoseconds() {
		return min(s.wall-ours, s.arrival), vision.Synced
	}
	return mono, how
}
