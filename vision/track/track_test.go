package track

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

var roles = map[string]vision.Role{
	"part": vision.PartRole, "cap": vision.PartRole,
	"scratch": vision.DefectRole, "dent": vision.DefectRole,
}

const (
	width, height = 640, 360
	partSize      = 100
)

// belt is a drawn line: part i enters at the left at i*spacing seconds, plus
// its own offset, and moves at speed pixels a second.
type belt struct {
	parts   int
	spacing float64 // seconds
	speed   float64
	rate    float64 // frames a second
	noise   float32 // pixels of jitter on the boxes
	lose    func(frame, part int) bool
	drop    func(frame int) bool
	stop    [2]float64 // the belt stands between these seconds
	skip    [2]float64 // at the first of these seconds the stream skips the second, untold; less than 0: its clock does
	gaps    bool       // parts lie at irregular distances and heights, as real ones do
}

// position of part i's left side at time s, in pixels.
func (b belt) position(i int, s float64) float64 {
	moved := s
	if b.stop[1] > b.stop[0] {
		moved -= max(0, min(s, b.stop[1])-b.stop[0])
	}
	if b.skip[1] != 0 && s >= b.skip[0] {
		moved += b.skip[1]
	}
	if b.gaps {
		moved -= 0.3 * float64(i*i%7) * b.spacing / 6
	}
	return (moved-float64(i)*b.spacing)*b.speed - partSize
}

func (b belt) top(i int) float32 {
	if b.gaps {
		return float32(110 + 20*(i*5%4)/3)
	}
	return 120
}

func (b belt) seconds() float64 {
	return float64(b.parts)*b.spacing + (width+2*partSize)/b.speed + b.stop[1] - b.stop[0] + 2
}

func (b belt) run(t *Tracker) []vision.Part {
	rnd := rand.New(rand.NewPCG(1, 2))
	jitter := func() float32 { return (rnd.Float32()*2 - 1) * b.noise }
	var done []vision.Part
	for n := 1; float64(n)/b.rate < b.seconds(); n++ {
		if b.drop != nil && b.drop(n) {
			continue
		}
		var dets []vision.Detection
		s := float64(n) / b.rate
		for i := range b.parts {
			whole := vision.Box{X: float32(b.position(i, s)), Y: b.top(i), W: partSize, H: partSize}
			seen := whole.Intersect(vision.Box{W: width, H: height})
			if seen.Area() < 0.3*whole.Area() || b.lose != nil && b.lose(n, i) {
				continue
			}
			seen.X += jitter()
			seen.Y += jitter()
			dets = append(dets, vision.Detection{Label: "part", Score: 0.9, Box: seen})
		}
		f := Frame{Seq: uint64(n), Clock: time.Duration(s * 1e9), Width: width, Height: height}
		done = append(done, t.Update(f, dets)...)
	}
	return append(done, t.Flush()...)
}

func TestEachPhysicalPartIsOnePart(t *testing.T) {
	random := func(share float32) func(int, int) bool {
		rnd := rand.New(rand.NewPCG(3, 4))
		return func(int, int) bool { return rnd.Float32() < share }
	}
	for name, b := range map[string]belt{
		"apart":                      {parts: 40, spacing: 1.2, speed: 200, rate: 20, noise: 3},
		"fast":                       {parts: 40, spacing: 0.5, speed: 600, rate: 30, noise: 3},
		"touching":                   {parts: 40, spacing: 0.5, speed: 200, rate: 20, noise: 2},
		"touching, few frames":       {parts: 40, spacing: 0.5, speed: 200, rate: 6, noise: 2},
		"slow":                       {parts: 8, spacing: 6, speed: 25, rate: 10, noise: 3},
		"every second frame dropped": {parts: 40, spacing: 0.7, speed: 200, rate: 20, noise: 3, drop: func(n int) bool { return n%2 == 0 }},
		"bursts of drops":            {parts: 40, spacing: 0.9, speed: 200, rate: 20, noise: 2, drop: func(n int) bool { return n%40 > 30 }},
		"a third of the boxes lost":  {parts: 40, spacing: 1.2, speed: 200, rate: 20, noise: 3, lose: random(0.33)},
		"hidden for a second": {parts: 10, spacing: 1.5, speed: 100, rate: 20, noise: 2,
			lose: func(n, i int) bool { return n/20%5 == 4 }},
		"belt stops for 20 s":           {parts: 10, spacing: 1.2, speed: 150, rate: 15, noise: 2, stop: [2]float64{6, 26}},
		"touching and the belt stops":   {parts: 20, spacing: 0.51, speed: 200, rate: 15, noise: 1, stop: [2]float64{5, 9}},
		"the stream skips 0.8 s untold": {parts: 20, spacing: 1, speed: 150, rate: 20, noise: 2, gaps: true, skip: [2]float64{9, 0.8}},
		"the clock skips 1.2 s":         {parts: 20, spacing: 1, speed: 150, rate: 20, noise: 2, gaps: true, skip: [2]float64{9, -1.2}, drop: func(n int) bool { return n >= 180 && n < 204 }},
		"the clock skips 2.5 s":         {parts: 20, spacing: 1, speed: 150, rate: 20, noise: 2, gaps: true, skip: [2]float64{9, -2.5}, drop: func(n int) bool { return n >= 180 && n < 230 }},
		"the stream skips 1.7 s untold": {parts: 20, spacing: 1, speed: 150, rate: 20, noise: 2, gaps: true, skip: [2]float64{9, 1.7}},
		"the camera is away for 1.5 s":  {parts: 1, spacing: 1, speed: 150, rate: 20, drop: func(n int) bool { return n > 30 && n < 60 }},
	} {
		t.Run(name, func(t *testing.T) {
			done := b.run(New(Config{Roles: roles}))
			if len(done) != b.parts {
				t.Errorf("%d parts on the belt, %d counted", b.parts, len(done))
			}
			ids := map[string]bool{}
			for _, p := range done {
				if ids[p.ID] {
					t.Errorf("ID %s was given twice", p.ID)
				}
				ids[p.ID] = true
			}
		})
	}
}

// frames feeds boxes frame by frame at 10 a second and returns all parts.
func frames(tr *Tracker, each ...[]vision.Detection) []vision.Part {
	var done []vision.Part
	for i, dets := range each {
		f := Frame{Seq: uint64(i + 1), Clock: time.Duration(i) * 100 * time.Millisecond, Width: width, Height: height}
		done = append(done, tr.Update(f, dets)...)
	}
	return append(done, tr.Flush()...)
}

func det(label string, score, x, y, w, h float32) vision.Detection {
	return vision.Detection{Label: label, Score: score, Box: vision.Box{X: x, Y: y, W: w, H: h}}
}

func repeat(n int, dets ...vision.Detection) [][]vision.Detection {
	out := make([][]vision.Detection, n)
	for i := range out {
		out[i] = dets
	}
	return out
}

func TestFlickerIsNoPart(t *testing.T) {
	if done := frames(New(Config{Roles: roles}), append(repeat(2, det("part", 0.9, 10, 10, 50, 50)), repeat(9)...)...); len(done) != 0 {
		t.Errorf("two frames made a part: %+v", done)
	}
	if done := frames(New(Config{Roles: roles}), repeat(20, det("part", 0.3, 10, 10, 50, 50))...); len(done) != 0 {
		t.Errorf("doubtful boxes alone made a part: %+v", done)
	}
}

func TestDoubtfulBoxesKeepAPartAlive(t *testing.T) {
	each := append(repeat(5, det("part", 0.9, 10, 10, 50, 50)), repeat(30, det("part", 0.2, 12, 10, 50, 50))...)
	each = append(each, repeat(5, det("part", 0.9, 12, 10, 50, 50))...)
	if done := frames(New(Config{Roles: roles}), each...); len(done) != 1 || done[0].Frames != 40 {
		t.Errorf("want one part of 40 frames, got %+v", done)
	}
}

func TestOneThingUnderTwoNamesIsOnePart(t *testing.T) {
	each := repeat(10, det("part", 0.9, 10, 10, 50, 50), det("cap", 0.7, 11, 9, 51, 50))
	for i := range 5 {
		each[2*i] = []vision.Detection{det("cap", 0.8, 10, 10, 50, 50)} // the name flickers
	}
	done := frames(New(Config{Roles: roles}), each...)
	if len(done) != 1 || done[0].Label != "part" {
		t.Errorf("want one part named part, got %+v", done)
	}
}

func TestPartThatComesBackIsNew(t *testing.T) {
	each := append(repeat(10, det("part", 0.9, 10, 10, 50, 50)), repeat(20)...)
	each = append(each, repeat(10, det("part", 0.9, 10, 10, 50, 50))...)
	if done := frames(New(Config{Roles: roles}), each...); len(done) != 2 {
		t.Errorf("gone for 2 s and back: want 2 parts, got %+v", done)
	}
}

func TestLongGapDecidesOpenParts(t *testing.T) {
	tr := New(Config{Roles: roles})
	at := func(seq uint64, s float64) []vision.Part {
		f := Frame{Seq: seq, Clock: time.Duration(s * 1e9), Width: width, Height: height}
		return tr.Update(f, []vision.Detection{det("part", 0.9, 300, 100, 80, 80)})
	}
	for i := range 5 {
		at(uint64(i+1), float64(i)/10)
	}
	if done := at(6, 10); len(done) != 1 {
		t.Errorf("after 9.6 s without a frame the open part must be decided, got %+v", done)
	}
	for i := range 5 {
		at(uint64(i+7), 10.1+float64(i)/10)
	}
	if done := tr.Flush(); len(done) != 1 {
		t.Errorf("the part seen after the gap is missing: %+v", done)
	}
}

func TestDefectBelongsToThePartThatHoldsItsCentre(t *testing.T) {
	dets := []vision.Detection{
		det("part", 0.9, 10, 10, 100, 100), det("part", 0.9, 100, 10, 100, 100),
		det("scratch", 0.8, 103, 50, 6, 6), // in both, 1 nearer to the second's centre
		det("dent", 0.7, 160, 50, 10, 10),
		det("dent", 0.6, 400, 40, 10, 10), // on the belt, of no part
	}
	done := frames(New(Config{Roles: roles}), repeat(5, dets...)...)
	got := map[string][]string{}
	for _, p := range done {
		for _, e := range p.Defects {
			got[fmt.Sprint(p.Box.X)] = append(got[fmt.Sprint(p.Box.X)], fmt.Sprintf("%s %.1f %d", e.Label, e.Score, e.Frames))
		}
	}
	want := map[string][]string{"100": {"scratch 0.8 5", "dent 0.7 5"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDefectCountsWithTheScoreThatThreeFramesReached(t *testing.T) {
	part := det("part", 0.9, 10, 10, 100, 100)
	scratch := func(score float32) []vision.Detection {
		return []vision.Detection{part, det("scratch", score, 20, 20, 10, 10), det("scratch", score/2, 60, 60, 10, 10)}
	}
	for name, c := range map[string]struct {
		scores []float32
		want   float32
	}{
		"two flickers don't count":  {[]float32{0.9, 0.9}, 0},
		"the third best of four":    {[]float32{0.9, 0.5, 0.8, 0.7}, 0.7},
		"all frames of a short one": {[]float32{0.6, 0.4, 0.7}, 0.4},
	} {
		each := repeat(3, part)
		for _, s := range c.scores {
			each = append(each, scratch(s))
		}
		done := frames(New(Config{Roles: roles}), each...)
		if len(done) != 1 || len(done[0].Defects) != 1 {
			t.Fatalf("%s: want one part with one defect, got %+v", name, done)
		}
		if e := done[0].Defects[0]; e.Score != c.want || e.Frames != len(c.scores) {
			t.Errorf("%s: score %v in %d frames, want %v in %d", name, e.Score, e.Frames, c.want, len(c.scores))
		}
	}
}

func TestCutViewsCountOnlyForPartsThatAreNeverWhole(t *testing.T) {
	cut := []vision.Detection{det("part", 0.9, 0, 0, 80, 100), det("scratch", 0.8, 0, 40, 10, 10)}
	if done := frames(New(Config{Roles: roles}), repeat(20, cut...)...); len(done) != 1 || done[0].Defects[0].Score != 0.8 {
		t.Errorf("a part at the border: %+v, want its scratch", done)
	}
	each := repeat(8, cut...)
	for i := range 12 {
		each = append(each, []vision.Detection{det("part", 0.9, float32(8*i), 20, 100, 100)})
	}
	if done := frames(New(Config{Roles: roles}), each...); len(done) != 1 || len(done[0].Defects) != 0 {
		t.Errorf("a part that came in whole later: %+v, want no defect", done)
	}
}

func TestManyFramesNeedMoreThatAgree(t *testing.T) {
	part := det("part", 0.9, 10, 10, 100, 100)
	for name, c := range map[string]struct {
		frames, flickers int
		want             float32
	}{
		"three of 40":    {40, 3, 0.6},
		"five of 96":     {96, 5, 0},
		"six of 96":      {96, 6, 0.6},
		"seven of 1000":  {1000, 7, 0},
		"eight of 1000":  {1000, 8, 0.6},
		"twenty of 1000": {1000, 20, 0.6},
	} {
		each := repeat(c.frames, part)
		for i := range c.flickers {
			each[2*i] = []vision.Detection{part, det("scratch", 0.6, 20, 20, 10, 10)}
		}
		if done := frames(New(Config{Roles: roles}), each...); len(done) != 1 || done[0].Defects[0].Score != c.want {
			t.Errorf("%s: got %+v, want the score %v", name, done, c.want)
		}
	}
}

func TestPicturesAndStills(t *testing.T) {
	dets := []vision.Detection{det("part", 0.9, 0, 0, 50, 50), det("part", 0.9, 100, 0, 50, 50), det("dent", 0.8, 300, 300, 5, 5)}
	pictures := frames(New(Config{Roles: roles, Mode: Pictures}), repeat(3, dets...)...)
	if len(pictures) != 3 || len(pictures[0].Defects) != 1 || pictures[0].Box.W != width {
		t.Errorf("each picture must be one part with its defects, got %+v", pictures)
	}
	if stills := frames(New(Config{Roles: roles, Mode: Stills}), repeat(3, dets...)...); len(stills) != 6 {
		t.Errorf("three stills of two parts: want 6, got %d", len(stills))
	}
}

func TestOpenTellsTheBestView(t *testing.T) {
	tr := New(Config{Roles: roles})
	var best []uint64
	for i := range 12 {
		x := float32(i*60 - 60)
		b := vision.Box{X: x, Y: 50, W: 80, H: 80}.Intersect(vision.Box{W: width, H: height})
		seq := uint64(i + 1)
		tr.Update(Frame{Seq: seq, Clock: time.Duration(i) * 100 * time.Millisecond, Width: width, Height: height},
			[]vision.Detection{{Label: "part", Score: 0.8 + float32(i%7)/100, Box: b}})
		for _, v := range tr.Open(seq) {
			if v.Best {
				best = append(best, seq)
			}
		}
	}
	if d := cmp.Diff([]uint64{3, 4, 5, 6, 7}, best); d != "" {
		t.Error(d)
	}
}

func TestAssignFindsTheLeastTotal(t *testing.T) {
	costs := [][]float64{{4, 1, 3}, {2, 0, 5}, {3, 2, 2}, {9, 9, 9}}
	got := assign(4, 3, never, func(i, j int) float64 { return costs[i][j] })
	if d := cmp.Diff([]int{1, 0, 2}, got); d != "" {
		t.Error(d)
	}
	if got := assign(1, 2, 0.5, func(int, int) float64 { return 0.7 }); got[0] != -1 || got[1] != -1 {
		t.Errorf("pairs above the limit were matched: %v", got)
	}
}

func FuzzUpdate(f *testing.F) {
	f.Add(uint64(1), float32(10), float32(20), float32(0.9))
	f.Add(uint64(9), float32(math.NaN()), float32(math.Inf(1)), float32(math.NaN()))
	f.Add(uint64(3), float32(-1e30), float32(1e30), float32(2))
	f.Fuzz(func(t *testing.T, seed uint64, a, b, score float32) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		tr := New(Config{Roles: roles})
		labels := []string{"part", "cap", "scratch", "other"}
		seen := 0
		for i := range 30 {
			var dets []vision.Detection
			for range rnd.IntN(6) {
				dets = append(dets, det(labels[rnd.IntN(4)], score*rnd.Float32(), a*rnd.Float32(), b*rnd.Float32(), b*rnd.Float32(), a*rnd.Float32()))
			}
			at := time.Duration(rnd.Int64N(int64(5*time.Second))) - time.Second
			seen += len(tr.Update(Frame{Seq: uint64(i + 1), Clock: at, Width: width, Height: height}, dets))
			tr.Open(uint64(i + 1))
		}
		if seen += len(tr.Flush()); seen > 180 {
			t.Errorf("%d parts of at most 180 detections", seen)
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{3, 30} {
		b.Run(fmt.Sprint(n, " parts"), func(b *testing.B) {
			tr := New(Config{Roles: roles})
			var dets []vision.Detection
			for i := range n {
				dets = append(dets, det("part", 0.9, float32(i*60), 10, 50, 50))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				tr.Update(Frame{Seq: uint64(i + 1), Clock: time.Duration(i) * 33 * time.Millisecond, Width: 2000, Height: 400}, dets)
			}
		})
	}
}
