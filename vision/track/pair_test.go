package track

import (
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// TestAdoptedPartIsFollowedFromItsFirstFrame: frames are dropped, so that it
// moves by more than its size between two of them, which only a tracker that
// knows how it moves can tell from two parts. What was seen of it before the
// adoption doesn't count.
func TestAdoptedPartIsFollowedFromItsFirstFrame(t *testing.T) {
	show := func(n int, trackers ...*Tracker) {
		for _, tr := range trackers {
			f := Frame{Seq: uint64(n), Clock: time.Duration(n) * 125 * time.Millisecond, Width: 2000, Height: height}
			tr.Update(f, []vision.Detection{det("part", 0.9, float32(30*n), 100, 50, 50)})
		}
	}
	first, second, blank := New(Config{Roles: roles}), New(Config{Roles: roles}), New(Config{Roles: roles})
	for n := 1; n <= 8; n++ {
		show(n, first)
	}
	ids := second.Adopt(first)
	if _, open := second.Confirmed(ids[first.IDs()[0]]); !open || len(ids) != 1 {
		t.Fatalf("adopted %v", ids)
	}
	for n := 10; n <= 24; n += 2 {
		show(n, first, second, blank)
		pairs := first.Pair(second, uint64(n))
		if id := first.IDs()[0]; len(pairs) != 1 || pairs[ids[id]] != id {
			t.Errorf("frame %d: the pairs are %v, adopted were %v", n, pairs, ids)
		}
	}
	if p := second.Flush(); len(p) != 1 || p[0].Frames != 8 || p[0].First != 1 || p[0].Box.X < 300 {
		t.Errorf("the adopted part is %+v, want 8 frames of its own", p)
	}
	if p := blank.Flush(); len(p) != 0 {
		t.Errorf("without adoption it is %+v", p)
	}
	second.Adopt(first)
	if p := second.Flush(); len(p) != 0 {
		t.Errorf("what was adopted and never seen counts as %+v", p)
	}
}

// TestPairIsWithTheNearest: a part that lies between two of the other model's is
// the one that it covers most of, whichever comes first.
func TestPairIsWithTheNearest(t *testing.T) {
	at := func(x float32) vision.Detection { return det("part", 0.9, x, 100, 50, 50) }
	for _, order := range [][]vision.Detection{{at(100), at(130)}, {at(130), at(100)}} {
		first, second := New(Config{Roles: roles}), New(Config{Roles: roles})
		f := Frame{Seq: 1, Width: 2000, Height: height}
		first.Update(f, order)
		second.Update(f, []vision.Detection{at(113)})
		pairs := first.Pair(second, 1)
		for _, tr := range first.tracks {
			if want := tr.shown.X == 100; (pairs[second.IDs()[0]] == tr.id) != want {
				t.Errorf("the pairs are %v; %s is at %v", pairs, tr.id, tr.shown.X)
			}
		}
	}
}

// TestAdoptedPartIsCalledWhatIsSeen: what it was called before the adoption has
// no weight.
func TestAdoptedPartIsCalledWhatIsSeen(t *testing.T) {
	first, second := New(Config{Roles: roles}), New(Config{Roles: roles})
	first.Update(Frame{Seq: 1, Width: 2000, Height: height}, []vision.Detection{det("part", 0.9, 100, 100, 50, 50)})
	second.Adopt(first)
	for _, tr := range second.tracks {
		for label, weight := range tr.labels {
			if weight != 0 {
				t.Errorf("%s weighs %v before it is seen", label, weight)
			}
		}
	}
}

// TestAdoptedPaceOutlastsABunch: pictures that come in a bunch just after the
// adoption, stamped 1 ms apart, don't make a part that moves on another one.
func TestAdoptedPaceOutlastsABunch(t *testing.T) {
	first, second := New(Config{Roles: roles}), New(Config{Roles: roles})
	clock := time.Duration(0)
	show := func(tr *Tracker, n int, dt time.Duration) {
		clock += dt
		f := Frame{Seq: uint64(n), Clock: clock, Width: 4000, Height: height}
		tr.Update(f, []vision.Detection{det("part", 0.9, float32(20*n), 100, 50, 50), det("part", 0.9, float32(20*n+130), 220, 50, 50)})
	}
	for n := 1; n <= 40; n++ {
		show(first, n, 100*time.Millisecond)
	}
	second.Adopt(first)
	ids := second.IDs()
	for n := 41; n <= 48; n++ {
		show(second, n, time.Millisecond)
		for _, tr := range second.tracks {
			if tr.v.x > 400 {
				t.Errorf("frame %d: %s is taken to move at %.0f pixels a second, it moves at 200", n, tr.id, tr.v.x)
			}
		}
	}
	for n := 49; n <= 60; n++ {
		show(second, n, 100*time.Millisecond)
	}
	if got := second.IDs(); !slices.Equal(got, ids) {
		t.Errorf("the parts are %v, adopted were %v", got, ids)
	}
}
