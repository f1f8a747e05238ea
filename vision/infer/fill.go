package infer

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// Filler turns frames into input tensors: resize and conversion in one pass, bit
// for bit as OpenCV and Pillow resize 8-bit pictures on x86. A frame in colour for
// a Gray tensor is converted before it is resized. It is not safe for concurrent
// use.
type Filler struct {
	in  Input
	err error           // of an input that can't be filled
	lut [3][256]float32 // value of a pixel, in plane order
	// lut is pixel × hi + pixel × lo in float32, the first product exact; hi is
	// 0 where it is anything else.
	hi, lo float32
	alike  bool // all planes have the same table

	geo  geometry
	src  source
	rows []int16 // two rows of the frame, resized horizontally, 4 lanes a pixel
	line []byte  // a row of the tensor, interleaved
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

	// One of the three makes the picture: two pixels of the frame a direction …
	cols  axis // offsets in bytes
	ys    axis // offsets in rows
	whole int  // 1 if every output pixel is one pixel of the frame, else 0
	safe  int  // columns for which 8 bytes may be read at their first offset

	filter *filter // … Pillow's filters, nil for the others …
	area   *area   // … or OpenCV's mean of an area, nil for the others.
}

// axis holds, for every output position, two source offsets and their weights
// of 11 bits, interleaved.
type axis struct {
	offset []int32
	weight []int16
}

// NewFiller prepares filling for a model's input; Width and Height must be set.
// Of an input that Check refuses, Fill says the same.
func NewFiller(in Input) *Filler {
	f := &Filler{in: in, err: in.Check()}
	for c := range f.lut {
		std := in.Std[c]
		if std == 0 {
			std = 1
		}
		for v := range f.lut[c] {
			f.lut[c][v] = float32((float64(float64(v)*in.Scale) - in.Mean[c]) / std)
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
	if f.err != nil {
		return Placement{}, fmt.Errorf("fill the tensor: %w", f.err)
	}
	if frame.Width > maxFrame || frame.Height > maxFrame || frame.Stride > 8*maxFrame {
		return Placement{}, fmt.Errorf("fill the tensor: frame of %d×%d, at most %d a side are possible", frame.Width, frame.Height, maxFrame)
	}
	if !frame.Valid() {
		return Placement{}, fmt.Errorf("fill the tensor: frame of %d×%d, %d bytes a row, doesn't fit its %d bytes", frame.Width, frame.Height, frame.Stride, len(frame.Pix))
	}
	channels := frame.Format.Channels()
	if f.in.Colour == Gray {
		channels = 1
	}
	if g := &f.geo; g.width != frame.Width || g.height != frame.Height || g.channels != channels {
		f.geo = newGeometry(f.in, frame.Width, frame.Height, channels)
		f.rows = make([]int16, 2*4*(f.geo.at.w+4))
		f.line = make([]byte, f.geo.at.w*channels)
	}
	f.layPadding(b)
	f.src.set(frame, channels)
	switch {
	case f.geo.filter != nil:
		f.resampleFiltered(b.Data)
	case f.geo.area != nil:
		f.resampleArea(b.Data)
	case channels == 1:
		f.resampleGray(b.Data)
	default:
		f.resample(b.Data, frame.Pix, frame.Stride)
	}
	f.src.frame = nil // its pixels aren't ours any longer
	return f.geo.place, nil
}

// maxFrame bounds a frame's sides in pixels.
const maxFrame = 32768

func newGeometry(in Input, w, h, channels int) geometry {
	g := geometry{width: w, height: h, channels: channels}
	l := in.lay(w, h)
	g.at, g.place = l.at, l.place
	switch in.Interpolation {
	case Bilinear, Bicubic:
		g.filter = newFilter(in.Interpolation, l, channels)
		return g
	case Nearest:
		g.cols, g.ys = nearestAxis(l.across, channels), nearestAxis(l.down, 1)
	case Area:
		if g.area = newArea(l, channels); g.area != nil {
			return g
		}
		g.cols, g.ys = newAxis(l.across, channels, true, areaPosition), newAxis(l.down, 1, false, areaPosition)
	default:
		g.cols, g.ys = newAxis(l.across, channels, true, linearPosition), newAxis(l.down, 1, false, linearPosition)
	}
	if g.cols.whole() && g.ys.whole() {
		g.whole = 1
	}
	for g.safe < g.at.w && int(g.cols.offset[2*g.safe])+8 <= w*channels {
		g.safe++
	}
	return g
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
