package capture

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// A mosaic of one colour must come out in it, whatever the pattern and at every
// edge; the wrong pattern would swap red and blue or put green in their place.
func TestBayerPatterns(t *testing.T) {
	for _, c := range []struct{ name, rows string }{
		{"BayerRG8", "RGGB"}, {"BayerGR8", "GRBG"}, {"BayerGB8", "GBRG"}, {"BayerBG8", "BGGR"},
	} {
		for _, size := range [][2]int{{2, 2}, {3, 2}, {2, 3}, {4, 4}, {5, 7}, {16, 9}, {17, 8}} {
			w, h := size[0], size[1]
			const extra = 3 // bytes of padding, which must not show
			src := bytes.Repeat([]byte{77}, (w+extra)*h)
			level := map[byte]byte{'R': 200, 'G': 120, 'B': 40}
			for i := range w * h {
				x, y := i%w, i/w
				src[y*(w+extra)+x] = level[c.rows[y%2*2+x%2]]
			}
			dst := make([]byte, 3*w*h)
			formatNamed(c.name).lay(dst, src, w, h, w+extra)
			if want := bytes.Repeat([]byte{40, 120, 200}, w*h); !bytes.Equal(dst, want) {
				t.Errorf("%s %dx%d: %v", c.name, w, h, dst)
			}
		}
	}
}

// In ramps bilinear means are exact but for the rounding, away from the edges.
func TestBayerRamp(t *testing.T) {
	const w, h = 24, 18
	want := func(x, y, channel int) int { return 40 + 3*x + 2*y + 20*channel }
	for name, red := range map[string][2]int{"BayerRG8": {0, 0}, "BayerGR8": {1, 0}, "BayerGB8": {0, 1}, "BayerBG8": {1, 1}} {
		src, dst := make([]byte, w*h), make([]byte, 3*w*h)
		for i := range src {
			x, y := i%w, i/w
			channel := 1
			if x%2 == red[0] && y%2 == red[1] {
				channel = 2
			} else if x%2 != red[0] && y%2 != red[1] {
				channel = 0
			}
			src[i] = byte(want(x, y, channel))
		}
		formatNamed(name).lay(dst, src, w, h, w)
		for i, v := range dst {
			x, y := i/3%w, i/3/w
			if d := int(v) - want(x, y, i%3); x > 0 && y > 0 && x < w-1 && y < h-1 && (d < 0 || d > 1) {
				t.Fatalf("%s at %d,%d channel %d: %d, want %d", name, x, y, i%3, v, want(x, y, i%3))
			}
		}
	}
}

func TestRGBRows(t *testing.T) {
	src := []byte{1, 2, 3, 4, 5, 6, 99, 7, 8, 9, 10, 11, 12, 99}
	dst := make([]byte, 12)
	formatNamed("RGB8packed").lay(dst, src, 2, 2, 7)
	if want := []byte{3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10}; !bytes.Equal(dst, want) {
		t.Errorf("RGB8: %v", dst)
	}
	formatNamed("BGR8").lay(dst, src, 2, 2, 7)
	if want := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}; !bytes.Equal(dst, want) {
		t.Errorf("BGR8: %v", dst)
	}
	if s := readable([]string{"Mono8", "Mono16", "RGB8Packed"}); s != "Mono8, RGB8Packed" {
		t.Errorf("readable: %q", s)
	}
	if s := readable([]string{"Mono12", "Mono16"}); s != "none of Mono12, Mono16" {
		t.Errorf("readable: %q", s)
	}
}

func TestGap(t *testing.T) {
	for _, c := range []struct{ last, id, want uint64 }{
		{1, 2, 0}, {1, 5, 3}, {7, 7, 0}, {65535, 1, 0}, {65534, 1, 1}, {65530, 2, 6},
		{70000, 70001, 0}, {70000, 70010, 9}, {70000, 1, 0}, {500, 1, 0}, {1, 1 << 40, 0},
	} {
		if n := gap(c.last, c.id); n != c.want {
			t.Errorf("gap(%d, %d) = %d, want %d", c.last, c.id, n, c.want)
		}
	}
}

func TestFrameCount(t *testing.T) {
	var c frameCount
	var starved uint64
	for _, step := range []struct {
		id, broken, starved, incomplete, skipped uint64
	}{
		{id: 7},                            // the first, whatever came before
		{id: 8},                            //
		{id: 11, broken: 2, incomplete: 2}, // both of those between came in part
		{id: 15, broken: 1, incomplete: 3}, // of two nothing came
		{id: 20, starved: 60, skipped: 4},  // packets of four found no buffer
		{id: 22, broken: 1, incomplete: 1}, // that is over
		{id: 25, incomplete: 2},            //
		{id: 3},                            // it counts anew
		{id: 0, broken: 1, incomplete: 1},  // it doesn't count
		{id: 0},                            //
		{id: 90, starved: 9, skipped: 0},   // nor is there a last
		{id: 92, broken: 1, incomplete: 1}, //
		{id: 94, starved: 1, skipped: 1},   //
		{id: 97, broken: 1, starved: 1, incomplete: 1, skipped: 1},
	} {
		c.broken += step.broken
		starved += step.starved
		incomplete, skipped := c.complete(step.id, func() uint64 { return starved })
		if incomplete != step.incomplete || skipped != step.skipped {
			t.Errorf("%+v: %d incomplete, %d skipped", step, incomplete, skipped)
		}
	}
}

func TestArrival(t *testing.T) {
	second := arrival(time.Now().Add(-time.Second).UnixNano())
	if d := time.Duration(monotonic()-second) - time.Second; d < 0 || d > 100*time.Millisecond {
		t.Errorf("a second ago is %v more than that ago", d)
	}
	for _, real := range []int64{0, -1, time.Now().Add(time.Hour).UnixNano(), time.Now().Add(-time.Hour).UnixNano()} {
		was := arrival(real)
		if ago := monotonic() - was; ago < 0 || ago > int64(100*time.Millisecond) {
			t.Errorf("%d is %v ago", real, time.Duration(ago))
		}
	}
}

func BenchmarkLay(b *testing.B) {
	for _, name := range []string{"Mono8", "BayerRG8", "RGB8"} {
		for _, side := range []int{512, 2048} {
			b.Run(fmt.Sprintf("%s/%d", name, side), func(b *testing.B) {
				f := formatNamed(name)
				src, dst := make([]byte, side*side*f.bytes), make([]byte, f.size(side, side))
				b.SetBytes(int64(side * side))
				for b.Loop() {
					f.lay(dst, src, side, side, side*f.bytes)
				}
			})
		}
	}
}
