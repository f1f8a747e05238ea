package optics

import (
	"encoding/binary"
	"math/bits"

	"github.com/sightline-edge/sightline/vision"
)

// What only changes the places of pixels. Eight BGR pixels are 24 bytes, three
// words; so most of the work is on words.

// rows serves all that leaves rows rows: copies, mirrors and the half turn.
func (o *Optics) rows(dst, src *vision.Frame) {
	c := src.Format.Channels()
	n, roi := o.roi.w*c, o.roi
	x := roi.x
	if o.flipX {
		x = src.Width - roi.x - roi.w
	} else if n == src.Stride && !o.flipY { // gapless
		copy(dst.Pix, src.Pix[roi.y*src.Stride:])
		return
	}
	for row := range roi.h {
		y := roi.y + row
		if o.flipY {
			y = src.Height - 1 - y
		}
		out, in := dst.Pix[row*n:(row+1)*n], src.Pix[y*src.Stride+x*c:][:n]
		switch {
		case !o.flipX:
			copy(out, in)
		case c == 3:
			reverseBGR(out, in)
		default:
			reverseGray(out, in)
		}
	}
}

// reverseBGR writes a row's pixels, as many bytes as out has, backwards.
func reverseBGR(out, in []byte) {
	for len(in) >= 24 && len(out) >= 24 {
		last := in[len(in)-24:]
		// pixels 0 to 7, of which 2 and 5 lie across words
		a, b, c := binary.LittleEndian.Uint64(last), binary.LittleEndian.Uint64(last[8:]), binary.LittleEndian.Uint64(last[16:])
		p2, p5 := a>>48|b<<16&0xff0000, b>>56|c<<8&0xffff00
		binary.LittleEndian.PutUint64(out, c>>40|c>>16<<40>>16|p5<<48)
		binary.LittleEndian.PutUint64(out[8:], p5>>16|b>>32<<40>>32|b>>8<<40>>8|p2<<56)
		binary.LittleEndian.PutUint64(out[16:], p2>>8|a>>24<<40>>24|a<<40)
		in, out = in[:len(in)-24], out[24:]
	}
	for len(in) >= 3 && len(out) >= 3 {
		last := in[len(in)-3:]
		out[0], out[1], out[2] = last[0], last[1], last[2]
		in, out = in[:len(in)-3], out[3:]
	}
}

func reverseGray(out, in []byte) {
	for len(in) >= 8 && len(out) >= 8 {
		binary.LittleEndian.PutUint64(out, bits.ReverseBytes64(binary.LittleEndian.Uint64(in[len(in)-8:])))
		in, out = in[:len(in)-8], out[8:]
	}
	for i := range out {
		out[i] = in[len(in)-1-i]
	}
}

// tile is the side in pixels of the squares in which transpose works, so that the
// parts of 64 rows that it reads stay in the nearest cache until they are used up.
const tile = 64

// transpose serves the quarter turns: the result's rows are the picture's columns.
func (o *Optics) transpose(dst, src *vision.Frame) {
	for y := 0; y < o.roi.h; y += tile {
		for x := 0; x < o.roi.w; x += tile {
			o.square(dst, src, rect{x, y, min(tile, o.roi.w-x), min(tile, o.roi.h-y)})
		}
	}
}

// square fills a part of the result.
func (o *Optics) square(dst, src *vision.Frame, r rect) {
	c, step := src.Format.Channels(), src.Stride
	if o.flipY {
		step = -step
	}
	for y := r.y; y < r.y+r.h; y++ {
		sx, sy := o.from(o.roi.x+r.x, o.roi.y+y)
		out, at := dst.Pix[y*dst.Stride+r.x*c:][:r.w*c], sy*src.Stride+sx*c
		switch {
		case c == 1:
			columnGray(out, src.Pix, at, step)
		default:
			// Words of four bytes are read, which the frame's last pixel may lack.
			whole := (src.Height-1)*src.Stride+sx*c+4 <= len(src.Pix)
			columnBGR(out, src.Pix, at, step, whole)
		}
	}
}

// columnBGR fills a row from a column, whose pixels are step bytes apart.
func columnBGR(out, pix []byte, at, step int, whole bool) {
	for whole && len(out) >= 24 {
		p := func(n int) uint64 { return uint64(binary.LittleEndian.Uint32(pix[at+n*step:])) & 0xffffff }
		p2, p5 := p(2), p(5)
		binary.LittleEndian.PutUint64(out, p(0)|p(1)<<24|p2<<48)
		binary.LittleEndian.PutUint64(out[8:], p2>>16|p(3)<<8|p(4)<<32|p5<<56)
		binary.LittleEndian.PutUint64(out[16:], p5>>8|p(6)<<16|p(7)<<40)
		at += 8 * step
		out = out[24:]
	}
	for ; len(out) >= 3; out = out[3:] {
		in := pix[at : at+3]
		out[0], out[1], out[2] = in[0], in[1], in[2]
		at += step
	}
}

func columnGray(out, pix []byte, at, step int) {
	for len(out) >= 8 {
		p := func(n int) uint64 { return uint64(pix[at+n*step]) << (8 * n) }
		binary.LittleEndian.PutUint64(out, p(0)|p(1)|p(2)|p(3)|p(4)|p(5)|p(6)|p(7))
		at += 8 * step
		out = out[8:]
	}
	for i := range out {
		out[i] = pix[at]
		at += step
	}
}
