package infer

import "math"

// newAxis computes OpenCV's positions and weights of two pixels. Columns that lie
// outside take the border pixel alone; rows keep their weights and repeat the
// border row, which is the same.
func newAxis(s span, step int, columns bool, position func(span, int) (int, float32)) axis {
	a := axis{offset: make([]int32, 2*s.n), weight: make([]int16, 2*s.n)}
	for d := range s.n {
		at, frac := position(s, s.from+d)
		if columns && at < 0 {
			at, frac = 0, 0
		}
		if columns && at >= s.src-1 {
			at, frac = s.src-1, 0
		}
		for k, w := range [2]float32{1 - frac, frac} {
			a.offset[2*d+k] = int32(min(max(at+k, 0), s.src-1) * step)
			a.weight[2*d+k] = int16(math.RoundToEven(float64(w * 2048)))
		}
	}
	return a
}

// linearPosition is the first of the two pixels of INTER_LINEAR and the second's
// share: pixels' middles lie on each other. Conversions keep a product and a sum
// from being rounded as one, here and below.
func linearPosition(s span, d int) (int, float32) {
	scale, _ := s.scales()
	pos := float32(float64((float64(d)+0.5)*scale) - 0.5)
	at := int(math.Floor(float64(pos)))
	return at, pos - float32(at)
}

// areaPosition is the same of INTER_AREA where it makes larger: only a pixel that
// reaches over a border of the frame's pixels is mixed.
func areaPosition(s span, d int) (int, float32) {
	scale, inverse := s.scales()
	at := int(math.Floor(float64(d) * scale))
	frac := float32(float64(d+1) - float64(float64(at+1)*inverse))
	if frac <= 0 {
		return at, 0
	}
	return at, frac - float32(math.Floor(float64(frac)))
}

// nearestAxis takes the pixel whose area holds the middle, as Pillow finds it: by
// adding up, with the rounding of every step.
func nearestAxis(s span, step int) axis {
	a := axis{offset: make([]int32, 2*s.n), weight: make([]int16, 2*s.n)}
	scale := float64(s.src) / float64(s.dst)
	pos := scale * 0.5
	for d := range s.from + s.n {
		if d >= s.from {
			at := int32(min(int(pos), s.src-1) * step)
			k := 2 * (d - s.from)
			a.offset[k], a.offset[k+1], a.weight[k] = at, at, 2048
		}
		pos += scale
	}
	return a
}

// whole reports whether all second weights vanish.
func (a axis) whole() bool {
	for i := 1; i < len(a.weight); i += 2 {
		if a.weight[i] != 0 {
			return false
		}
	}
	return true
}

// resampleGo is the plain form of the pass of two pixels, for frames of any kind;
// resample and resampleGray are faster ones with the same result. A row of the
// frame is resized horizontally once and serves all output rows that need it.
func (f *Filler) resampleGo(data []float32, pix []byte, stride int) {
	g, n := &f.geo, f.geo.at.w*f.geo.channels
	var have [2]int32
	var rows [2][]int16
	for k := range rows {
		have[k], rows[k] = -1, f.rows[k*len(f.rows)/2:][:n]
	}
	row := func(y int32) []int16 {
		k := y & 1 // the two rows of one output row are neighbours or the same
		if have[k] != y {
			g.horizontal(rows[k], pix[int(y)*stride:])
			have[k] = y
		}
		return rows[k]
	}
	for y := range g.at.h {
		up, down := row(g.ys.offset[2*y]), row(g.ys.offset[2*y+1])
		f.vertical(data, y, up, down)
	}
}

// horizontal gives the weighted sums of a row, shifted to 15 bits.
func (g *geometry) horizontal(dst []int16, src []byte) {
	for x := range g.at.w {
		left, right := src[g.cols.offset[2*x]:], src[g.cols.offset[2*x+1]:]
		a, b := int32(g.cols.weight[2*x]), int32(g.cols.weight[2*x+1])
		if g.channels == 3 {
			_, _ = left[2], right[2]
			d := dst[3*x : 3*x+3 : 3*x+3]
			d[0] = int16((int32(left[0])*a + int32(right[0])*b) >> 4)
			d[1] = int16((int32(left[1])*a + int32(right[1])*b) >> 4)
			d[2] = int16((int32(left[2])*a + int32(right[2])*b) >> 4)
		} else {
			dst[x] = int16((int32(left[0])*a + int32(right[0])*b) >> 4)
		}
	}
}

func (f *Filler) vertical(data []float32, y int, up, down []int16) {
	g := &f.geo
	a, b := int32(g.ys.weight[2*y]), int32(g.ys.weight[2*y+1])
	w, start := g.at.w, y*f.in.Width
	for c := range f.in.Planes() {
		out := f.plane(data, c)[start : start+w]
		lut := f.table(c)
		at, step := c, g.channels
		if g.channels == 1 {
			at = 0
		}
		for x := range out {
			v := ((a*int32(up[at]))>>16 + (b*int32(down[at]))>>16 + 2) >> 2
			out[x] = lut[uint8(v)]
			at += step
		}
	}
}
