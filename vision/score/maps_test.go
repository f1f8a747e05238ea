package score

import (
	"math"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision/coco"
)

type anomaly struct {
	scores []float32
	bad    []bool
}

// anomalies are maps as testdata/curves.py makes them.
func anomalies(seed uint32, n, w, h, levels int) (out []anomaly) {
	for i := range n {
		r := noise(w*h+40, seed+1000003*uint32(i))
		a := anomaly{make([]float32, w*h), make([]bool, w*h)}
		for k := range 5 {
			if i%3 == 0 {
				break
			}
			v := r[w*h+4*k:]
			x0, y0 := int(v[0]*float64(w)), int(v[1]*float64(h))
			for y := y0; y < min(y0+int(v[2]*float64(h)/4)+1, h); y++ {
				for x := x0; x < min(x0+int(v[3]*float64(w)/4)+1, w); x++ {
					a.bad[y*w+x] = true
				}
			}
		}
		for j := range a.scores {
			s := r[j] * 0.5
			if a.bad[j] {
				s += 0.25
			}
			if levels > 0 {
				s = math.Floor(s*float64(levels)) / float64(levels)
			}
			a.scores[j] = float32(s)
		}
		out = append(out, a)
	}
	return out
}

func TestMapsAsScikitLearnHasThem(t *testing.T) {
	for _, g := range curves(t).Maps {
		var exact, binned Maps
		binned.toBins()
		for _, a := range anomalies(g.Seed, g.N, g.W, g.H, g.Levels) {
			for _, m := range []*Maps{&exact, &binned} {
				if err := m.Add(a.scores, a.bad, g.W, g.H); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, fpr := range []float64{0.3, 0.05, 1} {
			s, err := exact.Scores(fpr)
			if err != nil {
				t.Fatal(err)
			}
			if s.Regions != g.Regions || s.Pixels != int64(g.N*g.W*g.H) || s.AUROCError != 0 || s.AUPROError != 0 {
				t.Errorf("set %d: %+v, want %d regions", g.Seed, s, g.Regions)
			}
			if !near(s.AUROC, g.AUROC, 1e-12) || !near(s.AP, g.AP, 1e-12) || !near(s.F1, g.F1, 1e-12) || s.F1Threshold != g.F1Threshold || !near(s.AUPRO, g.AUPRO[i], 1e-12) {
				t.Errorf("set %d: %+v, want %+v", g.Seed, s, g)
			}
			b, err := binned.Scores(fpr)
			if err != nil {
				t.Fatal(err)
			}
			const round = 1e-12 // of sums
			if !near(b.AUROC, g.AUROC, b.AUROCError+round) || !near(b.AUPRO, g.AUPRO[i], b.AUPROError+round) || !near(b.AP, g.AP, 0.005) || !near(b.F1, g.F1, 0.005) {
				t.Errorf("set %d in bins: %+v, want %+v", g.Seed, b, g)
			}
			if g.Levels == 0 && (b.AUROCError > 1e-4 || b.AUPROError > 1e-3) { // equal scores are counted as unsure
				t.Errorf("set %d in bins is unsure: %+v", g.Seed, b)
			}
			if !near(b.AUROC, g.AUROC, 1e-4) || !near(b.AUPRO, g.AUPRO[i], 1e-3) {
				t.Errorf("set %d in bins: AUROC %v, AU-PRO %v, want %v, %v", g.Seed, b.AUROC, b.AUPRO, g.AUROC, g.AUPRO[i])
			}
		}
	}
}

// More pixels than are kept go to bins by themselves, and little changes.
func TestManyPixels(t *testing.T) {
	if testing.Short() {
		t.Skip("left out: seconds")
	}
	const w, h = 700, 600
	maps := anomalies(11, 12, w, h, 0)
	var all Maps
	exact := Maps{}
	for i, a := range maps {
		if err := all.Add(a.scores, a.bad, w, h); err != nil {
			t.Fatal(err)
		}
		if (all.bins != nil) != ((i+1)*w*h > exactPixels) {
			t.Fatalf("after %d maps: bins %v", i+1, all.bins != nil)
		}
		exact.n = math.MinInt32 // so that it keeps them all
		if err := exact.Add(a.scores, a.bad, w, h); err != nil {
			t.Fatal(err)
		}
	}
	exact.n = int64(len(maps) * w * h)
	got, err := all.Scores(0.3)
	if err != nil {
		t.Fatal(err)
	}
	want, err := exact.Scores(0.3)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pixels: AUROC %.6f ± %.1g for %.6f, AU-PRO %.6f ± %.1g for %.6f", got.Pixels, got.AUROC, got.AUROCError, want.AUROC, got.AUPRO, got.AUPROError, want.AUPRO)
	if !near(got.AUROC, want.AUROC, min(got.AUROCError, 1e-6)) || !near(got.AUPRO, want.AUPRO, min(got.AUPROError, 1e-4)) || !near(got.F1, want.F1, 1e-3) || !near(got.AP, want.AP, 1e-3) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got.AUROCError <= 0 || got.AUROCError > 1e-3 || got.Regions != want.Regions {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestMapsRefuse(t *testing.T) {
	var m Maps
	if _, err := m.Scores(0.3); err == nil {
		t.Error("no maps were scored")
	}
	for _, c := range []struct {
		scores []float32
		bad    []bool
		w, h   int
		want   string
	}{
		{make([]float32, 4), make([]bool, 4), 2, 3, "4 scores and 4 pixels of truth for 2×3"},
		{make([]float32, 4), make([]bool, 3), 2, 2, "4 scores and 3 pixels of truth for 2×2"},
		{nil, nil, 0, 0, "0 scores"},
		{[]float32{0, float32(math.NaN())}, make([]bool, 2), 2, 1, "the score at 1, 0 is NaN"},
		{[]float32{0, float32(math.Inf(1))}, make([]bool, 2), 1, 2, "the score at 0, 1 is +Inf"},
	} {
		if err := m.Add(c.scores, c.bad, c.w, c.h); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if err := m.Add(make([]float32, 4), make([]bool, 4), 2, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Scores(0.3); err == nil || !strings.Contains(err.Error(), "of 4 pixels 4 are good and 0 bad") {
		t.Errorf("good pixels alone: %v", err)
	}
	for _, fpr := range []float64{0, -1, 1.5, math.NaN()} {
		if _, err := m.Scores(fpr); err == nil {
			t.Errorf("a false positive rate of %v was taken", fpr)
		}
	}
}

func TestKeysOrderAsScores(t *testing.T) {
	v := []float32{-math.MaxFloat32, -1, -1e-30, 0, 1e-30, 0.5, 1, math.MaxFloat32}
	for i, a := range v {
		if got := scoreOf(key(a)); got != a {
			t.Errorf("%v came back as %v", a, got)
		}
		if i > 0 && key(v[i-1]) >= key(a) {
			t.Errorf("%v isn't below %v", v[i-1], a)
		}
	}
	if zero := float32(math.Copysign(0, -1)); key(zero) != key(0) {
		t.Error("-0 isn't 0")
	}
}

func TestPixels(t *testing.T) {
	rle := func(w, h int, counts ...uint32) coco.RLE { return coco.RLE{W: w, H: h, Counts: counts} }
	var p Pixels
	if !math.IsNaN(p.IoU()) || !math.IsNaN(p.Dice()) {
		t.Error("nothing has an IoU")
	}
	for _, c := range [][2]coco.RLE{
		{rle(4, 3, 2, 4, 6), rle(4, 3, 4, 4, 4)}, // 2 in both, 2 and 2 alone
		{rle(5, 2, 10), rle(5, 2, 0, 3, 7)},      // 3 missed
		{rle(5, 2, 9, 1), rle(5, 2, 10)},         // 1 too many
		{rle(5, 2, 10), rle(5, 2, 10)},
	} {
		if err := p.Add(c[0], c[1]); err != nil {
			t.Fatal(err)
		}
	}
	if want := (Pixels{Both: 2, Found: 3, True: 5, None: 32}); p != want {
		t.Errorf("%+v, want %+v", p, want)
	}
	if p.IoU() != 0.2 || p.Dice() != 4./12 || p.Precision() != 0.4 || p.Recall() != 2./7 {
		t.Errorf("IoU %v, dice %v, precision %v, recall %v", p.IoU(), p.Dice(), p.Precision(), p.Recall())
	}
	if err := p.Add(rle(4, 3, 12), rle(3, 4, 12)); err == nil || !strings.Contains(err.Error(), "found are 4×3, true are 3×4") {
		t.Errorf("other sizes: %v", err)
	}
	if err := p.Add(rle(4, 3, 11), rle(4, 3, 12)); err == nil || !strings.Contains(err.Error(), "run lengths cover 11 pixels") {
		t.Errorf("too few: %v", err)
	}
}

func TestConfusionAsScikitLearnHasIt(t *testing.T) {
	g := curves(t).Semantic
	r, same, void := noise(2000, 77), noise(1000, 78), noise(1000, 79)
	truth, found := make([]uint8, 1000), make([]uint8, 1000)
	for i := range truth {
		truth[i], found[i] = uint8(r[i]*5), uint8(r[1000+i]*5)
		if same[i] < 0.6 {
			found[i] = truth[i]
		}
		if void[i] < 0.05 {
			truth[i] = 255
		}
	}
	c, err := NewConfusion(7, 255) // two classes are nowhere
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 1000; i += 100 {
		if err := c.Add(found[i:i+100], truth[i:i+100]); err != nil {
			t.Fatal(err)
		}
	}
	for k, want := range g.IoU {
		if !near(c.IoU(k), want, 1e-12) {
			t.Errorf("IoU of class %d is %v, want %v", k, c.IoU(k), want)
		}
	}
	if !near(c.MeanIoU(), g.Mean, 1e-12) || !near(c.Accuracy(), g.Accuracy, 1e-12) || !math.IsNaN(c.IoU(6)) {
		t.Errorf("mean %v, accuracy %v, want %v, %v", c.MeanIoU(), c.Accuracy(), g.Mean, g.Accuracy)
	}
	if err := c.Add([]uint8{7}, []uint8{0}); err == nil {
		t.Error("an eighth class was taken")
	}
	if err := c.Add([]uint8{7}, []uint8{0, 1}); err == nil {
		t.Error("maps of different sizes were taken")
	}
	if _, err := NewConfusion(0, 255); err == nil {
		t.Error("no classes were taken")
	}
}

func BenchmarkMaps(b *testing.B) {
	const w, h = 256, 256
	maps := anomalies(3, 150, w, h, 0)
	b.SetBytes(int64(len(maps) * w * h * 4))
	for b.Loop() {
		var m Maps
		for _, a := range maps {
			if err := m.Add(a.scores, a.bad, w, h); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := m.Scores(0.3); err != nil {
			b.Fatal(err)
		}
	}
}
