// Package lean makes a program that runs for months take what it works with, not
// what its start took.
package lean

import (
	"runtime/debug"
	"time"
)

// When Settle is called by Soon: most have started after the first, the slowest
// after the second.
const (
	first  = time.Second
	second = 10 * time.Second
)

// Soon calls Settle after a second and again after ten.
func Soon() {
	time.AfterFunc(first, Settle)
	time.AfterFunc(second, Settle)
}

// Settle gives back what is free in Go's heap and in C's, and lets go of the pages of
// program and libraries: those that are still used come back from the kernel's cache
// one by one, within a microsecond each. It takes some milliseconds.
func Settle() {
	debug.FreeOSMemory()
	trim()
}
