package vision

import (
	"math"
	"math/rand/v2"
	"testing"
)

// filled are the pixels of a w×h picture whose centre lies in an odd number of polygons.
func filled(rings [][][2]int, w, h int) []bool {
	out := make([]bool, w*h)
	for _, ring := range rings {
		p := ring[len(ring)-1]
		for _, q := range ring {
			for y := max(min(p[1], q[1]), 0); y < min(max(p[1], q[1]), h); y++ { // the rows that the edge crosses
				share := (float64(y) + 0.5 - float64(p[1])) / float64(q[1]-p[1])
				edge := float64(p[0]) + share*float64(q[0]-p[0])
				for x := range w {
					if float64(x)+0.5 > edge {
						out[y*w+x] = !out[y*w+x]
					}
				}
			}
			p = q
		}
	}
	return out
}

// disc is a mask of a disc with a hole.
func disc(w, h int, radius, hole float64) []bool {
	in := make([]bool, w*h)
	for p := range in {
		d := math.Hypot(float64(p%w)+0.5-float64(w)/2, float64(p/w)+0.5-float64(h)/2)
		in[p] = d < radius && d >= hole
	}
	return in
}

func corners(rings [][][2]int) (n int) {
	for _, r := range rings {
		n += len(r)
	}
	return n
}

func TestOutlinesHoldExactlyTheMask(t *testing.T) {
	const w, h = 17, 13
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		in := make([]bool, w*h)
		for p := range in {
			in[p] = r.IntN(10) < n%11
		}
		m := MaskOf(in, w, h)
		if m == nil {
			continue
		}
		rings := m.Outlines(10000)
		got := filled(rings, w, h)
		for p := range in {
			if got[p] != in[p] {
				t.Fatalf("mask %d, pixel %d, %d is %v, want %v: %v", n, p%w, p/w, got[p], in[p], rings)
			}
		}
	}
}

func TestOutlinesKnowHolesAndCorners(t *testing.T) {
	m := MaskOf([]bool{
		true, true, true, false, false,
		true, false, true, false, false,
		true, true, true, false, false,
		false, false, false, true, false,
	}, 5, 4)
	rings := m.Outlines(100)
	if len(rings) != 2 || area2(rings[0]) != 2*10 || area2(rings[1]) != -2*1 {
		t.Errorf("a ring and a pixel at its corner are %v", rings)
	}
	m.X, m.Y = m.X+100, m.Y+50
	if got := m.Outlines(100)[0]; got[0] != [2]int{103, 50} {
		t.Errorf("moved, it begins at %v", got[0])
	}
}

func TestOutlinesAreSimplified(t *testing.T) {
	const w, h = 200, 150
	m := MaskOf(disc(w, h, 70, 30), w, h)
	for most, share := range map[int]float64{12: 0.75, 24: 0.93, 60: 0.98, 200: 0.99} {
		rings := m.Outlines(most)
		both, either := 0, 0
		got := filled(rings, w, h)
		for p := range got {
			if in := m.Contains(p%w, p/w); in && got[p] {
				both++
			}
			if m.Contains(p%w, p/w) || got[p] {
				either++
			}
		}
		if n := corners(rings); n > most || n < most*3/4 || float64(both) < share*float64(either) {
			t.Errorf("at most %d corners: %d, IoU %.3f", most, n, float64(both)/float64(either))
		}
	}
	for _, most := range []int{-1, 0, 2} {
		if got := m.Outlines(most); got != nil {
			t.Errorf("at most %d corners: %v", most, got)
		}
	}
	if got := m.Outlines(3); len(got) != 1 || len(got[0]) != 3 {
		t.Errorf("at most 3 corners: %v", got)
	}
}

// TestOutlinesOfHugeMasks: noise and a full frame of 20,000×20,000.
func TestOutlinesOfHugeMasks(t *testing.T) {
	full := &Mask{X: 3, Y: 4, W: 20000, H: 20000, Runs: []uint32{0, 400_000_000}}
	if got := full.Outlines(100); len(got) != 1 || len(got[0]) != 4 || area2(got[0]) != 2*20000*20000 {
		t.Errorf("a full frame is %v", got)
	}
	noise := &Mask{W: 3000, H: 2000}
	for range 2_000_000 {
		noise.Runs = append(noise.Runs, 2, 1)
	}
	if n := corners(noise.Outlines(500)); n < 3 || n > 500 {
		t.Errorf("noise has %d corners", n)
	}
	if got := (&Mask{W: 1 << 15, H: 1}).Outlines(9); got != nil {
		t.Errorf("an empty mask is %v", got)
	}
}

func FuzzOutlines(f *testing.F) {
	f.Add(uint8(9), uint8(9), uint16(7), []byte{1, 2, 3, 40})
	f.Fuzz(func(t *testing.T, w, h uint8, most uint16, runs []byte) {
		m := &Mask{X: 5, Y: 7, W: int(w), H: int(h)}
		for _, r := range runs {
			m.Runs = append(m.Runs, uint32(r))
		}
		rings := m.Outlines(int(most))
		if n := corners(rings); n > int(most) {
			t.Fatalf("%d corners, at most %d were wanted", n, most)
		}
		for _, r := range rings {
			for _, p := range r {
				if len(r) < 3 || p[0] < 5 || p[1] < 7 || p[0] > 5+int(w) || p[1] > 7+int(h) {
					t.Fatalf("a corner lies at %v: %v", p, r)
				}
			}
		}
	})
}

func BenchmarkOutlines(b *testing.B) {
	const w, h = 1130, 460
	m := MaskOf(disc(w, h, 200, 60), w, h)
	b.ReportAllocs()
	for b.Loop() {
		if n := corners(m.Outlines(100)); n > 100 {
			b.Fatal(n)
		}
	}
}
