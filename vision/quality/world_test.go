package quality_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/quality"
	"github.com/sightline-edge/sightline/vision/scene"
)

// full makes the tests count over everything there is.
var full = os.Getenv("SIGHTLINE_FAULTS") == "full"

// A film gives frame n, in memory that the next call may use again.
type film func(n int) *vision.Frame

// began is when every film begins.
var began = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// show lets the monitor look at frames from to to-1 at that rate.
func show(m *quality.Monitor, f film, fps float64, from, to int, each func(n int, now time.Time)) {
	for n := from; n < to; n++ {
		fr := *f(n)
		fr.Seq = uint64(n + 1)
		fr.Captured = began.Add(time.Duration(float64(n) / fps * float64(time.Second)))
		m.Look(&fr)
		if each != nil {
			each(n, fr.Captured)
		}
	}
}

// told are the faults that a monitor tells now.
func told(m *quality.Monitor) []quality.Fault {
	var out []quality.Fault
	for _, f := range m.Findings() {
		out = append(out, f.Fault)
	}
	return out
}

func tells(m *quality.Monitor, f quality.Fault) bool { return slices.Contains(told(m), f) }

// drawn is a belt with parts.
func drawn(t testing.TB, cfg scene.Config) film {
	s, err := scene.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	fr := s.NewFrame()
	return func(n int) *vision.Frame {
		if err := s.Frame(n, fr); err != nil {
			t.Fatal(err)
		}
		return fr
	}
}

// noise is a sensor's, in whole levels.
type noise []int8

func newNoise(sigma float64) noise {
	r := rand.New(rand.NewPCG(7, 7))
	out := make(noise, 1<<18)
	for i := range out {
		out[i] = int8(math.Round(r.NormFloat64() * sigma))
	}
	return out
}

// over adds the noise of frame n to src, into dst.
func (z noise) over(dst, src *vision.Frame, n int) {
	w := src.Width * src.Format.Channels()
	r := rand.New(rand.NewPCG(uint64(n), 3))
	for y := range src.Height {
		from := z[r.IntN(len(z)-w):][:w]
		in, out := src.Pix[y*src.Stride:][:w], dst.Pix[y*dst.Stride:][:w]
		for i, v := range in {
			out[i] = byte(min(max(int(v)+int(from[i]), 0), 255))
		}
	}
}

// still holds one picture before a sensor with noise.
func still(p *vision.Frame, sigma float64) film {
	z, out := newNoise(sigma), clone(p)
	return func(n int) *vision.Frame {
		z.over(out, p, n)
		return out
	}
}

// then shows a until frame n, then b.
func then(a film, n int, b film) film {
	return func(i int) *vision.Frame {
		if i < n {
			return a(i)
		}
		return b(i)
	}
}

// freeze repeats frame n of the film for ever.
func freeze(f film, n int) film {
	var held *vision.Frame
	return func(i int) *vision.Frame {
		if i < n {
			return f(i)
		}
		if held == nil {
			held = clone(f(n))
		}
		return held
	}
}

func clone(p *vision.Frame) *vision.Frame {
	out := *p
	out.Stride = p.Width * p.Format.Channels()
	out.Pix = make([]byte, out.Stride*p.Height)
	for y := range p.Height {
		copy(out.Pix[y*out.Stride:], p.Pix[y*p.Stride:][:out.Stride])
	}
	return &out
}

// keep draws every frame of a film once. They must not be written to.
func keep(f film) film {
	kept := map[int]*vision.Frame{}
	return func(n int) *vision.Frame {
		if kept[n] == nil {
			kept[n] = clone(f(n))
		}
		return kept[n]
	}
}

// through changes every frame of a film.
func through(f film, change func(dst, src *vision.Frame)) film {
	var out *vision.Frame
	return func(n int) *vision.Frame {
		src := f(n)
		if out == nil {
			out = clone(src)
		}
		change(out, src)
		return out
	}
}

// curve maps every level.
func curve(g func(v float64) float64) func(dst, src *vision.Frame) {
	var lut [256]byte
	for i := range lut {
		lut[i] = byte(min(max(math.Round(g(float64(i))), 0), 255))
	}
	return func(dst, src *vision.Frame) {
		for i, v := range src.Pix {
			dst.Pix[i] = lut[v]
		}
	}
}

// blur is Gaussian, sigma in pixels.
func blur(sigma float64) func(dst, src *vision.Frame) {
	r := int(math.Ceil(3 * sigma))
	kernel, sum := make([]float32, 2*r+1), float32(0)
	for i := range kernel {
		kernel[i] = float32(math.Exp(-float64((i-r)*(i-r)) / 2 / sigma / sigma))
		sum += kernel[i]
	}
	for i := range kernel {
		kernel[i] /= sum
	}
	return func(dst, src *vision.Frame) {
		ch, w, h := src.Format.Channels(), src.Width, src.Height
		mid := make([]float32, w*ch*h)
		for y := range h {
			row := src.Pix[y*src.Stride:]
			for x := range w {
				for c := range ch {
					v := float32(0)
					for k, f := range kernel {
						v += f * float32(row[min(max(x+k-r, 0), w-1)*ch+c])
					}
					mid[(y*w+x)*ch+c] = v
				}
			}
		}
		line := make([]float32, w*ch)
		for y := range h {
			clear(line)
			for k, f := range kernel {
				from := mid[min(max(y+k-r, 0), h-1)*w*ch:][:w*ch]
				for i, v := range from {
					line[i] += f * v
				}
			}
			for i, v := range line {
				dst.Pix[y*dst.Stride+i] = byte(v + 0.5)
			}
		}
	}
}

// aim turns, zooms and shifts the picture, as a camera that was pushed.
func aim(dx, dy, degrees, zoom float64) func(dst, src *vision.Frame) {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return func(dst, src *vision.Frame) {
		ch, w, h := src.Format.Channels(), src.Width, src.Height
		cx, cy := float64(w)/2, float64(h)/2
		for y := range h {
			for x := range w {
				u, v := (float64(x)-cx-dx)/zoom, (float64(y)-cy-dy)/zoom
				sx := min(max(cos*u+sin*v+cx, 0), float64(w-1)-1e-6)
				sy := min(max(-sin*u+cos*v+cy, 0), float64(h-1)-1e-6)
				x0, y0 := int(sx), int(sy)
				fx, fy := sx-float64(x0), sy-float64(y0)
				for c := range ch {
					at := y0*src.Stride + x0*ch + c
					a := float64(src.Pix[at])*(1-fx) + float64(src.Pix[at+ch])*fx
					b := float64(src.Pix[at+src.Stride])*(1-fx) + float64(src.Pix[at+src.Stride+ch])*fx
					dst.Pix[y*dst.Stride+x*ch+c] = byte(a*(1-fy) + b*fy + 0.5)
				}
			}
		}
	}
}

// photos are n pictures of a collection of real ones, spread evenly; each is
// cut down to at most wide pixels by whole factors. 0 means all.
func photos(t testing.TB, collection string, n, wide int) map[string]*vision.Frame {
	t.Helper()
	root := os.Getenv("SIGHTLINE_REALDATA")
	if root == "" {
		t.Skip("left out: SIGHTLINE_REALDATA names no folder of real pictures")
	}
	files, err := picture.Files([]string{filepath.Join(root, collection, "images")})
	if err != nil || len(files) == 0 {
		t.Skipf("left out: no pictures of %s: %v", collection, err)
	}
	if n == 0 || n > len(files) {
		n = len(files)
	}
	out := map[string]*vision.Frame{}
	for i := range n {
		file := files[i*len(files)/n]
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := picture.Decode(data, func(w, h int) ([]byte, error) { return make([]byte, w*h*3), nil })
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[filepath.Base(file)] = smaller(&f, (f.Width+wide-1)/wide)
	}
	return out
}

// smaller averages squares of k pixels.
func smaller(f *vision.Frame, k int) *vision.Frame {
	if k <= 1 {
		return f
	}
	ch := f.Format.Channels()
	out := &vision.Frame{Width: f.Width / k, Height: f.Height / k, Stride: f.Width / k * ch, Format: f.Format}
	out.Pix = make([]byte, out.Stride*out.Height)
	for y := range out.Height {
		for x := range out.Width {
			for c := range ch {
				sum := 0
				for j := range k {
					for i := range k {
						sum += int(f.Pix[(y*k+j)*f.Stride+(x*k+i)*ch+c])
					}
				}
				out.Pix[y*out.Stride+x*ch+c] = byte(sum / (k * k))
			}
		}
	}
	return out
}
