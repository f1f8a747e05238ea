package change_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/change"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/track"
)

// film gives frame n and what a perfect model would see in it; false at its end.
type film struct {
	rate float64
	next func(n int) (f *vision.Frame, seen []vision.Detection, ok bool)
}

// shown is what became of a film.
type shown struct {
	frames, skipped int
	passed          []bool
	empty, spared   int // frames without anything to see, and those of them that were skipped
	whole, gated    []vision.Part
	stats           change.Stats
}

func (s *shown) share() float64 { return 100 * float64(s.skipped) / float64(max(s.frames, 1)) }

var roles = map[string]vision.Role{
	"part": vision.PartRole, "bottle": vision.PartRole, "defect": vision.DefectRole,
}

// show plays a film through a gate as a station does that inspects one frame
// while the next one comes: what was seen is told one frame late.
func show(f film) *shown {
	g := change.New(change.Config{})
	s := &shown{}
	every, some := track.New(track.Config{Roles: roles}), track.New(track.Config{Roles: roles})
	var held []vision.Detection
	late := func() {}
	for ; ; s.frames++ {
		frame, seen, ok := f.next(s.frames)
		if !ok {
			break
		}
		at := time.Duration(float64(s.frames) / f.rate * float64(time.Second))
		frame.Seq = uint64(s.frames + 1)
		pass := g.Pass(frame, at)
		late()
		late = func() {}
		if pass {
			seq, things := frame.Seq, len(seen)
			held, late = seen, func() { g.Seen(seq, things) }
		} else {
			s.skipped++
		}
		s.passed = append(s.passed, pass)
		if len(seen) == 0 {
			s.empty++
			if !pass {
				s.spared++
			}
		}
		tf := track.Frame{Seq: frame.Seq, Clock: at, Width: frame.Width, Height: frame.Height}
		s.whole = append(s.whole, every.Update(tf, seen)...)
		s.gated = append(s.gated, some.Update(tf, held)...)
	}
	s.whole, s.gated = append(s.whole, every.Flush()...), append(s.gated, some.Flush()...)
	s.stats = g.Stats()
	return s
}

// verdict is the rule of these tests: a part with a defect above one half is bad.
func verdict(p *vision.Part) vision.Verdict {
	for _, d := range p.Defects {
		if d.Score >= 0.5 {
			return vision.Fail
		}
	}
	return vision.Pass
}

// same compares the parts of both ways: as many, in the same order, with the same
// label and verdict, seen first and last within a few frames of each other.
func (s *shown) same(t *testing.T, frames uint64) {
	t.Helper()
	if len(s.whole) != len(s.gated) {
		t.Fatalf("%d parts without the gate, %d with it", len(s.whole), len(s.gated))
	}
	for i := range s.whole {
		a, b := &s.whole[i], &s.gated[i]
		if a.Label != b.Label || verdict(a) != verdict(b) {
			t.Errorf("part %d is %s %v without the gate, %s %v with it", i, a.Label, verdict(a), b.Label, verdict(b))
		}
		if far(a.First, b.First) > frames || far(a.Last, b.Last) > frames {
			t.Errorf("part %d was seen in frames %d to %d without the gate, %d to %d with it", i, a.First, a.Last, b.First, b.Last)
		}
	}
}

func far(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// gappy is a drawn belt on which only every eighth part is left: the others are
// covered by the belt that runs above them. What it shows are the columns margin
// and further from the picture's sides, so that nothing of a hidden part remains.
func gappy(t testing.TB, cfg scene.Config, frames int) film {
	t.Helper()
	s, err := scene.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	whole := s.NewFrame()
	const margin = 40
	window := vision.Box{X: margin, W: float32(whole.Width - 2*margin), H: float32(whole.Height)}
	return film{rate: s.Config().Rate, next: func(n int) (*vision.Frame, []vision.Detection, bool) {
		if n >= frames {
			return nil, nil, false
		}
		if err := s.Frame(n, whole); err != nil {
			t.Fatal(err)
		}
		var seen []vision.Detection
		add := func(label string, b vision.Box, least float32) {
			if c := b.Intersect(window); c.Area() > least*b.Area() {
				c.X -= margin
				seen = append(seen, vision.Detection{Label: label, Score: 0.9, Box: c})
			}
		}
		for _, p := range s.Truth(n) {
			if p.Part.Index%8 != 3 {
				cover(whole, p.Box)
				continue
			}
			add("part", p.Box, 0.05)
			for _, d := range p.Defects {
				add("defect", d.Box, 0.9)
			}
		}
		f := *whole
		f.Pix, f.Width = f.Pix[margin*3:], f.Width-2*margin
		return &f, seen, true
	}}
}

// cover hides a part and its shadow under rows 80 to 103 of the belt, to and fro.
func cover(f *vision.Frame, b vision.Box) {
	x0, x1 := max(int(b.X)-12, 0), min(int(b.X+b.W)+28, f.Width)
	y0, y1 := max(int(b.Y)-12, 0), min(int(b.Y+b.H)+30, f.Height)
	for y := y0; y < y1 && x0 < x1; y++ {
		from := 80 + (y-y0)%48
		if from > 103 {
			from = 207 - from
		}
		copy(f.Pix[y*f.Stride+x0*3:y*f.Stride+x1*3], f.Pix[from*f.Stride+x0*3:])
	}
}

// desk is a drawn table in front of a still camera, with noise.
type desk struct {
	w, h   int
	format vision.PixelFormat
	ground [3]float64 // blue, green, red
	sigma  float64    // of the noise, grey levels; of each colour by itself
	light  func(n int) float64
	belt   float64 // pixels a frame by which the ground moves
	rough  float64 // how strong its pattern is
	paint  func(n int, d *desk)

	still  []float32 // two widths of the ground
	pix    []float32
	noise  []float32
	frame  *vision.Frame
	random *rand.Rand
}

func newDesk() *desk {
	return &desk{w: 320, h: 240, format: vision.BGR24, ground: [3]float64{100, 100, 100}, sigma: 2, rough: 1,
		random: rand.New(rand.NewPCG(1, 2))}
}

// begin draws the ground: a pattern that repeats after the width, so that there
// are edges everywhere.
func (d *desk) begin() {
	c := d.format.Channels()
	row := d.w * c
	d.pix, d.still = make([]float32, row*d.h), make([]float32, 2*row*d.h)
	d.frame = &vision.Frame{Pix: make([]byte, len(d.pix)), Width: d.w, Height: d.h, Stride: row, Format: d.format}
	for i := range d.still {
		x, y := 2*math.Pi*float64(i%row/c)/float64(d.w), float64(i/(2*row))
		d.still[i] = float32(d.ground[i%c] + d.rough*(3*math.Sin(6*x)*math.Cos(y/8)+2*math.Sin(25*x)))
	}
	d.noise = make([]float32, 1<<16+row)
	for i := range d.noise {
		d.noise[i] = float32(d.random.NormFloat64())
	}
}

// rect lays a rectangle with soft borders, at places between two pixels too; it
// adds to what is there.
func (d *desk) rect(x, y, w, h float64, add [3]float64) {
	c := d.format.Channels()
	for py := max(int(y)-1, 0); py < min(int(y+h)+2, d.h); py++ {
		cy := min(float64(py)+1, y+h) - max(float64(py), y)
		for px := max(int(x)-1, 0); px < min(int(x+w)+2, d.w); px++ {
			cx := min(float64(px)+1, x+w) - max(float64(px), x)
			if cx <= 0 || cy <= 0 {
				continue
			}
			for k := range c {
				d.pix[(py*d.w+px)*c+k] += float32(add[k] * cx * cy)
			}
		}
	}
}

// soft adds a bump without edges, of all colours alike.
func (d *desk) soft(x, y, radius, add float64) {
	c := d.format.Channels()
	for i := range d.pix {
		dx, dy := float64(i/c%d.w)-x, float64(i/c/d.w)-y
		d.pix[i] += float32(add * math.Exp(-(dx*dx+dy*dy)/(2*radius*radius)))
	}
}

func grey(v float64) [3]float64 { return [3]float64{v, v, v} }

// draw gives frame n.
func (d *desk) draw(n int) *vision.Frame {
	if d.frame == nil {
		d.begin()
	}
	row := d.frame.Stride
	moved := (d.w - int(d.belt*float64(n))%d.w) % d.w * d.format.Channels()
	for y := range d.h {
		copy(d.pix[y*row:(y+1)*row], d.still[2*y*row+moved:])
	}
	if d.paint != nil {
		d.paint(n, d)
	}
	gain, sigma := float32(1), float32(d.sigma)
	if d.light != nil {
		gain = float32(d.light(n))
	}
	for y := range d.h {
		noise := d.noise[d.random.IntN(1<<16):][:row]
		out := d.frame.Pix[y*row:][:row]
		for i, v := range d.pix[y*row:][:row] {
			b := int32(v*gain + sigma*noise[i] + 0.5)
			if uint32(b) > 255 {
				b = 255 &^ (b >> 31)
			}
			out[i] = byte(b)
		}
	}
	d.frame.Seq = uint64(n + 1)
	return d.frame
}
