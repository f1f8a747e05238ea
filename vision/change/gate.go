// Package change tells frames that show something new from those that don't,
// so that a station need not look twice at a picture that hasn't changed.
//
// A frame is compared with the last one that was inspected, not with the one
// before, so that what moves slowly is seen once it has moved far enough. What
// may differ is learnt from the camera's own pictures; see noise.go. Where the
// model sees nothing for a while, the gate also learns what an empty belt looks
// like as it runs; see background.go. In doubt a frame passes.
package change

import (
	"cmp"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// Config of a Gate. The zero value of each field means its default.
type Config struct {
	Refresh time.Duration // longest time without an inspection, by the frames' own clock; 0.5 s
}

// reason is why a frame passes.
type reason uint8

const (
	same reason = iota // it doesn't
	first
	early // in learning
	changed
	refresh
)

// Stats count frames by what became of them, and why.
type Stats struct {
	First     uint64 // passed: nothing to compare with, also after Reset and with another size
	Learning  uint64 // passed: how much the camera's pictures differ isn't known yet
	Changed   uint64 // passed: something new
	Refreshed uint64 // passed: the last inspection is too long ago, or the clock jumped
	Skipped   uint64
}

// Passed is the number of frames to inspect.
func (s *Stats) Passed() uint64 { return s.First + s.Learning + s.Changed + s.Refreshed }

// looks is how many inspections may be awaited at once.
const looks = 4

// look is a frame that passed.
type look struct {
	grid  grid
	seq   uint64
	fits  bool // it was a picture of the background, and passed for another reason
	known bool // what the model saw in it
	empty bool // nothing
}

// report is what a model saw in a frame.
type report struct {
	seq    uint64
	things int
}

// Gate decides for the frames of one camera, in their order. Seen and Reset
// may be called from other goroutines than Pass; Stats too.
type Gate struct {
	cfg    Config
	geo    geometry
	cmp    comparer
	grid   [2]grid // of this frame and of the one before
	n      uint64  // frames with this geometry
	noise  noise
	lim    limits
	back   background
	looks  [looks]look // the newest is looks[passed%looks]
	passed uint64      // since first; 0: the next frame passes
	at     time.Duration
	last   time.Duration // of the last frame, and of the last that passed

	mu      sync.Mutex // protects what follows
	reset   bool
	reports []report
	stats   Stats
}

// New makes a gate whose first frame passes.
func New(cfg Config) *Gate {
	cfg.Refresh = cmp.Or(cfg.Refresh, 500*time.Millisecond)
	return &Gate{cfg: cfg, reports: make([]report, 0, 2*looks)}
}

// Reset makes the next frame pass and forgets what an empty picture looks like:
// the inspection of a frame that passed failed, another model looks from now
// on, or the camera was started again. What was learnt of its noise stays.
func (g *Gate) Reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reset = true
	g.reports = g.reports[:0]
}

// Seen tells how many things, of any kind and score, the model saw in the frame
// with this Seq, which had passed. A gate that is never told skips only what
// looks as the last inspected frame did.
func (g *Gate) Seen(seq uint64, things int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.reports) == cap(g.reports) {
		g.reports = append(g.reports[:0], g.reports[1:]...)
	}
	g.reports = append(g.reports, report{seq, things})
}

// Stats may be asked for at any time.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}

// Pass reports whether the frame must be inspected; it then becomes what the
// next ones are compared with. If not, it shows what the last frame that passed
// showed. at is the frame's time on the station's clock: the position in a
// recording, or the time since the camera's start. The frame isn't kept.
func (g *Gate) Pass(f *vision.Frame, at time.Duration) bool {
	g.hear()
	geo := newGeometry(f)
	if !geo.fits() || !f.Valid() {
		g.passed = 0
		return g.count(first)
	}
	if geo != g.geo {
		g.begin(geo)
	}
	g.grid[0], g.grid[1] = g.grid[1], g.grid[0]
	now := &g.grid[0]
	now.read(&g.geo, f)
	g.learnNoise()
	g.n++
	why, fits := g.judge(now, at)
	g.last = at
	if why != same {
		g.keep(now, f.Seq, fits)
		g.at = at
	}
	return g.count(why)
}

// count adds up, and reports whether the frame passes.
func (g *Gate) count(why reason) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.stats
	*[...]*uint64{&s.Skipped, &s.First, &s.Learning, &s.Changed, &s.Refreshed}[why]++
	return why != same
}

// hear takes in what was told since the last frame.
func (g *Gate) hear() {
	g.mu.Lock()
	var all [2 * looks]report
	told := all[:copy(all[:], g.reports)]
	g.reports = g.reports[:0]
	reset := g.reset
	g.reset = false
	g.mu.Unlock()
	if reset {
		g.passed = 0
		g.back.forget()
	}
	for _, r := range told {
		for i := range min(g.passed, looks) {
			l := &g.looks[(g.passed-i)%looks]
			if l.seq != r.seq || l.known {
				continue
			}
			l.known, l.empty = true, r.things == 0
			if l.empty {
				g.back.learn(&l.grid, &g.cmp)
			}
		}
	}
}

// begin makes room for pictures of another geometry.
func (g *Gate) begin(geo geometry) {
	g.geo, g.n, g.passed = geo, 0, 0
	g.noise = noise{}
	g.cmp = newComparer(geo)
	g.back = newBackground(geo, len(g.cmp.areas))
	for i := range g.grid {
		g.grid[i] = newGrid(geo)
	}
	for i := range g.looks {
		g.looks[i] = look{grid: newGrid(geo)}
	}
}

func (g *Gate) learnNoise() {
	if g.n == 0 || !g.noise.due(g.n) {
		return
	}
	g.noise.add(g.cmp.peaks(&g.grid[0], &g.grid[1]))
	g.lim = g.noise.limits()
}

// judge gives the reason for which the picture passes, and whether it is one of
// the background.
func (g *Gate) judge(now *grid, at time.Duration) (why reason, background bool) {
	background = g.back.fits(now, &g.cmp)
	switch {
	case g.passed == 0:
		return first, background
	case g.noise.n < learning:
		return early, background
	case at < g.last || at-g.at >= g.cfg.Refresh:
		return refresh, background
	case background && g.nothingSeen():
		return same, true
	case g.cmp.differ(now, &g.looks[g.passed%looks].grid, g.lim):
		return changed, background
	}
	return same, background
}

// nothingSeen reports whether the last inspection saw nothing, or will have: one
// that isn't known yet is of a picture of the background.
func (g *Gate) nothingSeen() bool {
	for i := range min(g.passed, looks) {
		switch l := &g.looks[(g.passed-i)%looks]; {
		case l.known:
			return l.empty
		case !l.fits:
			return false
		}
	}
	return false
}

// keep makes the picture the one that the next are compared with.
func (g *Gate) keep(now *grid, seq uint64, fits bool) {
	g.passed++
	l := &g.looks[g.passed%looks]
	copy(l.grid.cells, now.cells)
	copy(l.grid.sums, now.sums)
	copy(l.grid.tint, now.tint)
	l.seq, l.fits, l.known = seq, fits, false
}
