package vision

import (
	"cmp"
	"math"
	"slices"
)

// maxOutlined bounds the cells that an outline is traced on, and maxCorners the
// corners that are simplified; of larger masks, blocks of pixels are traced.
const (
	maxOutlined = 1 << 20
	maxCorners  = 1 << 14
)

// Outlines are closed polygons around the mask, in the frame's pixels: corners lie
// between pixels, so 0, 0 is the frame's upper left. Pixels that touch at a corner
// are within one polygon; a hole is a polygon of its own (fill by the even-odd
// rule), outer ones turn clockwise on the screen and holes the other way. With more
// than most corners in all they are simplified (Douglas–Peucker), the smallest
// polygons first left out; most is at least 3, else there is nothing.
func (m *Mask) Outlines(most int) [][][2]int {
	if m.W < 1 || m.H < 1 || most < 3 {
		return nil
	}
	step := 1
	for {
		if cells(m.W, step)*cells(m.H, step) <= maxOutlined {
			if rings, ok := m.trace(step); ok {
				return simplify(rings, most)
			}
		}
		step *= 2
	}
}

func cells(n, step int) int { return (n + step - 1) / step }

// raster is a mask's rectangle in blocks of step×step pixels, with an empty block
// all around; bit 0 of a block: inside, bit 1: its upper edge is traced.
type raster struct {
	w    int
	bits []byte
}

// trace follows the mask's edge in blocks that hold a pixel of it. ok is false if
// there are too many corners.
func (m *Mask) trace(step int) (rings [][][2]int, ok bool) {
	r := raster{w: cells(m.W, step) + 2}
	r.bits = make([]byte, r.w*(cells(m.H, step)+2))
	m.Spans(func(y, x0, x1 int) {
		row := r.bits[((y-m.Y)/step+1)*r.w+1:]
		for x := (x0 - m.X) / step; x <= (x1-1-m.X)/step; x++ {
			row[x] = 1
		}
	})
	corners := 0
	for at := r.w; at < len(r.bits); at++ {
		if r.bits[at] != 1 || r.bits[at-r.w]&1 != 0 {
			continue
		}
		ring := r.follow(at, maxCorners-corners)
		if corners += len(ring); corners >= maxCorners {
			return nil, false
		}
		for n := range ring {
			x, y := (ring[n][0]-1)*step, (ring[n][1]-1)*step
			ring[n] = [2]int{m.X + min(x, m.W), m.Y + min(y, m.H)}
		}
		rings = append(rings, ring)
	}
	return rings, true
}

// follow goes along the edge from a block's upper left corner to the right, with
// the inside at its right hand, until it is there again, or has so many corners.
func (r *raster) follow(at, most int) (ring [][2]int) {
	x, y := at%r.w, at/r.w
	startX, startY := x, y
	dx, dy := 1, 0
	for len(ring) < most {
		if dx == 1 {
			r.bits[y*r.w+x] |= 2
		}
		x, y = x+dx, y+dy
		// The blocks ahead, left and right of the way.
		left, right := r.ahead(x, y, dx, dy)
		turned := true
		switch {
		case left:
			dx, dy = dy, -dx
		case right:
			turned = false
		default:
			dx, dy = -dy, dx
		}
		if turned {
			ring = append(ring, [2]int{x, y})
		}
		if x == startX && y == startY && dx == 1 {
			break
		}
	}
	return ring
}

// ahead reports whether the blocks before a corner are inside, left and right of
// the direction in which it was reached.
func (r *raster) ahead(x, y, dx, dy int) (left, right bool) {
	in := func(x, y int) bool { return r.bits[y*r.w+x]&1 != 0 }
	switch {
	case dx == 1:
		return in(x, y-1), in(x, y)
	case dx == -1:
		return in(x-1, y), in(x-1, y-1)
	case dy == 1:
		return in(x, y), in(x-1, y)
	}
	return in(x-1, y-1), in(x, y-1)
}

// simplify keeps at most so many corners: those that matter most.
func simplify(rings [][][2]int, most int) [][][2]int {
	total := 0
	for _, r := range rings {
		total += len(r)
	}
	if total <= most {
		return rings
	}
	slices.SortStableFunc(rings, func(a, b [][2]int) int { return cmp.Compare(math.Abs(area2(b)), math.Abs(area2(a))) })
	rings = rings[:min(len(rings), max(most/4, 1))]
	weights, all := make([][]float64, len(rings)), []float64(nil)
	for n, r := range rings {
		weights[n] = significance(r)
		all = append(all, weights[n]...)
	}
	slices.Sort(all)
	slices.Reverse(all)
	limit := all[min(len(all), most)-1]
	room := most // for corners that weigh as much as the limit
	for _, w := range all {
		if w > limit {
			room--
		}
	}
	for n, r := range rings {
		var kept [][2]int
		for k, p := range r {
			if w := weights[n][k]; w > limit || w == limit && room > 0 {
				if w == limit {
					room--
				}
				kept = append(kept, p)
			}
		}
		rings[n] = kept
	}
	return slices.DeleteFunc(rings, func(r [][2]int) bool { return len(r) < 3 })
}

// area2 is twice a polygon's area, positive if it turns clockwise on the screen.
func area2(ring [][2]int) float64 {
	sum, p := 0.0, ring[len(ring)-1]
	for _, q := range ring {
		sum += float64(p[0])*float64(q[1]) - float64(q[0])*float64(p[1])
		p = q
	}
	return sum
}

// significance is how far Douglas and Peucker's line would leave each corner, the
// square of it in pixels; infinite for the three that every polygon keeps.
func significance(ring [][2]int) []float64 {
	n := len(ring)
	weight := make([]float64, n)
	far := 0
	for k := range ring {
		if apart(ring[0], ring[k]) > apart(ring[0], ring[far]) {
			far = k
		}
	}
	type part struct {
		from, to int // to may be n: the first again
		most     float64
	}
	todo := []part{{0, far, math.Inf(1)}, {far, n, math.Inf(1)}}
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		at, away := -1, -1.0
		for k := p.from + 1; k < p.to; k++ {
			if d := offLine(ring[k], ring[p.from], ring[p.to%n]); d > away {
				at, away = k, d
			}
		}
		if at < 0 {
			continue
		}
		weight[at] = min(away, p.most)
		todo = append(todo, part{p.from, at, weight[at]}, part{at, p.to, weight[at]})
	}
	third := 0
	for k, w := range weight {
		if k != 0 && k != far && (third == 0 || w > weight[third]) {
			third = k
		}
	}
	weight[0], weight[far], weight[third] = math.Inf(1), math.Inf(1), math.Inf(1)
	return weight
}

// apart is the square of two points' distance.
func apart(a, b [2]int) float64 {
	x, y := float64(a[0]-b[0]), float64(a[1]-b[1])
	return x*x + y*y
}

// offLine is the square of a point's distance from the line between two others.
func offLine(p, a, b [2]int) float64 {
	length := apart(a, b)
	if length == 0 {
		return apart(p, a)
	}
	across := float64(b[0]-a[0])*float64(p[1]-a[1]) - float64(b[1]-a[1])*float64(p[0]-a[0])
	return across * across / length
}
