package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/sightline-edge/sightline/internal/lean"
	"github.com/sightline-edge/sightline/internal/prompt"
)

// How the agent stays out of its own way while it starts.
const (
	startGrowth = 400       // GOGC until it settles: nothing is collected below 16 MB
	ruleNice    = 5         // of a rule's load: the first verdict waits for it, the first picture doesn't
	startNice   = asideNice // of what needn't be there before the first result
)

// asideNice is of what no station waits for while others inspect.
const asideNice = 15

// collectLater lets the start allocate what stays for good without two
// collections, which delay the first result by some ms.
func collectLater() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(startGrowth)
	}
	lean.Keep()
}

// humbly runs do on a thread of lower priority, which ends with it: workers that
// start meanwhile, on as many cores as they are, come first.
func humbly(nice int, do func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with this goroutine.
		runtime.LockOSThread()
		prompt.Aside(nice)
		done <- do()
	}()
	return <-done
}
