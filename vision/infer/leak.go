package infer

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// How a leak is told from what only goes up and down.
const (
	windowLooks = 120  // of a window
	leastLooks  = 24   // in a window, before it tells anything
	judgeEvery  = 6    // looks of a window
	rising      = 0.85 // of all pairs of looks the later one must be higher

	recycleGrowth = 64 << 20 // bytes beyond the level, or half of it, at which a leak is acted on
	urgentLooks   = 720      // so soon the cap would be reached: an hour
)

// spans are the windows: how many looks apart theirs are, and what must have come on in
// one, in bytes and as a part of the level. With a look each 5 s they are ten minutes, two
// hours and a day long; what a short one sees must be much, for caches fill too.
var spans = [...]struct {
	stride       int
	bytes, share int64
}{{1, 32 << 20, 10}, {12, 16 << 20, 20}, {144, 8 << 20, 50}}

// Leak is memory that a worker's process takes on and never gives back.
type Leak struct {
	PerHour float64       // bytes, the median over all pairs of looks
	Over    time.Duration // between the first and the last look that it rests on
	Runs    uint64        // of the model meanwhile
	Bytes   int64         // that the process had at the last look
	Full    time.Time     // when it would meet the cap; zero if it is there
	looks   int           // that the process was watched for when it was found
}

// String is for people.
func (l *Leak) String() string {
	return fmt.Sprintf("%.1f MB/hour over %v and %d runs", l.PerHour/1e6, l.Over.Round(max(l.Over/1000, time.Millisecond)), l.Runs)
}

// look is one look at a process's memory.
type look struct {
	at    time.Time
	bytes int64
	runs  uint64
}

// growth is what one process's memory has done. It is not safe for concurrent use.
type growth struct {
	looks   int
	first   []int64 // the first that count
	windows [len(spans)]struct {
		looks []look
		n     int // that were added
		found *Leak
	}
}

// add takes a look. Those of the beginning don't count.
func (g *growth) add(at time.Time, used int64, runs uint64) {
	g.looks++
	if g.looks <= settle {
		return
	}
	if len(g.first) < leastApart {
		g.first = append(g.first, used)
	}
	for n := range g.windows {
		w := &g.windows[n]
		if (g.looks-settle-1)%spans[n].stride != 0 {
			continue
		}
		if w.looks = append(w.looks, look{at, used, runs}); len(w.looks) > windowLooks {
			w.looks = slices.Delete(w.looks, 0, 1)
		}
		if w.n++; w.n%judgeEvery == 0 {
			base := g.base()
			w.found = leakOf(w.looks, max(spans[n].bytes, base/spans[n].share))
		}
	}
}

// base is the level once caches were full, 0 before.
func (g *growth) base() int64 {
	if len(g.first) < leastApart {
		return 0
	}
	sorted := slices.Clone(g.first)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// leak is what the longest window that knows of one tells, nil for none.
func (g *growth) leak() *Leak {
	for n := range slices.Backward(g.windows[:]) {
		if l := g.windows[n].found; l != nil {
			l.looks = g.looks
			return l
		}
	}
	return nil
}

// leakOf is Theil and Sen's slope of a window, nil where that is no leak: less than least,
// not steady, or flattening.
func leakOf(looks []look, least int64) *Leak {
	if len(looks) < leastLooks {
		return nil
	}
	first, last := looks[0], looks[len(looks)-1]
	over := last.at.Sub(first.at)
	all, share := slopes(looks)
	if share < rising {
		return nil
	}
	slope := median(all)
	if slope*over.Seconds() < float64(least) {
		return nil
	}
	if newer, _ := slopes(looks[len(looks)/2:]); median(newer) < slope/2 {
		return nil
	}
	return &Leak{PerHour: 3600 * slope, Over: over, Runs: last.runs - first.runs, Bytes: last.bytes}
}

// slopes are those between all pairs of looks, in bytes a second, with the share of
// them that rise.
func slopes(looks []look) (all []float64, share float64) {
	all = make([]float64, 0, len(looks)*len(looks)/2)
	up := 0
	for i, a := range looks {
		for _, b := range looks[i+1:] {
			d := b.at.Sub(a.at).Seconds()
			if d <= 0 {
				continue
			}
			if b.bytes > a.bytes {
				up++
			}
			all = append(all, float64(b.bytes-a.bytes)/d)
		}
	}
	return all, float64(up) / float64(max(len(all), 1))
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// reaches is when the cap would be met.
func (l *Leak) reaches(most int64) time.Duration {
	return time.Duration(float64(most-l.Bytes) / l.PerHour * float64(time.Hour))
}

// urgent tells whether the process should be replaced for the leak.
func (l *Leak) urgent(used, most, base int64, every time.Duration) bool {
	return used-base >= max(recycleGrowth, base/2) || l.reaches(most) < urgentLooks*every
}

// leakBook keeps what is told of a worker's leak. It outlives the process in which it
// was found: the next one has the same, until it has shown otherwise.
type leakBook struct {
	mu   sync.Mutex // protects last
	last *Leak
}

func (b *leakBook) seen(g *growth, leak *Leak, most int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case leak != nil:
		l := *leak
		if left := l.reaches(most); left > 0 {
			l.Full = time.Now().Add(left)
		}
		b.last = &l
	case b.last != nil && g.looks > 2*b.last.looks:
		b.last = nil
	}
}

// Crowded tells whether the process takes more than Config.Memory from the beginning,
// so that another one would be no smaller.
func (w *Worker) Crowded() bool { return w.crowded.Load() }

// Leak tells of memory that the worker's processes take on and never give back, nil
// for none that shows.
func (w *Worker) Leak() *Leak {
	w.leaks.mu.Lock()
	defer w.leaks.mu.Unlock()
	if w.leaks.last == nil {
		return nil
	}
	l := *w.leaks.last
	return &l
}
