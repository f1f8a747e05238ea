package quality

import (
	"math"
	"slices"
)

// observation is a displacement d along nx, ny of what was at x, y; cells,
// from the middle of the picture.
type observation struct {
	mark      int
	x, y      float64
	nx, ny, d float64
}

// motion of a picture: what was at x, y is at x+tx+a·x-b·y, y+ty+b·x+a·y.
type motion struct {
	tx, ty, a, b float64
	n            int     // landmarks that agree
	size         float64 // median displacement of those, cells
	wide         bool    // they lie all over the picture
}

const (
	fitTrials = 80
	fitWithin = 1.2  // cells
	fitRidge  = 1e-3 // holds still what isn't observed
)

// along is the displacement that the motion gives the observation.
func (m *motion) along(o *observation) float64 {
	dx, dy := m.at(o.x, o.y)
	return o.nx*dx + o.ny*dy
}

// at is the displacement of what was at x, y.
func (m *motion) at(x, y float64) (dx, dy float64) {
	return m.tx + m.a*x - m.b*y, m.ty + m.b*x + m.a*y
}

// fit finds the motion that most observations share; those of parts that
// went their own way don't count.
func fit(all []observation) motion {
	var best motion
	bestN := 0
	state := uint32(1)
	draw := func() int {
		state = state*1664525 + 1013904223
		return int(state>>8) % len(all)
	}
	for trial := range fitTrials {
		var eq equations
		for k := range 3 {
			if trial == 0 && k > 0 {
				break
			}
			o := all[draw()]
			for i := range all { // both equations of a corner
				if all[i].mark == o.mark {
					eq.add(&all[i])
				}
			}
		}
		m := eq.solve()
		if n := m.agree(all, nil); n > bestN && m.plausible() {
			best, bestN = m, n
		}
	}
	for range 2 {
		var eq equations
		best.agree(all, &eq)
		if m := eq.solve(); m.plausible() {
			best = m
		}
	}
	best.simplify(all)
	best.judge(all)
	return best
}

// simplify leaves out what hardly helps to explain the observations: there is
// no telling how far an edge moved along itself.
func (m *motion) simplify(all []observation) {
	n := m.agree(all, nil)
	for _, without := range []motion{{tx: m.tx, ty: m.ty}, {ty: m.ty, a: m.a, b: m.b}, {tx: m.tx, a: m.a, b: m.b}, {tx: m.tx}, {ty: m.ty}} {
		if without.agree(all, nil) >= n-max(1, n/16) {
			*m = without
		}
	}
}

func (m *motion) plausible() bool { return math.Abs(m.a) < 0.3 && math.Abs(m.b) < 0.5 }

// agree counts the observations that the motion explains, and adds them to eq.
func (m *motion) agree(all []observation, eq *equations) (n int) {
	for i := range all {
		if math.Abs(m.along(&all[i])-all[i].d) <= fitWithin {
			n++
			if eq != nil {
				eq.add(&all[i])
			}
		}
	}
	return n
}

// judge counts the landmarks that agree with all of their observations.
func (m *motion) judge(all []observation) {
	var sizes [landmarksMost]float64
	var lo, hi [2]float64
	m.n = 0
	for i := 0; i < len(all); {
		o, ok := &all[i], true
		for ; i < len(all) && all[i].mark == o.mark; i++ {
			ok = ok && math.Abs(m.along(&all[i])-all[i].d) <= fitWithin
		}
		if !ok {
			continue
		}
		sizes[m.n] = math.Hypot(m.at(o.x, o.y))
		if m.n == 0 {
			lo, hi = [2]float64{o.x, o.y}, [2]float64{o.x, o.y}
		}
		lo = [2]float64{min(lo[0], o.x), min(lo[1], o.y)}
		hi = [2]float64{max(hi[0], o.x), max(hi[1], o.y)}
		m.n++
	}
	if m.n == 0 {
		return
	}
	slices.Sort(sizes[:m.n])
	m.size = sizes[m.n/2]
	m.wide = hi[0]-lo[0] > cellsLong/2 || hi[1]-lo[1] > cellsLong/2
}

// equations are the normal equations of tx, ty, a, b. a and b are scaled by
// half a picture, so that all four are of one size.
type equations struct {
	m [4][4]float64
	v [4]float64
}

const fitScale = cellsLong / 4

func (e *equations) add(o *observation) {
	row := [4]float64{o.nx, o.ny, (o.nx*o.x + o.ny*o.y) / fitScale, (o.ny*o.x - o.nx*o.y) / fitScale}
	for i, r := range row {
		for j, c := range row {
			e.m[i][j] += r * c
		}
		e.v[i] += r * o.d
	}
}

// solve by elimination; the ridge makes the matrix positive.
func (e *equations) solve() motion {
	m, v := e.m, e.v
	for i := range 4 {
		m[i][i] += fitRidge
		if i >= 2 {
			m[i][i] += 9 * fitRidge // rather shifted than turned
		}
	}
	for i := range 4 {
		for j := i + 1; j < 4; j++ {
			f := m[j][i] / m[i][i]
			for k := i; k < 4; k++ {
				m[j][k] -= f * m[i][k]
			}
			v[j] -= f * v[i]
		}
	}
	for i := 3; i >= 0; i-- {
		for k := i + 1; k < 4; k++ {
			v[i] -= m[i][k] * v[k]
		}
		v[i] /= m[i][i]
	}
	return motion{tx: v[0], ty: v[1], a: v[2] / fitScale, b: v[3] / fitScale}
}
