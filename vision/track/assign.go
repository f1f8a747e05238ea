package track

import (
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// never is the cost of a pair that can't be one part.
const never = 1e6

// sameThing reports whether two boxes in one frame show one physical thing:
// they cover each other by half, or one lies in the other.
func sameThing(a, b vision.Box) bool {
	i := a.Intersect(b).Area()
	return i > 0.75*min(a.Area(), b.Area()) || a.IoU(b) > 0.45
}

// cost of believing that d shows the track, 0 (surely) to 2, or never. A part
// seen once has no velocity yet: it may stand, or move as the belt does.
func (t *track) cost(d vision.Detection, belt velocity) float64 {
	c := boxCost(t.box(), d.Box)
	if t.moves() == 1 {
		moved := t.box()
		moved.X += belt.x * t.dt
		moved.Y += belt.y * t.dt
		c = min(c, boxCost(moved, d.Box))
	}
	if _, known := t.labels[d.Label]; !known && c < never {
		c += 0.3
	}
	return c
}

// boxCost is 1-IoU for boxes that overlap, and the distance of their centres
// in box sizes for those that don't, up to 0.8.
func boxCost(a, b vision.Box) float64 {
	if iou := a.IoU(b); iou > 0.15 {
		return 1 - float64(iou)
	}
	ratio := a.Area() / max(b.Area(), 1)
	if ratio < 0.3 || ratio > 3.3 {
		return never
	}
	ax, ay := a.Center()
	bx, by := b.Center()
	size := math.Sqrt(float64(min(a.Area(), b.Area())))
	if dist := math.Hypot(float64(ax-bx), float64(ay-by)) / max(size, 1); dist < 0.8 {
		return 1 + dist
	}
	return never
}

// assign solves the assignment of columns to rows at the least total cost
// (Kuhn-Munkres with potentials, O(n³); Jonker and Volgenant 1987) and returns
// for each column its row, or -1 where only costs of limit and more are left.
func assign(rows, cols int, limit float64, cost func(row, col int) float64) []int {
	out := make([]int, cols)
	for j := range out {
		out[j] = -1
	}
	if rows == 0 || cols == 0 {
		return out
	}
	n := max(rows, cols)
	m := make([]float64, n*n)
	for i := range m {
		m[i] = never
	}
	for i := range rows {
		for j := range cols {
			if c := cost(i, j); c < limit {
				m[i*n+j] = c
			}
		}
	}
	rowOf := solve(n, m)
	for j := range cols {
		if i := rowOf[j]; m[i*n+j] < never {
			out[j] = i
		}
	}
	return out
}

// solve finds the row of each column of an n×n cost matrix, row by row.
func solve(n int, m []float64) []int {
	u, v := make([]float64, n+1), make([]float64, n+1)
	p, way := make([]int, n+1), make([]int, n+1) // 1-based; p[j] is the row of column j
	for i := 1; i <= n; i++ {
		p[0] = i
		j0 := 0
		minv, used := make([]float64, n+1), make([]bool, n+1)
		for j := range minv {
			minv[j] = math.Inf(1)
		}
		for p[j0] != 0 {
			used[j0] = true
			i0, delta, j1 := p[j0], math.Inf(1), 0
			for j := 1; j <= n; j++ {
				if used[j] {
					continue
				}
				if cur := m[(i0-1)*n+j-1] - u[i0] - v[j]; cur < minv[j] {
					minv[j], way[j] = cur, j0
				}
				if minv[j] < delta {
					delta, j1 = minv[j], j
				}
			}
			for j := 0; j <= n; j++ {
				if used[j] {
					u[p[j]] += delta
					v[j] -= delta
				} else {
					minv[j] -= delta
				}
			}
			j0 = j1
		}
		for j0 != 0 {
			p[j0], j0 = p[way[j0]], way[j0]
		}
	}
	out := make([]int, n)
	for j := 1; j <= n; j++ {
		out[j-1] = p[j] - 1
	}
	return out
}
