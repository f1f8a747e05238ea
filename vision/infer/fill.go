package infer

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// Filler turns frames into input tensors: resize and conversion in one pass,
// bit-exact to OpenCV's INTER_LINEAR on 8-bit pictures. It is not safe for
// concurrent use.
type Filler struct {
	in  Input
	lut [3][256]float32 // value of a pixel, in plane order
	// lut is pixel × hi + pixel × lo in float32, the first product exact; hi is
	// 0 where it is anything else.
	hi, lo float32
	alike  bool // all planes have the same table

	geo  geometry
	rows []int16 // two rows of the frame, resized horizontally, 4 lanes a pixel
	gray []byte  // a colour frame for a Gray tensor
	line []byte  // a row of the tensor, of a gray frame
}

// Blob is an input tensor: planes of Height rows of Width values. It remembers
// what its padding was laid for, so that only a change of geometry lays it again.
type Blob struct {
	Data  []float32
	right bool // the padding of pad is laid
	pad   rect
}

type rect struct{ x, y, w, h int }

// Placement tells where the frame lies in the tensor, to map boxes back.
type Placement struct {
	GainX, GainY float64 // tensor pixels per frame pixel
	PadX, PadY   float64 // tensor pixels left of and above the frame
}

// geometry is all that depends only on the frame's size.
type geometry struct {
	width, height, channels int // of the frame

	at    rect // of the picture in the tensor
	place Placement
	cols  axis // offsets in bytes
	ys    axis // offsets in rows
	whole int  // 1 if every output pixel is one pixel of the frame, else 0
	safe  int  // columns for which 8 bytes may be read at their first offset
}

// axis holds, for every output position, two source offsets and their weights
// of 11 bits, interleaved.
type axis struct {
	offset []int32
	weight []int16
}

// NewFiller prepares filling for a model's input; Width and Height must be set.
func NewFiller(in Input) *Filler {
	f := &Filler{in: in}
	for c := range f.lut {
		std := in.Std[c]
		if std == 0 {
			std = 1
		}
		for v := range f.lut[c] {
			f.lut[c][v] = float32((float64(v)*in.Scale - in.Mean[c]) / std)
		}
	}
	f.alike = f.lut[1] == f.lut[0] && f.lut[2] == f.lut[0]
	for _, d := range [...]float64{1, 255} {
		hi := math.Float32frombits(math.Float32bits(float32(1/d)) &^ 0xffff) // 8 bits: exact with 8-bit pixels
		if lo := float32(1/d - float64(hi)); f.isProduct(hi, lo) {
			f.hi, f.lo = hi, lo
		}
	}
	return f
}

func (f *Filler) isProduct(hi, lo float32) bool {
	for c := range f.lut {
		for v, got := range f.lut[c] {
			first, second := float32(v)*hi, float32(v)*lo
			if got != first+second {
				return false
			}
		}
	}
	return true
}

// NewBlob makes a tensor for this input.
func (f *Filler) NewBlob() *Blob {
	return &Blob{Data: make([]float32, f.in.Planes()*f.in.Width*f.in.Height)}
}

// Fill writes the frame into the tensor.
func (f *Filler) Fill(b *Blob, frame *vision.Frame) (Placement, error) {
	if frame.Width > maxFrame || frame.Height > maxFrame || frame.Stride > 8*maxFrame {
		return Placement{}, fmt.Errorf("fill the tensor: frame of %d×%d, at most %d a side are possible", frame.Width, frame.Height, maxFrame)
	}
	if !frame.Valid() {
		return Placement{}, fmt.Errorf("fill the tensor: frame of %d×%d, %d bytes a row, doesn't fit its %d bytes", frame.Width, frame.Height, frame.Stride, len(frame.Pix))
	}
	pix, stride, channels := frame.Pix, frame.Stride, frame.Format.Channels()
	if f.in.Colour == Gray && channels == 3 {
		f.toGray(frame)
		pix, stride, channels = f.gray, frame.Width, 1
	}
	if g := &f.geo; g.width != frame.Width || g.height != frame.Height || g.channels != channels {
		f.geo = newGeometry(f.in, frame.Width, frame.Height, channels)
		f.rows = make([]int16, 2*4*(f.geo.at.w+4))
	}
	f.layPadding(b)
	if channels == 1 {
		f.resampleGray(b.Data, pix, stride)
	} else {
		f.resample(b.Data, pix, stride)
	}
	return f.geo.place, nil
}

// maxFrame bounds a frame's sides in pixels.
const maxFrame = 32768

func newGeometry(in Input, w, h, channels int) geometry {
	g := geometry{width: w, height: h, channels: channels}
	g.at, g.place = in.place(w, h)
	g.cols = newAxis(w, g.at.w, channels, true)
	g.ys = newAxis(h, g.at.h, 1, false)
	if g.cols.whole() && g.ys.whole() {
		g.whole = 1
	}
	for g.safe < g.at.w && int(g.cols.offset[2*g.safe])+8 <= w*channels {
		g.safe++
	}
	return g
}

// place lays a frame of w×h into the tensor, with the arithmetic of the tools
// whose results we reproduce (YOLOX's preproc, Ultralytics' LetterBox).
func (in Input) place(w, h int) (rect, Placement) {
	if in.Resize != Letterbox {
		return rect{0, 0, in.Width, in.Height}, Placement{
			GainX: float64(in.Width) / float64(w), GainY: float64(in.Height) / float64(h)}
	}
	r := min(float64(in.Height)/float64(h), float64(in.Width)/float64(w))
	at := rect{w: max(int(float64(w)*r), 1), h: max(int(float64(h)*r), 1)}
	if in.Anchor == Centre {
		at.w, at.h = max(int(math.RoundToEven(float64(w)*r)), 1), max(int(math.RoundToEven(float64(h)*r)), 1)
		at.x = max(int(math.RoundToEven(float64(in.Width-at.w)/2-0.1)), 0)
		at.y = max(int(math.RoundToEven(float64(in.Height-at.h)/2-0.1)), 0)
	}
	return at, Placement{GainX: r, GainY: r, PadX: float64(at.x), PadY: float64(at.y)}
}

// newAxis computes OpenCV's bilinear positions and weights. Columns that lie
// outside take the border pixel alone; rows keep their weights and repeat the
// border row, which is the same.
func newAxis(src, dst, step int, columns bool) axis {
	a := axis{offset: make([]int32, 2*dst), weight: make([]int16, 2*dst)}
	scale := 1 / (float64(dst) / float64(src))
	for d := range dst {
		pos := float32((float64(d)+0.5)*scale - 0.5)
		s := int(math.Floor(float64(pos)))
		frac := pos - float32(s)
		if columns && s < 0 {
			s, frac = 0, 0
		}
		if columns && s >= src-1 {
			s, frac = src-1, 0
		}
		for k, w := range [2]float32{1 - frac, frac} {
			a.offset[2*d+k] = int32(min(max(s+k, 0), src-1) * step)
			a.weight[2*d+k] = int16(math.RoundToEven(float64(w * 2048)))
		}
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

// layPadding fills what the picture leaves free, once per tensor and geometry.
func (f *Filler) layPadding(b *Blob) {
	at := f.geo.at
	if b.right && b.pad == at {
		return
	}
	w, h := f.in.Width, f.in.Height
	for c := range f.in.Planes() {
		grey := f.lut[c][f.in.Pad]
		plane := b.Data[c*w*h : (c+1)*w*h]
		for y := range h {
			row := plane[y*w : (y+1)*w]
			if y >= at.y && y < at.y+at.h {
				fill(row[:at.x], grey)
				row = row[at.x+at.w:]
			}
			fill(row, grey)
		}
	}
	b.right, b.pad = true, at
}

func fill(s []float32, v float32) {
	for i := range s {
		s[i] = v
	}
}

// toGray converts as OpenCV's BGR2GRAY does, in 15 bits.
func (f *Filler) toGray(frame *vision.Frame) {
	n := frame.Width * frame.Height
	if cap(f.gray) < n {
		f.gray = make([]byte, n)
	}
	f.gray = f.gray[:n]
	for y := range frame.Height {
		src := frame.Pix[y*frame.Stride : y*frame.Stride+3*frame.Width]
		dst := f.gray[y*frame.Width : (y+1)*frame.Width]
		for x := range dst {
			b, g, r := uint32(src[3*x]), uint32(src[3*x+1]), uint32(src[3*x+2])
			dst[x] = byte((b*3735 + g*19235 + r*9798 + 1<<14) >> 15)
		}
	}
}

// plane is the tensor's plane for a channel of the frame, from the picture's
// first value on.
func (f *Filler) plane(data []float32, channel int) []float32 {
	if f.in.Colour == RGB {
		channel = 2 - channel
	}
	return data[channel*f.in.Width*f.in.Height+f.geo.at.y*f.in.Width+f.geo.at.x:]
}

// table is the value table of a channel of the frame.
func (f *Filler) table(channel int) *[256]float32 {
	if f.in.Colour == RGB {
		channel = 2 - channel
	}
	return &f.lut[channel]
}

// resampleGo is the plain form of the pass, for frames of any kind; resample and
// resampleGray are faster ones with the same result. A row of the frame is resized horizontally once and serves
// all output rows that need it.
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
