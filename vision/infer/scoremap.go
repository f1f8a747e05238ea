package infer

import "math"

// ScoreMap is a grid of scores, 0 to 1, row by row, that covers a frame: pixel x
// of a row has its centre at OffX + x·StepX of the grid's columns, counted from
// the centre of the first; rows alike.
type ScoreMap struct {
	W, H        int
	Data        []float32
	OffX, StepX float64
	OffY, StepY float64
}

// At is the score of the frame's pixel x, y, between cells bilinearly as
// PyTorch's interpolate gives it (align_corners=False); 0 where the map doesn't
// reach.
func (m *ScoreMap) At(x, y int) float32 {
	var across, down mapAxis
	across.lay(m.OffX+float64(x)*m.StepX, m.StepX, 0, m.W, 1)
	down.lay(m.OffY+float64(y)*m.StepY, m.StepY, 0, m.H, 1)
	if across.from == across.to || down.from == down.to {
		return 0
	}
	var row [2]float32
	c := int(across.cell[0])
	next := min(c+1, m.W-1)
	for n, col := range [...]int{c, next} {
		r := int(down.cell[0])
		row[n] = lerp(m.Data[r*m.W+col], m.Data[min(r+1, m.H-1)*m.W+col], down.share[0])
	}
	return lerp(row[0], row[1], across.share[0])
}

// Upsample writes the score of each pixel of the frame, which is w×h, into dst,
// row by row: what At gives, for all.
func (m *ScoreMap) Upsample(dst []float32, w, h int) {
	var across, down mapAxis
	across.lay(m.OffX, m.StepX, 0, m.W, w)
	down.lay(m.OffY, m.StepY, 0, m.H, h)
	clear(dst[:w*h])
	v := make([]float32, m.W+1)
	for y := down.from; y < down.to; y++ {
		down.blend(v, m.Data, y, 0, m.W)
		row := dst[y*w : (y+1)*w]
		for x := across.from; x < across.to; x++ {
			c := across.cell[x]
			row[x] = lerp(v[c], v[c+1], across.share[x])
		}
	}
}

// within gives the cells whose centres lie in a frame of w×h pixels; what lies
// around them shows a letterbox's padding.
func (m *ScoreMap) within(w, h int) (x0, y0, x1, y1 int) {
	x0, x1 = seenCells(m.OffX, m.StepX, m.W, w)
	y0, y1 = seenCells(m.OffY, m.StepY, m.H, h)
	return x0, y0, x1, y1
}

// highest is the greatest score of the cells that lie in a frame of w×h pixels.
func (m *ScoreMap) highest(w, h int) float32 {
	best := float32(0)
	x0, y0, x1, y1 := m.within(w, h)
	for y := y0; y < y1; y++ {
		for _, s := range m.Data[y*m.W+x0 : y*m.W+x1] {
			best = max(best, s)
		}
	}
	return best
}

func seenCells(off, step float64, cells, pixels int) (from, to int) {
	if !usable(off, step) {
		return 0, 0
	}
	lo := math.Ceil(off - step/2 - mapSlack)
	hi := math.Floor(off+(float64(pixels)-0.5)*step+mapSlack) + 1
	from = int(min(max(lo, 0), float64(cells)))
	return from, max(int(min(max(hi, 0), float64(cells))), from)
}

// usable reports whether a position can be computed; else the map reaches no pixel.
func usable(off, step float64) bool {
	return step > 0 && !math.IsInf(step, 0) && math.Abs(off) < 1e15
}

// mapSlack is what roundings may move a position by, in cells.
const mapSlack = 1e-6

// mapAxis is one direction in which cells of a map become pixels of a frame,
// bilinearly: each pixel lies between two cells.
type mapAxis struct {
	from, to int // pixels that the cells cover

	cell  []int32   // of each pixel, the cell before it
	share []float32 // and what the next one counts
	start []int32   // of each cell, the first of its pixels, from the cell's own to the last; one more ends them
}

// lay computes the direction: pixel x lies at off + x·step of the cells from lo
// up to hi. Between the outermost cells and the map's edge the outermost count.
func (a *mapAxis) lay(off, step float64, lo, hi, pixels int) {
	a.from, a.to = 0, 0
	a.cell, a.share, a.start = resized(a.cell, pixels), resized(a.share, pixels), resized(a.start, hi+1)
	clear(a.start)
	if !usable(off, step) || hi <= lo {
		return
	}
	first, last := float64(lo), float64(hi-1)
	a.from = int(min(max(math.Ceil((first-0.5-mapSlack-off)/step), 0), float64(pixels)))
	a.to = max(int(min(max(math.Floor((last+0.5+mapSlack-off)/step)+1, 0), float64(pixels))), a.from)
	c := 0
	for x := a.from; x < a.to; x++ {
		pos := min(max(off+float64(x)*step, first), last)
		at := math.Floor(pos)
		a.cell[x], a.share[x] = int32(at), float32(pos-at)
		for ; c <= int(at); c++ {
			a.start[c] = int32(x)
		}
	}
	for ; c <= hi; c++ {
		a.start[c] = int32(a.to)
	}
}

// blend mixes two rows of cells into dst, for the pixels of row y: columns from
// lo up to hi, and the last once more, so that each has a next one.
func (a *mapAxis) blend(dst, data []float32, y, lo, hi int) {
	w := len(dst) - 1
	r := int(a.cell[y])
	up, f := data[r*w+lo:r*w+hi], a.share[y]
	out := dst[lo:hi]
	if f == 0 {
		copy(out, up)
	} else {
		down := data[(r+1)*w+lo : (r+1)*w+hi]
		for c := range out {
			out[c] = lerp(up[c], down[c], f)
		}
	}
	dst[hi] = dst[hi-1]
}

// reaching tells the stretches of pixels, lo up to hi, whose values reach at. v
// are a row's cells and, once more, the last. Most stretches are decided by
// their cells alone.
func (a *mapAxis) reaching(v []float32, at float32, lo, hi int, tell func(x0, x1 int, peak float32)) {
	lo, hi = max(lo, a.from), min(hi, a.to)
	if lo >= hi {
		return
	}
	open, peak := -1, float32(0)
	for c := int(a.cell[lo]); c <= int(a.cell[hi-1]); c++ {
		x0, x1 := max(int(a.start[c]), lo), min(int(a.start[c+1]), hi)
		if x0 >= x1 {
			continue
		}
		l, r := v[c], v[c+1]
		switch {
		case l < at && r < at:
			if open >= 0 {
				tell(open, x0, peak)
				open = -1
			}
		case l >= at && r >= at: // the greatest lies at an end
			if open < 0 {
				open, peak = x0, at
			}
			peak = max(peak, lerp(l, r, a.share[x0]), lerp(l, r, a.share[x1-1]))
		default:
			for x := x0; x < x1; x++ {
				if p := lerp(l, r, a.share[x]); p >= at {
					if open < 0 {
						open, peak = x, p
					}
					peak = max(peak, p)
				} else if open >= 0 {
					tell(open, x, peak)
					open = -1
				}
			}
		}
	}
	if open >= 0 {
		tell(open, hi, peak)
	}
}

func lerp(a, b, f float32) float32 { return a*(1-f) + b*f }

// resized gives a slice of n values over s's memory where that suffices.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
