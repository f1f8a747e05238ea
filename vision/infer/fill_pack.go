package infer

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Element is the type of a tensor's values.
type Element string

// The elements that a picture's tensor is packed to.
const (
	Float32 Element = "float32"
	Float16 Element = "float16" // IEEE 754's binary16
	Uint8   Element = "uint8"
)

// size is an element's bytes, 0 of one that isn't known.
func (e Element) size() int {
	switch e {
	case Float32:
		return 4
	case Float16:
		return 2
	case Uint8:
		return 1
	}
	return 0
}

// Layout is the order of a tensor's values.
type Layout string

// The layouts of one picture.
const (
	NCHW Layout = "nchw" // plane after plane
	NHWC Layout = "nhwc" // pixel after pixel
)

// Packing says how a blob's values become the bytes of a model's input.
type Packing struct {
	Planes, Height, Width int
	Element               Element
	Layout                Layout
}

// Bytes is the size of the packed tensor.
func (p Packing) Bytes() int { return p.Planes * p.Height * p.Width * p.Element.size() }

// Pack writes the blob's planes into dst, little endian as every machine that
// models run on has it. Float16 is rounded to the nearest, halves to the even one,
// and what is too large becomes infinite; Uint8 the same, and what lies outside
// becomes 0 or 255, and so does what is no number.
func (p Packing) Pack(dst []byte, blob []float32) error {
	switch n := p.Planes * p.Height * p.Width; {
	case p.Planes < 1 || p.Height < 1 || p.Width < 1 || p.Planes > maxFrame || p.Height > maxFrame || p.Width > maxFrame:
		return fmt.Errorf("pack the tensor: %d planes of %d×%d values aren't possible", p.Planes, p.Width, p.Height)
	case p.Element.size() == 0:
		return fmt.Errorf("pack the tensor: element %q is unknown: known are float32, float16, uint8", p.Element)
	case p.Layout != NCHW && p.Layout != NHWC:
		return fmt.Errorf("pack the tensor: layout %q is unknown: known are nchw, nhwc", p.Layout)
	case len(blob) != n || len(dst) != p.Bytes():
		return fmt.Errorf("pack the tensor: %d values to %d bytes, want %d to %d", len(blob), len(dst), n, p.Bytes())
	}
	if p.Layout == NHWC && p.Planes == 3 {
		size := p.Height * p.Width
		p.weave(dst, blob[:size], blob[size:2*size], blob[2*size:])
		return nil
	}
	if p.Layout == NHWC && p.Planes > 1 {
		p.weaveAny(dst, blob)
		return nil
	}
	switch p.Element {
	case Float32:
		for i := range blob {
			binary.LittleEndian.PutUint32(dst[4*i:4*i+4], math.Float32bits(blob[i]))
		}
	case Float16:
		for i := 0; i+1 < len(blob); i += 2 {
			bits := pair(blob[i], blob[i+1])
			two, ok := twoFloat16s(bits)
			if !ok {
				two = anyTwo(bits)
			}
			binary.LittleEndian.PutUint32(dst[2*i:2*i+4], two)
		}
		if i := len(blob) - 1; i&1 == 0 {
			binary.LittleEndian.PutUint16(dst[2*i:], toFloat16(blob[i]))
		}
	case Uint8:
		for i, v := range blob {
			dst[i] = toUint8(v)
		}
	}
	return nil
}

// weave lays three planes pixel after pixel.
func (p Packing) weave(dst []byte, a, b, c []float32) {
	b, c = b[:len(a)], c[:len(a)]
	switch p.Element {
	case Float32:
		for i := range a {
			d := dst[12*i:][:12]
			binary.LittleEndian.PutUint32(d, math.Float32bits(a[i]))
			binary.LittleEndian.PutUint32(d[4:], math.Float32bits(b[i]))
			binary.LittleEndian.PutUint32(d[8:], math.Float32bits(c[i]))
		}
	case Float16:
		for i := range a {
			d, bits, last := dst[6*i:][:6], pair(a[i], b[i]), pair(c[i], 1)
			two, ok := twoFloat16s(bits)
			if !ok {
				two = anyTwo(bits)
			}
			one, ok := twoFloat16s(last)
			if !ok {
				one = anyTwo(last)
			}
			binary.LittleEndian.PutUint32(d, two)
			binary.LittleEndian.PutUint16(d[4:], uint16(one))
		}
	case Uint8:
		for i := range a {
			d := dst[3*i:][:3]
			d[0], d[1], d[2] = toUint8(a[i]), toUint8(b[i]), toUint8(c[i])
		}
	}
}

// weaveAny lays any number of planes pixel after pixel.
func (p Packing) weaveAny(dst []byte, blob []float32) {
	size, n := p.Height*p.Width, p.Element.size()
	for c := range p.Planes {
		for i, v := range blob[c*size:][:size] {
			switch d := dst[(i*p.Planes+c)*n:]; p.Element {
			case Float32:
				binary.LittleEndian.PutUint32(d, math.Float32bits(v))
			case Float16:
				binary.LittleEndian.PutUint16(d, toFloat16(v))
			case Uint8:
				d[0] = toUint8(v)
			}
		}
	}
}

// toFloat16 rounds to the nearest float16, halves to the even one.
func toFloat16(v float32) uint16 {
	bits := math.Float32bits(v)
	if two, ok := twoFloat16s(pair(v, 1)); ok {
		return uint16(two)
	}
	return rareFloat16(bits)
}

// twoFloat16s converts two float32 that lie beside each other in 64 bits, if both
// are of a size of 2⁻¹⁴ up to 65536: the exponent moves, and 13 bits are rounded
// off. Nothing runs from the lower into the upper.
func twoFloat16s(bits uint64) (uint32, bool) {
	const both = 1<<32 | 1
	size := bits & (0x7fffffff * both)
	least, most := size+0x47800000*both, size+0x38800000*both // reach their top bits at 2⁻¹⁴ and at 65536
	if least&^most&(1<<31*both) != 1<<31*both {
		return 0, false
	}
	size += bits>>13&both + 0xfff*both
	size -= 0x38000000 * both
	half := size>>13&(0x7fff*both) | bits>>16&(0x8000*both)
	return uint32(half | half>>16), true
}

// rareFloat16 is for values that have no exponent of their own in float16.
func rareFloat16(bits uint32) uint16 {
	sign, size := uint16(bits>>16)&0x8000, bits&0x7fffffff
	switch {
	case size > 0x7f800000:
		return sign | 0x7e00 // no number
	case size >= 0x47800000:
		return sign | 0x7c00 // infinite
	}
	// Beside ½ a float32 has steps of 2⁻²⁴, as float16 has them here.
	return sign | uint16(math.Float32bits(math.Float32frombits(size)+0.5)-math.Float32bits(0.5))
}

// pair are the bits of two float32 beside each other.
func pair(a, b float32) uint64 { return uint64(math.Float32bits(a)) | uint64(math.Float32bits(b))<<32 }

// anyTwo converts two float32 of which one may be rare.
func anyTwo(bits uint64) uint32 {
	if bits == 0 { // black
		return 0
	}
	a, b := math.Float32frombits(uint32(bits)), math.Float32frombits(uint32(bits>>32))
	return uint32(toFloat16(a)) | uint32(toFloat16(b))<<16
}

// toUint8 rounds to the nearest grey level, halves to the even one. Without a
// branch: values that are all over the range can't be foretold.
func toUint8(v float32) byte {
	bits := int32(math.Float32bits(v))
	bits &^= bits >> 31                                     // less than 0
	bits = min(bits, int32(math.Float32bits(float32(255)))) // without signs, bits are in the order of values
	return byte(math.Float32bits(math.Float32frombits(uint32(bits)) + levelShift))
}
