package agent

import (
	"math/rand/v2"
	"sync"
	"time"
)

// How a breaker behaves.
const (
	breakAfter = 3           // failures in a row
	breakFirst = time.Second // how long it stays open the first time; it doubles
	breakMost  = time.Minute // and at most so long
	breakSpare = 0.2         // of that, at random more or less: devices don't come back as one
)

// breaker keeps requests from a server that doesn't answer them. It is safe for
// concurrent use; its zero value lets them through.
type breaker struct {
	mu       sync.Mutex // protects all below
	failures int        // in a row
	wait     time.Duration
	until    time.Time // open; zero: closed
	probing  bool      // one request is through, to see whether the server is back
	now      pass      // of the requests that count
	opened   uint64
	fault    string // of the last failure
}

// pass tells requests from before an opening, and probes, from each other: what was let
// through before says nothing of the server as it is now.
type pass uint64

// allows tells whether a request may be made now. One that may must tell done, or skip.
func (b *breaker) allows(now time.Time) (p pass, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return b.now, true
	case b.probing || now.Before(b.until):
		return 0, false
	}
	b.probing = true
	return b.now, true
}

// done tells how a request ended.
func (b *breaker) done(now time.Time, p pass, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p != b.now {
		return // it was under way when it opened
	}
	b.probing = false
	if err == nil {
		b.failures, b.wait, b.until, b.fault = 0, 0, time.Time{}, ""
		return
	}
	b.fault = err.Error()
	if b.failures++; b.failures < breakAfter {
		return
	}
	b.wait = min(max(2*b.wait, breakFirst), breakMost)
	b.until = now.Add(time.Duration(float64(b.wait) * (1 - breakSpare + 2*breakSpare*rand.Float64())))
	b.opened++
	b.now++
}

// skip gives back the leave to make a request that wasn't made after all.
func (b *breaker) skip(p pass) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p == b.now {
		b.probing = false
	}
}

// state is open since the server failed, with its fault, and how often it came to that.
func (b *breaker) state() (open bool, fault string, opened uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.until.IsZero(), b.fault, b.opened
}
