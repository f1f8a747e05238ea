package coco

import (
	"fmt"
	"slices"
)

// fine is how many steps a pixel is divided into while an outline is followed.
const fine = 5

// maxOutline bounds the length of an annotation's outline, in pixels.
const maxOutline = 1 << 24

// FromPolygons is the union of polygons (x, y, x, y, … in pixels) in a w×h
// picture, pixel for pixel what pycocotools' frPyObjects and merge make of them.
//
// Its rule, in our words: points go to a grid of a fifth of a pixel. The sides
// are drawn on that grid, one step at a time along the longer direction. A pixel
// column's middle is the step from 5x+2 to 5x+3; where the outline makes that
// step, at the upper one of its two fine rows y, the column turns from outside
// to inside or back at the row ⌈(y-2)/5⌉.
func FromPolygons(polygons [][]float64, w, h int) (RLE, error) {
	if err := checkSize(w, h); err != nil {
		return RLE{}, err
	}
	all, left := Empty(w, h), maxOutline*fine
	for i, p := range polygons {
		err := checkPolygon(p, w, h)
		if err == nil {
			left, err = spend(left, p)
		}
		if err != nil {
			return RLE{}, fmt.Errorf("polygon %d of %d: %w", i+1, len(polygons), err)
		}
		one := turns(outline(p, w, h), w, h)
		if i == 0 {
			all = one
		} else {
			all = all.union(one)
		}
	}
	return all, nil
}

// spend takes the polygon's fine steps from what is left of them.
func spend(left int, p []float64) (int, error) {
	for i := 0; i < len(p); i += 2 {
		j := (i + 2) % len(p)
		left -= max(abs(onGrid(p[i])-onGrid(p[j])), abs(onGrid(p[i+1])-onGrid(p[j+1]))) + 1
	}
	if left < 0 {
		return 0, fmt.Errorf("outlines of more than %d pixels", maxOutline)
	}
	return left, nil
}

func onGrid(v float64) int { return int(float64(fine*v) + .5) }

func abs(v int) int { return max(v, -v) }

// tracer follows an outline over the fine grid and keeps where columns turn.
type tracer struct {
	w, h    int
	x, y    int  // the last fine point
	started bool // false before the first
	at      []int
}

// outline are the places, counted column by column, at which a polygon's
// columns turn, in the order of the outline.
func outline(p []float64, w, h int) []int {
	t := tracer{w: w, h: h}
	for i := 0; i < len(p); i += 2 {
		j := (i + 2) % len(p)
		t.side(onGrid(p[i]), onGrid(p[i+1]), onGrid(p[j]), onGrid(p[j+1]))
	}
	return t.at
}

// side draws one side. The shorter direction is computed from the end that is
// lower in the longer one, whichever way the outline goes, so that neighbours
// that share a side share its pixels too.
func (t *tracer) side(x0, y0, x1, y1 int) {
	dx, dy := abs(x1-x0), abs(y1-y0)
	if dx == 0 && dy == 0 {
		return
	}
	if dx >= dy {
		lowX, lowY, highY, back := x0, y0, y1, x0 > x1
		if back {
			lowX, lowY, highY = x1, y1, y0
		}
		slope := float64(highY-lowY) / float64(dx)
		for d := range dx + 1 {
			s := d
			if back {
				s = dx - d
			}
			t.step(lowX+s, int(float64(lowY)+float64(slope*float64(s))+.5))
		}
		return
	}
	lowX, highX, lowY, back := x0, x1, y0, y0 > y1
	if back {
		lowX, highX, lowY = x1, x0, y1
	}
	slope := float64(highX-lowX) / float64(dy)
	for d := range dy + 1 {
		s := d
		if back {
			s = dy - d
		}
		t.step(int(float64(lowX)+float64(slope*float64(s))+.5), lowY+s)
	}
}

// step goes to the next fine point, which is at most one column away.
func (t *tracer) step(x, y int) {
	px, py := t.x, t.y
	t.x, t.y = x, y
	if !t.started {
		t.started = true
		return
	}
	if x == px {
		return
	}
	left := min(x, px)
	if x > px {
		left = x - 1
	}
	column := left / fine
	if left < 0 || left%fine != fine/2 || column >= t.w {
		return
	}
	// Rows above the picture are its first, those below it the next column's.
	row := min(max(min(y, py)-fine/2+fine-1, 0)/fine, t.h)
	t.at = append(t.at, column*t.h+row)
}

// turns makes runs of the places where inside and outside change. Two changes
// at the same place are none.
func turns(at []int, w, h int) RLE {
	slices.Sort(at)
	r, since := RLE{W: w, H: h}, 0
	for i := 0; i < len(at); i++ {
		if i+1 < len(at) && at[i] == at[i+1] {
			i++
			continue
		}
		if at[i] == w*h {
			break
		}
		r.Counts = append(r.Counts, uint32(at[i]-since))
		since = at[i]
	}
	r.Counts = append(r.Counts, uint32(w*h-since))
	return r
}
