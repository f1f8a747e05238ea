package agent

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestBreaker: it opens after failures in a row, lets one request through after a while,
// and stays open for longer and longer until that succeeds.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		bad := errors.New("bad")
		fail := func() {
			t.Helper()
			p, ok := b.allows(time.Now())
			if !ok {
				t.Fatal("closed, it lets nothing through")
			}
			b.done(time.Now(), p, bad)
		}
		fail()
		fail()
		p, _ := b.allows(time.Now())
		b.done(time.Now(), p, nil) // not in a row any more
		for range breakAfter {
			fail()
		}
		least, most := breakFirst, breakFirst
		for range 9 {
			begin := time.Now()
			p, ok := b.allows(time.Now())
			for ; !ok; p, ok = b.allows(time.Now()) {
				time.Sleep(10 * time.Millisecond)
			}
			if took := time.Since(begin); took < time.Duration(0.79*float64(least)) || took > time.Duration(1.21*float64(most))+10*time.Millisecond {
				t.Errorf("open for %v, want about %v", took, least)
			}
			if _, ok := b.allows(time.Now()); ok {
				t.Error("two probes at once")
			}
			b.done(time.Now(), p, bad)
			least, most = min(2*least, breakMost), min(2*most, breakMost)
		}
		if open, fault, opened := b.state(); !open || fault != "bad" || opened != 10 {
			t.Error(open, fault, opened)
		}
		time.Sleep(2 * breakMost)
		p, ok := b.allows(time.Now())
		if !ok {
			t.Fatal("no probe")
		}
		b.skip(p) // it wasn't made after all
		if p, ok = b.allows(time.Now()); !ok {
			t.Fatal("no probe after one that wasn't made")
		}
		b.done(time.Now(), p, nil)
		if open, fault, _ := b.state(); open || fault != "" {
			t.Error(open, fault)
		}
		if _, ok := b.allows(time.Now()); !ok {
			t.Error("closed again, it lets nothing through")
		}
	})
}

// TestBreakerForgetsWhatWasUnderWay: requests from before it opened count for nothing,
// whenever they end: the pause doesn't double by them, and there is one probe at a time.
func TestBreakerForgetsWhatWasUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		bad := errors.New("bad")
		var early []pass
		for range breakAfter + 3 {
			p, ok := b.allows(time.Now())
			if !ok {
				t.Fatal("closed, it lets nothing through")
			}
			early = append(early, p)
		}
		for range breakAfter {
			b.done(time.Now(), early[0], bad)
			early = early[1:]
		}
		time.Sleep(2 * breakFirst)
		b.done(time.Now(), early[0], bad) // late, and before the probe
		probe, ok := b.allows(time.Now())
		if !ok {
			t.Fatal("no probe")
		}
		b.done(time.Now(), early[1], bad)
		b.skip(early[2])
		if _, ok := b.allows(time.Now()); ok {
			t.Error("two probes at once")
		}
		if _, _, opened := b.state(); opened != 1 || b.wait != breakFirst {
			t.Errorf("opened %d times, waits %v", opened, b.wait)
		}
		b.done(time.Now(), probe, nil)
		for range breakAfter {
			b.done(time.Now(), early[2], bad)
		}
		if open, _, _ := b.state(); open {
			t.Error("requests from before the probe have opened it")
		}
	})
}
