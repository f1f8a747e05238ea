package plc

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

func judged(v vision.Verdict) *inspection {
	return &inspection{answered: true, answer: Answer{Verdict: v}}
}

func TestGatePlace(t *testing.T) {
	for _, x := range []struct {
		p       GatePlace
		encoder bool
		want    string
	}{
		{GatePlace{Parts: 3}, false, ""},
		{GatePlace{Pulses: 300}, true, ""},
		{GatePlace{Delay: time.Second}, false, ""},
		{GatePlace{}, true, "exactly one of"},
		{GatePlace{Parts: 1, Delay: 1}, true, "exactly one of"},
		{GatePlace{Pulses: 300}, false, "need an encoder"},
		{GatePlace{Parts: -1}, false, "parts must be from 1"},
		{GatePlace{Parts: 2000}, false, "parts must be from 1"},
		{GatePlace{Delay: -1}, false, "delay must be more than 0"},
		{GatePlace{Pulses: -1}, true, "pulses must be from 1"},
	} {
		if err := x.p.check(x.encoder); (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v, want %q", x.p, err, x.want)
		}
	}
}

// A part that isn't judged when it arrives is rejected, though it is good a moment later.
func TestGateLateVerdict(t *testing.T) {
	start := time.Unix(0, 0)
	g := gate{place: GatePlace{Delay: 100 * time.Millisecond}, pulse: 20 * time.Millisecond}
	i := &inspection{}
	g.enter(i, start, start)
	if open, again := g.advance(start); open || again != start.Add(100*time.Millisecond) {
		t.Errorf("open %v, again %v", open, again)
	}
	g.advance(start.Add(100 * time.Millisecond))
	i.answered, i.answer.Verdict = true, vision.Pass
	if open, _ := g.advance(start.Add(101 * time.Millisecond)); open {
		t.Error("the gate opened for a verdict that came too late")
	}
}

// The gate was told too late: opening now would let the next part through.
func TestGateToldLate(t *testing.T) {
	start := time.Unix(0, 0)
	g := gate{place: GatePlace{Delay: 100 * time.Millisecond}, pulse: 20 * time.Millisecond}
	g.enter(judged(vision.Pass), start, start)
	if open, _ := g.advance(start.Add(125 * time.Millisecond)); open || g.late != 1 {
		t.Errorf("open %v, late %d", open, g.late)
	}
	g.enter(judged(vision.Pass), start.Add(100*time.Millisecond), start)
	if open, again := g.advance(start.Add(210 * time.Millisecond)); !open || again != start.Add(220*time.Millisecond) {
		t.Errorf("open %v until %v", open, again)
	}
	if open, _ := g.advance(start.Add(220 * time.Millisecond)); open {
		t.Error("the gate stays open")
	}
}

// A bad part on the heels of a good one shuts the gate.
func TestGateShutsForTheNext(t *testing.T) {
	start := time.Unix(0, 0)
	g := gate{place: GatePlace{Parts: 1}, pulse: time.Second}
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	g.enter(judged(vision.Pass), at(0), at(0))
	g.enter(judged(vision.Fail), at(10), at(10)) // the good one is at the gate
	if open, _ := g.advance(at(15)); !open {
		t.Error("shut for the good part")
	}
	g.enter(judged(vision.Pass), at(20), at(20)) // the bad one is
	if open, _ := g.advance(at(21)); open {
		t.Error("open for the bad part")
	}
}

// Random lines: at each part's place the gate is open exactly for good parts, in
// all three ways of knowing the place.
func TestGateAgainstAModel(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		place := []GatePlace{{Parts: 1 + rng.IntN(20)}, {Pulses: 1 + rng.IntN(500)}, {Delay: time.Duration(1+rng.IntN(2000)) * time.Millisecond}}[seed%3]
		g := gate{place: place, pulse: 5 * time.Millisecond}
		now := time.Unix(0, 0)
		type part struct {
			good  bool
			due   time.Time
			pulse int
		}
		var line []part
		arrived, pulses := 0, 0
		check := func() {
			open, _ := g.advance(now)
			if want := line[arrived].good; open != want {
				t.Fatalf("seed %d, %+v: at part %d the gate is open: %v, want %v", seed, place, arrived, open, want)
			}
			arrived++
		}
		for n := range 200 {
			next := now.Add(time.Duration(10+rng.IntN(50)) * time.Millisecond)
			for now.Before(next) { // each millisecond the belt moves by one pulse
				now = now.Add(time.Millisecond)
				pulses++
				g.step(now, now)
				for place.Pulses > 0 && arrived < len(line) && line[arrived].pulse <= pulses {
					check()
				}
				for place.Delay > 0 && arrived < len(line) && !line[arrived].due.After(now) {
					check()
				}
			}
			i := []*inspection{judged(vision.Pass), judged(vision.Fail), judged(vision.None), nil, {}, {forgotten: true, answered: true, answer: Answer{Verdict: vision.Pass}}}[rng.IntN(6)]
			line = append(line, part{i.passes(), now.Add(place.Delay), pulses + place.Pulses})
			g.enter(i, now, now)
			if place.Parts > 0 && n >= place.Parts {
				check()
			}
		}
		if arrived < 50 {
			t.Errorf("seed %d: %d parts arrived", seed, arrived)
		}
	}
}

// Where the parts are isn't known any more: all on their way are rejected.
func TestGateDistrust(t *testing.T) {
	now := time.Unix(0, 0)
	g := gate{place: GatePlace{Parts: 1}, pulse: time.Second}
	g.enter(judged(vision.Pass), now, now)
	g.distrust()
	g.enter(judged(vision.Pass), now, now)
	if open, _ := g.advance(now); open {
		t.Error("open for a part that may be another")
	}
}

// More parts between trigger and gate than are followed: those are rejected.
func TestGateIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	g := gate{place: GatePlace{Delay: time.Minute}, pulse: time.Second}
	for range 10 * maxBetween {
		g.enter(judged(vision.Pass), now, now)
	}
	if len(g.between) > maxBetween+1 {
		t.Errorf("%d parts are kept", len(g.between))
	}
}
