package change

import "github.com/sightline-edge/sightline/vision"

// comparer compares pictures of one geometry.
type comparer struct {
	g      geometry
	shift  []int32 // of each tile, or of its tint, between the two
	areas  []int32
	acols  int // areas in a row
	counts [512]int32
}

func newComparer(g geometry) comparer {
	acols, arows := (g.cols+areaTiles-1)/areaTiles, (g.rows+areaTiles-1)/areaTiles
	return comparer{g: g, shift: make([]int32, g.cols*g.rows), areas: make([]int32, acols*arows), acols: acols}
}

// differ reports whether a shows anything that b doesn't.
func (c *comparer) differ(a, b *grid, l limits) bool {
	return c.most(a.sums, b.sums, 1) > l.smooth || c.steps(apart) > l.tile || c.areaSteps() > l.area ||
		c.coloured() && (c.most(a.tint, b.tint, tintScale) > l.smooth || c.steps(apart) > l.tile) ||
		c.structure(a, b, l.cell)
}

// tintScale brings a difference of tint to the unit of the sums, in 1/1024.
const tintScale = 1024 * tileLevel / tintLevel

// most fills in the shifts of all tiles and gives the largest.
func (c *comparer) most(a, b []int32, scale int32) int {
	shift := c.shift
	a, b = a[:len(shift)], b[:len(shift)]
	var low, high int32
	for i := range shift {
		d := a[i] - b[i]
		if scale != 1 {
			d = d * scale >> 10
		}
		shift[i] = d
		low, high = min(low, d), max(high, d)
	}
	return int(max(high, -low))
}

func (c *comparer) coloured() bool { return c.g.format == vision.BGR24 }

// steps is the largest difference between the shifts of two tiles that far from
// each other, in a row or in a column.
func (c *comparer) steps(far int) int {
	return int(max(steps(c.shift, far, c.g.cols), columnSteps(c.shift, far*c.g.cols)))
}

func steps(v []int32, far, cols int) (most int32) {
	for ; len(v) >= cols; v = v[cols:] {
		most = max(most, columnSteps(v[:cols], far))
	}
	return most
}

// columnSteps is the largest difference between two values that far apart.
func columnSteps(v []int32, far int) int32 {
	if far >= len(v) {
		return 0
	}
	var low, high int32
	w := v[far:]
	for i, a := range v[:len(w)] {
		d := w[i] - a
		low, high = min(low, d), max(high, d)
	}
	return max(high, -low)
}

// areaSteps is the same for neighbouring areas, of the shifts as they stand.
func (c *comparer) areaSteps() int {
	c.sumAreas(c.shift)
	return int(max(steps(c.areas, 1, c.acols), columnSteps(c.areas, c.acols)))
}

// sumAreas adds up the tiles of each area; those that the border cuts are
// weighed as if they were whole.
func (c *comparer) sumAreas(tiles []int32) {
	clear(c.areas)
	cols, rows := c.g.cols, c.g.rows
	for y := range rows {
		areas := c.areas[y/areaTiles*c.acols:][:c.acols]
		for x, s := range tiles[y*cols:][:cols] {
			areas[x/areaTiles] += s
		}
	}
	if right := cols % areaTiles; right != 0 {
		for i := c.acols - 1; i < len(c.areas); i += c.acols {
			c.areas[i] = c.areas[i] * areaTiles / int32(right)
		}
	}
	if bottom := rows % areaTiles; bottom != 0 {
		for i := len(c.areas) - c.acols; i < len(c.areas); i++ {
			c.areas[i] = c.areas[i] * areaTiles / int32(bottom)
		}
	}
}

// structure reports whether a cell's difference is more than limit from its
// tile's mean difference.
func (c *comparer) structure(a, b *grid, limit int) bool {
	cols := c.g.cols
	for y := range c.g.rows {
		o := y * tileCells * cols
		p, q := a.cells[o:o+tileCells*cols], b.cells[o:o+tileCells*cols]
		sa, sb := a.sums[y*cols:][:cols], b.sums[y*cols:][:cols]
		for x := range sa {
			mean := 0x4000 + int(sa[x]-sb[x])>>4
			low := uint64(max(mean-limit, 0)) * ones
			high := uint64(min(mean+limit, 0x7fff))*ones | signs
			ok := uint64(signs)
			for at := x; at < len(p); at += cols {
				d := p[at] + middle - q[at] // 0x4000 + a - b in each lane
				ok &= (d | signs) - low
				ok &= high - d
			}
			if ok&signs != signs {
				return true
			}
		}
	}
	return false
}

// peaks gives the extremes of the difference.
func (c *comparer) peaks(a, b *grid) peaks {
	var p peaks
	c.most(a.sums, b.sums, 1)
	p.tile, p.area = c.steps(apart), c.areaSteps()
	p.shift = c.middle(func(i int) int { return int(max(c.shift[i], -c.shift[i])) / shiftStep }) * shiftStep
	if c.coloured() {
		c.most(a.tint, b.tint, tintScale)
		p.tile = max(p.tile, c.steps(apart))
	}
	cols := c.g.cols
	p.span = c.middle(func(i int) int {
		low, high := extremes(a.cells[i/cols*tileCells*cols+i%cols:], b.cells[i/cols*tileCells*cols+i%cols:], cols)
		mean := int(a.sums[i]-b.sums[i]) >> 4
		p.cell = max(p.cell, high-mean, mean-low)
		return (high - low) / spanStep
	}) * spanStep
	return p
}

// Steps in which the middle of a value over all tiles is found.
const (
	spanStep  = 4  // 1/16 level of a cell
	shiftStep = 32 // 1/32 level of a tile
)

// middle is the median over all tiles.
func (c *comparer) middle(value func(tile int) int) int {
	clear(c.counts[:])
	for i := range c.shift {
		c.counts[min(value(i), len(c.counts)-1)]++
	}
	left := int32(len(c.shift) / 2)
	for i, n := range c.counts {
		if left -= n; left < 0 {
			return i
		}
	}
	return 0
}

// extremes gives the lowest and the highest difference of a tile's cells.
func extremes(a, b []uint64, cols int) (low, high int) {
	var top uint64
	bottom := uint64(0x7fff * ones)
	for at := 0; at <= (tileCells-1)*cols; at += cols {
		d := a[at] + middle - b[at]
		keep := ((top | signs) - d) & signs // where top ≥ d
		keep = keep - keep>>15 | keep
		top = top&keep | d&^keep
		keep = ((d | signs) - bottom) & signs
		keep = keep - keep>>15 | keep
		bottom = bottom&keep | d&^keep
	}
	high = int(max(top&0xffff, top>>16&0xffff, top>>32&0xffff, top>>48))
	low = int(min(bottom&0xffff, bottom>>16&0xffff, bottom>>32&0xffff, bottom>>48))
	return low - 0x4000, high - 0x4000
}
