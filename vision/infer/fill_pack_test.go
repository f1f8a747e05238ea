package infer

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// fromFloat16 is what a float16 stands for, exact in float64.
func fromFloat16(h uint16) float64 {
	exponent, part := int(h>>10&31), float64(h&0x3ff)
	v := math.Ldexp(part, -24)
	switch {
	case exponent == 31 && part == 0:
		v = math.Inf(1)
	case exponent == 31:
		v = math.NaN()
	case exponent > 0:
		v = math.Ldexp(1024+part, exponent-25)
	}
	if h>>15 == 1 {
		v = -v
	}
	return v
}

func TestFloat16IsRoundedToTheNearest(t *testing.T) {
	for n := range 1 << 16 {
		h := uint16(n)
		v := fromFloat16(h)
		if math.IsNaN(v) {
			if got := toFloat16(float32(v)); math.IsNaN(fromFloat16(got)) != true {
				t.Fatalf("%#04x: no number becomes %#04x", h, got)
			}
			continue
		}
		if got := toFloat16(float32(v)); got != h {
			t.Fatalf("%v is %#04x, want %#04x", v, got, h)
		}
		if h&0x7fff >= 0x7c00 {
			continue
		}
		// Half the way to the next larger one belongs to the even one of the two, a
		// step of float32 beside it to the nearer.
		next := fromFloat16(h + 1)
		if h&0x7fff == 0x7bff {
			next = math.Copysign(65536, v) // what would come before infinite
		}
		middle := float32((v + next) / 2)
		want := [3]uint16{h, h + h&1, h + 1}
		away := float32(math.Copysign(math.Inf(1), float64(middle)))
		for k, x := range []float32{math.Nextafter32(middle, 0), middle, math.Nextafter32(middle, away)} {
			if got := toFloat16(x); got != want[k] {
				t.Fatalf("%v is %#04x, want %#04x", x, got, want[k])
			}
		}
	}
	for v, want := range map[float32]uint16{0: 0, math.MaxFloat32: 0x7c00, -math.MaxFloat32: 0xfc00, 1e-30: 0, -1e-30: 0x8000,
		math.SmallestNonzeroFloat32: 0, 65519.996: 0x7bff, 65520: 0x7c00, 65535.996: 0x7c00, float32(math.Inf(-1)): 0xfc00, float32(math.Copysign(0, -1)): 0x8000} {
		if got := toFloat16(v); got != want {
			t.Errorf("%v is %#04x, want %#04x", v, got, want)
		}
	}
}

// Rare values beside common ones, in all places of a row, come out as alone.
func TestFloat16sBesideEachOther(t *testing.T) {
	values := []float32{1, -0.3, 0, 1e-7, -6e-5, 65504, 65519, 65520, -1e9, float32(math.Inf(1)), float32(math.NaN()), float32(math.Copysign(0, -1)), 2.1179, -2.118}
	var blob []float32
	for _, a := range values {
		for _, b := range values {
			blob = append(blob, a, b, a, a, b, b, b, a, b)
		}
	}
	for _, l := range []Layout{NCHW, NHWC} {
		p := Packing{Planes: 3, Height: 3, Width: len(blob) / 9, Element: Float16, Layout: l}
		dst := make([]byte, p.Bytes())
		if err := p.Pack(dst, blob); err != nil {
			t.Fatal(err)
		}
		for i, v := range blob {
			at, size := i, len(blob)/3
			if l == NHWC {
				at = i%size*3 + i/size
			}
			want := rareFloat16(math.Float32bits(v))
			if common := math.Abs(float64(v)) >= 0x1p-14 && math.Abs(float64(v)) < 65536; common {
				two, _ := twoFloat16s(pair(v, v))
				want = uint16(two)
			}
			if got := binary.LittleEndian.Uint16(dst[2*at:]); got != want {
				t.Fatalf("%s: value %d, %v, is %#04x, want %#04x", l, i, v, got, want)
			}
		}
	}
}

func TestUint8IsRoundedAndCut(t *testing.T) {
	for v, want := range map[float32]byte{0: 0, -1: 0, 0.5: 0, 1.5: 2, 2.5: 2, 254.5: 254, 254.49998: 254, 254.50002: 255, 255: 255, 256: 255,
		1e30: 255, -1e30: 0, float32(math.NaN()): 255, float32(math.Inf(1)): 255, float32(math.Inf(-1)): 0, 0.49999997: 0, 1e-40: 0} {
		if got := toUint8(v); got != want {
			t.Errorf("%v is %d, want %d", v, got, want)
		}
	}
	for v := range 256 {
		if got := toUint8(float32(v)); int(got) != v {
			t.Errorf("%d is %d", v, got)
		}
	}
}

func TestPackLaysPlanesAndPixels(t *testing.T) {
	for _, planes := range []int{1, 2, 3, 4} {
		for _, e := range []Element{Float32, Float16, Uint8} {
			for _, l := range []Layout{NCHW, NHWC} {
				p := Packing{Planes: planes, Height: 5, Width: 7, Element: e, Layout: l}
				blob := make([]float32, planes*35)
				for i := range blob {
					blob[i] = float32(i)
				}
				dst := make([]byte, p.Bytes())
				if err := p.Pack(dst, blob); err != nil {
					t.Fatal(err)
				}
				for i := range blob {
					at := i
					if l == NHWC {
						at = i%35*planes + i/35
					}
					var got float64
					switch e {
					case Float32:
						got = float64(math.Float32frombits(binary.LittleEndian.Uint32(dst[4*at:])))
					case Float16:
						got = fromFloat16(binary.LittleEndian.Uint16(dst[2*at:]))
					case Uint8:
						got = float64(dst[at])
					}
					if got != float64(i) {
						t.Fatalf("%+v: value %d is %v", p, i, got)
					}
				}
			}
		}
	}
}

func TestPackRefuses(t *testing.T) {
	good := Packing{Planes: 3, Height: 4, Width: 5, Element: Float16, Layout: NCHW}
	for want, change := range map[string]func(p *Packing, dst *[]byte, blob *[]float32){
		"0 planes of 5×4 values":          func(p *Packing, _ *[]byte, _ *[]float32) { p.Planes = 0 },
		"-5×4 values":                     func(p *Packing, _ *[]byte, _ *[]float32) { p.Width = -5 },
		`element "int8" is unknown`:       func(p *Packing, _ *[]byte, _ *[]float32) { p.Element = "int8" },
		`layout "" is unknown`:            func(p *Packing, _ *[]byte, _ *[]float32) { p.Layout = "" },
		"60 values to 119 bytes, want 60": func(_ *Packing, dst *[]byte, _ *[]float32) { *dst = (*dst)[:119] },
		"59 values to 120 bytes, want 60": func(_ *Packing, _ *[]byte, blob *[]float32) { *blob = (*blob)[:59] },
	} {
		p, dst, blob := good, make([]byte, good.Bytes()), make([]float32, 60)
		change(&p, &dst, &blob)
		if err := p.Pack(dst, blob); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func BenchmarkPack(b *testing.B) {
	f := NewFiller(Input{Width: 640, Height: 640, Colour: RGB, Scale: 1.0 / 255, Resize: Stretch,
		Mean: [3]float64{.485, .456, .406}, Std: [3]float64{.229, .224, .225}})
	blob := f.NewBlob()
	if _, err := f.Fill(blob, noise(640, 640, 1, 1)); err != nil {
		b.Fatal(err)
	}
	for _, e := range []Element{Float32, Float16, Uint8} {
		for _, l := range []Layout{NCHW, NHWC} {
			b.Run(fmt.Sprintf("640x640/%s/%s", e, l), func(b *testing.B) {
				p := Packing{Planes: 3, Height: 640, Width: 640, Element: e, Layout: l}
				dst := slices.Repeat([]byte{1}, p.Bytes())
				b.ReportAllocs()
				for b.Loop() {
					if err := p.Pack(dst, blob.Data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
