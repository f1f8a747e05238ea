package quality_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/quality"
	"github.com/sightline-edge/sightline/vision/scene"
)

const x264 = "-c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p "

// frozenAfter is how long after frame at the monitor tells frozen, or -1.
func frozenAfter(m *quality.Monitor, f film, fps float64, at, to int) time.Duration {
	found := time.Duration(-1)
	show(m, f, fps, 0, to, func(n int, now time.Time) {
		if found < 0 && tells(m, quality.Frozen) {
			found = now.Sub(began) - time.Duration(float64(at)/fps*float64(time.Second))
		}
	})
	return found
}

// A camera that freezes is seen within two seconds.
func TestFreezeIsSeenWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	seeds := 4
	if full {
		seeds = 100
	}
	for _, fps := range []float64{8, 30} {
		n := 0
		for seed := range seeds {
			at := int(fps*3) + seed
			f := freeze(drawn(t, scene.Config{Width: 320, Height: 180, Rate: fps, Seed: uint64(seed)}), at)
			after := frozenAfter(quality.New(quality.Config{}), f, fps, at, at+int(fps*2.5))
			if after < time.Second || after > 2*time.Second {
				t.Errorf("%v fps, seed %d: seen after %v", fps, seed, after)
				continue
			}
			n++
		}
		t.Logf("%v frames/s: %d of %d seen within 2 s", fps, n, seeds)
	}
}

// A still scene with a sensor's noise lives, down to a single pixel.
func TestStillIsNotFrozen(t *testing.T) {
	t.Parallel()
	p := clone(drawn(t, scene.Config{Width: 320, Height: 180, Seed: 2})(0))
	onePixel := func(n int) *vision.Frame {
		p.Pix[(77*320+(n/3)%300)*3] ^= 0x40 // between the rows that are read of every frame
		return p
	}
	for name, f := range map[string]film{
		"noise": still(p, 0.4), "one pixel": onePixel,
		"dark": func(int) *vision.Frame {
			return &vision.Frame{Pix: make([]byte, 320*180), Width: 320, Height: 180, Stride: 320, Format: vision.Gray8}
		},
	} {
		if after := frozenAfter(quality.New(quality.Config{}), f, 30, 0, 600); after >= 0 {
			t.Errorf("%s: frozen after %v", name, after)
		}
	}
}

// A stopped belt, and a camera that denoises: most of the picture stands to
// the bit, but not all of it.
func TestDenoisedIsNotFrozen(t *testing.T) {
	t.Parallel()
	noisy, out := drawn(t, scene.Config{Width: 320, Height: 180, Seed: 2, Rate: 30}), (*vision.Frame)(nil)
	z := newNoise(2)
	denoised := func(n int) *vision.Frame {
		src := noisy(n / 50 * 50) // it moves on now and then
		if out == nil {
			out = clone(src)
		}
		for i, v := range src.Pix { // changes only by what is more than noise
			if d := int(v) + int(z[(n*7919+i)%len(z)]) - int(out.Pix[i]); d > 7 || d < -7 {
				out.Pix[i] = byte(min(max(int(out.Pix[i])+d, 0), 255))
			}
		}
		return out
	}
	if after := frozenAfter(quality.New(quality.Config{}), denoised, 30, 0, 300); after >= 0 {
		t.Errorf("frozen after %v", after)
	}
}

// A frozen picture that changes once is told no longer, and told again.
func TestFrozenEndsAtOnce(t *testing.T) {
	t.Parallel()
	f := drawn(t, scene.Config{Width: 320, Height: 180, Rate: 30, Seed: 4})
	m := quality.New(quality.Config{})
	show(m, freeze(f, 60), 30, 0, 150, nil)
	got := m.Findings()
	if len(got) != 1 || got[0].Fault != quality.Frozen || !got[0].Since.Equal(began.Add(2*time.Second)) && got[0].Since.Sub(began) > 2100*time.Millisecond {
		t.Fatalf("frozen since 2 s: %+v", got)
	}
	show(m, f, 30, 150, 151, nil)
	if tells(m, quality.Frozen) {
		t.Error("still frozen after a new picture")
	}
}

// A camera that sends nothing isn't frozen, and is a new one when it is back.
func TestGapIsNotFrozen(t *testing.T) {
	t.Parallel()
	f := drawn(t, scene.Config{Width: 320, Height: 180, Rate: 30, Seed: 4})
	m := quality.New(quality.Config{})
	show(m, f, 30, 0, 60, nil)
	fr := *f(60)
	for i := range 40 { // a second of it, nine of nothing, a third of a second more
		fr.Captured = began.Add(2*time.Second + time.Duration(i)*time.Second/30)
		if i >= 30 {
			fr.Captured = fr.Captured.Add(9 * time.Second)
		}
		m.Look(&fr)
	}
	if tells(m, quality.Frozen) {
		t.Error("frozen, though no pictures came")
	}
}

// Pictures that come slowly: the same one four times is needed.
func TestFrozenSnapshots(t *testing.T) {
	t.Parallel()
	f := drawn(t, scene.Config{Width: 320, Height: 180, Rate: 1, Seed: 4})
	if after := frozenAfter(quality.New(quality.Config{}), freeze(f, 20), 1, 20, 30); after < 2*time.Second || after > 5*time.Second {
		t.Errorf("at a picture a second frozen is seen after %v", after)
	}
}

// What encoders make of a still scene, of a belt that stops and of a camera
// that repeats a picture.
func TestFrozenThroughEncoders(t *testing.T) {
	t.Parallel()
	const fps, w = 30, 320
	encoders := []string{x264 + "-g 60 -crf 35", "-c:v mjpeg -q:v 5"}
	seconds, seeds := 10, 1
	if full {
		encoders = []string{"-c:v mjpeg -q:v 3", "-c:v mjpeg -q:v 12"}
		for _, g := range []string{"30", "60", "120"} {
			for _, q := range []string{"-crf 18", "-crf 23", "-crf 28", "-crf 35", "-b:v 300k -maxrate 300k -bufsize 300k", "-b:v 2M -maxrate 2M -bufsize 2M"} {
				encoders = append(encoders, x264+"-g "+g+" "+q)
			}
		}
		seconds, seeds = 60, 4
	}
	for _, enc := range encoders {
		live, stops, exact, upstream, n := 0, 0, 0, 0, 0
		for seed := range seeds {
			sigma := []float64{2, 0.5, 1, 4}[seed]
			belt := func() film { return drawn(t, scene.Config{Width: w, Height: 180, Rate: fps, Seed: uint64(seed)}) }
			quiet := func() film { return still(clone(belt()(150)), sigma) }
			n++
			if frozenAfter(quality.New(quality.Config{}), coded(t, quiet(), seconds*fps, fps, enc), fps, 0, seconds*fps) >= 0 {
				live++
			}
			if frozenAfter(quality.New(quality.Config{}), coded(t, then(belt(), 150, quiet()), seconds*fps, fps, enc), fps, 0, seconds*fps) >= 0 {
				stops++
			}
			if a := frozenAfter(quality.New(quality.Config{}), freeze(coded(t, belt(), 200, fps, enc), 150), fps, 150, 240); a >= 0 && a <= 2*time.Second {
				exact++
			}
			if full && frozenAfter(quality.New(quality.Config{}), coded(t, freeze(belt(), 150), seconds*fps, fps, enc), fps, 150, seconds*fps) >= 0 {
				upstream++
			}
		}
		t.Logf("%-75s: still scene frozen %d, stopped belt frozen %d, of %d films of %d s; repeated after the encoder seen within 2 s %d, before it seen %d, of %d",
			enc, live, stops, n, seconds, exact, upstream, n)
		if live+stops > 0 || exact < n {
			t.Errorf("%s: false alarms %d and %d, seen %d of %d", enc, live, stops, exact, n)
		}
	}
}

// A noisy camera whose still phases are known, and whose noise is gone.
func TestNoiseGone(t *testing.T) {
	t.Parallel()
	a := clone(drawn(t, scene.Config{Width: 320, Height: 180, Seed: 2})(0))
	b := clone(drawn(t, scene.Config{Width: 320, Height: 180, Seed: 2})(100))
	stillA, stillB, nearly := still(a, 1), still(b, 1), still(a, 0.22)
	const fps = 10
	// Eight seconds still, then something that passes for six.
	lives := func(n int) *vision.Frame {
		if n/fps%16 < 9 {
			return stillA(n)
		}
		if n%2 == 0 {
			return stillB(n)
		}
		return stillA(n)
	}
	m := quality.New(quality.Config{})
	if after := frozenAfter(m, then(lives, 120*fps, nearly), fps, 120*fps, 150*fps); after < 5*time.Second || after > 20*time.Second {
		t.Errorf("the noise is gone, seen after %v: %s", after, fmt.Sprint(m.Findings()))
	}
}
