package quality_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/quality"
	"github.com/sightline-edge/sightline/vision/scene"
)

// alarms counts how often each fault begins to be told.
type alarms struct {
	count map[quality.Fault]int
	first map[quality.Fault]string
	spent time.Duration
}

func newAlarms() *alarms {
	return &alarms{count: map[quality.Fault]int{}, first: map[quality.Fault]string{}}
}

// watch shows a film to a monitor.
func (a *alarms) watch(name string, m *quality.Monitor, f film, fps float64, frames int) {
	var before []quality.Fault
	show(m, f, fps, 0, frames, func(n int, now time.Time) {
		is := told(m)
		for _, x := range is {
			if !slices.Contains(before, x) {
				a.count[x]++
				a.first[x] = cmp.Or(a.first[x], fmt.Sprintf("%s at %v: %+v", name, now.Sub(began), m.Findings()))
			}
		}
		before = is
	})
	a.spent += time.Duration(float64(frames) / fps * float64(time.Second))
}

func (a *alarms) tell(t *testing.T, what string) {
	t.Helper()
	hours := a.spent.Hours()
	for _, f := range quality.Faults {
		if n := a.count[f]; n > 0 {
			t.Errorf("%s: %d times %s in %.2f h, first %s", what, n, f, hours, a.first[f])
		}
	}
	if len(a.count) == 0 {
		t.Logf("%s: no fault of any kind in %.2f h: at 95 %% less than %.2f an hour", what, hours, 3/hours)
	}
}

// Hours of belts without a fault, slow and fast, with gaps and touching
// parts, with and without a reference, which shows parts or an empty belt.
func TestFalseAlarmsOnBelts(t *testing.T) {
	t.Parallel()
	belts, minutes := 3, 0.7
	if full {
		belts, minutes = 36, 15
	}
	a := newAlarms()
	for i := range belts {
		fps := []float64{10, 15, 8}[i%3]
		cfg := scene.Config{Width: 320, Height: 180, Rate: fps, Seed: uint64(100 + i), Speed: []float64{1, 0.05, 4, 0.2, 2, 0.5}[i%6], RightToLeft: i%2 == 1}
		var ref *vision.Frame
		if i%4 != 3 {
			ref = clone(drawn(t, cfg)(i * 37))
		}
		a.watch(fmt.Sprintf("belt %d", i), quality.New(quality.Config{Reference: ref}), drawn(t, cfg), fps, int(minutes*60*fps))
	}
	a.tell(t, "drawn belts")
}

// A belt that runs, stops with parts in view and goes on.
func TestFalseAlarmsOnStoppedBelts(t *testing.T) {
	t.Parallel()
	belts, minutes := 2, 1.5
	if full {
		belts, minutes = 24, 10
	}
	const fps = 10
	a := newAlarms()
	for i := range belts {
		cfg := scene.Config{Width: 320, Height: 180, Rate: fps, Seed: uint64(500 + i)}
		moving := drawn(t, cfg)
		z := newNoise(1.5)
		var held, out *vision.Frame
		at := -1
		stops := func(n int) *vision.Frame { // runs for 10 s, stands for 20 s
			run := n/(30*fps)*10*fps + min(n%(30*fps), 10*fps)
			if n%(30*fps) < 10*fps {
				return moving(run)
			}
			if at != run {
				held, at = clone(moving(run)), run
				out = cmp.Or(out, clone(held))
			}
			z.over(out, held, n)
			return out
		}
		ref := clone(moving(i * 31))
		a.watch(fmt.Sprintf("stopping belt %d", i), quality.New(quality.Config{Reference: ref}), stops, fps, int(minutes*60*fps))
	}
	a.tell(t, "belts that stop")
}

// A real camera's video, over and over: the seam is a jump.
func TestFalseAlarmsOnVideo(t *testing.T) {
	t.Parallel()
	f, minutes := bottles(t), 1
	if full {
		minutes = 240
	}
	a := newAlarms()
	a.watch("with a reference", quality.New(quality.Config{Reference: clone(f(0))}), f, 30, minutes*60*30/2)
	if full {
		a.watch("without", quality.New(quality.Config{}), f, 30, minutes*60*30/2)
	}
	a.tell(t, "bottles")
}

// Real pictures, each a still scene of its own before a sensor with noise.
func TestFalseAlarmsOnStills(t *testing.T) {
	t.Parallel()
	n, seconds := 2, 20
	if full {
		n, seconds = 0, 40
	}
	const fps = 5
	for _, set := range []string{"bsdata", "coco129", "deeppcb", "cookies"} {
		pictures := photos(t, set, n, 400)
		a := newAlarms()
		for _, name := range slices.Sorted(maps.Keys(pictures)) {
			p := pictures[name]
			a.watch(name, quality.New(quality.Config{Reference: p}), still(p, 1.5), fps, seconds*fps)
			if quality.Measure(p).Bright >= 0.45 { // is overexposed for whoever has no reference
				continue
			}
			a.watch(name, quality.New(quality.Config{}), still(p, 1.5), fps, seconds*fps)
		}
		a.tell(t, set)
	}
}

// Real pictures one after the other, some seconds each, against the first of
// them: what changes is what is looked at, not the camera's quality. That the
// background is another one is true, so Moved doesn't count.
func TestFalseAlarmsOnChangingPictures(t *testing.T) {
	t.Parallel()
	n := 5
	if full {
		n = 0
	}
	const fps, hold = 5, 3
	for _, set := range []string{"bsdata", "coco129", "cookies"} {
		pictures := photos(t, set, n, 400)
		names := slices.Sorted(maps.Keys(pictures))
		first := pictures[names[0]]
		var same []film
		for _, name := range names {
			if p := pictures[name]; p.Width == first.Width && p.Height == first.Height {
				same = append(same, still(p, 1.5))
			}
		}
		f := func(n int) *vision.Frame { return same[n/(fps*hold)%len(same)](n) }
		a := newAlarms()
		a.watch(set, quality.New(quality.Config{}), f, fps, max(2*len(same), 20)*fps*hold)
		a.watch(set, quality.New(quality.Config{Reference: first}), f, fps, max(2*len(same), 20)*fps*hold)
		t.Logf("%s: moved %d times: %s", set, a.count[quality.Moved], a.first[quality.Moved])
		delete(a.count, quality.Moved)
		a.tell(t, set+", changing")
	}
}

// A belt that stands from the start, its parts elsewhere than in the
// reference: all that is fixed is two rails.
func TestPartsThatStandElsewhere(t *testing.T) {
	t.Parallel()
	n := 8
	if full {
		n = 400
	}
	const fps = 4
	a := newAlarms()
	for i := range n {
		belt := drawn(t, scene.Config{Width: 320, Height: 180, Rate: 8, Seed: uint64(i % 7)})
		ref, stands := clone(belt(10*i)), clone(belt(10*i+1+i%12))
		a.watch(fmt.Sprint("stop ", i), quality.New(quality.Config{Reference: ref}), still(stands, 1.5), fps, 40*fps)
	}
	a.tell(t, "parts that stand elsewhere")
}

// A belt that runs empty is no blurred one, even if parts were all that had
// detail in the reference.
func TestEmptyBeltIsNotBlurred(t *testing.T) {
	t.Parallel()
	const fps = 4
	belt := drawn(t, scene.Config{Width: 320, Height: 180, Rate: fps, Seed: 5})
	ref := clone(belt(0))
	rows := func(f *vision.Frame) *vision.Frame { // without the rails
		out := *f
		out.Pix, out.Height = f.Pix[30*f.Stride:150*f.Stride], 120
		return &out
	}
	for name, cut := range map[string]func(f *vision.Frame) *vision.Frame{
		"with rails": func(f *vision.Frame) *vision.Frame { return f }, "belt alone": rows,
	} {
		empty := still(cut(emptied(belt)), 2)
		busy := func(n int) *vision.Frame { return cut(belt(n)) }
		a := newAlarms()
		a.watch(name, quality.New(quality.Config{Reference: cut(ref)}), then(busy, 80*fps, empty), fps, 150*fps)
		a.watch(name+", no reference", quality.New(quality.Config{}), then(busy, 80*fps, empty), fps, 150*fps)
		a.tell(t, "empty belt, "+name)
	}
}

// emptied is the belt without its parts, which are brighter.
func emptied(f film) *vision.Frame {
	out := clone(f(0))
	for n := range 40 {
		for i, v := range f(n).Pix {
			out.Pix[i] = min(out.Pix[i], v)
		}
	}
	return out
}
