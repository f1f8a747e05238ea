package capture

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/scene/ipcam"
	"github.com/sightline-edge/sightline/vision/shm"
)

// Within which times a mishap is seen, and frames come again once it is over.
const (
	seenWithin = 2 * time.Second
	backWithin = 5 * time.Second
	perRound   = 50
	stuckAfter = 60 * time.Second // whatever the machine's load
)

// campaign is a run of mishaps over several cameras at once.
type campaign struct {
	full bool
	seed uint64

	left int // mishaps beyond this round's

	mu    sync.Mutex // protects what follows
	rows  map[string]*row
	quota int // mishaps of this round that are still to come
}

// row is what was measured of one kind of mishap.
type row struct{ seen, back []time.Duration }

// TestFaults strikes cameras again and again, and each time looks at when the
// agent sees it, when frames are back, and at every frame in between. By
// default it is a short run; SIGHTLINE_FAULTS=full makes it 1,000 mishaps, or a
// number as many (-timeout 60m), and then times count. SIGHTLINE_SEED repeats
// a run's choice.
func TestFaults(t *testing.T) {
	c := &campaign{left: 20, rows: map[string]*row{}, seed: rand.Uint64()}
	if how := os.Getenv("SIGHTLINE_FAULTS"); how != "" {
		c.full, c.left = true, 1000
		if n, err := strconv.Atoi(how); err == nil {
			c.left = n
		}
	}
	if s, err := strconv.ParseUint(os.Getenv("SIGHTLINE_SEED"), 10, 64); err == nil {
		c.seed = s
	}
	t.Logf("SIGHTLINE_SEED=%d, load %s", c.seed, load())
	before := takeCensus()
	t.Run("campaign", c.run)
	after := takeCensus()
	t.Logf("afterwards: %d processes, %d descriptors (%d before), load %s", len(after.children), len(after.fds), len(before.fds), load())
	if len(after.children) > 0 || len(after.fds) > len(before.fds) {
		t.Errorf("left behind: processes %v, descriptors %v, there were %v", after.children, after.fds, before.fds)
	}
	t.Log("\n" + c.table())
}

func (c *campaign) run(t *testing.T) {
	silence := shortSilence
	if c.full {
		silence = DefaultSilence
	}
	healthy := httpRig(t, "healthy", silence)
	https := 4
	rtsp := config("").CaptureBinary != "" && ipcam.HaveFFmpeg()
	if rtsp && c.full {
		https = 2 // more can happen to the others
	}
	var rigs []*rig
	for i := range https {
		rigs = append(rigs, httpRig(t, fmt.Sprintf("http %d", i+1), silence))
	}
	if rtsp {
		rigs = append(rigs, rtspRig(t, "rtsp tcp", "tcp", silence), rtspRig(t, "rtsp udp", "udp", silence))
	} else {
		t.Log("without RTSP: neither built with OpenCV nor SIGHTLINE_BIN/sightline-capture there, or no ffmpeg")
	}
	all := append(slices.Clone(rigs), healthy)
	for _, r := range all {
		r.streams(t, 20*time.Second)
	}
	dice := make([]*rand.Rand, len(rigs))
	decks := make([][]mishap, len(rigs))
	for i := range rigs {
		dice[i] = rand.New(rand.NewPCG(c.seed, uint64(i)))
	}
	var calm, busy []time.Duration
	var rss int64
	for c.left > 0 { // calm and campaign by turns, as the machine has other work, too
		calm = append(calm, c.calm(healthy)...)
		if rss == 0 {
			rss = memory()
		}
		c.quota = min(c.left, perRound)
		c.left -= c.quota
		var wg sync.WaitGroup
		for i, r := range rigs {
			wg.Go(func() { decks[i] = c.strike(t, r, dice[i], decks[i]) })
		}
		wg.Wait()
		busy = append(busy, healthy.takeAges()...)
	}
	grown := memory() - rss
	c.judge(t, healthy, calm, busy)
	t.Logf("memory of this process grew by %.1f MB from %.1f MB", float64(grown)/1e6, float64(rss)/1e6)
	if grown > 32e6 {
		t.Errorf("memory grew by %d bytes", grown)
	}
	for _, r := range all {
		r.mu.Lock()
		t.Logf("%s: %d frames, said to have been taken up to %v after they were; %d restarts, dropped %+v", r.name, r.whole, millis(r.late), r.Stats().Restarts, r.Stats().Dropped)
		r.mu.Unlock()
	}
}

// judge tells what the campaign did to a camera that nothing happened to.
func (c *campaign) judge(t *testing.T, r *rig, calm, busy []time.Duration) {
	was, now := at(calm, .99), at(busy, .99)
	t.Logf("healthy camera: p50 and p99 age %v and %v of %d frames when calm, %v and %v of %d during the campaign: %.2f times",
		at(calm, .5), was, len(calm), at(busy, .5), now, len(busy), float64(now)/float64(was))
	if s := r.Stats(); s.Restarts > 0 && c.full {
		t.Errorf("the healthy camera was restarted %d times: %s", s.Restarts, s.LastError)
	}
	if c.full && now > was*5/4 && now > time.Second/rigRate/2 { // what is less than half a period nobody waits for
		t.Errorf("the healthy camera's p99 age is %v, that of the calm %v: more than 1.25 times", now, was)
	}
}

// calm are the healthy camera's frame ages while nothing happens to any.
func (c *campaign) calm(r *rig) []time.Duration {
	frames := 10
	if c.full {
		frames = 250
	}
	r.takeAges()
	var ages []time.Duration
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for len(ages) < frames {
		<-tick.C
		ages = append(ages, r.takeAges()...)
	}
	return ages
}

// take takes one of the round's mishaps that are still to come.
func (c *campaign) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quota--
	return c.quota >= 0
}

// strike lets one mishap after the other happen to a camera, from a shuffled
// deck whose rest it returns, until the round has had enough.
func (c *campaign) strike(t *testing.T, r *rig, dice *rand.Rand, deck []mishap) []mishap {
	for c.take() {
		if len(deck) == 0 {
			for _, m := range mishaps() {
				if m.fits == nil || m.fits(r) {
					deck = append(deck, m)
				}
			}
			dice.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		m := deck[0]
		deck = deck[1:]
		if !c.one(t, r, m) {
			break
		}
	}
	return deck
}

// one is one mishap from a camera that works to one that works again.
func (c *campaign) one(t *testing.T, r *rig, m mishap) bool {
	if !r.streams(t, stuckAfter) {
		return false
	}
	was := seen{r.Stats(), r.sight()}
	m.strike(t, r)
	began := time.Now()
	see := m.seen
	if see == nil {
		see = noticed
	}
	if !until(t, stuckAfter, fmt.Sprintf("%s: %s to be seen", r.name, m.name), func() bool { return see(r, was) }) {
		return false
	}
	saw := time.Since(began)
	if m.until != nil && !until(t, stuckAfter, fmt.Sprintf("%s: what %s comes to", r.name, m.name), func() bool { return m.until(r, was) }) {
		return false
	}
	if m.lift != nil {
		m.lift(t, r)
	}
	over := time.Now()
	if !until(t, stuckAfter, fmt.Sprintf("%s: frames after %s", r.name, m.name), func() bool { return r.sight().drawn.After(over) }) {
		t.Logf("%+v", r.Stats())
		return false
	}
	back := time.Since(over)
	c.note(t, r, m, saw, back)
	return true
}

func (c *campaign) note(t *testing.T, r *rig, m mishap, saw, back time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range []string{m.name, "all"} {
		if c.rows[name] == nil {
			c.rows[name] = &row{}
		}
		c.rows[name].seen = append(c.rows[name].seen, saw)
		c.rows[name].back = append(c.rows[name].back, back)
	}
	late := saw > seenWithin || back > backWithin
	if late || testing.Verbose() {
		t.Logf("%s: %s: seen after %v, back after %v (%s)", r.name, m.name, millis(saw), millis(back), r.Stats().LastError)
	}
	if late && c.full {
		t.Errorf("%s: %s: seen after %v, back after %v: at most %v and %v are promised", r.name, m.name, millis(saw), millis(back), seenWithin, backWithin)
	}
}

// streams waits until frames come, several without any trouble.
func (r *rig) streams(t *testing.T, within time.Duration) bool {
	from := r.sight().seq
	return until(t, within, r.name+" to stream", func() bool {
		return r.Stats().State == Streaming && r.sight().seq > from+3
	})
}

// until is eventually for goroutines beside the test's own.
func until(t *testing.T, within time.Duration, what string, cond func() bool) bool {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Errorf("waited %v for %s", within, what)
			return false
		}
		<-tick.C
	}
	return true
}

// table is what was measured.
func (c *campaign) table() string {
	var b strings.Builder
	line := "%-22s %5v  %8v %8v %8v  %8v %8v %8v\n"
	fmt.Fprintf(&b, line, "mishap", "count", "seen p50", "p99", "max", "back p50", "p99", "max")
	for _, name := range slices.Sorted(maps.Keys(c.rows)) {
		r := c.rows[name]
		fmt.Fprintf(&b, line, name, len(r.seen), millis(at(r.seen, .5)), millis(at(r.seen, .99)), millis(slices.Max(r.seen)),
			millis(at(r.back, .5)), millis(at(r.back, .99)), millis(slices.Max(r.back)))
	}
	return b.String()
}

func millis(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// at is a quantile.
func at(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[int(q*float64(len(d)-1))]
}

// census is what of the system this process holds.
type census struct{ children, fds []string }

func takeCensus() census {
	var c census
	for _, what := range strings.Split(leftovers(), ", ") {
		if strings.HasPrefix(what, "process ") {
			c.children = append(c.children, what)
		}
	}
	fds, _ := os.ReadDir("/proc/self/fd") // always there
	for _, f := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil { // else it was the folder itself
			c.fds = append(c.fds, f.Name()+" "+to)
		}
	}
	return c
}

// memory is this process's own, what the collector could give back left out.
func memory() int64 {
	debug.FreeOSMemory()
	return shm.PrivateMemory(os.Getpid())
}

func load() string {
	b, _ := os.ReadFile("/proc/loadavg") // empty tells it, too
	return strings.TrimSpace(string(b))
}
