package optics

import (
	"encoding/binary"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// remap says for every pixel of the result, in the order of memory, which four
// of the source it is mixed of. It is arithmetic of OpenCV's remap with
// INTER_LINEAR: places are rounded to 32nds of a pixel, weights are exact.
type remap struct {
	runs  []run
	inner []uint64 // for each inner pixel: offset of its upper left neighbour in bytes << 10, fraction of y << 5, of x
	edge  []place  // for each pixel some of whose neighbours lie outside, which count as black
}

// run is a row of pixels of one kind.
type run struct {
	kind   kind
	pixels int
}

type kind uint8

const (
	black kind = iota // all its neighbours lie outside, or the lens's model doesn't hold
	inner             // may be read with the widest words
	edge
)

// place is in the source, in 32nds of a pixel.
type place struct{ x, y int32 }

// makeMap fills o.maps for the known picture.
func (o *Optics) makeMap() {
	m, k := &o.maps, o.known
	n := o.roi.w * o.roi.h
	if cap(m.inner) < n {
		m.inner = make([]uint64, 0, n)
	}
	m.runs, m.inner, m.edge = m.runs[:0], m.inner[:0], m.edge[:0]
	c := k.format.Channels()
	last := (k.h-1)*k.stride + k.w*c // end of the pixels
	for y := range o.roi.h {
		for x := range o.roi.w {
			ux, uy := o.from(o.roi.x+x, o.roi.y+y)
			p, seen := o.lens.place(ux, uy)
			sx, sy := int(p.x>>5), int(p.y>>5)
			at := sy*k.stride + sx*c
			switch {
			case !seen || sx < -1 || sy < -1 || sx >= k.w || sy >= k.h:
				m.add(black)
			case sx < 0 || sy < 0 || sx >= k.w-1 || sy >= k.h-1 || at+k.stride+8 > last:
				m.add(edge)
				m.edge = append(m.edge, p)
			default:
				m.add(inner)
				m.inner = append(m.inner, uint64(at)<<10|uint64(p.y&31)<<5|uint64(p.x&31))
			}
		}
	}
}

func (m *remap) add(k kind) {
	if n := len(m.runs); n > 0 && m.runs[n-1].kind == k {
		m.runs[n-1].pixels++
		return
	}
	m.runs = append(m.runs, run{k, 1})
}

// place rounds the source of a pixel. seen is false where there is none.
func (l *lens) place(x, y int) (p place, seen bool) {
	u, v, ok := l.source(float64(x), float64(y))
	const far = 1 << 25 // 32nds: beyond every picture
	u, v = math.RoundToEven(u*32), math.RoundToEven(v*32)
	if !ok || !(math.Abs(u) < far && math.Abs(v) < far) {
		return place{}, false
	}
	return place{int32(u), int32(v)}, true
}

// apply mixes all pixels of dst.
func (m *remap) apply(dst, src *vision.Frame) {
	c := src.Format.Channels()
	out, in, edges := dst.Pix, m.inner, m.edge
	for _, r := range m.runs {
		part := out[:r.pixels*c]
		out = out[len(part):]
		switch r.kind {
		case black:
			clear(part)
		case edge:
			mixEdge(part, src, edges[:r.pixels])
			edges = edges[r.pixels:]
		default:
			if c == 3 {
				mixBGR(part, src.Pix, src.Stride, in[:r.pixels])
			} else {
				mixGray(part, src.Pix, src.Stride, in[:r.pixels])
			}
			in = in[r.pixels:]
		}
	}
}

// mixBGR takes two neighbours, left and right, in one word, where those of a
// channel are 24 bits apart. Multiplied by their weights, in turned order and as
// far apart, they add up in the middle: (l + r·2²⁴)(b + a·2²⁴) holds la + rb at
// 2²⁴. No sum has more than 18 bits, so none reaches into the next; what is lost
// at the top isn't needed.
func mixBGR(out, pix []byte, stride int, in []uint64) {
	const pair = 0xff_0000ff
	const half = 512 << 24 // of the 1024 that the weights add up to
	lower := pix[stride:]
	for i, e := range in {
		at := int(e >> 10)
		up, down := binary.LittleEndian.Uint64(pix[at:]), binary.LittleEndian.Uint64(lower[at:])
		x := 32<<24 - e&31*0xffffff // right + left·2²⁴
		wd := x * (e >> 5 & 31)
		wu := x<<5 - wd
		o := out[3*i : 3*i+3 : 3*i+3]
		o[0] = byte((up&pair*wu + down&pair*wd + half) >> 34)
		o[1] = byte((up>>8&pair*wu + down>>8&pair*wd + half) >> 34)
		o[2] = byte((up>>16&pair*wu + down>>16&pair*wd + half) >> 34)
	}
}

func mixGray(out, pix []byte, stride int, in []uint64) {
	for i, e := range in[:len(out)] {
		at := int(e >> 10)
		up, down := pix[at:at+2], pix[at+stride:][:2]
		fx, fy := int(e&31), int(e>>5&31)
		left := int(up[0])*(32-fy) + int(down[0])*fy
		right := int(up[1])*(32-fy) + int(down[1])*fy
		out[i] = byte((left*(32-fx) + right*fx + 512) >> 10)
	}
}

// mixEdge takes each neighbour by itself.
func mixEdge(out []byte, src *vision.Frame, places []place) {
	c := src.Format.Channels()
	for i, p := range places {
		sx, sy, fx, fy := int(p.x>>5), int(p.y>>5), int(p.x&31), int(p.y&31)
		var sum [3]int
		for n, weight := range [4]int{(32 - fx) * (32 - fy), fx * (32 - fy), (32 - fx) * fy, fx * fy} {
			x, y := sx+n&1, sy+n>>1
			if x < 0 || y < 0 || x >= src.Width || y >= src.Height {
				continue
			}
			for k, v := range src.Pix[y*src.Stride+x*c:][:c] {
				sum[k] += weight * int(v)
			}
		}
		for k := range c {
			out[i*c+k] = byte((sum[k] + 512) >> 10)
		}
	}
}
