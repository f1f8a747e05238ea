package vision

import (
	"math"
	"testing"
)

// numbered is a frame whose pixels tell their places; rows have bytes to spare.
func numbered(format PixelFormat, w, h int) *Frame {
	c := format.Channels()
	f := &Frame{Width: w, Height: h, Stride: w*c + 3, Format: format, Offset: 1000, Seq: 7, Name: "a.png"}
	f.Pix = make([]byte, f.Stride*(h-1)+w*c)
	for i := range w * h * c {
		x, y := i/c%w, i/c/w
		f.Pix[y*f.Stride+x*c+i%c] = byte(x + 16*y)
	}
	return f
}

func TestCut(t *testing.T) {
	const w, h = 10, 8
	for _, format := range []PixelFormat{Gray8, BGR24} {
		f := numbered(format, w, h)
		for _, c := range []struct {
			name       string
			x, y, w, h int
			want       [4]int // x, y, w, h; without a size: not valid
		}{
			{"all", 0, 0, w, h, [4]int{0, 0, w, h}},
			{"middle", 3, 2, 4, 5, [4]int{3, 2, 4, 5}},
			{"last pixel", 9, 7, 1, 1, [4]int{9, 7, 1, 1}},
			{"last row", 0, 7, w, 1, [4]int{0, 7, w, 1}},
			{"last column", 9, 0, 1, h, [4]int{9, 0, 1, h}},
			{"over the right and the lower border", 6, 5, 100, 100, [4]int{6, 5, 4, 3}},
			{"over the left and the upper border", -4, -3, 6, 5, [4]int{0, 0, 2, 2}},
			{"over all borders", -5, -5, 100, 100, [4]int{0, 0, w, h}},
			{"as large as can be", 1, 1, math.MaxInt, math.MaxInt, [4]int{1, 1, 9, 7}},
			{"from nowhere", math.MinInt, math.MinInt, math.MaxInt, math.MaxInt, [4]int{}},
			{"left of it", -5, 0, 5, 5, [4]int{}},
			{"above it", 0, -5, 5, 5, [4]int{}},
			{"right of it", w, 0, 5, 5, [4]int{}},
			{"below it", 0, h, 5, 5, [4]int{}},
			{"far away", math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt, [4]int{}},
			{"no width", 1, 1, 0, 5, [4]int{}},
			{"no height", 1, 1, 5, 0, [4]int{}},
			{"negative", 5, 5, -3, -3, [4]int{}},
			{"negative outside", -5, -5, math.MinInt, math.MinInt, [4]int{}},
		} {
			got := f.Cut(c.x, c.y, c.w, c.h)
			if c.want == [4]int{} {
				if got.Valid() || len(got.Pix) > 0 {
					t.Errorf("%v, %s: a valid frame of %dx%d", format, c.name, got.Width, got.Height)
				}
				continue
			}
			if !got.Valid() || got.Width != c.want[2] || got.Height != c.want[3] || got.Seq != 7 || got.Name != "a.png" {
				t.Errorf("%v, %s: %dx%d, valid %v, frame %d %s", format, c.name, got.Width, got.Height, got.Valid(), got.Seq, got.Name)
				continue
			}
			samePixels(t, c.name, f, &got, c.want[0], c.want[1])
			if twice := got.Cut(0, got.Height-1, 1, 1); twice.Valid() {
				samePixels(t, c.name+", cut again", f, &twice, c.want[0], c.want[1]+got.Height-1)
			} else {
				t.Errorf("%v, %s: can't be cut again", format, c.name)
			}
		}
	}
}

// samePixels checks that a cut has the frame's pixels from x, y on, and its own place.
func samePixels(t *testing.T, name string, f, cut *Frame, x, y int) {
	t.Helper()
	n := f.Format.Channels()
	skip := y*f.Stride + x*n
	if cut.Offset != f.Offset+skip || &cut.Pix[0] != &f.Pix[skip] {
		t.Errorf("%v, %s: begins at byte %d, want %d", f.Format, name, cut.Offset, f.Offset+skip)
	}
	for i := range cut.Width * cut.Height * n {
		cx, cy := i/n%cut.Width, i/n/cut.Width
		if v := cut.Pix[cy*cut.Stride+cx*n+i%n]; v != byte(x+cx+16*(y+cy)) {
			t.Fatalf("%v, %s: pixel %d,%d is %d", f.Format, name, cx, cy, v)
		}
	}
}

func TestCutOfWhatIsNoFrame(t *testing.T) {
	for name, f := range map[string]Frame{
		"nothing":    {},
		"no pixels":  {Width: 10, Height: 8, Stride: 30, Format: BGR24},
		"no format":  {Pix: make([]byte, 240), Width: 10, Height: 8, Stride: 30},
		"too short":  {Pix: make([]byte, 239), Width: 10, Height: 8, Stride: 30, Format: BGR24},
		"negative":   {Pix: make([]byte, 240), Width: -10, Height: -8, Stride: 30, Format: BGR24},
		"thin rows":  {Pix: make([]byte, 240), Width: 10, Height: 8, Stride: 29, Format: BGR24},
		"going back": {Pix: make([]byte, 240), Width: 10, Height: 8, Stride: -30, Format: BGR24},
	} {
		if got := f.Cut(2, 3, 4, 5); got.Valid() || len(got.Pix) > 0 {
			t.Errorf("%s: a cut of %dx%d is valid", name, got.Width, got.Height)
		}
	}
}
