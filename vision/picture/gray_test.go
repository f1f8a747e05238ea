package picture

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// A gray frame as an industrial camera gives it: the same picture as in three
// equal channels, in a file of one.
func TestEncodesGrayFrames(t *testing.T) {
	const w, h = 97, 61
	gray := &vision.Frame{Pix: make([]byte, (w+3)*h), Width: w, Height: h, Stride: w + 3, Format: vision.Gray8}
	colour := &vision.Frame{Pix: make([]byte, (3*w+4)*h), Width: w, Height: h, Stride: 3*w + 4, Format: vision.BGR24}
	for y := range h {
		for x := range w {
			v := byte(2*x + y/2)
			gray.Pix[y*gray.Stride+x] = v
			copy(colour.Pix[y*colour.Stride+3*x:], []byte{v, v, v})
		}
	}
	for name, e := range map[string]Encoding{
		"whole":        {Quality: 95},
		"crop":         {Quality: 95, Crop: image.Rect(20, 10, 90, 200)},
		"small":        {Quality: 95, MaxSide: 40},
		"crop, small":  {Quality: 95, Crop: image.Rect(3, 3, 63, 60), MaxSide: 31},
		"as it is set": {},
	} {
		a, err := EncodeJPEG(gray, e)
		if err != nil {
			t.Fatal(err)
		}
		b, err := EncodeJPEG(colour, e)
		if err != nil {
			t.Fatal(err)
		}
		m, err := jpeg.Decode(bytes.NewReader(a))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.(*image.Gray); !ok {
			t.Errorf("%s: the file holds %T", name, m)
		}
		got, err := Decode(a, nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Decode(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Width != want.Width || got.Height != want.Height {
			t.Fatalf("%s: %dx%d, want %dx%d", name, got.Width, got.Height, want.Width, want.Height)
		}
		for i := range got.Pix {
			if d := int(got.Pix[i]) - int(want.Pix[i]); d < -1 || d > 1 { // the colour's way over YCbCr rounds
				t.Fatalf("%s: byte %d is %d, in colour %d", name, i, got.Pix[i], want.Pix[i])
			}
		}
	}
	short := *gray
	short.Pix = short.Pix[:len(short.Pix)-4]
	if _, err := EncodeJPEG(&short, Encoding{}); err == nil {
		t.Error("a frame was taken that doesn't fit its bytes")
	}
	asColour := *gray
	asColour.Format = vision.BGR24
	if _, err := EncodeJPEG(&asColour, Encoding{}); err == nil {
		t.Error("gray bytes were taken for colour")
	}
}
