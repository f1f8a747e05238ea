package quality

import "math"

// find gives where the landmark is, in cells from its place.
func (v *moved) find(l *landmark) (dx, dy, score float64) {
	bx, by, best := 0, 0, -1.0
	try := func(x, y int) {
		if s := v.cells.like(l, l.x+x, l.y+y); s > best {
			bx, by, best = x, y, s
		}
	}
	if l.corner {
		for y := -searchFar; y <= searchFar; y += 2 {
			for x := -searchFar; x <= searchFar; x += 2 {
				try(x, y)
			}
		}
	} else {
		for d := -searchFar; d <= searchFar; d++ {
			try(int(math.Round(float64(d)*l.nx)), int(math.Round(float64(d)*l.ny)))
		}
	}
	return v.climb(l, bx, by, 2)
}

// climb follows the correlation from a place to its peak, within reach, and
// gives the peak to a part of a cell.
func (v *moved) climb(l *landmark, x, y, reach int) (dx, dy, score float64) {
	best := v.cells.like(l, l.x+x, l.y+y)
	x0, y0 := x, y
	for range 2 * reach {
		bx, by := x, y
		for _, d := range [4][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
			if s := v.cells.like(l, l.x+x+d[0], l.y+y+d[1]); s > best {
				bx, by, best = x+d[0], y+d[1], s
			}
		}
		if bx == x && by == y || max(bx-x0, x0-bx, by-y0, y0-by) > reach {
			break
		}
		x, y = bx, by
	}
	px := peak(v.cells.like(l, l.x+x-1, l.y+y), best, v.cells.like(l, l.x+x+1, l.y+y))
	py := peak(v.cells.like(l, l.x+x, l.y+y-1), best, v.cells.like(l, l.x+x, l.y+y+1))
	return float64(x) + px, float64(y) + py, best
}

// peak is where the parabola through three values is highest, -0.5 to 0.5.
func peak(a, b, c float64) float64 {
	q := a - 2*b + c
	if q >= -1e-9 {
		return 0
	}
	return min(max((a-c)/2/q, -0.5), 0.5)
}
