package change

import (
	"math"
	"slices"
)

// What the picture looks like while there is nothing to see is learnt from
// frames in which the model saw nothing. It is what a moving belt needs: its
// texture makes every picture another one, but each is as any other.
const (
	enoughEmpty = 12 // frames, until the background counts
	memory      = 64 // frames, after which old ones are forgotten

	cellSpread, tileSpread, areaSpread = 5.0, 4.5, 4.0  // standard deviations that a value may be off
	cellMost, tileMost, areaMost       = 12.0, 6.0, 4.0 // levels that it may be off at most: frames of a belt that differs more pass

	// The light may be that much stronger or weaker than it was on average,
	// as a share; the bounds of cells are made anew when it moves by lightStep.
	lightRange, lightStep = 0.25, 0.008
	lightBins             = 512
)

// field is the mean and the variance of one kind of tile value, in the mean light.
type field struct {
	mean, variance []float32
	typical        []float32 // of each row of tiles: the median of the variances
}

func newField(g geometry) field {
	n := g.cols * g.rows
	return field{mean: make([]float32, n), variance: make([]float32, n), typical: make([]float32, g.rows)}
}

// background is the model of the empty picture.
type background struct {
	g          geometry
	n          int // frames learnt
	cell       []float32
	spread     field // mean unused: of the cells of a tile, pooled
	sums, tint field
	areas      []float32 // variances
	typical    float32   // of them
	low, high  []uint64  // what each cell may be, in the light at which they were made
	light      float32   // that light; 0: they are to be made
	scratch    []float32
}

func newBackground(g geometry, areas int) background {
	words := g.cols * g.rows * tileCells
	return background{
		g: g, cell: make([]float32, words*4), spread: newField(g), sums: newField(g), tint: newField(g),
		areas: make([]float32, areas), low: make([]uint64, words), high: make([]uint64, words),
		scratch: make([]float32, max(g.cols, areas)),
	}
}

func (b *background) forget() { b.n = 0 }

// lightOf is how strong the light is in p against the mean, by the median of
// the tiles; 0 if it is far from all that was seen.
func (b *background) lightOf(p *grid) float32 {
	var bins [lightBins]int32
	n, total := len(p.sums), int32(0)
	for i := 0; i < n; i += 1 + n/1024 {
		if b.sums.mean[i] < tileLevel {
			continue // black in any light
		}
		at := int((float32(p.sums[i])/b.sums.mean[i] - 1 + lightRange) * lightBins / (2 * lightRange))
		bins[min(max(at, 0), lightBins-1)]++
		total++
	}
	if total == 0 {
		return 1
	}
	left := total / 2
	for i, k := range bins[:lightBins-1] {
		if left -= k; left < 0 {
			if i == 0 {
				return 0
			}
			return 1 - lightRange + (float32(i)+0.5)*2*lightRange/lightBins
		}
	}
	return 0
}

// learn takes a frame in which nothing was seen.
func (b *background) learn(p *grid, c *comparer) {
	light := float32(1)
	if b.n > 0 {
		if light = b.lightOf(p); light == 0 {
			b.n, light = 0, 1 // it looks altogether different now
		}
	}
	b.n++
	share := float32(1) / float32(min(b.n, memory))
	b.light = 0
	b.learnTiles(&b.sums, p.sums, light, share)
	b.learnTiles(&b.tint, p.tint, light, share)
	for i, s := range p.sums {
		c.shift[i] = int32(float32(s)/light - b.sums.mean[i])
	}
	c.sumAreas(c.shift)
	for i, d := range c.areas {
		b.areas[i] = settle(b.areas[i], float32(d), share, b.n)
	}
	b.typical = b.median(b.areas)
	b.learnCells(p, light, share)
}

// settle moves a variance on by a value's distance from the mean that holds it already.
func settle(variance, off, share float32, n int) float32 {
	if n == 1 {
		return 0
	}
	return (1-share)*variance + share*off*off/(1-share)
}

func (b *background) learnTiles(f *field, values []int32, light, share float32) {
	for i, v := range values {
		f.mean[i] += (float32(v)/light - f.mean[i]) * share
		f.variance[i] = settle(f.variance[i], float32(v)/light-f.mean[i], share, b.n)
	}
	b.settleRows(f)
}

func (b *background) settleRows(f *field) {
	for y := range f.typical {
		f.typical[y] = b.median(f.variance[y*b.g.cols:][:b.g.cols])
	}
}

func (b *background) median(v []float32) float32 {
	s := b.scratch[:len(v)]
	copy(s, v)
	slices.Sort(s)
	return s[len(s)/2]
}

func (b *background) learnCells(p *grid, light, share float32) {
	cols := b.g.cols
	for i := range b.spread.variance {
		var sum float32
		for r := range tileCells {
			at := (i/cols*tileCells+r)*cols + i%cols
			w := p.cells[at]
			means := b.cell[at*4:][:4]
			for k := range means {
				v := float32(w>>(16*k)&0xffff) / light
				means[k] += (v - means[k]) * share
				sum += (v - means[k]) * (v - means[k])
			}
		}
		b.spread.variance[i] = settle(b.spread.variance[i], float32(math.Sqrt(float64(sum/16))), share, b.n)
	}
	b.settleRows(&b.spread)
}

// tolerance is how far a value may be off, by its variance and that of its like.
func tolerance(variance, typical float32, spread, least, most float64) float32 {
	return float32(min(spread*math.Sqrt(float64(max(variance, typical)))+least, most))
}

// fits reports whether p is a picture of the background.
func (b *background) fits(p *grid, c *comparer) bool {
	if b.n < enoughEmpty {
		return false
	}
	light := b.lightOf(p)
	if light == 0 {
		return false
	}
	if b.light == 0 || abs(light/b.light-1) > lightStep {
		b.bound(light)
	}
	return b.fitTiles(&b.sums, p.sums, light, tileLevel) && b.fitAreas(p, c, light) &&
		(!c.coloured() || b.fitTiles(&b.tint, p.tint, light, tintLevel)) && b.fitCells(p)
}

func abs(v float32) float32 { return max(v, -v) }

func (b *background) fitTiles(f *field, values []int32, light float32, level float64) bool {
	for y, typical := range f.typical {
		at := y * b.g.cols
		means, variances := f.mean[at:][:b.g.cols], f.variance[at:][:b.g.cols]
		for x, v := range values[at:][:b.g.cols] {
			t := tolerance(variances[x], typical, tileSpread, floor[1]*level, tileMost*level)
			if abs(float32(v)-means[x]*light) > t {
				return false
			}
		}
	}
	return true
}

func (b *background) fitAreas(p *grid, c *comparer, light float32) bool {
	for i, s := range p.sums {
		c.shift[i] = int32(float32(s) - b.sums.mean[i]*light)
	}
	c.sumAreas(c.shift)
	for i, d := range c.areas {
		if abs(float32(d)) > tolerance(b.areas[i], b.typical, areaSpread, floor[2]*areaLevel, areaMost*areaLevel) {
			return false
		}
	}
	return true
}

// bound lays the bounds of all cells for that light.
func (b *background) bound(light float32) {
	b.light = light
	cols := b.g.cols
	for i, variance := range b.spread.variance {
		t := tolerance(variance, b.spread.typical[i/cols], cellSpread, floor[0]*cellLevel, cellMost*cellLevel)
		for r := range tileCells {
			at := (i/cols*tileCells+r)*cols + i%cols
			var low, high uint64
			for k, mean := range b.cell[at*4:][:4] {
				v, slack := mean*light, t+mean*lightStep
				low |= uint64(max(v-slack, 0)) << (16 * k)
				high |= uint64(min(v+slack, 0x7fff)) << (16 * k)
			}
			b.low[at], b.high[at] = low, high|signs
		}
	}
}

func (b *background) fitCells(p *grid) bool {
	low, high := b.low[:len(p.cells)], b.high[:len(p.cells)]
	for i, w := range p.cells {
		if (w|signs-low[i])&(high[i]-w)&signs != signs {
			return false
		}
	}
	return true
}
