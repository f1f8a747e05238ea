package sched

import (
	"slices"
	"sync/atomic"
	"time"
)

// window is how many of a model's newest runs its times are taken from.
const window = 512

// probeAfter is how long a model may be refused without a run before one is
// started all the same: what refuses it may be a time that is no longer true.
const probeAfter = 2 * time.Second

// A turn hangs once it has taken so many times its model's 99th percentile, and at
// least so long. Its worker was frozen, say, and is about to be replaced.
const (
	hangTimes = 10
	hangLeast = time.Second
)

// Model is what runs on the accelerator, with what its runs have taken of late.
// Everybody who runs it shares it. One worker runs it, so it has one turn at a
// time, or two of one stream (StreamConfig.Width), or those of one batch (Batches).
type Model struct {
	name  string
	owner *Scheduler

	runs, p50, p99 atomic.Int64 // nanoseconds; written under the scheduler's lock

	// All below is protected by the scheduler's lock.
	newest  [window]time.Duration // a ring of what the newest runs took
	next    int                   // where the next one goes
	sorted  []time.Duration       // the same, in order
	turns   []*Turn               // that are under way, in the order in which they run
	refused time.Time             // first refusal since the last grant; zero: none
	hung    int                   // runs in a row that weren't recorded, see odd

	denied   time.Time     // since the last grant, when critical work first left no room for its times alone
	patience time.Duration // how long that lasts before it dares; 0: probeAfter
	since    int           // runs since it dared

	takes   []time.Duration // runs on 1, 2, 4, … frames; nil: on one
	level   int             // 1<<level frames at most are looked at in one run now
	grows   time.Time       // when they may be more again; zero: they are as many as can be
	growing time.Duration   // how long that was put off last
}

// Name is what Scheduler.Model was asked for.
func (m *Model) Name() string { return m.name }

// P99 is what all but 1 % of the newest 512 runs took at most; of 8 to 99, all but
// the longest, which may have met with a hiccup; of fewer, all. It is 0 before the
// first run. The first run of all stops counting with the second: engines are
// loaded and built in it.
func (m *Model) P99() time.Duration { return time.Duration(m.p99.Load()) }

// P50 is the median of the newest 512 runs.
func (m *Model) P50() time.Duration { return time.Duration(m.p50.Load()) }

// Runs is how many runs have been measured since the start.
func (m *Model) Runs() uint64 { return uint64(m.runs.Load()) }

// proved forgets what a turn shows to be no longer true. After a probe that was in
// time those are all runs if it was faster than any, else the older three quarters;
// all too after one that dared and took less than half way to what held it back.
func (m *Model) proved(t *Turn, took time.Duration, inTime bool) {
	switch n := len(m.sorted); {
	case n == 0:
	case t.dares && took < (m.sorted[0]+m.P99())/2, t.probe && inTime && took < m.sorted[0]:
		m.forget(0)
	case t.probe && inTime:
		m.forget(n / 4)
	}
}

// record adds a run.
func (m *Model) record(took time.Duration) {
	if m.odd(took) {
		return
	}
	if m.since++; m.since == settled {
		m.patience = 0
	}
	if m.runs.Load() == 1 {
		m.forget(0)
	}
	if len(m.sorted) == window {
		m.drop(m.newest[m.next])
	}
	m.newest[m.next] = took
	m.next = (m.next + 1) % window
	at, _ := slices.BinarySearch(m.sorted, took)
	m.sorted = slices.Insert(m.sorted, at, took)
	m.runs.Add(1)
	n := len(m.sorted)
	m.p50.Store(int64(m.sorted[(n-1)/2]))
	rank := (n*99 + 99) / 100
	if n >= 8 && n < 100 {
		rank = n - 1
	}
	m.p99.Store(int64(m.sorted[rank-1]))
}

// odd tells whether a run hung and isn't to be recorded: what its worker was
// stopped for says nothing about the next run, unless that takes as long.
func (m *Model) odd(took time.Duration) bool {
	const believed = 3 // in a row
	if len(m.sorted) == 0 || took <= m.hangTime() {
		m.hung = 0
		return false
	}
	m.hung++
	return m.hung < believed
}

// hangTime is from how long on a turn hangs.
func (m *Model) hangTime() time.Duration { return max(hangTimes*m.P99(), hangLeast) }

// forget keeps the newest runs alone.
func (m *Model) forget(keep int) {
	for n := len(m.sorted); n > keep; n-- {
		m.drop(m.newest[(m.next-n+window)%window])
	}
}

func (m *Model) drop(took time.Duration) {
	at, _ := slices.BinarySearch(m.sorted, took)
	m.sorted = slices.Delete(m.sorted, at, at+1)
}

// hangsFrom is when the turn that is under way begins to hang.
func (m *Model) hangsFrom() time.Time {
	return m.turns[0].began.Add(m.hangTime())
}

// until is when what runs on the model now has ended, by its 99th percentile.
func (m *Model) until(now time.Time) time.Time {
	if len(m.turns) == 0 {
		return now
	}
	end := m.turns[0].began.Add(m.P99())
	if end.Before(now) {
		end = now
	}
	return end.Add(time.Duration(m.apart()-1) * m.P99())
}
