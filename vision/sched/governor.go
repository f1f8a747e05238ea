package sched

import (
	"sync"
	"sync/atomic"
	"time"
)

// Step is how far a station has been turned down.
type Step uint8

// The steps, each on top of those before it.
const (
	Full    Step = iota
	Slower       // fewer turns: at most half of what it had, but no fewer than its MinRate
	Smaller      // the smaller model
	Nothing      // no inspection: NONE with the reason
)

func (s Step) String() string {
	return [...]string{"full", "slower", "smaller", "none"}[min(s, Nothing)]
}

// GovernorConfig says what counts as trouble and how patient the governor is.
type GovernorConfig struct {
	Share   float64       // of the work with a deadline that is late or refused, above which it is trouble; 0: 0.05
	Window  time.Duration // over which it is counted; 0: 5 s. At least 4 turns of the MinRate, and 4 results, but for those Widest at most
	Widest  time.Duration // to which the window grows where results are rare; 0: 1 min
	Raise   time.Duration // how long trouble holds before a step is given; 0: 2 s
	Calm    time.Duration // how long there is none before a step is taken back; 0: 10 s, and the longest window and Raise at least
	MaxCalm time.Duration // to which that wait doubles where taking back brings trouble; 0: 5 min
}

// Governor turns stations down, one step of one station at a time, while
// deadlines are missed or minimum rates aren't reached, and up again. That frames
// are dropped is no trouble by itself.
//
// It has no goroutine: Tick is to be called every 250 ms to 1 s. It sets the
// limits of the members' streams; that Smaller and Nothing are heeded is up to
// whoever runs the stations.
type Governor struct {
	c GovernorConfig

	mu       sync.Mutex // protects all below and the fields of members
	members  []*Member
	missed   time.Time     // when something was missed last
	calm     time.Time     // when the present calm began; zero: there is none
	wait     time.Duration // of calm before a step is taken back
	tried    time.Duration // the longest wait since all stood at Full and that had proved good
	quiet    time.Time     // since when nobody has been in trouble, or wait was shortened for that
	lowered  *Member       // the one that was turned up last; nil: that has proved good
	pressure map[string]float64
	floor    floor
	strained bool // by the last Tick
}

// NewGovernor gives a governor with nobody to govern.
func NewGovernor(c GovernorConfig) *Governor {
	if c.Share <= 0 {
		c.Share = 0.05
	}
	for _, d := range []struct {
		set  *time.Duration
		zero time.Duration
	}{{&c.Window, 5 * time.Second}, {&c.Widest, time.Minute}, {&c.Raise, 2 * time.Second}, {&c.Calm, 10 * time.Second}, {&c.MaxCalm, 5 * time.Minute}} {
		if *d.set <= 0 {
			*d.set = d.zero
		}
	}
	c.MaxCalm = max(c.MaxCalm, c.Calm)
	return &Governor{c: c, wait: c.Calm, pressure: map[string]float64{}}
}

// MemberConfig describes a station to the governor.
type MemberConfig struct {
	Name    string
	Class   Class
	Smaller bool      // it has a smaller model; see Shrinks
	Fixed   bool      // its rate is given from outside (triggers): it has no step Slower
	Streams []*Stream // that ask for it
}

// Member is a station that can be turned down.
type Member struct {
	g       *Governor
	config  MemberConfig
	now     atomic.Uint32 // the Step
	load    Step          // for the trouble of somebody
	because string        // load is what it is
	unmet   time.Time     // since when a minimum rate isn't reached; zero: it is
	stats   MemberStats
	flows   []*flow
}

// MemberStats tells how a member has been turned down.
type MemberStats struct {
	Step    Step
	Since   time.Time // when it came to that step; zero: it has never been at another
	Why     string    // for people: "late: 12 of 40", "heat"; "" at Full
	Entered [4]uint64 // how often it came to each step, from wherever
}

// Join adds a station, at Full.
func (g *Governor) Join(c MemberConfig) *Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := &Member{g: g, config: c}
	for _, st := range c.Streams {
		m.flows = append(m.flows, &flow{stream: st})
	}
	g.members = append(g.members, m)
	return m
}

// Leave removes the station and ends the limits of its streams.
func (m *Member) Leave() {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, o := range g.members {
		if o == m {
			g.members = append(g.members[:i:i], g.members[i+1:]...)
			break
		}
	}
	if g.lowered == m {
		g.lowered = nil
	}
	for _, f := range m.flows {
		f.stream.Limit(0)
	}
}

// Shrinks tells the governor whether the station has a smaller model now: what it
// inspects with may change.
func (m *Member) Shrinks(has bool) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	m.config.Smaller = has
	for m.load < Nothing && !m.has(m.load) {
		m.load--
	}
}

// Name is the station's.
func (m *Member) Name() string { return m.config.Name }

// Step is where the station stands.
func (m *Member) Step() Step { return Step(m.now.Load()) }

// Stats tells since when, why, and how often.
func (m *Member) Stats() MemberStats {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	return m.stats
}

// Pressure tells the governor of what presses from outside, by its source: "heat",
// "power". Level goes from 0, nothing, to 1; it stands until the source tells
// another one, and the highest counts. From a level on, classes stand at a step at
// least:
//
//	level   best_effort   normal
//	0.5     slower        full
//	0.65    smaller       full
//	0.75    none          slower
//	0.9     none          smaller
//	1       none          none
//
// Critical stations are left alone. A step that a station doesn't have is the one
// below it. It holds from the next Tick on, until the level has been lower for
// GovernorConfig.Calm.
func (g *Governor) Pressure(source string, level float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !(level > 0) {
		delete(g.pressure, source)
		return
	}
	g.pressure[source] = min(level, 1)
}

// Strained tells whether there is more to do than can be done, or nearly: a member is
// turned down, misses were frequent of late, or what presses from outside calls for the
// first step. It is when to leave out work that nobody needs.
func (g *Governor) Strained() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.strained
}
