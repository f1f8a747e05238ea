// Package lean makes a program that runs for months take what it works with, not
// what its start took.
package lean

import (
	"os"
	"runtime/debug"
	"time"
)

// When Settle is called by Soon: most have started after the first, the slowest
// after the second.
const (
	first  = time.Second
	second = 10 * time.Second
)

// growth is how much garbage there may be before it is collected, in percent of what
// lives. What lives here is few and large (tensors), so that Go's 100 would double it;
// garbage is some kilobytes a picture.
const growth = 25

// Soon calls Settle after a second and again after ten.
func Soon() {
	time.AfterFunc(first, Settle)
	time.AfterFunc(second, Settle)
}

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
