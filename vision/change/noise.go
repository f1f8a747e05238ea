package change

import "slices"

// limits are how much two pictures of the same thing may differ, in the units
// of grid: what a cell differs by beyond its tile, tiles and areas by against
// others nearby, and any tile at all. A soft change of light moves tiles that
// lie side by side alike; the edge of a thing doesn't, however faint.
type limits struct {
	cell, tile, area, smooth int
}

// Of a picture without any noise, floor is what may differ; whatever the noise,
// no more than ceiling, unless it is even over the whole picture as a sensor's
// is. Grey levels.
var (
	floor   = [3]float64{2, 1, 0.6} // cell, tile, area
	ceiling = [3]float64{8, 5, 4}
)

const (
	smoothMost = 6.0 // levels that a soft change of light may move a tile by
	apart      = 2   // tiles from one to the other that it is compared with: an edge on a border between two lies wholly between these

	// Noise that is even and like a bell: how many of its standard deviations
	// the extreme of a picture may be to count as such, and what is then allowed.
	bellPeak, bellLimit = 5.5, 6.0
	bellMost            = 3.0  // levels: the largest standard deviation of a cell's difference that may be noise
	bellSpan            = 3.53 // standard deviations from the lowest to the highest of 16
	bellShift           = 0.25 // of them: what the middle one of the tiles may shift by; 0.17 if cells differ each by itself. A texture that moves shifts more.

	// Noise that comes in blocks and pulses, a codec's: by how much more than
	// the extreme of consecutive pictures two may differ that aren't.
	pulses = 3.0

	// A quarter of the last pictures must have been as quiet, for extremes of
	// consecutive pictures to be noise; with more motion it can't be told.
	quiet = 0.25
)

// peaks are the extremes of the difference between two consecutive pictures.
type peaks struct {
	cell, tile, area int
	span             int // from the lowest to the highest cell's difference in the middle one of the tiles
	shift            int // of the middle one of the tiles
}

// The extremes are taken of three pictures in 13, so that no codec's period
// always falls on the same, and those of the last 64 are kept: some ten seconds.
const (
	keptPeaks = 64
	cycle     = 13
	learning  = 24 // pictures, until the first limits stand
)

// noise learns from consecutive pictures how the camera's pictures differ when
// nothing happens.
type noise struct {
	kept [keptPeaks]peaks
	n    int // taken so far
}

func (n *noise) add(p peaks) {
	n.kept[n.n%keptPeaks] = p
	n.n++
}

// due reports whether picture number i, from 0, is one of those to learn from.
func (n *noise) due(i uint64) bool {
	return n.n < learning || i%cycle == 0 || i%cycle == 3 || i%cycle == 7
}

// low is a value that the quietest of the pictures had.
func (n *noise) low(value func(*peaks) int) float64 {
	var v [keptPeaks]int
	all := v[:min(n.n, keptPeaks)]
	for i := range all {
		all[i] = value(&n.kept[i])
	}
	slices.Sort(all)
	return float64(all[int(quiet*float64(len(all)))])
}

// limits gives what is allowed after what was learnt; at least one picture was.
func (n *noise) limits() limits {
	bell := min(n.low(func(p *peaks) int { return p.span })/bellSpan/cellLevel, bellMost)
	if n.low(func(p *peaks) int { return p.shift })/tileLevel > bellShift*bell+shiftStep/tileLevel {
		bell = 0
	}
	const pair = 1.4142 // two tiles are compared
	cell := allowed(n.low(func(p *peaks) int { return p.cell })/cellLevel, bell, 0)
	tile := allowed(n.low(func(p *peaks) int { return p.tile })/tileLevel, bell*pair/4, 1)
	area := allowed(n.low(func(p *peaks) int { return p.area })/areaLevel, bell*pair/16, 2)
	return limits{cell: int(cell * cellLevel), tile: int(tile * tileLevel), area: int(area * areaLevel), smooth: smoothMost * tileLevel}
}

// allowed gives the limit by the extreme of quiet pictures and by the standard
// deviation that it had if the noise were even; levels.
func allowed(extreme, bell float64, size int) float64 {
	even := max(floor[size], bellLimit*bell)
	if extreme <= bellPeak*bell || extreme > ceiling[size] {
		return even
	}
	return max(even, min(pulses*extreme, ceiling[size]))
}
