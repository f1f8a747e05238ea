package quality_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/quality"
	"github.com/sightline-edge/sightline/vision/scene"
)

func TestFaultNames(t *testing.T) {
	t.Parallel()
	for _, f := range quality.Faults {
		if got, ok := quality.ParseFault(f.String()); !ok || got != f {
			t.Errorf("%v is read as %v, %v", f, got, ok)
		}
	}
	if _, ok := quality.ParseFault(""); ok || quality.Fault(0).String() != "" {
		t.Error("no fault has a name")
	}
}

// What a monitor says of a belt that is fine, and of one each kind of trouble.
func TestEachFaultOnABelt(t *testing.T) {
	t.Parallel()
	const fps, from, to = 10, 130, 320
	kept := keep(drawn(t, scene.Config{Width: 256, Height: 144, Rate: fps, Seed: 5}))
	belt := func() film { return kept }
	for _, c := range []struct {
		name   string
		change film
		want   []quality.Fault
		detail string
	}{
		{"nothing", belt(), nil, ""},
		{"dark", through(belt(), curve(func(v float64) float64 { return v / 12 })), []quality.Fault{quality.Dark}, "black"},
		{"bright", through(belt(), curve(func(v float64) float64 { return v * 9 })), []quality.Fault{quality.Overexposed}, "clipped"},
		{"blur", through(belt(), blur(3)), []quality.Fault{quality.Blurred}, "sharpness of the reference"},
		{"push", through(belt(), aim(0, 4, 0, 1)), []quality.Fault{quality.Moved}, "shifted by about 0, "},
		{"turn", through(belt(), aim(0, 0, 5, 1)), []quality.Fault{quality.Moved}, "degrees"},
		{"flicker", lit(belt(), lamp{mains: 103, depth: 0.1, exposure: 1e-4}, fps), []quality.Fault{quality.Flicker}, "3.0 times a second"},
	} {
		m := quality.New(quality.Config{Reference: belt()(0)})
		show(m, then(belt(), from, c.change), fps, 0, to, nil)
		if !slices.Equal(told(m), c.want) {
			t.Errorf("%s: told %v, want %v: %+v", c.name, told(m), c.want, m.Findings())
			continue
		}
		for _, f := range m.Findings() {
			if !strings.Contains(f.Detail, c.detail) || f.Limit == 0 {
				t.Errorf("%s: %+v", c.name, f)
			}
			if since := f.Since.Sub(began.Add(from / fps * time.Second)); since < 0 || since > 14*time.Second {
				t.Errorf("%s: since %v after it began", c.name, since)
			}
		}
		show(m, belt(), fps, to, to+240, nil)
		if got := told(m); len(got) != 0 {
			t.Errorf("%s: %v still told 24 s after it ended", c.name, got)
		}
	}
}

// A reference of another size is refused, one that is no picture as well.
func TestReference(t *testing.T) {
	t.Parallel()
	belt := drawn(t, scene.Config{Width: 320, Height: 180, Seed: 5})
	m := quality.New(quality.Config{Reference: &vision.Frame{Width: 3}})
	if m.Reference() != nil || m.ReferenceErr() == nil {
		t.Errorf("no picture is taken as a reference: %v", m.ReferenceErr())
	}
	show(m, belt, 25, 0, 3, nil)
	if err := m.SetReference(smaller(belt(0), 2)); err != nil {
		t.Error(err)
	}
	if err := m.ReferenceErr(); err == nil || !strings.Contains(err.Error(), "160x90, the camera gives 320x180") {
		t.Errorf("a reference of another size: %v", err)
	}
	show(m, belt, 25, 3, 100, nil)
	if err := m.SetReference(belt(0)); err != nil || m.ReferenceErr() != nil || m.Reference().Width != 320 {
		t.Errorf("a good reference: %v, %v", err, m.ReferenceErr())
	}
	if err := m.SetReference(nil); err != nil || m.Reference() != nil {
		t.Errorf("no reference: %v", err)
	}
}

// Pictures of another size begin anew, and so does what was told of the old.
func TestAnotherSize(t *testing.T) {
	t.Parallel()
	m := quality.New(quality.Config{})
	black := func(w, h int, format vision.PixelFormat) film {
		c := format.Channels()
		f := &vision.Frame{Pix: make([]byte, w*h*c), Width: w, Height: h, Stride: w * c, Format: format}
		return func(int) *vision.Frame { return f }
	}
	show(m, black(320, 200, vision.BGR24), 10, 0, 40, nil)
	if !tells(m, quality.Dark) {
		t.Error("black isn't dark")
	}
	show(m, black(320, 201, vision.BGR24), 10, 40, 45, nil)
	if got := told(m); len(got) != 0 {
		t.Errorf("told of pictures that are a row higher: %v", got)
	}
	show(m, black(64, 48, vision.Gray8), 10, 45, 50, nil)
	if got := told(m); len(got) != 0 {
		t.Errorf("told of the new size: %v", got)
	}
	show(m, black(64, 48, vision.Gray8), 10, 50, 90, nil)
	if !tells(m, quality.Dark) {
		t.Error("black and grey isn't dark")
	}
	for _, f := range []*vision.Frame{nil, {}, {Width: 9, Height: 9, Stride: 9, Pix: make([]byte, 81), Format: vision.Gray8}} {
		m.Look(f) // is passed over
		quality.Measure(f)
	}
}

// A camera that gives a picture every four seconds is watched as well.
func TestSlowCamera(t *testing.T) {
	t.Parallel()
	f := &vision.Frame{Pix: make([]byte, 64*64), Width: 64, Height: 64, Stride: 64, Format: vision.Gray8}
	m := quality.New(quality.Config{})
	show(m, func(int) *vision.Frame { return f }, 0.25, 0, 12, nil)
	if !tells(m, quality.Dark) {
		t.Error("black isn't dark")
	}
}

// Frames with gaps between their rows, grey ones, odd sizes: nothing is read
// beyond the picture.
func TestOddFrames(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{48, 48}, {49, 51}, {64, 480}, {1000, 48}, {337, 211}} {
		for _, format := range []vision.PixelFormat{vision.BGR24, vision.Gray8} {
			c := format.Channels()
			f := &vision.Frame{Width: size[0], Height: size[1], Stride: size[0]*c + 13, Format: format}
			f.Pix = make([]byte, f.Stride*(f.Height-1)+f.Width*c)
			m := quality.New(quality.Config{Reference: f})
			show(m, func(n int) *vision.Frame {
				for i := range f.Pix {
					f.Pix[i] = byte(i*i*(n+7)>>5) &^ byte(n)
				}
				return f
			}, 30, 0, 60, nil)
			quality.Measure(f)
		}
	}
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	f := clone(drawn(t, scene.Config{Width: 640, Height: 360, Seed: 5})(0))
	soft, dark := clone(f), clone(f)
	blur(3)(soft, f)
	curve(func(v float64) float64 { return v / 20 })(dark, f)
	m, s, d := quality.Measure(f), quality.Measure(soft), quality.Measure(dark)
	if m.Mean < 40 || m.Mean > 120 || m.Dark > 0.2 || m.Bright > 0.05 || m.Sharpness < 0.3 || m.Sharpness > 1 {
		t.Errorf("a drawn picture measures %+v", m)
	}
	if s.Sharpness > 0.6*m.Sharpness {
		t.Errorf("sharpness %v, blurred %v", m.Sharpness, s.Sharpness)
	}
	if d.Dark != 1 || d.Sharpness != 0 {
		t.Errorf("in the dark: %+v", d)
	}
}

// Looking allocates nothing, whatever is found.
func TestLookAllocatesNothing(t *testing.T) {
	belt := drawn(t, scene.Config{Width: 320, Height: 180, Rate: 10, Seed: 5})
	var frames []*vision.Frame
	for n := range 8 {
		frames = append(frames, clone(belt(n)))
	}
	m := quality.New(quality.Config{Reference: turned(frames[0])})
	n := 0
	look := func() {
		f := frames[n%len(frames)]
		if n/100%2 == 1 {
			f = frames[0]
		}
		n++
		f.Seq, f.Captured = uint64(n), began.Add(time.Duration(n)*100*time.Millisecond)
		m.Look(f)
	}
	for range 10 {
		look()
	}
	if got := testing.AllocsPerRun(600, look); got > 0 {
		t.Errorf("%v allocations a frame", got)
	}
}

// Findings may be asked for, and the reference changed, while frames come.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	belt := drawn(t, scene.Config{Width: 320, Height: 180, Rate: 10, Seed: 5})
	ref := clone(belt(0))
	m := quality.New(quality.Config{})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				m.Findings()
				_ = m.SetReference(ref) // a good one
				m.Reference()
			}
		}
	})
	show(m, belt, 10, 0, 60, nil)
	close(stop)
	wg.Wait()
}

// How far the camera was pushed is told well enough to push it back.
func TestShiftIsTold(t *testing.T) {
	t.Parallel()
	p := clone(drawn(t, scene.Config{Width: 384, Height: 216, Seed: 5})(40))
	for _, by := range [][3]float64{{12, -9, 0}, {-40, 20, 0}, {0, 0, 5}} {
		q := clone(p)
		aim(by[0], by[1], by[2], 1)(q, p)
		m := quality.New(quality.Config{Reference: p})
		show(m, then(still(p, 2), 15*4, still(q, 2)), 4, 0, 30*4, nil)
		var dx, dy, turn float64
		got := m.Findings()
		if len(got) != 1 || got[0].Fault != quality.Moved {
			t.Errorf("moved by %v: told %+v", by, got)
			continue
		}
		n, _ := fmt.Sscanf(got[0].Detail, "shifted by about %f, %f pixels, turned by about %f", &dx, &dy, &turn) // n says
		if n < 2 || math.Hypot(dx-by[0], dy-by[1]) > 4 || math.Abs(turn-by[2]) > 1.5 {
			t.Errorf("moved by %v: told %q", by, got[0].Detail)
		}
	}
}

// A camera that was pushed before anybody looked is told once parts have
// passed: those that only stand elsewhere wouldn't bear that.
func TestMovedBeforeTheStart(t *testing.T) {
	t.Parallel()
	belt := func() film { return drawn(t, scene.Config{Width: 320, Height: 180, Rate: 4, Seed: 5}) }
	m := quality.New(quality.Config{Reference: emptied(belt())})
	show(m, through(belt(), aim(0, 9, 0, 1)), 4, 0, 30*4, nil)
	if !tells(m, quality.Moved) {
		t.Errorf("pushed by 9 pixels: told %v", m.Findings())
	}
}
