package plc

import (
	"context"
	"sync"
	"time"
)

// Heartbeats: the default, and how many may be missing before the agent counts as stuck.
const (
	defaultHeartbeat = 500 * time.Millisecond
	missingBeats     = 3
)

// beat counts on while the station's progress grows, and stands still in an agent
// that is stuck: also when asking for the progress is what hangs.
type beat struct {
	station Station
	every   time.Duration

	mu    sync.Mutex
	count uint16
	last  time.Time // of the last beat; zero before the first
	spell int       // counts the times that the agent was stuck and went on
}

// run asks once per interval until ctx ends, and tells each beat.
func (b *beat) run(ctx context.Context, told func()) {
	seen := b.station.Progress()
	tick := time.NewTicker(b.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := b.station.Progress()
		if now == seen {
			continue
		}
		seen = now
		b.mu.Lock()
		b.count = next(b.count)
		if !b.last.IsZero() && time.Since(b.last) > missingBeats*b.every {
			b.spell++
		}
		b.last = time.Now()
		b.mu.Unlock()
		told()
	}
}

// state gives the counter, and whether the agent is alive.
func (b *beat) state() (count uint16, alive bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count, !b.last.IsZero() && time.Since(b.last) <= missingBeats*b.every
}

// spells is how often the agent was stuck and went on: what was there before a spell
// is of parts that are long past.
func (b *beat) spells() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spell
}

// expires is when the agent counts as stuck unless there is another beat.
func (b *beat) expires() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last.Add(missingBeats*b.every + 1)
}

// age is how long ago the last beat was; negative before the first.
func (b *beat) age() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.IsZero() {
		return -1
	}
	return time.Since(b.last)
}
