package infer

// resampleGray is resample for frames of one channel, in plain Go: each pixel is
// mixed once for all planes.
func (f *Filler) resampleGray(data []float32) {
	g := &f.geo
	have := [2]int32{-1, -1} // the rows of the frame that rows hold
	var rows [2][]int16
	for k := range rows {
		rows[k] = f.rows[k*len(f.rows)/2:][:g.at.w]
	}
	row := func(y int32) []int16 {
		k := y & 1 // the two rows of one output row are neighbours or the same
		if have[k] != y {
			g.horizontalGray(rows[k], f.src.row(int(y)))
			have[k] = y
		}
		return rows[k]
	}
	for y := range g.at.h {
		if g.whole == 1 {
			g.pickGray(f.line, f.src.row(int(g.ys.offset[2*y])))
		} else {
			up, down := row(g.ys.offset[2*y]), row(g.ys.offset[2*y+1])
			mixGray(f.line, up, down, int32(g.ys.weight[2*y]), int32(g.ys.weight[2*y+1]))
		}
		f.emitGray(data, y)
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
