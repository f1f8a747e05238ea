// Package lean makes a program that runs for months take what it works with, not
// what its start took.
package lean

import (
	"math/rand/v2"
	"os"
	"runtime/debug"
	"time"
)

// When Keep calls Settle: after the first time, when most has started, after ten times
// as long again and again, and in the end as often as rarely: so little garbage is made
// that Go collects none for minutes, and a megabyte in each process comes and goes.
const (
	first  = time.Second
	rarely = 100 * time.Second
)

// growth is how much garbage there may be before it is collected, in percent of what
// lives. What lives here is few and large (tensors), so that Go's 100 would double it;
// garbage is some kilobytes a picture.
const growth = 25

// Keep calls Settle after 1 s, 10 s, 100 s, and every 100 s from then on: what
// something rare touched, a person's look or an update, is then given back too. Each is
// up to a tenth later, so that processes that started together don't settle together.
func Keep() { settleAt(first, 0) }

// settleAt calls Settle at a time since Keep, which is now at the other, and on.
func settleAt(at, now time.Duration) {
	wait := at - now
	time.AfterFunc(wait+rand.N(wait/10), func() {
		Settle()
		settleAt(next(at), at)
	})
}

func next(at time.Duration) time.Duration { return min(10*at, at+rarely) }

// Settle gives back what is free in Go's heap and in C's, and lets go of the pages of
// program and libraries: those that are still used come back from the kernel's cache
// one by one, within a microsecond each. From then on garbage is collected sooner, if
// GOGC doesn't say when. It takes some milliseconds.
func Settle() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
	debug.FreeOSMemory()
	trim()
}
