package infer

import (
	"math"
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

// maxStretches bounds what a map may fall into, and so the memory that regions take: 24
// bytes each. The worst noise of 2,000 rows of 512 cells makes half a million.
const maxStretches = 1 << 22

// stretch is a row's pixels x0 up to x1 that belong together.
type stretch struct {
	y, x0, x1 int32
	group     int32
}

// group is what is known of a region: stretches that touch, also over corners.
// Groups that met later point to each other.
type group struct {
	parent         int32 // itself if it has none
	class          int32
	area           int // pixels
	peak           float32
	x0, y0, x1, y1 int32
}

// regions joins stretches that come row by row into 8-connected regions of one
// class. The zero value is empty.
type regions struct {
	all    []stretch
	groups []group
	above  int // first stretch of the row above the newest
	newest int // first stretch of the newest row
	full   bool
}

func (g *regions) reset() {
	g.all, g.groups, g.above, g.newest, g.full = g.all[:0], g.groups[:0], 0, 0, false
}

// layer begins another pass over the frame: what follows touches nothing so far.
func (g *regions) layer() { g.above, g.newest = len(g.all), len(g.all) }

// add takes the next stretch; rows come in order, and each from left to right.
func (g *regions) add(y, x0, x1 int, class int32, peak float32) {
	if len(g.all) >= maxStretches {
		g.full = true
		return
	}
	s := stretch{y: int32(y), x0: int32(x0), x1: int32(x1), group: -1}
	if n := len(g.all); n > g.newest && g.all[n-1].y != s.y {
		g.above, g.newest = g.newest, n
	}
	if g.above < g.newest && g.all[g.above].y != s.y-1 {
		g.above = g.newest // a row was empty
	}
	for g.above < g.newest && g.all[g.above].x1 < s.x0 {
		g.above++
	}
	for _, up := range g.all[g.above:g.newest] {
		if up.x0 > s.x1 {
			break
		}
		if g.groups[up.group].class != class {
			continue
		}
		if root := g.root(up.group); s.group < 0 {
			s.group = root
		} else if root != s.group {
			g.groups[max(root, s.group)].parent = min(root, s.group)
			s.group = min(root, s.group)
		}
	}
	if s.group < 0 {
		s.group = int32(len(g.groups))
		g.groups = append(g.groups, group{parent: s.group, class: class, x0: s.x0, y0: s.y, x1: s.x1, y1: s.y + 1})
	}
	o := &g.groups[s.group]
	o.area += x1 - x0
	o.peak = max(o.peak, peak)
	o.x0, o.x1, o.y1 = min(o.x0, s.x0), max(o.x1, s.x1), s.y+1
	g.all = append(g.all, s)
}

// root is the group that a group ended in; the way there is shortened.
func (g *regions) root(n int32) int32 {
	for g.groups[n].parent != n {
		g.groups[n].parent = g.groups[g.groups[n].parent].parent
		n = g.groups[n].parent
	}
	return n
}

// join gives each root what its groups have, and lists the roots.
func (g *regions) join() []int32 {
	var roots []int32
	for n := range g.groups {
		root := g.root(int32(n))
		if root == int32(n) {
			roots = append(roots, root)
			continue
		}
		from, to := &g.groups[n], &g.groups[root]
		to.area += from.area
		to.peak = max(to.peak, from.peak)
		to.x0, to.y0, to.x1, to.y1 = min(to.x0, from.x0), min(to.y0, from.y0), max(to.x1, from.x1), max(to.y1, from.y1)
	}
	return roots
}

// found lists the regions of at least so many pixels whose peak is more than
// above, the highest first, at most so many.
func (g *regions) found(minArea int, above float32, most int) []int32 {
	var keys []uint64 // peak (inverted) and number: ascending is highest first
	for _, n := range g.join() {
		if o := &g.groups[n]; o.area >= minArea && o.peak > above {
			keys = append(keys, uint64(^math.Float32bits(o.peak))<<32|uint64(n))
		}
	}
	slices.Sort(keys)
	roots := make([]int32, min(len(keys), most))
	for k := range roots {
		roots[k] = int32(uint32(keys[k]))
	}
	return roots
}

// masks makes the masks of regions, in their order.
func (g *regions) masks(roots []int32) []*vision.Mask {
	rank := make([]int32, len(g.groups)) // of a root: its place in roots, from 1
	for n, root := range roots {
		rank[root] = int32(n + 1)
	}
	makers := make([]maskMaker, len(roots))
	for n, root := range roots {
		o := &g.groups[root]
		makers[n] = newMaskMaker(int(o.x0), int(o.y0), int(o.x1), int(o.y1))
	}
	for _, s := range g.all {
		if n := rank[g.root(s.group)]; n > 0 {
			makers[n-1].add(s)
		}
	}
	out := make([]*vision.Mask, len(roots))
	for n := range makers {
		out[n] = &makers[n].mask
	}
	return out
}

// union is all regions of at least so many pixels in one mask, nil without any.
func (g *regions) union(minArea int) *vision.Mask {
	g.join()
	return maskOf(slices.DeleteFunc(g.all, func(s stretch) bool { return g.groups[g.root(s.group)].area < minArea }))
}

// boundsOf is a mask's rectangle.
func boundsOf(m *vision.Mask) vision.Box {
	return vision.Box{X: float32(m.X), Y: float32(m.Y), W: float32(m.W), H: float32(m.H)}
}

// maskMaker makes a mask of stretches that come in order and lie in its bounds.
type maskMaker struct {
	mask vision.Mask
	end  int // pixels of the rectangle that its runs hold
}

func newMaskMaker(x0, y0, x1, y1 int) maskMaker {
	return maskMaker{mask: vision.Mask{X: x0, Y: y0, W: x1 - x0, H: y1 - y0}}
}

func (m *maskMaker) add(s stretch) {
	at, n := (int(s.y)-m.mask.Y)*m.mask.W+int(s.x0)-m.mask.X, int(s.x1-s.x0)
	if last := len(m.mask.Runs) - 1; at == m.end && last >= 0 {
		m.mask.Runs[last] += uint32(n)
	} else {
		m.mask.Runs = append(m.mask.Runs, uint32(at-m.end), uint32(n))
	}
	m.end = at + n
}

// maskOf is the mask of all stretches together, nil of none; x1 of a stretch lies
// right of its x0.
func maskOf(all []stretch) *vision.Mask {
	if len(all) == 0 {
		return nil
	}
	x0, x1 := all[0].x0, all[0].x1
	for _, s := range all {
		x0, x1 = min(x0, s.x0), max(x1, s.x1)
	}
	m := newMaskMaker(int(x0), int(all[0].y), int(x1), int(all[len(all)-1].y)+1)
	for _, s := range all {
		m.add(s)
	}
	return &m.mask
}
