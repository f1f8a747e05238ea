package quality_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/quality"
	"github.com/sightline-edge/sightline/vision/scene"
)

// A subject is something that a camera looks at.
type subject struct {
	set  string // of pictures
	name string
	ref  *vision.Frame
	// film shows it, changed by change if that isn't nil, at rate frames a
	// second. Noise comes after the change, as the sensor's does.
	film func(change func(dst, src *vision.Frame), rate float64) film
}

// subjects are n of each set.
func subjects(t *testing.T, n int) (all []subject) {
	wide, w, h := 300, 256, 144
	if full {
		wide, w, h = 400, 384, 216
	}
	for seed := range n {
		make := func(change func(dst, src *vision.Frame), rate float64) film {
			f := drawn(t, scene.Config{Width: w, Height: h, Rate: rate, Seed: uint64(seed), Speed: 0.3 + float64(seed%8)*0.3})
			if change == nil {
				return f
			}
			return through(f, change)
		}
		all = append(all, subject{"drawn", fmt.Sprint("seed ", seed), clone(make(nil, 4)(0)), make})
	}
	sets := []string{"bsdata", "coco129"}
	if full {
		sets = append(sets, "deeppcb", "cookies")
	}
	for _, set := range sets {
		for name, p := range photos(t, set, n, wide) {
			all = append(all, subject{set, name, p, func(change func(dst, src *vision.Frame), _ float64) film {
				if change == nil {
					return still(p, 1.5)
				}
				q := clone(p)
				change(q, p)
				return still(q, 1.5)
			}})
		}
	}
	return all
}

// A harm is one fault, by strength.
type harm struct {
	fault     quality.Fault
	unit      string
	strengths []float64
	must      float64 // at which default tests ask for a finding everywhere; 0: nowhere
	change    func(strength float64, width int) func(dst, src *vision.Frame)
}

var harms = []harm{
	{quality.Dark, "gain", []float64{0.5, 0.25, 0.18, 0.12, 0.08, 0.05, 0.02, 0}, 0.02, func(s float64, _ int) func(dst, src *vision.Frame) {
		return curve(func(v float64) float64 { return v * s })
	}},
	{quality.Dark, "gamma", []float64{1.5, 2, 3, 4, 6, 10}, 0, func(s float64, _ int) func(dst, src *vision.Frame) {
		return curve(func(v float64) float64 { return 255 * math.Pow(v/255, s) })
	}},
	{quality.Overexposed, "gain", []float64{1.25, 1.5, 2, 3, 4, 6, 8, 12}, 12, func(s float64, _ int) func(dst, src *vision.Frame) {
		return curve(func(v float64) float64 { return v*s + 4*(s-1) })
	}},
	{quality.Blurred, "sigma, pixels", []float64{0.5, 1, 1.5, 2, 3, 4, 6, 10}, 3, func(s float64, _ int) func(dst, src *vision.Frame) { return blur(s) }},
	{quality.Moved, "shift, share of the width", []float64{0.003, 0.006, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.3}, 0.1, func(s float64, w int) func(dst, src *vision.Frame) {
		return aim(0.6*s*float64(w), 0.8*s*float64(w), 0, 1)
	}},
	{quality.Moved, "turn, degrees", []float64{0.5, 1, 2, 3, 4, 6, 10}, 6, func(s float64, _ int) func(dst, src *vision.Frame) { return aim(0, 0, s, 1) }},
	{quality.Moved, "zoom", []float64{1.01, 1.02, 1.04, 1.06, 1.1, 1.2, 0.95, 0.9}, 1.1, func(s float64, _ int) func(dst, src *vision.Frame) { return aim(0, 0, 0, s) }},
}

// tally counts hits for each set and strength.
type tally map[string]map[float64][2]int

func (c tally) add(set string, strength float64, hit bool) {
	if c[set] == nil {
		c[set] = map[float64][2]int{}
	}
	n := c[set][strength]
	n[1]++
	if hit {
		n[0]++
	}
	c[set][strength] = n
}

func (c tally) String() string {
	var b strings.Builder
	sets := []string{"drawn", "bsdata", "coco129", "deeppcb", "cookies", "all"}
	for _, set := range sets {
		if len(c[set]) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n  %-8s", set)
		var keys []float64
		for k := range c[set] {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			fmt.Fprintf(&b, "  %g: %d/%d", k, c[set][k][0], c[set][k][1])
		}
	}
	return b.String()
}

// What each detector finds, from which strength on: 15 s of a good picture,
// then 25 s of a harmed one. Nothing may be told before.
func TestWhatIsFound(t *testing.T) {
	t.Parallel()
	n := 1
	if full {
		n = 24
	}
	const fps, from, to = 4, 15 * 4, 40 * 4 // slow enough to be quick
	all, alarms, seconds := subjects(t, n), 0, 0
	for _, h := range harms {
		count := tally{}
		strengths := h.strengths
		if !full {
			strengths = []float64{h.must}
		}
		for _, s := range strengths {
			if !full && h.must == 0 {
				continue
			}
			for _, sub := range all {
				m := quality.New(quality.Config{Reference: sub.ref})
				good := sub.film(nil, fps)
				show(m, good, fps, 0, from, nil)
				seconds += from / fps
				if got := told(m); len(got) != 0 {
					alarms++
					t.Errorf("%s %s: %v before anything happened: %+v", sub.set, sub.name, got, m.Findings())
				}
				show(m, sub.film(h.change(s, sub.ref.Width), fps), fps, from, to, nil)
				hit := tells(m, h.fault)
				count.add(sub.set, s, hit)
				count.add("all", s, hit)
			}
			if hits := count["all"][s]; s == h.must && float64(hits[0]) < 0.65*float64(hits[1]) {
				t.Errorf("%s by %v %s is found only in %d of %d", h.fault, s, h.unit, hits[0], hits[1])
			}
		}
		t.Logf("%s by %s:%v", h.fault, h.unit, count)
	}
	t.Logf("%d false alarms in %d s of good pictures", alarms, seconds)
}

// Without a reference a blurred picture is found against the camera's past.
func TestBlurWithoutReference(t *testing.T) {
	t.Parallel()
	n, strengths := 1, []float64{4}
	if full {
		n, strengths = 24, []float64{1, 1.5, 2, 3, 4, 6, 10}
	}
	const fps, from, to = 4, 80 * 4, 110 * 4
	count := tally{}
	for _, sub := range subjects(t, n) {
		for _, s := range strengths {
			m := quality.New(quality.Config{})
			if sub.set == "deeppcb" { // black and white: right only with a reference
				continue
			}
			show(m, sub.film(nil, fps), fps, 0, from, nil)
			if got := told(m); len(got) != 0 {
				t.Errorf("%s %s: %v before anything happened", sub.set, sub.name, got)
			}
			show(m, sub.film(blur(s), fps), fps, from, to, nil)
			count.add(sub.set, s, tells(m, quality.Blurred))
			count.add("all", s, tells(m, quality.Blurred))
		}
	}
	t.Logf("blurred without a reference, by sigma:%v", count)
	if hits := count["all"][strengths[len(strengths)-1]]; 5*hits[0] < 4*hits[1] {
		t.Errorf("only %d of %d found", hits[0], hits[1])
	}
}

// Lamps at 100 and 120 swings a second and others, seen with many exposures
// and shutters. What counts is the amplitude that is left in the pictures.
func TestFlickerFound(t *testing.T) {
	t.Parallel()
	tries, bins := 3, []float64{0.02, 0.06}
	if full {
		tries, bins = 60, []float64{0.01, 0.02, 0.03, 0.035, 0.04, 0.05, 0.06, 0.1, 0.2}
	}
	count := tally{}
	r := rand.New(rand.NewPCG(1, 2))
	all := subjects(t, max(1, tries/12))
	for range tries {
		sub := all[r.IntN(len(all))]
		fps := []float64{30, 30, 15, 25, 60}[r.IntN(5)]
		l := lamp{mains: []float64{100, 120, 99.96, 120.05, 93}[r.IntN(5)], exposure: 0.0002 + 0.02*r.Float64(), phase: 7 * r.Float64()}
		if r.IntN(2) == 0 {
			l.readout = 0.02 * r.Float64()
		}
		seen := math.Abs(l.mains - fps*math.Round(l.mains/fps)) // the rate that is left
		for _, a := range bins {
			l.depth = 1
			if e := l.effective(); e > 1e-3 {
				l.depth = a / e
			}
			m := quality.New(quality.Config{})
			f := sub.film(nil, fps)
			show(m, lit(f, l, fps), fps, 0, int(fps*16), nil)
			hit := tells(m, quality.Flicker)
			set := "slow swings"
			if seen >= fps/16 {
				set = "all"
			}
			count.add(set, a, hit)
			if set == "all" && !full && a >= 0.06 && !hit {
				t.Errorf("%s %s at %v fps, %+v: amplitude %v isn't found", sub.set, sub.name, fps, l, a)
			}
			if a <= 0.02 && hit {
				t.Errorf("%s %s at %v fps, %+v: amplitude %v is told: %v", sub.set, sub.name, fps, l, a, m.Findings())
			}
		}
	}
	t.Logf("flicker by the amplitude left in the pictures:%v\n  swings slower than a sixteenth of the frame rate: %v", count, count["slow swings"])
}
