package capture

import (
	"encoding/binary"
	"sync"
)

// NV12 is a plane of Y and a plane of U and V in turns for each two by two
// pixels. By BT.601 in the limited range, with c = Y-16, d = U-128, e = V-128,
//
//	B = (298c + 516d) / 256, G = (298c - 100d - 208e) / 256, R = (298c + 409e) / 256
//
// held within 0 to 255. All three are worked out in one 64-bit word of three
// lanes that are 24 bits apart: 5 bits of fraction, and the value plus nvBias, so
// that a lane never borrows from the next and the bits above the value tell what
// is out of range. The fraction costs at most one level against the formula.
const (
	nvLane = 24
	nvFrac = 5
	nvBias = 512 // more than any value falls below 0, and less than 2048 with it

	nvOne = 1 | 1<<nvLane | 1<<(2*nvLane)
	nvOut = nvOne * (7 << (nvFrac + 8)) // the bits above the value's: 256, 512, 1024
	nvIn  = nvOne * (nvBias << nvFrac)  // what they are while the value is in range
	nvPix = nvOne * (255 << nvFrac)     // the value

	// nvGather brings the three values to the upper 24 bits, blue lowest, by one
	// multiplication: its other products fall below or out of the word.
	nvGather = 1<<(40-nvFrac) | 1<<(48-nvFrac-nvLane) | 1<<(56-nvFrac-2*nvLane)
)

// nvTables are the parts that Y, U and V have in the word.
type nvTables struct{ y, u, v [256]uint64 }

var nv12Tables = sync.OnceValue(func() *nvTables {
	// The parts of a lane may be negative; their sum isn't, whatever the pixel.
	word := func(b, g, r int64) uint64 {
		scale := func(x int64) int64 { return (x<<nvFrac + 128) >> 8 }
		return uint64(scale(b) + scale(g)<<nvLane + scale(r)<<(2*nvLane))
	}
	t := &nvTables{}
	for i := range int64(256) {
		c := 298*(i-16) + 128 + nvBias<<8 // rounded
		t.y[i] = word(c, c, c)
		t.u[i] = word(516*(i-128), -100*(i-128), 0)
		t.v[i] = word(0, -208*(i-128), 409*(i-128))
	}
	return t
})

// nv12ToBGR converts a frame of even size. dst has 3*w*h bytes.
func nv12ToBGR(dst, src []byte, w, h int) {
	t := nv12Tables()
	luma, chroma := src[:w*h], src[w*h:w*h*3/2]
	for row := 0; row < h; row += 2 {
		y, d := luma[w*row:w*(row+2)], dst[3*w*row:3*w*(row+2)]
		nv12Rows(t, d[:3*w], d[3*w:], y[:w], y[w:], chroma[row/2*w:(row/2+1)*w])
	}
}

// nv12Rows converts two rows. Two pixels are stored as eight bytes, of which the
// next two overwrite the last two; the last pixels of the rows are stored apart.
func nv12Rows(t *nvTables, d0, d1, y0, y1, uv []byte) {
	for len(y0) >= 4 && len(y1) >= 4 && len(uv) >= 4 && len(d0) >= 8 && len(d1) >= 8 { // what the compiler need not check again
		c := t.u[uv[0]] + t.v[uv[1]]
		a, b := c+t.y[y0[0]], c+t.y[y0[1]]
		e, f := c+t.y[y1[0]], c+t.y[y1[1]]
		if ((a^nvIn)|(b^nvIn)|(e^nvIn)|(f^nvIn))&nvOut != 0 {
			a, b, e, f = nvClamp(a), nvClamp(b), nvClamp(e), nvClamp(f)
		}
		binary.LittleEndian.PutUint64(d0, (a&nvPix*nvGather)>>40|(b&nvPix*nvGather)>>40<<24)
		binary.LittleEndian.PutUint64(d1, (e&nvPix*nvGather)>>40|(f&nvPix*nvGather)>>40<<24)
		y0, y1, uv, d0, d1 = y0[2:], y1[2:], uv[2:], d0[6:], d1[6:]
	}
	c := t.u[uv[0]] + t.v[uv[1]]
	for i := range 2 {
		a, e := nvClamp(c+t.y[y0[i]])&nvPix*nvGather, nvClamp(c+t.y[y1[i]])&nvPix*nvGather
		d0[3*i], d0[3*i+1], d0[3*i+2] = byte(a>>40), byte(a>>48), byte(a>>56)
		d1[3*i], d1[3*i+1], d1[3*i+2] = byte(e>>40), byte(e>>48), byte(e>>56)
	}
}

// nvClamp holds each lane's value within 0 to 255.
func nvClamp(a uint64) uint64 {
	high := a >> (nvFrac + 8) & (nvOne * 7)  // value/256: 2 in range, 0 or 1 below, 3 to 7 above
	over := (high>>2 | high>>1&high) & nvOne // 1 above
	notUnder := (high>>1 | high>>2) & nvOne  // 0 below
	return (a | over*(255<<nvFrac)) & (notUnder * (255 << nvFrac))
}
