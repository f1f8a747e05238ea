package vision

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEvidenceShowsItsShapes(t *testing.T) {
	square := func(x, side int) Detection {
		return Detection{Mask: &Mask{X: x, Y: 5, W: side, H: side, Runs: []uint32{0, uint32(side * side)}}}
	}
	var e Evidence
	e.Show([]Detection{square(10, 4), square(30, 2)})
	if e.Area != 20 || len(e.Outlines) != 2 {
		t.Errorf("two regions give %+v", e)
	}
	many := make([]Detection, 500)
	for n := range many {
		many[n] = square(6*n, 3)
	}
	e.Show(many)
	points := 0
	for _, o := range e.Outlines {
		points += len(o)
	}
	if e.Area != 9*len(many) || points == 0 || points > mostOutline {
		t.Errorf("%d regions: area %d, %d points", len(many), e.Area, points)
	}
	e.Show([]Detection{{Oriented: &OrientedBox{X: 10, Y: 20, W: 8, H: 2}}})
	if want := [][][2]int{{{6, 19}, {14, 19}, {14, 21}, {6, 21}}}; e.Area != 0 || !cmp.Equal(e.Outlines, want) {
		t.Errorf("a turned box gives %+v, want %v", e, want)
	}
	e.Show([]Detection{{Box: Box{1, 2, 3, 4}}})
	if e.Area != 0 || e.Outlines != nil {
		t.Errorf("a box gives %+v", e)
	}
}
