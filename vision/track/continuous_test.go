package track

import (
	"cmp"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// points are the decision points of these tests.
var points = []string{"end", "x=0.5", "x=0.8", "line 0.3,0 0.7,1", "zone 0.2,0 0.6,1", "frames 12"}

func point(t testing.TB, text string) Decide {
	t.Helper()
	d, err := ParseDecide(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// halts is how far a belt has run that stands between these seconds.
func halts(from, to float64) func(float64) float64 {
	return func(s float64) float64 { return s - max(0, min(s, to)-from) }
}

// tunnel hides the parts whose centre lies between two places.
func tunnel(x0, x1 float32) func(float64, vision.Box) bool {
	return func(_ float64, b vision.Box) bool {
		x, _ := b.Center()
		return x > x0*768 && x < x1*768
	}
}

// share of the films' length that a test run plays.
func share() float64 {
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		return 10
	}
	return 1
}

func TestEachPhysicalPartIsToldOnce(t *testing.T) {
	films := map[string]film{
		"perfect":                     {seed: 1, speed: 1, rate: 25, seconds: 60},
		"fast":                        {seed: 1, speed: 3, rate: 25, seconds: 40, noise: 3},
		"slow":                        {seed: 1, speed: 0.1, rate: 10, seconds: 150, noise: 3},
		"noisy":                       {seed: 2, speed: 1, rate: 25, seconds: 90, noise: 4, miss: 0.15, double: 0.1},
		"noisy, 6 frames a second":    {seed: 2, speed: 1, rate: 6, seconds: 120, noise: 4, miss: 0.15, double: 0.1},
		"touching parts are one box":  {seed: 3, speed: 1, rate: 25, seconds: 90, noise: 2, merge: func(n, i int) bool { return (n/8+i)%3 == 0 }},
		"the belt stands for 60 s":    {seed: 4, speed: 1, rate: 15, seconds: 100, noise: 4, miss: 0.1, belt: halts(20, 80)},
		"stop and go":                 {seed: 4, speed: 1, rate: 15, seconds: 90, noise: 4, miss: 0.1, belt: stopAndGo},
		"the camera trembles":         {seed: 5, speed: 1, rate: 25, seconds: 60, noise: 2, shake: 8},
		"slow start":                  {seed: 6, speed: 1, rate: 25, seconds: 60, noise: 2, belt: func(s float64) float64 { return min(s*s/20, s-5) }},
		"hidden for 0.7 s":            {seed: 7, speed: 1, rate: 25, seconds: 60, noise: 2, hide: tunnel(0.4, 0.6)},
		"half of the frames are lost": {seed: 9, speed: 1, rate: 25, seconds: 60, noise: 3, drop: func(n int, _ float64) bool { return n*n%7 > 1 }},
	}
	all := 0
	var cfgs []Config
	for _, text := range points {
		cfgs = append(cfgs, Config{Decide: point(t, text)})
	}
	for name, f := range films {
		f.seconds *= share()
		for i, s := range f.play(t, cfgs...) {
			physical, missed, twice, none := s.count()
			if missed+twice+none > 0 {
				t.Errorf("%s, %s: of %d physical parts %d not told, %d more than once; %d of none", points[i], name, physical, missed, twice, none)
			}
			all += physical
		}
	}
	t.Logf("%d physical parts in %d films, each told once", all, len(films)*len(points))
}

func stopAndGo(s float64) float64 { return 2*math.Floor(s/4) + min(math.Mod(s, 4), 2) }

// TestPartsAreToldAtTheirPoint: what is told at a line is there, and not further
// on than it moves in some frames.
func TestPartsAreToldAtTheirPoint(t *testing.T) {
	f := film{seed: 12, speed: 1, rate: 25, seconds: 90, noise: 3, miss: 0.1}
	for text, place := range map[string]float32{"x=0.5": 0.5, "x=0.8": 0.8, "zone 0.2,0 0.4,1": 0.6} {
		s := f.play(t, Config{Decide: point(t, text)})[0]
		far, beyond := 0, 0
		for _, p := range s.told {
			switch {
			case p.truth < 3 || p.at == s.seq: // in view from the first frame on, or at the end
			case p.place == 0:
				beyond++
			case p.place < place-0.01 || p.place > place+0.06:
				far++
			}
		}
		if far > 0 || beyond > 0 || len(s.told) < 60 {
			t.Errorf("%s: of %d parts %d were told elsewhere, %d when they had left", text, len(s.told), far, beyond)
		}
	}
	s := f.play(t, Config{Decide: point(t, "frames 12")})[0]
	for _, p := range s.told[:len(s.told)-3] {
		if p.Frames != 12 {
			t.Errorf("part %d was told after %d frames, want 12", p.truth, p.Frames)
		}
	}
	left := f
	left.seconds = 40
	for _, text := range []string{"x=0.5", "zone 0.2,0 0.4,1"} { // nothing comes so far: told at their end
		left.hide = tunnel(0.15, 1.5)
		s := left.play(t, Config{Decide: point(t, text)})[0]
		if physical, missed, twice, _ := s.count(); physical < 20 || missed+twice > 0 {
			t.Errorf("%s, hidden before: of %d parts %d not told, %d more than once", text, physical, missed, twice)
		}
	}
}

// TestHeldUpPicturesDoNotSplitParts: stamps that are late by up to this much, for
// parts one after the other and for such that are alone in view.
func TestHeldUpPicturesDoNotSplitParts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	late := make([]float64, 100000)
	for i := range late {
		late[i] = random.Float64()
	}
	for name, c := range map[string]struct {
		most      float64 // seconds that a lone part stands without being split
		mostDense float64
		film      func(l float64) film
	}{
		"come in a bunch": {1.2, 1.2, func(l float64) film {
			return film{late: func(_ int, s float64) float64 { return max(l-math.Mod(s, 3.1), 0) }}
		}},
		"each late by chance": {1.2, 0.8, func(l float64) film {
			return film{late: func(n int, _ float64) float64 { return l * late[n] }}
		}},
		"late for a while, then dropped": {0.8, 0.45, func(l float64) film {
			return film{
				late: func(_ int, s float64) float64 { return l * float64(int(math.Mod(s, 4.3)/2)&1) },
				drop: func(_ int, s float64) bool { return math.Mod(s, 4.3) < l },
			}
		}},
		"ever later, then dropped": {0.6, 0.6, func(l float64) film {
			return film{
				late: func(_ int, s float64) float64 { return l * math.Mod(s, 2.7) / 2.7 },
				drop: func(_ int, s float64) bool { return math.Mod(s, 2.7) < l },
			}
		}},
		"under load": {0.8, 0.2, func(l float64) film {
			return film{
				late: func(n int, _ float64) float64 { return l * late[n] },
				drop: func(n int, _ float64) bool { return late[n+777] < 0.7 },
			}
		}},
	} {
		for only, most := range map[int]float64{5: c.most, 0: c.mostDense} {
			for _, l := range []float64{min(0.45, most), most} {
				for _, rate := range []float64{10, 25} {
					f := c.film(l)
					f.seed, f.speed, f.rate, f.noise, f.only = 11, 1, rate, 2, only
					f.seconds = 40 * float64(cmp.Or(only, 2)) / 2 * share()
					s := f.play(t, Config{})[0]
					if physical, missed, twice, none := s.count(); missed+twice+none > 0 || physical < 13*int(share()) {
						t.Errorf("%s by %v s, each %d., %v frames/s: of %d parts %d not told, %d more than once", name, l, max(only, 1), rate, physical, missed, twice)
					}
				}
			}
		}
	}
}

// TestTouchingPartsKeepTheirOwnDefects: while both are one box, too.
func TestTouchingPartsKeepTheirOwnDefects(t *testing.T) {
	left, right := det("part", 0.9, 100, 100, 100, 100), det("part", 0.9, 202, 100, 100, 100)
	both, dent := det("part", 0.9, 100, 100, 202, 100), det("dent", 0.8, 250, 150, 10, 10)
	each := append(repeat(5, left, right), repeat(30, both, dent)...)
	done := frames(New(Config{Roles: roles}), append(each, repeat(5, left, right)...)...)
	if len(done) != 2 || done[0].Frames != 40 || done[1].Frames != 40 {
		t.Fatalf("want two parts of 40 frames, got %+v", done)
	}
	for _, p := range done {
		if dented := p.Box.X > 150; dented != (len(p.Defects) == 1) {
			t.Errorf("the dent in the right one: %+v", p)
		}
	}
}

// TestEqualDistancesDoNotMislead: where parts lie at equal distances, a belt that
// stops or starts at once looks as if it had moved by one of them.
func TestEqualDistancesDoNotMislead(t *testing.T) {
	for _, backwards := range []bool{false, true} {
		tr := New(Config{Roles: roles})
		var told []vision.Part
		for n := range 120 {
			ran := n - max(0, min(n, 80)-53)
			var dets []vision.Detection
			for i := range 16 {
				if x := float32(10*ran + 100*i - 1000); x >= 0 && x <= width-60 && (n != 53 || x < 500) { // the first isn't seen before they stop
					dets = append(dets, det("part", 0.9, x, 100, 60, 60))
				}
			}
			if backwards {
				slices.Reverse(dets)
			}
			f := Frame{Seq: uint64(n + 1), Clock: time.Duration(n) * 100 * time.Millisecond, Width: width, Height: height}
			told = append(told, tr.Update(f, dets)...)
		}
		if n := len(told) + len(tr.Flush()); n != 15 {
			t.Errorf("%d parts, want 15", n)
		}
	}
}

// TestMistakenTracksGoWithTheBelt: two tracks that took parts at the border for
// standing ones. Once those move on with the rest, they are followed at the belt's
// pace, also over a frame that shows nothing.
func TestMistakenTracksGoWithTheBelt(t *testing.T) {
	tr := New(Config{Roles: roles})
	for n, ms := range []int{0, 100, 200, 300, 600, 900, 1200, 1500} {
		ran := float32(ms) / 5
		border := float32(20 - n)
		if n > 3 {
			border = ran - 43
		}
		var dets []vision.Detection
		if n != 5 {
			for _, at := range [][2]float32{{border, 50}, {150 + ran, 50}, {250 + ran, 50}, {border, 200}, {220 + ran, 200}} {
				dets = append(dets, det("part", 0.9, at[0], at[1], 30, 30))
			}
		}
		f := Frame{Seq: uint64(n + 1), Clock: time.Duration(ms) * time.Millisecond, Width: width, Height: height}
		if done := tr.Update(f, dets); len(done) > 0 {
			t.Fatalf("frame %d ends %+v", n, done)
		}
	}
	done := tr.Flush()
	for _, p := range done {
		if p.Frames != 7 {
			t.Errorf("%s was seen in %d frames, want 7", p.ID, p.Frames)
		}
	}
	if len(done) != 5 {
		t.Errorf("%d parts, want 5", len(done))
	}
}
