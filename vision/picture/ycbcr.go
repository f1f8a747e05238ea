package picture

import "image"

// Fixed-point factors of JFIF's YCbCr, 16 bits after the point, as libjpeg
// rounds them.
const (
	crToR = 91881  // 1.40200
	cbToB = 116130 // 1.77200
	cbToG = -22554 // -0.34414
	crToG = -46802 // -0.71414
	half  = 1 << 15
)

// jpegToBGR upsamples the chroma planes and converts row by row.
func jpegToBGR(dst []byte, m *image.YCbCr) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cw, ch, across, down := chromaSize(m.SubsampleRatio, w, h)
	if across == 1 && down == 1 {
		for y := range h {
			c := m.Cb[y*m.CStride:][:w]
			r := m.Cr[y*m.CStride:][:w]
			rowToBGR(dst[y*w*3:(y+1)*w*3], m.Y[y*m.YStride:][:w], c, r)
		}
		return
	}
	room := cw*across + 8
	cb, cr := make([]byte, room), make([]byte, room)
	sum := make([]int32, cw)
	for y := range h {
		near, far := y/down, y/down
		if down == 2 {
			far = min(max(near+(y&1)*2-1, 0), ch-1)
		}
		plane := func(out, p []byte) {
			upsample(out, sum, p[near*m.CStride:][:cw], p[far*m.CStride:][:cw], across, down, y&1)
		}
		plane(cb, m.Cb)
		plane(cr, m.Cr)
		rowToBGR(dst[y*w*3:(y+1)*w*3], m.Y[y*m.YStride:][:w], cb[:w], cr[:w])
	}
}

// chromaSize tells the size of the chroma planes that belongs to the picture
// (without the padding to whole blocks) and the factors to it.
func chromaSize(r image.YCbCrSubsampleRatio, w, h int) (cw, ch, across, down int) {
	across, down = 1, 1
	switch r {
	case image.YCbCrSubsampleRatio422:
		across = 2
	case image.YCbCrSubsampleRatio420:
		across, down = 2, 2
	case image.YCbCrSubsampleRatio440:
		down = 2
	case image.YCbCrSubsampleRatio411:
		across = 4
	case image.YCbCrSubsampleRatio410:
		across, down = 4, 2
	}
	return (w + across - 1) / across, (h + down - 1) / down, across, down
}

// upsample makes one full row of chroma from the nearer and the farther row of
// the plane by libjpeg-turbo's rules: a triangle filter at 2:1, copies at 4:1
// and for planes of up to two columns. odd is 1 for the lower row of a pair.
func upsample(out []byte, sum []int32, near, far []byte, across, down, odd int) {
	switch {
	case across == 4 || across == 2 && len(near) <= 2:
		for i, v := range near {
			for k := range across {
				out[i*across+k] = v
			}
		}
	case across == 2 && down == 2:
		for i, v := range near {
			sum[i] = 3*int32(v) + int32(far[i])
		}
		wide(out, sum, 4, 8, 7)
	case across == 2:
		for i, v := range near {
			sum[i] = int32(v)
		}
		wide(out, sum, 2, 1, 2)
	default: // only down == 2 is left
		bias := 1 + odd
		for i, v := range near {
			out[i] = byte((3*int(v) + int(far[i]) + bias) >> 2)
		}
	}
}

// wide doubles a row by the weights 3/4 and 1/4. The sums carry shift-2 bits
// of fraction already; left and right are the rounding of the left and the
// right one of each two new samples. sum has at least three columns.
func wide(out []byte, sum []int32, shift uint, left, right int32) {
	n := len(sum)
	out = out[:2*n]
	first, last := sum[0], sum[n-1]
	out[0] = byte((first*4 + left) >> shift)
	if shift == 2 { // libjpeg copies the outermost samples of a row as they are
		out[0] = byte(first)
	}
	prev, cur := first, first
	for i, next := range sum[1:] {
		if i > 0 {
			out[2*i] = byte((cur*3 + prev + left) >> shift)
		}
		out[2*i+1] = byte((cur*3 + next + right) >> shift)
		prev, cur = cur, next
	}
	out[2*n-2] = byte((cur*3 + prev + left) >> shift)
	out[2*n-1] = byte((last*4 + right) >> shift)
}

// rowToBGR converts one row; all three inputs are as long as it is wide.
func rowToBGR(dst, ys, cbs, crs []byte) {
	cbs, crs = cbs[:len(ys)], crs[:len(ys)]
	for i, l := range ys {
		y := int32(l)
		cb, cr := int32(cbs[i])-128, int32(crs[i])-128
		b := y + (cbToB*cb+half)>>16
		g := y + (cbToG*cb+crToG*cr+half)>>16
		r := y + (crToR*cr+half)>>16
		out := dst[3*i : 3*i+3 : 3*i+3]
		if uint32(b|g|r) > 255 {
			b, g, r = clamp(b), clamp(g), clamp(r)
		}
		out[0], out[1], out[2] = byte(b), byte(g), byte(r)
	}
}

func clamp(v int32) int32 { return min(max(v, 0), 255) }
