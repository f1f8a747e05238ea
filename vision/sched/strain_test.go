package sched

import (
	"testing"
	"time"
)

// TestStrained: what nobody needs is left out from the first pressure on, and as long as
// somebody is turned down.
func TestStrained(t *testing.T) {
	for level, want := range map[float64]bool{0: false, 0.49: false, 0.5: true, 1: true} {
		g := NewGovernor(GovernorConfig{})
		g.Join(MemberConfig{Name: "a", Class: Critical, Fixed: true}) // which pressure leaves alone
		g.Pressure("heat", level)
		if g.Strained() {
			t.Errorf("level %v: before a look", level)
		}
		g.Tick(time.Now())
		if g.Strained() != want {
			t.Errorf("level %v: %v", level, !want)
		}
	}
	g := NewGovernor(GovernorConfig{Calm: time.Second})
	m := g.Join(MemberConfig{Name: "a", Class: Normal})
	m.load = Slower
	g.Tick(time.Now())
	if !g.Strained() {
		t.Error("a station is turned down, and nobody is strained")
	}
}
