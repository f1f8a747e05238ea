package agent

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/track"
)

// decidedAt gives both loadouts a decision point.
func decidedAt(t *testing.T, text string, all ...*Loadout) {
	t.Helper()
	decide, err := track.ParseDecide(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		l.Track.Decide = decide
	}
}

// keepsNone complains of pictures that a lane keeps of parts that nobody will be
// told of any more.
func (b *belt) keepsNone() {
	b.t.Helper()
	l := b.station.lane
	for id := range l.crops {
		if confirmed, open := l.confirmed(id); !confirmed || !open {
			b.t.Fatalf("frame %d: a picture is kept of part %s, which was told", b.n, id)
		}
	}
}

// TestSwitchWithDecidedParts: parts that were decided before they leave the picture
// are followed on; a switch meanwhile neither doubles nor loses a verdict, and no
// picture is kept of what was told.
func TestSwitchWithDecidedParts(t *testing.T) {
	for _, text := range []string{"x=0.5", "x=0.3", "frames 4", "zone 0.2,0 0.5,1"} {
		first, second := seeing(t, "first"), seeing(t, "second")
		decidedAt(t, text, &first, &second)
		want := undisturbed(t, first, frames)
		for _, at := range []int{41, 47, 53, 59, 64} {
			t.Run(fmt.Sprintf("%s at %d", text, at), func(t *testing.T) {
				b := newBelt(t, first, track.Stream)
				b.station.cfg.Pictures = true
				for range at {
					b.step()
					b.keepsNone()
				}
				if _, err := b.change(t.Context(), second)(); err != nil {
					t.Fatal(err)
				}
				for b.n < frames {
					b.keepsNone()
					b.step()
				}
				b.tellsAs(want)
			})
		}
	}
}

// tellsAs ends the belt and compares what it told with what it should have.
func (b *belt) tellsAs(want map[int]vision.Verdict) {
	b.t.Helper()
	got := b.verdicts(b.finish())
	for n, v := range want {
		if g, told := got[n]; !told || g != v {
			b.t.Errorf("part %d: told %v (%v), without a switch %v", n, g, told, v)
		}
	}
	if len(got) != len(want) {
		b.t.Errorf("%d parts were told, without a switch %d", len(got), len(want))
	}
	if n := len(b.station.lane.crops); n > 0 {
		b.t.Errorf("%d pictures are kept of parts that were told", n)
	}
}

// shows tells whether a box is of the drawn part in the newest frame.
func (b *belt) shows(part int, d vision.Detection) bool {
	for _, p := range b.scene.Truth(b.n - 1) {
		if p.Part.Index == part && p.Clipped.Intersect(d.Box).Area() > 0.5*d.Box.Area() {
			return true
		}
	}
	return false
}

// TestSwitchToAnEyeThatFindsADecidedPartAgain: the former model has decided a part
// in view. The new one loses it at the cut and finds it again as a new one, while
// the former one waits for another part that it lost: the new one doesn't tell it.
func TestSwitchToAnEyeThatFindsADecidedPartAgain(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	decidedAt(t, "frames 4", &first)
	second.Track.Hold = 320 * time.Millisecond
	want := undisturbed(t, first, frames)
	tried := 0
	for at := 40; at < 66; at++ {
		b := newBelt(t, first, track.Stream)
		for range at {
			b.step()
		}
		fresh, lost := b.inView()
		if fresh < 0 || lost < 0 {
			b.finish()
			continue
		}
		b.misses = func(name string, d vision.Detection) bool {
			if name == "second" {
				return b.n <= at+6 && b.shows(fresh, d)
			}
			return b.shows(lost, d)
		}
		wait := b.change(t.Context(), second)
		if _, err := wait(); err != nil {
			t.Fatal(err)
		}
		for b.n < frames {
			b.step()
		}
		b.tellsAs(want)
		if t.Failed() {
			t.Fatalf("the switch began at %d, part %d was decided", at, fresh)
		}
		tried++
	}
	if tried == 0 {
		t.Error("no switch began with a decided part in view, and an open one behind it")
	}
}

// TestSwitchFailsOverPartsThatOneEyeMissed: a part comes after the cut, which the
// former model doesn't see until the new one has decided it in view; or which the new
// one never sees, or holds on to for long. When the new one fails then, the former one
// tells just what is untold.
func TestSwitchFailsOverPartsThatOneEyeMissed(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	first.Track.Hold = 6 * time.Second
	decidedAt(t, "frames 4", &second)
	holding := second
	decidedAt(t, "end", &holding)
	holding.Track.Hold = 3 * time.Second
	want := undisturbed(t, first, frames)
	for lasts := 8; lasts < 60; lasts += everyFrame(5) {
		failsAfter(t, first, second, want, lasts, func(b *belt, missed int, told bool, name string, d vision.Detection) bool {
			return name == "first" && !told && b.shows(missed, d)
		})
		failsAfter(t, first, second, want, lasts, func(b *belt, missed int, _ bool, name string, d vision.Detection) bool {
			return name == "second" && b.shows(missed, d)
		})
		failsAfter(t, first, holding, want, lasts, func(b *belt, _ int, _ bool, name string, d vision.Detection) bool {
			x, _ := d.Box.Center()
			return name == "second" && x > 0.8*float32(b.frame.Width)
		})
	}
}

// failsAfter runs the belt with a switch that is given up after so many frames. Until
// then the former model waits for a part that it lost. What else the models miss is told
// by misses, which hears which part comes next and whether the new lane has decided it.
func failsAfter(t *testing.T, first, second Loadout, want map[int]vision.Verdict, lasts int,
	misses func(b *belt, next int, told bool, name string, d vision.Detection) bool) {
	t.Helper()
	const cut = 49
	b := newBelt(t, first, track.Stream)
	b.station.cfg.Pictures = true
	for range cut {
		b.step()
	}
	_, lost := b.inView()
	truth := b.scene.Truth(b.n)
	next, told := truth[len(truth)-1].Part.Index+1, false
	b.misses = func(name string, d vision.Detection) bool {
		return name == "first" && b.shows(lost, d) || misses(b, next, told, name, d)
	}
	wait := b.change(t.Context(), second)
	for range lasts {
		b.step()
		told = told || b.newLaneDecided(next)
	}
	on := b.station.switching()
	if on == nil {
		t.Fatalf("the switch is over after %d frames", lasts)
	}
	b.station.giveUp(t.Context(), on, errors.New("failed on purpose"))
	if _, err := wait(); err == nil {
		t.Error("a switch that was given up is done")
	}
	for told = true; b.n < frames; {
		b.keepsNone()
		b.step()
	}
	b.tellsAs(want)
	if t.Failed() {
		t.Fatalf("the switch was given up after %d frames, part %d came next", lasts, next)
	}
}

// newLaneDecided tells whether the new lane has decided a drawn part that is in view.
func (b *belt) newLaneDecided(part int) bool {
	o := b.station.switching()
	if o == nil {
		return false
	}
	for _, v := range o.new.eyes[0].tracker.Open(uint64(b.n)) {
		if v.Decided && b.shows(part, vision.Detection{Box: v.Part.Box}) {
			return true
		}
	}
	return false
}

// inView gives the newest drawn part in view that was decided, and the newest that
// wasn't; -1 for none.
func (b *belt) inView() (decided, open int) {
	decided, open = -1, -1
	e := b.station.lane.eyes[0].tracker
	for _, v := range e.Open(uint64(b.n)) {
		for _, p := range b.scene.Truth(b.n - 1) {
			switch {
			case p.Clipped.IoU(v.Part.Box) < 0.5:
			case v.Decided:
				decided = max(decided, p.Part.Index)
			default:
				open = max(open, p.Part.Index)
			}
		}
	}
	return decided, open
}
