package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"

	"github.com/sightline-edge/sightline/vision"
)

// DefaultQuality is JPEG's quality where none is set.
const DefaultQuality = 80

// Encoding says what EncodeJPEG writes. The zero value is the whole frame at
// its own size and DefaultQuality.
type Encoding struct {
	Quality int             // 1 to 100; 0 means DefaultQuality
	Crop    image.Rectangle // in the frame's pixels, cut to the frame; empty means all of it
	MaxSide int             // longest side of the result, pixels; larger ones are scaled down; 0 means any
}

// EncodeJPEG writes a frame, or a part of it, as baseline JPEG 4:2:0.
// Scaling down averages the pixels under each new one. It is safe for
// concurrent use.
func EncodeJPEG(f *vision.Frame, e Encoding) ([]byte, error) {
	if !f.Valid() {
		return nil, fmt.Errorf("encode frame of %dx%d: its geometry doesn't fit its %d bytes", f.Width, f.Height, len(f.Pix))
	}
	crop := image.Rect(0, 0, f.Width, f.Height)
	if !e.Crop.Empty() {
		if crop = crop.Intersect(e.Crop); crop.Empty() {
			return nil, fmt.Errorf("encode frame of %dx%d: %v lies outside of it", f.Width, f.Height, e.Crop)
		}
	}
	if e.Quality == 0 {
		e.Quality = DefaultQuality
	}
	part := cut(f, crop)
	if long := max(part.Width, part.Height); e.MaxSide > 0 && long > e.MaxSide {
		part = shrink(part, max(part.Width*e.MaxSide/long, 1), max(part.Height*e.MaxSide/long, 1))
	}
	var m image.Image
	if part.Format == vision.Gray8 {
		m = &image.Gray{Pix: part.Pix, Stride: part.Stride, Rect: image.Rect(0, 0, part.Width, part.Height)}
	} else {
		m = bgrToRGBA(part)
	}
	var b bytes.Buffer
	b.Grow(part.Width * part.Height / 4)
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: min(max(e.Quality, 1), 100)}); err != nil {
		return nil, fmt.Errorf("encode frame of %dx%d: %w", f.Width, f.Height, err)
	}
	return b.Bytes(), nil
}

// cut is the part of the frame inside r, in the same memory.
func cut(f *vision.Frame, r image.Rectangle) *vision.Frame {
	c := f.Format.Channels()
	part := *f
	part.Pix = f.Pix[r.Min.Y*f.Stride+r.Min.X*c:]
	part.Width, part.Height = r.Dx(), r.Dy()
	return &part
}

// bgrToRGBA is the layout for which image/jpeg has a fast path.
func bgrToRGBA(f *vision.Frame) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, f.Width, f.Height))
	for y := range f.Height {
		in := f.Pix[y*f.Stride:][:f.Width*3]
		out := m.Pix[y*m.Stride:][:f.Width*4]
		for len(in) >= 3 && len(out) >= 4 {
			out[0], out[1], out[2], out[3] = in[2], in[1], in[0], 255
			in, out = in[3:], out[4:]
		}
	}
	return m
}

// shrink averages boxes of whole pixels; w and h are no more than the frame's.
func shrink(f *vision.Frame, w, h int) *vision.Frame {
	c := f.Format.Channels()
	out := &vision.Frame{Pix: make([]byte, w*h*c), Width: w, Height: h, Stride: w * c, Format: f.Format}
	sums := make([]uint32, w*c)
	for y := range h {
		y0, y1 := y*f.Height/h, (y+1)*f.Height/h
		clear(sums)
		for sy := y0; sy < y1; sy++ {
			addRow(sums, f.Pix[sy*f.Stride:][:f.Width*c], w, f.Width, c)
		}
		row := out.Pix[y*out.Stride:][:w*c]
		for x := range w {
			n := uint32((x+1)*f.Width/w-x*f.Width/w) * uint32(y1-y0)
			for k := x * c; k < (x+1)*c; k++ {
				row[k] = byte((sums[k] + n/2) / n)
			}
		}
	}
	return out
}

func addRow(sums []uint32, in []byte, w, from, c int) {
	x0 := 0
	for x := range w {
		x1 := (x + 1) * from / w
		s := sums[x*c : (x+1)*c]
		for p := x0 * c; p < x1*c; p += c {
			for k := range s {
				s[k] += uint32(in[p+k])
			}
		}
		x0 = x1
	}
}
