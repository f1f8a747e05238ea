package infer

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

func TestCropPlacement(t *testing.T) {
	for _, c := range []struct {
		w, h, tw, th int
		share        float64
		want         string // the whole resized picture, its part left of and above the tensor
	}{
		{1920, 1080, 224, 224, 0.875, "455x256 116,16"}, // half of 231: to the even one, as in Python
		{1080, 1920, 224, 224, 0.875, "256x455 16,116"},
		{640, 480, 224, 224, 0, "298x224 37,0"},
		{500, 375, 224, 224, 0.95, "313x235 44,6"},
		{224, 224, 224, 224, 1, "224x224 0,0"},
		{10, 10, 224, 224, 1, "224x224 0,0"},
		{1, 9, 32, 32, 0.5, "64x576 16,272"},
		{640, 427, 32, 32, 1, "47x32 8,0"}, // 47.96 cut: the sides' gains differ by 2 %
		{1920, 1080, 224, 160, 1, "284x160 30,0"},
		{1080, 1920, 224, 160, 0.9, "248x441 12,140"},
	} {
		in := Input{Width: c.tw, Height: c.th, Colour: RGB, Scale: 1, Resize: Crop, CropShare: c.share}
		l := in.lay(c.w, c.h)
		if got := fmt.Sprintf("%dx%d %d,%d", l.across.dst, l.down.dst, l.across.from, l.down.from); got != c.want {
			t.Errorf("%d×%d to %d×%d, share %v: %s, want %s", c.w, c.h, c.tw, c.th, c.share, got, c.want)
		}
		p := l.place
		right, bottom := float64(c.w)*p.GainX+p.PadX, float64(c.h)*p.GainY+p.PadY
		wantX, wantY := float64(l.across.dst-l.across.from), float64(l.down.dst-l.down.from)
		if math.Abs(right-wantX) > 1e-9 || math.Abs(bottom-wantY) > 1e-9 {
			t.Errorf("%d×%d to %d×%d: the frame's corner lies at %v,%v, want %v,%v", c.w, c.h, c.tw, c.th, right, bottom, wantX, wantY)
		}
	}
}

// The middle of a bright square is found again where the square was, through the
// tensor and back, whatever the way of resizing.
func TestPlacementLeadsBack(t *testing.T) {
	for _, resize := range []Resize{Letterbox, Stretch, Crop} {
		for _, how := range []Interpolation{Linear, Area, Bilinear, Bicubic, Nearest} {
			for _, size := range [][2]int{{900, 500}, {500, 900}, {150, 110}, {640, 640}} {
				in := Input{Width: 192, Height: 128, Colour: RGB, Scale: 1, Resize: resize, Anchor: Centre, Interpolation: how, CropShare: 0.9}
				f, frame := NewFiller(in), picture(size[0], size[1], vision.BGR24, 1)
				clear(frame.Pix)
				x, y, half := size[0]*11/20, size[1]*9/20, size[0]/20
				for v := y - half; v < y+half; v++ {
					row := frame.Pix[v*frame.Stride:]
					for u := 3 * (x - half); u < 3*(x+half); u++ {
						row[u] = 255
					}
				}
				blob := f.NewBlob()
				at, err := f.Fill(blob, frame)
				if err != nil {
					t.Fatal(err)
				}
				var sum, sx, sy float64
				for i, v := range blob.Data[:in.Width*in.Height] {
					sum += float64(v)
					sx += float64(v) * (float64(i%in.Width) + 0.5)
					sy += float64(v) * (float64(i/in.Width) + 0.5)
				}
				gotX, gotY := (sx/sum-at.PadX)/at.GainX, (sy/sum-at.PadY)/at.GainY
				if d := max(math.Abs(gotX-float64(x))*at.GainX, math.Abs(gotY-float64(y))*at.GainY); d > 0.6 || math.IsNaN(d) {
					t.Errorf("%s %s of %v: the square at %d,%d is found at %.2f,%.2f", resize, how, size, x, y, gotX, gotY)
				}
			}
		}
	}
}

// What is cropped is a part of what would be seen without a crop.
func TestCropShowsTheMiddle(t *testing.T) {
	for _, how := range []Interpolation{Linear, Area, Bilinear, Bicubic, Nearest} {
		for _, size := range [][4]int{{400, 300, 64, 0}, {30, 40, 64, 0}, {301, 299, 60, 0}, {256, 256, 64, 64}} {
			in := Input{Width: size[2], Height: size[2], Colour: BGR, Scale: 1, Resize: Crop, CropShare: 0.5, Interpolation: how}
			frame := picture(size[0], size[1], vision.BGR24, 5)
			l := in.lay(size[0], size[1])
			whole := in
			whole.Resize, whole.Width, whole.Height = Stretch, l.across.dst, l.down.dst
			part, all := NewFiller(in), NewFiller(whole)
			a, b := part.NewBlob(), all.NewBlob()
			if _, err := part.Fill(a, frame); err != nil {
				t.Fatal(err)
			}
			if _, err := all.Fill(b, frame); err != nil {
				t.Fatal(err)
			}
			for y := range in.Height {
				want := b.Data[(y+l.down.from)*whole.Width+l.across.from:][:in.Width]
				if !slices.Equal(a.Data[y*in.Width:][:in.Width], want) {
					t.Errorf("%s %v: row %d isn't the whole picture's", how, size, y)
					break
				}
			}
		}
	}
}

func TestInputsThatCantBeFilled(t *testing.T) {
	good := Input{Width: 32, Height: 32, Colour: RGB, Scale: 1, Resize: Crop}
	nan := math.NaN()
	for want, change := range map[string]func(*Input){
		"crop share -0.5: must be more than 0":            func(in *Input) { in.CropShare = -0.5 },
		"crop share 1.01: must be":                        func(in *Input) { in.CropShare = 1.01 },
		"crop share NaN: must be":                         func(in *Input) { in.CropShare = nan },
		"crop share 1e-09 of 32×32 pixels: the picture":   func(in *Input) { in.CropShare = 1e-9 },
		`interpolation "lanczos" is unknown`:              func(in *Input) { in.Interpolation = "lanczos" },
		`resize "" is unknown`:                            func(in *Input) { in.Resize = "" },
		`anchor "bottom" is unknown`:                      func(in *Input) { in.Resize, in.Anchor = Letterbox, "bottom" },
		`colour "" is unknown`:                            func(in *Input) { in.Colour = "" },
		"input of 0×32 pixels":                            func(in *Input) { in.Width = 0 },
		"input of 32×9000 pixels":                         func(in *Input) { in.Height = 9000 },
		"scale NaN":                                       func(in *Input) { in.Scale = nan },
		"scale 0":                                         func(in *Input) { in.Scale = 0 },
		"mean NaN and deviation 0 of plane 1":             func(in *Input) { in.Mean[1] = nan },
		"mean 0 and deviation +Inf of plane 2":            func(in *Input) { in.Std[2] = math.Inf(1) },
		"mean 0 and deviation 1e-300 of plane 0: must be": func(in *Input) { in.Std[0] = 1e-300 },
	} {
		in := good
		change(&in)
		_, err := NewFiller(in).Fill(&Blob{}, picture(8, 8, vision.BGR24, 1))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	in := good
	in.CropShare = 0.0078125 // 32 of 4096
	f := NewFiller(in)
	if _, err := f.Fill(f.NewBlob(), picture(300, 200, vision.BGR24, 1)); err != nil {
		t.Error(err)
	}
}

// Frames of all shapes give numbers, and need memory for the tensor's rows only.
func TestFramesOfAllShapes(t *testing.T) {
	huge := &vision.Frame{Pix: make([]byte, 20000*20000), Width: 20000, Height: 20000, Stride: 20000, Format: vision.Gray8}
	full := os.Getenv("SIGHTLINE_FAULTS") == "full"
	if full {
		huge = &vision.Frame{Pix: make([]byte, 60000*20000), Width: 20000, Height: 20000, Stride: 60000, Format: vision.BGR24}
	}
	frames := []*vision.Frame{huge, picture(1, 1, vision.BGR24, 1), picture(20000, 1, vision.BGR24, 2), picture(1, 20000, vision.BGR24, 3),
		picture(2, 7, vision.Gray8, 4), picture(1, 1, vision.Gray8, 4)}
	for _, frame := range frames {
		for _, resize := range []Resize{Letterbox, Stretch, Crop} {
			for _, how := range []Interpolation{Linear, Area, Bilinear, Bicubic, Nearest} {
				for _, colour := range []Colour{RGB, Gray} {
					if frame == huge && !full && (resize != Crop || colour == RGB || how == Bilinear || how == Area) {
						continue // each of its pixels is looked at for half a second
					}
					f := NewFiller(Input{Width: 48, Height: 32, Colour: colour, Scale: 1.0 / 255, Resize: resize, Anchor: TopLeft, Interpolation: how})
					blob := f.NewBlob()
					for i := range blob.Data {
						blob.Data[i] = -1
					}
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					if _, err := f.Fill(blob, frame); err != nil {
						t.Fatal(err)
					}
					runtime.ReadMemStats(&after)
					if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
						t.Errorf("%s %s of %d×%d takes %d bytes", resize, how, frame.Width, frame.Height, took)
					}
					for i, v := range blob.Data {
						if !(v >= 0 && v <= 1) {
							t.Fatalf("%s %s of %d×%d: value %d is %v", resize, how, frame.Width, frame.Height, i, v)
						}
					}
				}
			}
		}
	}
}

// A frame of one colour stays it, to the last bit: weights add up to one.
func TestOneColourStaysIt(t *testing.T) {
	for _, how := range []Interpolation{Linear, Area, Bilinear, Bicubic, Nearest} {
		for _, size := range [][2]int{{97, 61}, {61, 97}, {320, 200}, {20, 30}} {
			for _, level := range []byte{0, 1, 127, 254, 255} {
				f, frame := NewFiller(Input{Width: 64, Height: 48, Colour: RGB, Scale: 1, Resize: Stretch, Interpolation: how}), picture(size[0], size[1], vision.BGR24, 1)
				for i := range frame.Pix {
					frame.Pix[i] = level
				}
				blob := f.NewBlob()
				if _, err := f.Fill(blob, frame); err != nil {
					t.Fatal(err)
				}
				if i := slices.IndexFunc(blob.Data, func(v float32) bool { return v != float32(level) }); i >= 0 {
					t.Errorf("%s of %v: %d becomes %v", how, size, level, blob.Data[i])
				}
			}
		}
	}
}
