package infer

import "slices"

// resampleGray is resample for frames of one channel, in plain Go: each pixel is
// mixed once for all planes.
func (f *Filler) resampleGray(data []float32, pix []byte, stride int) {
	g, size := &f.geo, f.in.Width*f.in.Height
	f.line = slices.Grow(f.line[:0], g.at.w)[:g.at.w]
	var have [2]int32
	var rows [2][]int16
	for k := range rows {
		have[k], rows[k] = -1, f.rows[k*len(f.rows)/2:][:g.at.w]
	}
	row := func(y int32) []int16 {
		k := y & 1 // the two rows of one output row are neighbours or the same
		if have[k] != y {
			g.horizontalGray(rows[k], pix[int(y)*stride:][:g.width])
			have[k] = y
		}
		return rows[k]
	}
	for y := range g.at.h {
		if g.whole == 1 {
			g.pickGray(f.line, pix[int(g.ys.offset[2*y])*stride:][:g.width])
		} else {
			up, down := row(g.ys.offset[2*y]), row(g.ys.offset[2*y+1])
			mixGray(f.line, up, down, int32(g.ys.weight[2*y]), int32(g.ys.weight[2*y+1]))
		}
		at := (g.at.y+y)*f.in.Width + g.at.x
		first, table := data[at:][:g.at.w], &f.lut[0]
		for x, v := range f.line[:len(first)] {
			first[x] = table[v]
		}
		for c := 1; c < f.in.Planes(); c++ {
			out := data[c*size+at:][:g.at.w]
			if f.alike {
				copy(out, first)
				continue
			}
			table := &f.lut[c]
			for x, v := range f.line {
				out[x] = table[v]
			}
		}
	}
}

// horizontalGray gives the weighted sums of a row, shifted to 15 bits.
func (g *geometry) horizontalGray(dst []int16, src []byte) {
	offset, weight := g.cols.offset[:2*len(dst)], g.cols.weight[:2*len(dst)]
	for x := range dst {
		o, w := offset[2*x:][:2], weight[2*x:][:2]
		dst[x] = int16((int32(src[o[0]])*int32(w[0]) + int32(src[o[1]])*int32(w[1])) >> 4)
	}
}

// pickGray takes a row of single pixels.
func (g *geometry) pickGray(dst, src []byte) {
	offset := g.cols.offset[:2*len(dst)]
	for x := range dst {
		dst[x] = src[offset[2*x]]
	}
}

// mixGray mixes two rows by weights of 11 bits.
func mixGray(dst []byte, up, down []int16, a, b int32) {
	up, down = up[:len(dst)], down[:len(dst)]
	for x := range dst {
		dst[x] = byte(((a*int32(up[x]))>>16 + (b*int32(down[x]))>>16 + 2) >> 2)
	}
}
