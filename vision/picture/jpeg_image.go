package picture

import (
	"errors"
	"fmt"
	"image"
)

// subsampling names how much coarser the two planes of chroma are than luma;
// not ok are those that jpegToBGR doesn't know.
func subsampling(c []jpegComponent) (r image.YCbCrSubsampleRatio, ok bool) {
	if c[1].h != c[2].h || c[1].v != c[2].v || c[0].h%c[1].h != 0 || c[0].v%c[1].v != 0 || c[0].h > 4 || c[0].v > 4 {
		return 0, false
	}
	switch [2]int{c[0].h / c[1].h, c[0].v / c[1].v} {
	case [2]int{1, 1}:
		return image.YCbCrSubsampleRatio444, true
	case [2]int{2, 1}:
		return image.YCbCrSubsampleRatio422, true
	case [2]int{2, 2}:
		return image.YCbCrSubsampleRatio420, true
	case [2]int{1, 2}:
		return image.YCbCrSubsampleRatio440, true
	case [2]int{4, 1}:
		return image.YCbCrSubsampleRatio411, true
	case [2]int{4, 2}:
		return image.YCbCrSubsampleRatio410, true
	}
	return 0, false
}

// isRGB guesses the colours of three components as libjpeg does.
func (d *jpegDecoder) isRGB() bool {
	switch c := d.comps; {
	case len(c) != 3 || d.jfif:
		return false
	case d.adobe >= 0:
		return d.adobe == 0
	default:
		return c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B'
	}
}

// room takes the memory for the samples or coefficients of a component, once.
func (d *jpegDecoder) room(c *jpegComponent) error {
	if c.quant != nil {
		return nil
	}
	if c.quant = d.quant[c.table]; c.quant == nil {
		return fmt.Errorf("quantisation table %d is missing", c.table)
	}
	c.plane = make([]byte, c.cols*c.rows*64)
	if d.progressive {
		c.coefs = make([]int16, c.cols*c.rows*64)
	}
	return nil
}

// image hands out the planes after the last scan.
func (d *jpegDecoder) image() (image.Image, error) {
	if d.scans == 0 {
		return nil, errors.New("no data before the end marker")
	}
	for i := range d.comps {
		c := &d.comps[i]
		if c.quant == nil {
			return nil, fmt.Errorf("no data for component %d", c.id)
		}
		if d.progressive {
			c.transform()
		}
	}
	rect := image.Rect(0, 0, d.width, d.height)
	c := d.comps
	if len(c) == 1 {
		return &image.Gray{Pix: c[0].plane, Stride: c[0].cols * 8, Rect: rect}, nil
	}
	ratio, _ := subsampling(c)
	m := &image.YCbCr{
		Y: c[0].plane, Cb: c[1].plane, Cr: c[2].plane,
		YStride: c[0].cols * 8, CStride: c[1].cols * 8, SubsampleRatio: ratio, Rect: rect,
	}
	if d.isRGB() {
		return mergeRGB(m), nil
	}
	return m, nil
}

// mergeRGB takes the three planes of equal size for red, green and blue.
func mergeRGB(m *image.YCbCr) *image.RGBA {
	out := image.NewRGBA(m.Rect)
	w := m.Rect.Dx()
	for y := range m.Rect.Dy() {
		r, g, b := m.Y[y*m.YStride:][:w], m.Cb[y*m.CStride:][:w], m.Cr[y*m.CStride:][:w]
		row := out.Pix[y*out.Stride:][:w*4]
		for x := range w {
			p := row[4*x : 4*x+4 : 4*x+4]
			p[0], p[1], p[2], p[3] = r[x], g[x], b[x], 255
		}
	}
	return out
}

// transform makes the samples of a progressive picture from its coefficients.
func (c *jpegComponent) transform() {
	var b jpegBlock
	for by := range c.inRows {
		for bx := range c.inCols {
			at := (by*c.cols + bx) * 64
			coefs := (*[64]int16)(c.coefs[at : at+64])
			last := 0
			for k, v := range coefs {
				if v != 0 {
					b.add(k, int64(v)*int64(c.quant[k]))
					last = k
				}
			}
			c.samples(&b, last, bx, by)
		}
	}
}

// samples writes the block at bx, by (in blocks) and clears it. last is the
// position in zigzag order of the last coefficient that isn't 0.
func (c *jpegComponent) samples(b *jpegBlock, last, bx, by int) {
	stride := c.cols * 8
	dst := c.plane[by*8*stride+bx*8:]
	if last == 0 {
		b.flat(dst, stride)
		return
	}
	b.inverse(dst, stride)
}
