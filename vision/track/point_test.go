package track

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// walk shows one part, of 60×60 with its centre at these places, ten frames a
// second; less than 0 hides it. It gives the frames with which it was told.
func walk(tr *Tracker, from int, places ...float32) (told []int, parts []vision.Part) {
	for i, x := range places {
		var dets []vision.Detection
		if x >= 0 {
			dets = []vision.Detection{det("part", 0.9, x-30, 150, 60, 60)}
		}
		n := from + i
		f := Frame{Seq: uint64(n + 1), Clock: time.Duration(n) * 100 * time.Millisecond, Width: width, Height: height}
		for _, p := range tr.Update(f, dets) {
			told, parts = append(told, n), append(parts, p)
		}
	}
	return told, parts
}

// line is places from a to b in steps.
func line(a, b, by float32) (out []float32) {
	for x := a; (b-a)*(b-x) >= 0; x += by {
		out = append(out, x)
	}
	return out
}

func stay(n int, x float32) []float32 { return slices.Repeat([]float32{x}, n) }

const atEnd = -1

// TestLine: the line is at 320, frames count from 0; told at the end means by
// Flush.
func TestLine(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var jitter, trembles []float32
	for range 600 {
		jitter = append(jitter, 320+4*rnd.Float32()-2)
		trembles = append(trembles, 340+20*rnd.Float32()-10)
	}
	for name, c := range map[string]struct {
		places []float32
		from   int // told in these frames
		to     int
	}{
		"crosses":                              {line(100, 500, 20), 12, 13},
		"crosses from the right":               {line(500, 100, -20), 9, 11},
		"stops on it for a minute, moves on":   {slices.Concat(line(100, 320, 20), jitter, line(320, 500, 20)), 11, 613},
		"trembles behind it for a minute":      {slices.Concat(line(100, 320, 20), trembles), 11, 14},
		"moves back and over it again":         {slices.Concat(line(100, 400, 20), line(400, 200, -20), line(200, 500, 20)), 12, 13},
		"moves back before it":                 {slices.Concat(line(100, 300, 20), line(300, 100, -20)), atEnd, atEnd},
		"is first seen beyond":                 {line(330, 600, 20), atEnd, atEnd},
		"is first seen on it":                  {line(320, 600, 20), 2, 3},
		"stands on it from the first frame on": {stay(40, 320), atEnd, atEnd},
		"is hidden while it crosses":           {slices.Concat(line(100, 260, 20), stay(6, -1), line(400, 500, 20)), 15, 15},
		"is fast: three frames":                {[]float32{280, 325, 370}, 2, 2},
		"is hidden for good while it crosses":  {slices.Concat(line(100, 260, 20), stay(20, -1)), 23, 23},
	} {
		tr := New(Config{Roles: roles, Decide: point(t, "x=0.5")})
		told, _ := walk(tr, 0, c.places...)
		for range tr.Flush() {
			told = append(told, atEnd)
		}
		if len(told) != 1 || told[0] < c.from || told[0] > c.to {
			t.Errorf("%s: told in frames %v, want once in %d to %d", name, told, c.from, c.to)
		}
	}
}

// TestSlantedLine: two parts side by side cross it at different places.
func TestSlantedLine(t *testing.T) {
	tr := New(Config{Roles: roles, Decide: point(t, "line 0.25,0 0.75,1")}) // 160,0 to 480,360
	at := map[float32]float32{}
	for n := range 30 {
		x := float32(20 * n)
		f := Frame{Seq: uint64(n + 1), Clock: time.Duration(n) * 100 * time.Millisecond, Width: width, Height: height}
		for _, p := range tr.Update(f, []vision.Detection{det("part", 0.9, x, 45, 60, 60), det("part", 0.9, x, 255, 60, 60)}) {
			at[p.Box.Y] = x + 30
		}
	}
	if upper, lower := at[45], at[255]; upper < 226 || upper > 250 || lower < 413 || lower > 440 {
		t.Errorf("crossed at %v, want the line at 227 and 413", at)
	}
}

// TestZone: only what was seen in it counts, of a part that comes into it.
func TestZone(t *testing.T) {
	show := func(tr *Tracker, places []float32, dent func(x float32) bool) (told []float32, parts []vision.Part) {
		for n, x := range places {
			dets := []vision.Detection{det("part", 0.9, x-30, 150, 60, 60)}
			if dent(x) {
				dets = append(dets, det("dent", 0.8, x-5, 175, 10, 10))
			}
			f := Frame{Seq: uint64(n + 1), Clock: time.Duration(n) * 100 * time.Millisecond, Width: width, Height: height}
			for _, p := range tr.Update(f, dets) {
				told, parts = append(told, x), append(parts, p)
			}
		}
		for _, p := range tr.Flush() {
			told, parts = append(told, -1), append(parts, p)
		}
		return told, parts
	}
	in := func(x float32) bool { return x > 200 && x < 400 }
	for name, c := range map[string]struct {
		places   []float32
		dent     func(x float32) bool
		from, to float32
		score    float32
	}{
		"a dent in it":                     {line(100, 500, 10), in, 400, 420, 0.8},
		"a dent before and behind":         {line(100, 500, 10), func(x float32) bool { return x < 190 || x > 405 }, 400, 420, 0},
		"never in it":                      {line(420, 600, 10), func(float32) bool { return true }, -1, -1, 0.8},
		"ends in it":                       {line(100, 380, 10), in, -1, -1, 0.8},
		"trembles at its beginning":        {slices.Concat(line(100, 200, 10), []float32{201, 199, 201, 199, 201, 199, 201, 199}, line(200, 500, 10)), in, 400, 420, 0.8},
		"stands at its end, trembling":     {slices.Concat(line(100, 400, 10), []float32{401, 399, 401, 399, 401}, line(400, 500, 10)), in, 400, 420, 0.8},
		"leaves and comes back":            {slices.Concat(line(100, 450, 10), line(450, 300, -10), line(300, 500, 10)), in, 400, 420, 0.8},
		"leaves where it came from":        {slices.Concat(line(100, 300, 10), line(300, 100, -10)), in, 180, 200, 0.8},
		"begins in it":                     {line(300, 500, 10), in, 400, 420, 0.8},
		"a dent in two frames in it":       {line(100, 500, 10), func(x float32) bool { return x < 190 || x == 300 || x == 310 }, 400, 420, 0},
		"a dent just beyond it":            {slices.Concat(line(100, 390, 10), stay(10, 396), stay(8, 402), line(410, 500, 10)), func(x float32) bool { return x > 400 }, 410, 420, 0},
		"a dent while it moves off beside": {line(100, 500, 10), func(x float32) bool { return x >= 400 }, 400, 420, 0},
	} {
		tr := New(Config{Roles: roles, Decide: Decide{At: AtZone, Zone: vision.Box{X: 200. / width, Y: 0, W: 200. / width, H: 1}}})
		told, parts := show(tr, c.places, c.dent)
		if len(told) != 1 || told[0] < c.from || told[0] > c.to {
			t.Errorf("%s: told at %v, want once between %v and %v", name, told, c.from, c.to)
			continue
		}
		score := float32(0)
		for _, e := range parts[0].Defects {
			score = max(score, e.Score)
		}
		if score != c.score {
			t.Errorf("%s: the dent has %v, want %v", name, score, c.score)
		}
		if x, _ := parts[0].Box.Center(); c.from > 0 && (x < 200 || x > 400) {
			t.Errorf("%s: the best view is at %v, out of the zone", name, x)
		}
	}
}

// TestDecidedPartIsFollowedOn, and never told again.
func TestDecidedPartIsFollowedOn(t *testing.T) {
	for _, text := range []string{"x=0.5", "zone 0.1,0 0.4,1", "frames 5"} {
		tr := New(Config{Roles: roles, Decide: point(t, text)})
		told := 0
		for n, x := range line(100, 500, 10) {
			_, parts := walk(tr, n, x)
			open := tr.Open(uint64(n + 1))
			if n < 2 {
				continue
			}
			if told += len(parts); len(open) != 1 || open[0].Decided != (told > 0) {
				t.Fatalf("%s: %d told, and frame %d shows %+v", text, told, n, open)
			}
			v := open[0]
			if cx, _ := v.Part.Box.Center(); cx != x || v.Best && v.Decided && len(parts) == 0 {
				t.Errorf("%s: at %v the view is %+v", text, x, v)
			}
			if confirmed, open := tr.Confirmed(v.Part.ID); !confirmed || open != (told == 0) || !slices.Contains(tr.IDs(), v.Part.ID) {
				t.Errorf("%s: %d told, confirmed is %v, open %v", text, told, confirmed, open)
			}
			if frames := v.Part.Frames; told > 0 && len(parts) == 0 && frames > n {
				t.Errorf("%s: what was told changed: %d frames", text, frames)
			}
		}
		if again := tr.Flush(); told != 1 || len(again) != 0 || len(tr.IDs()) != 0 {
			t.Errorf("%s: told %d times, and then %+v", text, told, again)
		}
	}
}

// TestHandOverDecidedPart: it stands under a hand for longer than Hold.
func TestHandOverDecidedPart(t *testing.T) {
	for name, c := range map[string]struct {
		point string
		after []float32 // once the part stood at 420
		want  int       // parts, in all
	}{
		"is there again":                    {"x=0.5", slices.Concat(stay(50, -1), stay(10, 425), line(425, 600, 10)), 1},
		"is there again after a zone":       {"zone 0.1,0 0.4,1", slices.Concat(stay(50, -1), stay(10, 425), line(425, 600, 10)), 1},
		"the hand stops it, and twice":      {"x=0.5", slices.Concat(stay(50, -1), stay(1, 420), stay(12, -1), stay(10, 420)), 1},
		"twice":                             {"x=0.5", slices.Concat(stay(50, -1), stay(10, 425), stay(50, -1), stay(10, 420)), 1},
		"is somewhere else":                 {"x=0.5", slices.Concat(stay(50, -1), stay(10, 500)), 2},
		"another comes over the line":       {"x=0.5", slices.Concat(stay(50, -1), line(100, 500, 10)), 2},
		"another is put before the line":    {"x=0.5", slices.Concat(stay(50, -1), stay(10, 290)), 2},
		"after a minute it is new":          {"x=0.5", slices.Concat(stay(600, -1), stay(10, 420)), 2},
		"nothing tells where frames decide": {"frames 12", slices.Concat(stay(50, -1), stay(10, 420)), 2},
		"nor where the end does":            {"end", slices.Concat(stay(50, -1), stay(10, 420)), 2},
	} {
		tr := New(Config{Roles: roles, Decide: point(t, c.point)})
		before := slices.Concat(line(100, 420, 20), stay(10, 420))
		if strings.HasPrefix(name, "the hand stops it") {
			before = before[:17] // it isn't seen standing
		}
		told, _ := walk(tr, 0, slices.Concat(before, c.after)...)
		if n := len(told) + len(tr.Flush()); n != c.want {
			t.Errorf("%s: %d parts, want %d", name, n, c.want)
		}
	}
	near := New(Config{Roles: roles, Decide: point(t, "x=0.5")})
	told, _ := walk(near, 0, slices.Concat(line(100, 330, 10), stay(10, 330), stay(50, -1), stay(10, 310))...)
	if n := len(told) + len(near.Flush()); n != 2 {
		t.Errorf("what is put where it was, but before the line: %d parts, want 2", n)
	}
	moving := New(Config{Roles: roles, Decide: point(t, "x=0.3")})
	told, _ = walk(moving, 0, slices.Concat(line(60, 240, 20), stay(17, -1), line(600, 640, 20))...)
	if n := len(told) + len(moving.Flush()); n != 1 {
		t.Errorf("a part that comes out of a tunnel where it must: %d parts, want 1", n)
	}
}

// TestAfterAnOutageAllIsNew: the line moves on by one place every three seconds, and
// does so while the camera is away for four. What then lies where a decided part
// lay is another one: it came over the line unseen, and nobody has decided it.
func TestAfterAnOutageAllIsNew(t *testing.T) {
	tr := New(Config{Roles: roles, Decide: point(t, "x=0.3")})
	told := 0
	for n := range 300 {
		if n > 100 && n < 140 {
			continue
		}
		var dets []vision.Detection
		for i := range 4 { // places are 200 apart; each step takes 0.5 s
			at := 200*float32(n/30-i-1) + 40*float32(min(n%30, 5))
			if at > 0 && at < width-60 {
				dets = append(dets, det("part", 0.9, at, 100, 60, 60))
			}
		}
		f := Frame{Seq: uint64(n + 1), Clock: time.Duration(n) * 100 * time.Millisecond, Width: width, Height: height}
		told += len(tr.Update(f, dets))
	}
	if told += len(tr.Flush()); told < 4 {
		t.Errorf("%d parts were told, want each of 4", told)
	}
}

// TestBeltStopsWhileADecidedPartIsHidden: another part shows that it does, and so
// where the hidden one is.
func TestBeltStopsWhileADecidedPartIsHidden(t *testing.T) {
	tr := New(Config{Roles: roles, Decide: point(t, "x=0.2")})
	told := 0
	for n := range 90 {
		x := float32(10 * min(n, 42)) // stands from 4.2 s on
		dets := []vision.Detection{det("part", 0.9, x/2, 250, 60, 60), det("part", 0.9, x/2+100, 250, 60, 60)}
		if n <= 24 || n > 60 {
			dets = append(dets, det("part", 0.9, x/2+60, 100, 60, 60))
		}
		f := Frame{Seq: uint64(n + 1), Clock: time.Duration(n) * 100 * time.Millisecond, Width: width, Height: height}
		for _, p := range tr.Update(f, dets) {
			if p.Box.Y < 200 {
				told++
			}
		}
	}
	for _, p := range tr.Flush() {
		if p.Box.Y < 200 {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d parts, want 1", told)
	}
}

// TestBeltGoesOnWhereAPartWasTaken: other parts show that it moves, so what
// appears where the part was is another one.
func TestBeltGoesOnWhereAPartWasTaken(t *testing.T) {
	tr := New(Config{Roles: roles, Decide: point(t, "x=0.3")})
	told := 0
	for n := range 80 {
		x := float32(20 * n)
		var dets []vision.Detection
		other := det("part", 0.9, float32(20*n%700), 250, 60, 60)
		if x <= 400 || n > 50 && n <= 56 {
			dets = append(dets, det("part", 0.9, min(x, 400)-30, 100, 60, 60))
		}
		f := Frame{Seq: uint64(n + 1), Clock: time.Duration(n) * 100 * time.Millisecond, Width: width, Height: height}
		for _, p := range tr.Update(f, append(dets, other)) {
			if p.Box.Y < 200 {
				told++
			}
		}
	}
	for _, p := range tr.Flush() {
		if p.Box.Y < 200 {
			told++
		}
	}
	if told != 2 {
		t.Errorf("%d parts, want 2", told)
	}
}

// TestAdoptedPartsStayDecided: what one tracker told the next one doesn't tell,
// and the other way round. The belt stands for 2.7 s, and a part that was told is
// under a hand for most of that.
func TestAdoptedPartsStayDecided(t *testing.T) {
	const at = "x=0.5"
	first, second := New(Config{Roles: roles, Decide: point(t, at)}), New(Config{Roles: roles, Decide: point(t, at)})
	toldFirst, toldSecond := map[string]bool{}, map[string]bool{}
	var ids map[string]string
	for n := range 140 {
		f := Frame{Seq: uint64(n + 1), Clock: time.Duration(n) * 100 * time.Millisecond, Width: width, Height: height}
		var dets []vision.Detection
		for i := range 10 {
			ran := n - max(0, min(n, 80)-53)
			if x := float32(10*ran - 100*i); x > 0 && x < width-60 && !(i == 0 && n > 53 && n < 77) {
				dets = append(dets, det("part", 0.9, x, 100, 60, 60))
			}
		}
		if n < 73 {
			for _, p := range first.Update(f, dets) {
				toldFirst[p.ID] = true
			}
			continue
		}
		if n == 73 {
			ids = second.Adopt(first)
			if len(toldFirst) != 3 {
				t.Fatalf("%d told before the cut, want 3", len(toldFirst))
			}
			for old, id := range ids {
				confirmed, open := second.Confirmed(id)
				if decided := confirmed && !open; decided != toldFirst[old] {
					t.Errorf("%s was told: %v, and %s is decided: %v", old, toldFirst[old], id, decided)
				}
			}
		}
		for _, p := range second.Update(f, dets) {
			toldSecond[p.ID] = true
		}
		for _, v := range second.Open(f.Seq) {
			if !slices.Contains(second.IDs(), v.Part.ID) {
				t.Errorf("the view's ID is %s, not one of %v", v.Part.ID, second.IDs())
			}
		}
	}
	for _, p := range second.Flush() {
		toldSecond[p.ID] = true
	}
	for old := range toldFirst {
		if toldSecond[ids[old]] {
			t.Errorf("%s was told, and %s again", old, ids[old])
		}
	}
	if n := len(toldFirst) + len(toldSecond); n != 10 {
		t.Errorf("%d parts were told, want 10", n)
	}
}

func FuzzDecide(f *testing.F) {
	for i := range uint8(7) {
		f.Add(uint64(i), i, i)
	}
	combines := []string{"", "any", "majority", "best", "2 of 3", "3 of 10"}
	f.Fuzz(func(t *testing.T, seed uint64, at, how uint8) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		combine, err := ParseCombine(combines[int(how)%len(combines)])
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Roles: roles, Decide: point(t, points[int(at)%len(points)]), Combine: combine}
		tr, ids := New(cfg), map[string]bool{}
		tell := func(parts []vision.Part) {
			for _, p := range parts {
				if ids[p.ID] {
					t.Errorf("%s was told twice", p.ID)
				}
				ids[p.ID] = true
			}
		}
		labels := []string{"part", "cap", "scratch", "other"}
		clock, seen := time.Duration(0), 0
		for i := range 60 {
			var dets []vision.Detection
			for range rnd.IntN(6) {
				dets = append(dets, det(labels[rnd.IntN(4)], rnd.Float32(), width*rnd.Float32(), 60*rnd.Float32(), 40+60*rnd.Float32(), 60+60*rnd.Float32()))
			}
			seen += len(dets)
			clock += time.Duration(rnd.Int64N(int64(300 * time.Millisecond)))
			tell(tr.Update(Frame{Seq: uint64(i + 1), Clock: clock, Width: width, Height: height}, dets))
			tr.Open(uint64(i + 1))
			if rnd.IntN(20) == 0 {
				next := New(cfg)
				next.Adopt(tr)
				next.Pair(tr, uint64(i+1))
				tr = next
			}
		}
		if tell(tr.Flush()); len(ids) > seen {
			t.Errorf("%d parts of %d boxes", len(ids), seen)
		}
	})
}
