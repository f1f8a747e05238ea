package quality

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

const (
	equalPairs  = 3 // frames like the one before, at least, whatever the rate
	wholeAfter  = 350 * time.Millisecond
	wholeEvery  = 500 * time.Millisecond // all bytes are compared
	frozenMost  = 15 * time.Second       // the longest that a camera's own stillness can ask for
	stillFactor = 2.5                    // equality must last that much longer than it did in a camera that lived
	habitFor    = 24 * time.Hour
	livelyPairs = 16  // pairs of frames that say whether all moved
	lively      = 0.5 // mean difference of frames in which something moves, levels

	nearFor    = 6 * time.Second // a mean over so long, some key frames
	nearFactor = 0.2             // of the stillest that the camera was while it lived
	nearFloor  = 0.15            // levels; a camera that was stiller is not judged so
	nearPhases = 3               // still phases that must have been seen to end
	nearKept   = 8
)

// frozen watches for frames that are all the same.
type frozen struct {
	hold
	castagnoli *crc32.Table
	anchor     []byte // the sampled rows, full width, of a frame of the run
	pairs      int    // frames of the run that were like the one before
	since      time.Time
	last       time.Time // the last frame of the run
	abrupt     bool      // everything moved until the run began
	whole      uint32    // of all bytes, as of wholeAt
	wholes     int       // how often it was the same
	wholeAt    time.Time
	recent     [livelyPairs]float32 // differences of the last pairs of frames
	at         int
	habit      time.Duration // longest equality of a living camera
	habitAt    time.Time
	near       near
}

func (z *frozen) begin(f *vision.Frame) {
	*z = frozen{castagnoli: crc32.MakeTable(crc32.Castagnoli), anchor: make([]byte, gridRows*f.Width*f.Format.Channels())}
}

func (z *frozen) gap() {
	z.pairs = 0
	z.near.gap()
	z.hold.doubt()
}

// look takes one frame and says how long the picture has been the same.
func (z *frozen) look(m *Monitor, f *vision.Frame) {
	now := f.Captured
	if m.exposure.blind { // black or white has no noise that could prove life
		z.gap()
		z.hold.is(now, false, true, 0, 0)
		return
	}
	same := m.grid.diff == 0 && z.sameRows(f, &m.grid)
	if same && now.Sub(z.wholeAt) >= wholeEvery && now.Sub(z.since) >= wholeAfter {
		same = z.sameWhole(f)
	}
	if same {
		z.last = now
		lasted := now.Sub(z.since)
		need := z.need(&m.cfg)
		if z.pairs >= equalPairs && z.wholes >= 2 && lasted >= need {
			z.on, z.begun = true, z.since
		}
		z.value, z.limit, z.detail = lasted.Seconds(), need.Seconds(), sayFrozen
	} else {
		z.alive(m, f)
	}
	z.recent[z.at%livelyPairs] = float32(m.grid.diff)
	z.at++
	z.near.look(m, now)
	if z.near.on && !z.on {
		z.on, z.begun, z.detail = true, z.near.begun, sayNear
		z.value, z.limit = z.near.value, z.near.limit
	}
	if z.on && !same && !z.near.on {
		z.on, z.begun = false, time.Time{}
	}
}

func sayFrozen(s float64) string {
	return fmt.Sprintf("frames keep coming, and every pixel has been the same for %.1f s", s)
}

func sayNear(v float64) string {
	return fmt.Sprintf("frames keep coming, but differ by only %.3f levels: the camera's noise is gone", v)
}

// need is how long the equality at hand must last.
func (z *frozen) need(cfg *Config) time.Duration {
	if z.abrupt {
		return cfg.FrozenAfter
	}
	return max(cfg.FrozenStillAfter, min(time.Duration(stillFactor*float64(z.habit)), frozenMost))
}

// sameRows compares the rows with those of the run's first repeated frame,
// or begins a run with this frame.
func (z *frozen) sameRows(f *vision.Frame, g *grid) bool {
	if z.pairs == 0 {
		for r := range gridRows {
			copy(z.anchor[r*g.width:][:g.width], f.Pix[g.row(r, f.Height)*f.Stride:])
		}
		z.pairs, z.since, z.last, z.wholes, z.wholeAt = 1, f.Captured, f.Captured, 0, time.Time{}
		z.abrupt = z.moving()
		return true
	}
	for r := range gridRows {
		if !bytes.Equal(z.anchor[r*g.width:][:g.width], f.Pix[g.row(r, f.Height)*f.Stride:][:g.width]) {
			return false
		}
	}
	z.pairs++
	return true
}

// sameWhole compares all bytes of the picture.
func (z *frozen) sameWhole(f *vision.Frame) bool {
	sum := uint32(0)
	for y := range f.Height {
		sum = crc32.Update(sum, z.castagnoli, f.Pix[y*f.Stride:][:f.Width*f.Format.Channels()])
	}
	ok := z.wholes == 0 || sum == z.whole
	z.whole, z.wholeAt = sum, f.Captured
	z.wholes++
	return ok
}

// moving reports whether the frames before all differed, about as much as the
// last pair did. A belt that stops does so over some frames, and its encoder
// then mends the picture; a picture that is repeated stands at once.
func (z *frozen) moving() bool {
	if z.at < livelyPairs {
		return false
	}
	last := z.recent[(z.at-1)%livelyPairs]
	for _, d := range z.recent {
		if d < lively || d < last*0.3 || last < d*0.3 {
			return false
		}
	}
	return true
}

// alive ends the run. If the scene is still the same, the camera can't have
// been frozen while something happened: it repeats itself so by nature.
func (z *frozen) alive(m *Monitor, f *vision.Frame) {
	if lasted := z.last.Sub(z.since); z.pairs > 0 && m.grid.unlike < samples/100 {
		if lasted > z.habit || f.Captured.Sub(z.habitAt) > habitFor {
			z.habit, z.habitAt = lasted, f.Captured
		}
	}
	z.pairs = 0
}

// near watches for a camera whose noise is gone though its frames still
// differ a little, as an encoder's do that codes one picture again and again.
// It compares only with still phases that the camera is known to have lived
// through, because something moved afterwards, in the same light.
type near struct {
	on           bool
	begun        time.Time
	value, limit float64
	sum          float64 // of differences since from
	frames       int
	from         time.Time
	low          phase // of the phase that has not yet ended
	proven       [nearKept]phase
	count        int
}

type phase struct{ diff, mean float64 }

func (n *near) gap() { n.sum, n.frames, n.from, n.low, n.on = 0, 0, time.Time{}, phase{}, false }

func (n *near) look(m *Monitor, now time.Time) {
	if n.from.IsZero() {
		n.from = now
	}
	n.sum += m.grid.diff
	n.frames++
	if n.on && m.grid.diff > max(4*n.value, nearFloor) && m.grid.unlike > samples/50 {
		n.on = false // something moves
	}
	if now.Sub(n.from) < nearFor || n.frames < 30 {
		return
	}
	is := phase{n.sum / float64(n.frames), m.exposure.mean}
	begun := n.from
	n.sum, n.frames, n.from = 0, 0, now
	if n.low.diff > 0 && is.diff > 4*n.low.diff && is.diff > nearFloor {
		n.proven[n.count%nearKept] = n.low
		n.count++
		n.low = phase{}
	}
	limit := n.limitAt(is.mean)
	n.on = is.diff < limit
	if n.on {
		n.value, n.limit = is.diff, limit
		n.begun = begun
		return
	}
	if n.low.diff == 0 || is.diff < n.low.diff {
		n.low = is
	}
}

// limitAt is the least difference that the camera is known to show at this
// brightness, 0 if that isn't known.
func (n *near) limitAt(mean float64) float64 {
	least, found := 0.0, 0
	for _, p := range n.proven[:min(n.count, nearKept)] {
		if p.mean < mean*0.85 || p.mean > mean*1.15 {
			continue
		}
		if found == 0 || p.diff < least {
			least = p.diff
		}
		found++
	}
	if found < nearPhases || least < nearFloor {
		return 0
	}
	return least * nearFactor
}
