package prompt

import (
	"sync"
	"syscall"
	"time"
)

// Bystanders are processes that nobody waits for, and that stand still (SIGSTOP) while
// somebody waits for something else. A low priority doesn't do that where there are as
// many processors as busy threads: the kernel then lets those that are waited for share
// one while a bystander has the other, and both share its caches.
//
// The zero value has none. Its methods may be called from any goroutine; they do nothing
// to a nil one.
type Bystanders struct {
	mu      sync.Mutex // protects all below
	all     map[Stoppable]struct{}
	awaited int       // for how many somebody waits
	still   bool      // they stand still
	since   time.Time // they do, or don't
	runs    time.Time // they run until then at least
	wake    *time.Timer
}

// Stoppable is a process that takes signals.
type Stoppable interface {
	Signal(s syscall.Signal)
}

// stillMost is how long bystanders stand still at most without a break. After that they
// run for as long, however much is waited for: half of the time at least.
const stillMost = 100 * time.Millisecond

// Slower is how many times as long a bystander may take for its work.
const Slower = 2

// Add takes one in.
func (b *Bystanders) Add(p Stoppable) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[Stoppable]struct{}{}
	}
	b.all[p] = struct{}{}
	switch {
	case b.still:
		p.Signal(syscall.SIGSTOP)
	case b.awaited > 0:
		b.stopLocked(time.Now())
	}
}

// Remove lets one go, which runs from now on. It may be none, or have ended.
func (b *Bystanders) Remove(p Stoppable) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, is := b.all[p]; !is {
		return
	}
	delete(b.all, p)
	if b.still {
		p.Signal(syscall.SIGCONT)
	}
	if len(b.all) == 0 {
		b.goOnLocked(time.Now())
	}
}

// Hold says that somebody waits from now on, until Release.
func (b *Bystanders) Hold() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.awaited++
	b.stopLocked(time.Now())
}

// Release ends a Hold.
func (b *Bystanders) Release() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.awaited--; b.awaited == 0 {
		b.goOnLocked(time.Now())
	}
}

// stopLocked stops them, if their time to run is over.
func (b *Bystanders) stopLocked(now time.Time) {
	switch {
	case b.still || len(b.all) == 0:
		return
	case now.Before(b.runs):
		b.wakeLocked(b.runs.Sub(now))
		return
	}
	for p := range b.all {
		p.Signal(syscall.SIGSTOP)
	}
	b.still, b.since = true, now
	b.wakeLocked(stillMost)
}

func (b *Bystanders) goOnLocked(now time.Time) {
	if !b.still {
		return
	}
	for p := range b.all {
		p.Signal(syscall.SIGCONT)
	}
	b.still, b.runs = false, now.Add(now.Sub(b.since))
}

// wakeLocked calls look after that time; an earlier call that comes as well does no harm.
func (b *Bystanders) wakeLocked(after time.Duration) {
	if b.wake == nil {
		b.wake = time.AfterFunc(after, b.look)
		return
	}
	b.wake.Reset(after)
}

// look is for what goes on for longer than a frame: a break of their standing still, and
// its end.
func (b *Bystanders) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.still && now.Sub(b.since) >= stillMost {
		b.goOnLocked(now)
	}
	if b.awaited > 0 {
		b.stopLocked(now)
	}
}
