package quality

import (
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// cellsLong is the longer side of the small picture that places are compared
// in, in cells.
const cellsLong = 160

// cells is a small grey picture: one value for each square of the frame.
type cells struct {
	w, h int
	size float64 // of a cell, pixels
	v    []float32
	xs   []int // pixels that are read for each cell's column
	ys   []int
	nx   int // pixels read along each cell, and down it
	ny   int
}

func (c *cells) begin(w, h int) {
	c.size = float64(max(w, h)) / cellsLong
	c.w, c.h = int(float64(w)/c.size), int(float64(h)/c.size)
	c.v = make([]float32, c.w*c.h)
	c.nx, c.ny = min(max(int(c.size/2), 1), 4), min(max(int(c.size/2), 1), 2)
	c.xs, c.ys = spread(c.w, c.nx, c.size, w), spread(c.h, c.ny, c.size, h)
}

// spread places n pixels in every cell, evenly.
func spread(cells, n int, size float64, most int) []int {
	out := make([]int, 0, cells*n)
	for i := range cells {
		for j := range n {
			out = append(out, min(int((float64(i)+(float64(j)+0.5)/float64(n))*size), most-1))
		}
	}
	return out
}

// take reads the frame.
func (c *cells) take(f *vision.Frame) {
	ch := f.Format.Channels()
	scale := 1 / float32(c.nx*c.ny)
	for y := range c.h {
		out := c.v[y*c.w:][:c.w]
		clear(out)
		for j := range c.ny {
			line := f.Pix[c.ys[y*c.ny+j]*f.Stride:][:f.Width*ch]
			for x := range out {
				sum := 0
				for _, px := range c.xs[x*c.nx:][:c.nx] {
					sum += int(value(line[px*ch:], ch))
				}
				out[x] += float32(sum) * scale
			}
		}
	}
}

// Landmarks are square patches of cells.
const (
	patchR = 4
	patchN = (2*patchR + 1) * (2*patchR + 1)
)

// landmark is a piece of the reference picture that can be found again.
type landmark struct {
	x, y   int             // its middle, cells
	corner bool            // it can be found in both directions; else only along nx, ny
	nx, ny float64         // unit normal of an edge
	patch  [patchN]float32 // without mean, of length 1
}

const (
	landmarksMost = 80
	cornersMost   = 48
	landmarkApart = 8   // cells
	detail        = 3.0 // levels a cell, of a gradient that can be found again
)

// findLandmarks takes those with the most detail, corners first.
func findLandmarks(c *cells) []landmark {
	var out []landmark
	taken := func(x, y int) bool {
		for i := range out {
			if max(out[i].x-x, x-out[i].x, out[i].y-y, y-out[i].y) < landmarkApart {
				return true
			}
		}
		return false
	}
	type place struct {
		x, y       int
		weak, full float64
		nx, ny     float64
	}
	var all []place
	for y := patchR + 1; y < c.h-patchR-1; y += 2 {
		for x := patchR + 1; x < c.w-patchR-1; x += 2 {
			weak, full, nx, ny := c.structure(x, y)
			if full >= detail*detail {
				all = append(all, place{x, y, weak, full, nx, ny})
			}
		}
	}
	for _, corners := range []bool{true, false} {
		for len(out) < landmarksMost && !(corners && len(out) >= cornersMost) {
			best := -1
			for i, p := range all {
				if corners && p.weak < detail*detail || taken(p.x, p.y) {
					continue
				}
				if best < 0 || corners && p.weak > all[best].weak || !corners && p.full > all[best].full {
					best = i
				}
			}
			if best < 0 {
				break
			}
			p := all[best]
			l := landmark{x: p.x, y: p.y, corner: corners, nx: p.nx, ny: p.ny}
			c.patch(p.x, p.y, &l.patch)
			out = append(out, l)
		}
	}
	return out
}

// structure gives the mean squared gradient around a place in its weaker and
// in its stronger direction, and the latter.
func (c *cells) structure(x, y int) (weak, full, nx, ny float64) {
	var xx, xy, yy float64
	for j := y - patchR; j <= y+patchR; j++ {
		for i := x - patchR; i <= x+patchR; i++ {
			gx := float64(c.v[j*c.w+i+1]-c.v[j*c.w+i-1]) / 2
			gy := float64(c.v[(j+1)*c.w+i]-c.v[(j-1)*c.w+i]) / 2
			xx, xy, yy = xx+gx*gx, xy+gx*gy, yy+gy*gy
		}
	}
	half, d := (xx+yy)/2, math.Hypot((xx-yy)/2, xy)
	angle := math.Atan2(2*xy, xx-yy) / 2
	return (half - d) / patchN, (half + d) / patchN, math.Cos(angle), math.Sin(angle)
}

// patch copies the cells around a place, without their mean, to length 1.
func (c *cells) patch(x, y int, out *[patchN]float32) {
	i, sum := 0, float32(0)
	for j := y - patchR; j <= y+patchR; j++ {
		for _, v := range c.v[j*c.w+x-patchR:][:2*patchR+1] {
			out[i] = v
			sum += v
			i++
		}
	}
	mean, q := sum/patchN, 0.0
	for i, v := range out {
		out[i] = v - mean
		q += float64(out[i]) * float64(out[i])
	}
	scale := float32(1 / math.Sqrt(max(q, 1e-9)))
	for i := range out {
		out[i] *= scale
	}
}

// like is the normalised correlation of the landmark with what is at the
// place, -1 to 1: the same under any light that is even over the patch.
func (c *cells) like(l *landmark, x, y int) float64 {
	if x < patchR || y < patchR || x >= c.w-patchR || y >= c.h-patchR {
		return -1
	}
	var sum, q, dot float32
	i := 0
	for j := y - patchR; j <= y+patchR; j++ {
		row := c.v[j*c.w+x-patchR:][:2*patchR+1]
		ref := l.patch[i:][:2*patchR+1]
		for k, v := range row {
			v -= 128 // small numbers keep the sums exact enough
			sum += v
			q += v * v
			dot += v * ref[k]
		}
		i += 2*patchR + 1
	}
	q -= sum * sum / patchN
	if q < patchN { // a level or less: nothing to see
		return 0
	}
	return float64(dot) / math.Sqrt(float64(q))
}
