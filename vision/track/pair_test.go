package track

import (
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

// TestPairIsWithTheNearest: of two parts that overlap each is paired with its
// own, whichever comes first.
func TestPairIsWithTheNearest(t *testing.T) {
	where := func(tr *Tracker, id string) float32 {
		for _, k := range tr.tracks {
			if k.id == id {
				return k.shown.X
			}
		}
		return -1
	}
	near, far := det("part", 0.9, 100, 100, 50, 50), det("part", 0.9, 120, 100, 50, 50)
	for _, order := range [][]vision.Detection{{near, far}, {far, near}} {
		first, second := New(Config{Roles: roles}), New(Config{Roles: roles})
		f := Frame{Seq: 1, Width: 2000, Height: height}
		first.Update(f, []vision.Detection{near, far})
		second.Update(f, order)
		pairs := first.Pair(second, 1)
		for other, own := range pairs {
			if where(second, other) != where(first, own) {
				t.Errorf("the part at %v is paired with that at %v", where(second, other), where(first, own))
			}
		}
		if len(pairs) != 2 {
			t.Errorf("the pairs are %v", pairs)
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
