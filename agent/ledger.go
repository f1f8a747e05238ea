package agent

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
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
	came    uint64 // triggers
	told    uint64 // of them, those that were answered

	unanswered map[*inquiry]struct{}
}

func newLedger(window time.Duration) *ledger {
	return &ledger{
		window: window, known: map[string]*inquiry{}, parts: map[string]int{}, unanswered: map[*inquiry]struct{}{},
		prefix: strconv.FormatUint(rand.Uint64N(36*36*36*36*36*36-1)+36*36*36*36*36, 36)[:6],
	}
}

// open gives the inquiry of the trigger's ID where there is one in the window,
// else enters this one, with its ID and its part's attempt. Where the ID was another
// part's, this one goes on under an ID of the device's: clash tells.
func (l *ledger) open(q *inquiry) (same *inquiry, clash bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(q.arrived)
	if same := l.known[q.ID]; same != nil && q.ID != "" && q.arrived.Sub(same.arrived) <= l.window {
		if q.Part == "" || same.Part == "" || q.Part == same.Part {
			return same, false
		}
		clash, q.given, q.ID = true, q.ID, ""
	}
	if q.ID == "" {
		l.count++
		q.ID = l.prefix + "-" + strconv.FormatUint(l.count, 10)
	}
	q.attempt = 1
	if q.Part != "" {
		q.attempt = l.inspect(q.Part)
	}
	l.known[q.ID] = q
	l.order = append(l.order, q)
	l.unanswered[q] = struct{}{}
	l.came++
	return nil, clash
}

// answered notes that an inquiry has its answer.
func (l *ledger) answered(q *inquiry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.unanswered, q)
	l.told++
}

// waiting are those that have no answer yet.
func (l *ledger) waiting() []*inquiry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.unanswered))
}

// overdue tells whether a trigger should have been answered long ago.
func (l *ledger) overdue(now time.Time) bool {
	return slices.ContainsFunc(l.waiting(), func(q *inquiry) bool { return now.Sub(q.by) > stuckLine })
}

// last is by when all that wait now are answered.
func (l *ledger) last() (by time.Time) {
	for _, q := range l.waiting() {
		if q.by.After(by) {
			by = q.by
		}
	}
	return by
}

// flow counts triggers: those that came, and those that were answered.
func (l *ledger) flow() (in, out uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.came, l.told
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
		if old := l.order[0]; l.known[old.ID] == old {
			delete(l.known, old.ID)
		}
		l.order[0] = nil
		l.order = l.order[1:]
	}
}

// past is an inspection of an earlier run of the program.
type past struct {
	Answer
	ago time.Duration // by the wall clock
}

// recall enters what the journal knows of earlier runs, oldest first: the inspections
// of each part, and the triggers of the window. What seems to come from the future is
// no trigger that can be known again.
func (l *ledger) recall(s *Station, now time.Time, all []past) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var known []*inquiry
	for _, p := range all {
		if p.Part != "" {
			l.inspect(p.Part)
			l.parts[p.Part] = max(l.parts[p.Part], p.Attempt)
		}
		if p.Trigger == "" || p.ago < 0 || p.ago > l.window {
			continue
		}
		q := &inquiry{Trigger: Trigger{ID: p.Trigger, Part: p.Part}, station: s, arrived: now.Add(-p.ago), attempt: p.Attempt, done: make(chan struct{}), decided: true, answer: p.Answer}
		close(q.done)
		l.known[p.Trigger] = q
		known = append(known, q)
	}
	l.order = append(known, l.order...) // nothing is asked before the recall is over
}
