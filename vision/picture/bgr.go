package picture

import (
	"fmt"
	"image"
	"image/color"
)

// toBGR writes the picture as rows of w*3 bytes. The kinds are those that the
// codecs of find give.
func toBGR(dst []byte, m image.Image) error {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	if len(dst) != w*h*3 {
		return fmt.Errorf("decode picture: the header promised %d bytes, the picture has %dx%d", len(dst), w, h)
	}
	switch m := m.(type) {
	case *image.YCbCr:
		jpegToBGR(dst, m)
	case *image.Gray:
		grayToBGR(dst, m.Pix, m.Stride, 1, w, h)
	case *image.Gray16:
		grayToBGR(dst, m.Pix, m.Stride, 2, w, h)
	case *image.RGBA:
		rgbToBGR(dst, m.Pix, m.Stride, 1, w, h)
	case *image.NRGBA:
		rgbToBGR(dst, m.Pix, m.Stride, 1, w, h)
	case *image.RGBA64:
		rgbToBGR(dst, m.Pix, m.Stride, 2, w, h)
	case *image.NRGBA64:
		rgbToBGR(dst, m.Pix, m.Stride, 2, w, h)
	case *image.Paletted:
		palettedToBGR(dst, m, w, h)
	case *image.CMYK:
		cmykToBGR(dst, m, w, h)
	default:
		return lossyWebP(dst, m)
	}
	return nil
}

func lossyWebP(dst []byte, m image.Image) error {
	if m, ok := m.(*image.NYCbCrA); ok {
		webpToBGR(dst, &m.YCbCr)
		return nil
	}
	return fmt.Errorf("decode picture: pixels of kind %T aren't known", m)
}

// grayToBGR takes the first (high) byte of each sample of size bytes.
func grayToBGR(dst, src []byte, stride, size, w, h int) {
	for y := range h {
		in := src[y*stride:]
		out := dst[y*w*3 : (y+1)*w*3]
		for x := range w {
			v := in[x*size]
			out[x*3], out[x*3+1], out[x*3+2] = v, v, v
		}
	}
}

// rgbToBGR takes the first (high) byte of each of four samples of size bytes a
// pixel and drops alpha. Colours are taken as stored: the codecs give
// premultiplied kinds only for pictures without alpha.
func rgbToBGR(dst, src []byte, stride, size, w, h int) {
	for y := range h {
		in := src[y*stride : y*stride+w*4*size]
		out := dst[y*w*3 : (y+1)*w*3]
		for len(out) >= 3 && len(in) >= 4*size {
			out[0], out[1], out[2] = in[2*size], in[size], in[0]
			in, out = in[4*size:], out[3:]
		}
	}
}

func palettedToBGR(dst []byte, m *image.Paletted, w, h int) {
	var table [256][3]byte // an index beyond the palette is black, as libpng has it
	for i, c := range m.Palette[:min(len(m.Palette), 256)] {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		if as, ok := c.(color.NRGBA); ok {
			n = as // a colour under full transparency is kept
		}
		table[i] = [3]byte{n.B, n.G, n.R}
	}
	for y := range h {
		in := m.Pix[y*m.Stride : y*m.Stride+w]
		out := dst[y*w*3 : (y+1)*w*3]
		for x, v := range in {
			t := &table[v]
			out[x*3], out[x*3+1], out[x*3+2] = t[0], t[1], t[2]
		}
	}
}

// cmykToBGR scales each ink by black as OpenCV does, which takes the stored,
// inverted values; image/jpeg has inverted them back.
func cmykToBGR(dst []byte, m *image.CMYK, w, h int) {
	for y := range h {
		in := m.Pix[y*m.Stride : y*m.Stride+w*4]
		out := dst[y*w*3 : (y+1)*w*3]
		for len(out) >= 3 && len(in) >= 4 {
			k := 255 - int(in[3])
			out[0] = byte(k - int(in[2])*k>>8)
			out[1] = byte(k - int(in[1])*k>>8)
			out[2] = byte(k - int(in[0])*k>>8)
			in, out = in[4:], out[3:]
		}
	}
}
