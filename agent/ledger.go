package agent

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of what a station remembers of its triggers.
const (
	DefaultDedupe = 10 * time.Minute
	keepTriggers  = 100_000 // newest, whatever the window
	keepParts     = 100_000 // serials, the newest
)

// ledger remembers which triggers were given, so that one that comes again gets
// its answer again, and how often each part was inspected. Safe for concurrent use.
type ledger struct {
	window time.Duration

	mu      sync.Mutex // protects all below
	known   map[string]*inquiry
	order   []*inquiry // of known, oldest first
	parts   map[string]int
	serials []string // of parts, oldest first
	prefix  string
	count   uint64
	came    uint64        // triggers
	told    atomic.Uint64 // of them, those that were answered
}

func newLedger(window time.Duration) *ledger {
	return &ledger{
		window: window, known: map[string]*inquiry{}, parts: map[string]int{},
		prefix: strconv.FormatUint(rand.Uint64N(36*36*36*36*36*36-1)+36*36*36*36*36, 36)[:6],
	}
}

// open gives the inquiry of the trigger's ID where there is one in the window,
// else enters this one, with its ID and its part's attempt.
func (l *ledger) open(q *inquiry) (same *inquiry, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(q.arrived)
	if q.ID == "" {
		l.count++
		q.ID = l.prefix + "-" + strconv.FormatUint(l.count, 10)
	} else if same := l.known[q.ID]; same != nil {
		return same, true
	}
	q.attempt = 1
	if q.Part != "" {
		q.attempt = l.inspect(q.Part)
	}
	l.known[q.ID] = q
	l.order = append(l.order, q)
	l.came++
	return q, false
}

// flow counts triggers: those that came, and those that were answered.
func (l *ledger) flow() (in, out uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.came, l.told.Load()
}

// inspect counts an inspection of a part.
func (l *ledger) inspect(part string) int {
	n, known := l.parts[part]
	if !known {
		l.serials = append(l.serials, part)
		if len(l.serials) > keepParts {
			delete(l.parts, l.serials[0])
			l.serials = l.serials[1:]
		}
	}
	l.parts[part] = n + 1
	return n + 1
}

// forget drops what is older than the window.
func (l *ledger) forget(now time.Time) {
	for len(l.order) > 0 && (now.Sub(l.order[0].arrived) > l.window || len(l.order) > keepTriggers) {
		delete(l.known, l.order[0].ID)
		l.order[0] = nil
		l.order = l.order[1:]
	}
}

// recall enters what the journal knows of earlier runs: a trigger that was answered
// so long ago, or "" for none, and an inspection of the part. Newer ones come last.
func (l *ledger) recall(s *Station, now time.Time, ago time.Duration, a Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.Part != "" {
		l.inspect(a.Part)
		l.parts[a.Part] = max(l.parts[a.Part], a.Attempt)
	}
	if a.Trigger == "" || ago < 0 || ago > l.window || l.known[a.Trigger] != nil {
		return
	}
	q := &inquiry{Trigger: Trigger{ID: a.Trigger, Part: a.Part}, station: s, arrived: now.Add(-ago), attempt: a.Attempt, done: make(chan struct{}), decided: true, answer: a}
	close(q.done)
	l.known[a.Trigger] = q
	l.order = append(l.order, q)
}
