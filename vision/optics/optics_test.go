package optics

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// padded is the same picture with bytes between its rows, and none after the last.
func padded(f *vision.Frame, by int) *vision.Frame {
	n := f.Width * f.Format.Channels()
	out := *f
	out.Stride = n + by
	out.Pix = bytes.Repeat([]byte{0x55}, out.Stride*(f.Height-1)+n)
	for y := range f.Height {
		copy(out.Pix[y*out.Stride:], f.Pix[y*f.Stride:][:n])
	}
	return &out
}

// slow does what a Config without a calibration says, pixel by pixel, one step
// after another.
func slow(cfg Config, f *vision.Frame) *vision.Frame {
	out := move(f, rect{0, 0, f.Width, f.Height}, func(x, y int) (int, int) { return x, y })
	switch cfg.Mirror {
	case "horizontal":
		out = move(out, rect{0, 0, f.Width, f.Height}, func(x, y int) (int, int) { return f.Width - 1 - x, y })
	case "vertical":
		out = move(out, rect{0, 0, f.Width, f.Height}, func(x, y int) (int, int) { return x, f.Height - 1 - y })
	}
	for range cfg.Rotate / 90 { // the upper left corner goes to the upper right
		in := out
		out = move(in, rect{0, 0, in.Height, in.Width}, func(x, y int) (int, int) { return y, in.Height - 1 - x })
	}
	if r := cfg.ROI; r != [4]int{} {
		out = move(out, rect{0, 0, r[2], r[3]}, func(x, y int) (int, int) { return x + r[0], y + r[1] })
	}
	return out
}

func move(f *vision.Frame, to rect, from func(x, y int) (int, int)) *vision.Frame {
	c := f.Format.Channels()
	out := &vision.Frame{Width: to.w, Height: to.h, Stride: to.w * c, Format: f.Format}
	for y := range to.h {
		for x := range to.w {
			sx, sy := from(x, y)
			out.Pix = append(out.Pix, f.Pix[sy*f.Stride+sx*c:][:c]...)
		}
	}
	return out
}

// every combination of rotation, mirror and ROI for pictures of w×h.
func every(w, h int) []Config {
	var all []Config
	for _, rotate := range []int{0, 90, 180, 270} {
		for _, mirror := range []string{"", "horizontal", "vertical"} {
			tw, th := w, h
			if rotate%180 != 0 {
				tw, th = h, w
			}
			for _, roi := range [][4]int{{}, {0, 0, tw, th}, {tw / 3, th / 4, tw - tw/3, th - th/4}, {tw - 1, 0, 1, th}, {0, th - 1, tw, 1}} {
				all = append(all, Config{Rotate: rotate, Mirror: mirror, ROI: roi})
			}
		}
	}
	return all
}

func TestEveryTurn(t *testing.T) {
	n := 0
	for _, size := range [][2]int{{1, 1}, {1, 7}, {9, 1}, {8, 8}, {7, 5}, {16, 24}, {33, 17}, {67, 130}, {200, 65}} {
		for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
			plain := drawn(size[0], size[1], format, 1)
			for _, src := range []*vision.Frame{plain, padded(plain, 5)} {
				for _, cfg := range every(size[0], size[1]) {
					got, want := apply(t, cfg, src), slow(cfg, src)
					if got.Width != want.Width || got.Height != want.Height || !bytes.Equal(got.Pix, want.Pix) {
						t.Errorf("%v, %d channels, stride %d, %+v: not what it is step by step", size, format.Channels(), src.Stride, cfg)
					}
					n++
				}
			}
		}
	}
	t.Logf("%d pictures", n)
}

// With a calibration all steps are one pass; the result is the same as of one
// after another.
func TestUndistortsFirst(t *testing.T) {
	c := read(t, "testdata/all_pixels.yaml") // has black borders
	for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
		src := drawn(320, 180, format, 4)
		flat := apply(t, Config{Calibration: c}, src)
		for _, cfg := range every(320, 180) {
			want := slow(cfg, flat)
			cfg.Calibration = c
			if !bytes.Equal(apply(t, cfg, src).Pix, want.Pix) || !bytes.Equal(apply(t, cfg, padded(src, 13)).Pix, want.Pix) {
				t.Errorf("%d channels, %v %q %v: not what it is step by step", format.Channels(), cfg.Rotate, cfg.Mirror, cfg.ROI)
			}
		}
	}
}

// A stream may change its size, its format and its stride at any time.
func TestOnePerSize(t *testing.T) {
	for _, cfg := range []Config{{Rotate: 90, Mirror: "vertical"}, {Calibration: read(t, "testdata/all_pixels.yaml"), Rotate: 270}} {
		o, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		dst := &vision.Frame{}
		mem := make([]byte, 640*360*3)
		small, large, gray := drawn(320, 180, vision.BGR24, 1), drawn(640, 360, vision.BGR24, 2), drawn(320, 180, vision.Gray8, 3)
		for n, src := range []*vision.Frame{small, large, small, small, padded(small, 4), gray, large, gray} {
			dst.Pix = mem
			if err := o.Apply(dst, src); err != nil {
				t.Fatal(err)
			}
			if want := apply(t, cfg, src); !bytes.Equal(dst.Pix, want.Pix) || dst.Width != want.Width || dst.Stride != want.Stride {
				t.Errorf("picture %d isn't what a fresh one gives", n)
			}
		}
	}
}

func TestNoMemoryPerFrame(t *testing.T) {
	for _, cfg := range []Config{{}, {Mirror: "horizontal"}, {Rotate: 90}, {Calibration: read(t, "testdata/all_pixels.yaml"), ROI: [4]int{9, 9, 100, 100}}} {
		o, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		src, dst := drawn(320, 180, vision.BGR24, 1), &vision.Frame{}
		mem := make([]byte, len(src.Pix))
		each := testing.AllocsPerRun(10, func() {
			dst.Pix = mem
			if err := o.Apply(dst, src); err != nil {
				t.Fatal(err)
			}
		})
		if each != 0 {
			t.Errorf("%+v: %v allocations a picture", cfg, each)
		}
	}
}

func TestWhatCantBe(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Rotate: 45}, "rotate must be 0, 90, 180 or 270, got 45"},
		{Config{Rotate: -90}, "got -90"},
		{Config{Mirror: "both"}, `mirror must be horizontal or vertical, got "both"`},
		{Config{ROI: [4]int{0, 0, 0, 5}}, "roi must be x, y, width and height in pixels, got [0 0 0 5]"},
		{Config{ROI: [4]int{-1, 0, 5, 5}}, "got [-1 0 5 5]"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v, want %q", c.cfg, err, c.want)
		}
	}
	const huge = int(^uint(0) >> 1)
	for _, c := range []struct {
		cfg  Config
		w, h int
		want string
	}{
		{Config{ROI: [4]int{600, 0, 41, 480}}, 640, 480, "roi of 41x480 at 600,0 doesn't lie inside the picture of 640x480: choose it anew"},
		{Config{ROI: [4]int{0, 0, 640, 480}, Rotate: 90}, 640, 480, "roi of 640x480 at 0,0 doesn't lie inside the picture of 480x640 (rotated by 90°)"},
		{Config{ROI: [4]int{huge, huge, huge, huge}}, 640, 480, "doesn't lie inside"},
		{Config{ROI: [4]int{1, 1, huge, 1}}, 640, 480, "doesn't lie inside"},
		{Config{}, 0, 5, "a picture of 0x5"},
		{Config{Calibration: read(t, "testdata/four.yaml")}, 640, 480, "calibration testdata/four.yaml is for pictures of 752x480, and for others of that shape, but these are 640x480: calibrate the camera at this size"},
	} {
		o, err := New(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := o.Size(c.w, c.h); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v, want %q", c.cfg, err, c.want)
		}
		if c.w > 0 {
			src := drawn(c.w, c.h, vision.BGR24, 1)
			if err := o.Apply(&vision.Frame{Pix: make([]byte, len(src.Pix))}, src); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: apply: error is %v, want %q", c.cfg, err, c.want)
			}
		}
	}
}

func TestFramesThatDontFit(t *testing.T) {
	o, err := New(Config{Rotate: 90})
	if err != nil {
		t.Fatal(err)
	}
	good := drawn(20, 10, vision.BGR24, 1)
	for name, change := range map[string]func(dst, src *vision.Frame){
		"too little room":   func(dst, _ *vision.Frame) { dst.Pix = dst.Pix[:599] },
		"too few pixels":    func(_, src *vision.Frame) { src.Pix = src.Pix[:599] },
		"no format":         func(_, src *vision.Frame) { src.Format = 0 },
		"rows that overlap": func(_, src *vision.Frame) { src.Stride = 59 },
	} {
		src, dst := *good, vision.Frame{Pix: make([]byte, 600)}
		change(&dst, &src)
		if err := o.Apply(&dst, &src); err == nil || !strings.Contains(err.Error(), "turn a frame of 20x10") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// A matrix for one size serves pictures that were resized: what is straight for
// one stays at the same place, counted in picture widths.
func TestScaledCalibration(t *testing.T) {
	c := read(t, "testdata/plumb_bob.yaml")
	whole, err := c.lens(640, 480)
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []float64{0.5, 2, 3.125} {
		l, err := c.lens(int(640*by), int(480*by))
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range [][2]float64{{-.5, -.5}, {100, 20}, {639.5, 479.5}, {320, 240}} {
			u, v, _ := whole.source(at[0], at[1])
			su, sv, _ := l.source((at[0]+.5)*by-.5, (at[1]+.5)*by-.5)
			if d := max(abs((u+.5)*by-.5-su), abs((v+.5)*by-.5-sv)); d > 1e-9 {
				t.Errorf("%v times: %v is off by %v", by, at, d)
			}
		}
	}
}

func abs(v float64) float64 { return max(v, -v) }

func Example() {
	o, err := New(Config{Rotate: 90, ROI: [4]int{0, 100, 480, 300}})
	if err != nil {
		fmt.Println(err)
		return
	}
	w, h, err := o.Size(640, 480)
	fmt.Println(w, h, err)
	// Output: 480 300 <nil>
}
