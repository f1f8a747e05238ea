package score

import (
	_ "embed"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:embed testdata/curves.json
var curvesJSON []byte

// curveGoldens is what testdata/curves.py took from scikit-learn and statsmodels.
type curveGoldens struct {
	Pictures []struct {
		Scores        []float64
		Bad           []bool
		AUROC, AP, F1 float64
		F1Threshold   float64 `json:"f1_threshold"`
		Recall        [3]float64
	}
	Maps []struct {
		Seed            uint32
		N, W, H, Levels int
		AUROC, AP, F1   float64
		F1Threshold     float64 `json:"f1_threshold"`
		AUPRO           [3]float64
		Regions, Bad    int
	}
	Intervals []struct {
		K, N      int
		Low, High float64
		AtLeast   float64 `json:"at_least"`
		AtMost    float64 `json:"at_most"`
	}
	Semantic struct {
		IoU            []float64
		Mean, Accuracy float64
	}
}

func curves(t testing.TB) (g curveGoldens) {
	t.Helper()
	if err := json.Unmarshal(curvesJSON, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func near(a, b, most float64) bool { return math.Abs(a-b) <= most }

func TestCurvesAsScikitLearnHasThem(t *testing.T) {
	for i, g := range curves(t).Pictures {
		c, err := NewCurve(g.Scores, g.Bad)
		if err != nil {
			t.Fatal(err)
		}
		auroc, err1 := c.AUROC()
		ap, err2 := c.AveragePrecision()
		f1, threshold, err3 := c.F1()
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
		if !near(auroc, g.AUROC, 1e-12) || !near(ap, g.AP, 1e-12) || !near(f1, g.F1, 1e-12) || threshold != g.F1Threshold {
			t.Errorf("set %d: AUROC %v, AP %v, F1 %v at %v, want %v, %v, %v at %v", i, auroc, ap, f1, threshold, g.AUROC, g.AP, g.F1, g.F1Threshold)
		}
		for j, rate := range []float64{0.001, 0.01, 0.05} {
			ch, err := c.LeastEscapes(rate)
			if err != nil || !near(ch.Found().Rate(), g.Recall[j], 1e-12) || ch.FalseRejects.Rate() > rate {
				t.Errorf("set %d: recall at %v is %v with %v, %v, want %v", i, rate, ch.Found().Rate(), ch.FalseRejects, err, g.Recall[j])
			}
		}
	}
}

// Every point and every choice does what it says, counted one picture at a time.
func TestPointsAreCounts(t *testing.T) {
	count := func(scores []float64, bad []bool, threshold float64) (escapes, rejects int) {
		for i, s := range scores {
			if bad[i] && s < threshold {
				escapes++
			}
			if !bad[i] && s >= threshold {
				rejects++
			}
		}
		return escapes, rejects
	}
	for i, g := range curves(t).Pictures {
		c, err := NewCurve(g.Scores, g.Bad)
		if err != nil {
			t.Fatal(err)
		}
		noEscapes, err := c.NoEscapes()
		if err != nil {
			t.Fatal(err)
		}
		least, err := c.LeastEscapes(0.1)
		if err != nil {
			t.Fatal(err)
		}
		points := append([]Point{noEscapes.Point, least.Point, c.At(-9), c.At(0.3), c.At(0.31234), c.At(99)}, c.Points...)
		for _, p := range points {
			e, r := count(g.Scores, g.Bad, p.Threshold)
			if e != p.Escapes.K || r != p.FalseRejects.K || p.Escapes.N != c.Bad || p.FalseRejects.N != c.Good {
				t.Errorf("set %d at %v: %v and %v, counted %d and %d", i, p.Threshold, p.Escapes, p.FalseRejects, e, r)
			}
		}
		if noEscapes.Escapes.K != 0 {
			t.Errorf("set %d: %v at the threshold without escapes", i, noEscapes.Escapes)
		}
		for _, p := range c.Points {
			if p.Escapes.K == 0 && p.FalseRejects.K < noEscapes.FalseRejects.K {
				t.Errorf("set %d: %v also has no escapes, and %v", i, p.Threshold, p.FalseRejects)
			}
		}
	}
}

func TestChoiceWarnsOfFewPictures(t *testing.T) {
	scores, bad := []float64{0.1, 0.2, 0.3, 0.9, 0.8, 0.7}, []bool{false, false, false, true, true, true}
	c, err := NewCurve(scores, bad)
	if err != nil {
		t.Fatal(err)
	}
	ch, err := c.LeastEscapes(0.01)
	if err != nil {
		t.Fatal(err)
	}
	want := Choice{Point{0.5, Share{0, 3}, Share{0, 3}}, []string{
		"with 3 bad pictures the escapes are 0 of 3, ≤ 63.2 % at 95 %: for ≤ 5 % it takes 59 without one",
		"with 3 good pictures the false rejects are 0 of 3, ≤ 63.2 % at 95 %: for ≤ 5 % it takes 59 without one",
		"the threshold was chosen on these very pictures, so its figures flatter it: count again on others",
		"1.0 % of 3 good pictures isn't a whole one, so that none may be rejected: to measure at this rate takes 100 or more",
	}}
	if diff := cmp.Diff(want, ch); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	many, bads := make([]float64, 400), make([]bool, 400)
	for i := range many {
		many[i], bads[i] = float64(i), i >= 200
	}
	if c, err = NewCurve(many, bads); err != nil {
		t.Fatal(err)
	}
	if ch, err = c.LeastEscapes(0.01); err != nil || len(ch.Warnings) != 2 || !strings.Contains(ch.Warnings[1], "200 good pictures can't show at 95 % that at most 1.0 % are rejected: 299 can") {
		t.Errorf("%v, %q", err, ch.Warnings)
	}
	if ch, err = c.LeastEscapes(0.05); err != nil || len(ch.Warnings) != 1 || ch.Threshold != 199.5 {
		t.Errorf("%v at %v, %q", err, ch.Threshold, ch.Warnings)
	}
}

func TestEqualsAndLimits(t *testing.T) {
	c, err := NewCurve([]float64{4, 3, 2, 1}, []bool{true, false, false, true})
	if err != nil {
		t.Fatal(err)
	}
	if f1, threshold, err := c.F1(); err != nil || f1 != 4./6 || threshold != 1 {
		t.Errorf("F1 %v at %v, %v, want the lowest threshold of two with 2/3", f1, threshold, err)
	}
	scores, bad := []float64{19.5, 25}, []bool{true, true}
	for i := range 20 {
		scores, bad = append(scores, float64(i+1)), append(bad, false)
	}
	if c, err = NewCurve(scores, bad); err != nil {
		t.Fatal(err)
	}
	for rate, want := range map[float64]Point{
		0.05: {19.25, Share{0, 2}, Share{1, 20}}, 0.049: {22.5, Share{1, 2}, Share{0, 20}}, 0: {22.5, Share{1, 2}, Share{0, 20}}, 1: {19.25, Share{0, 2}, Share{1, 20}},
	} {
		if ch, err := c.LeastEscapes(rate); err != nil || ch.Point != want {
			t.Errorf("at %v: %+v, %v, want %+v", rate, ch.Point, err, want)
		}
	}
}

func TestCurvesRefuse(t *testing.T) {
	for _, c := range []struct {
		scores []float64
		bad    []bool
		want   string
	}{
		{nil, nil, "0 scores for 0 pictures"},
		{[]float64{1}, []bool{true, false}, "1 scores for 2 pictures"},
		{[]float64{1, math.NaN()}, []bool{true, false}, "the score of picture 1 is NaN"},
		{[]float64{math.Inf(-1), 1}, []bool{true, false}, "the score of picture 0 is -Inf"},
	} {
		if _, err := NewCurve(c.scores, c.bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	c, err := NewCurve([]float64{1, 2}, []bool{true, true})
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := c.AUROC()
	_, err2 := c.AveragePrecision()
	_, _, err3 := c.F1()
	_, err4 := c.NoEscapes()
	_, err5 := c.LeastEscapes(0.1)
	for i, err := range []error{err1, err2, err3, err4, err5} {
		if err == nil || !strings.Contains(err.Error(), "of 2 pictures 0 are good and 2 bad") {
			t.Errorf("measure %d of bad pictures alone: %v", i, err)
		}
	}
	if _, err := c.LeastEscapes(math.NaN()); err == nil {
		t.Error("a share that is NaN was taken")
	}
}

func TestSharesAsStatsmodelsHasThem(t *testing.T) {
	for _, g := range curves(t).Intervals {
		s := Share{g.K, g.N}
		low, high := s.Interval()
		if !near(low, g.Low, 1e-10) || !near(high, g.High, 1e-10) || !near(s.AtLeast(), g.AtLeast, 1e-10) || !near(s.AtMost(), g.AtMost, 1e-10) {
			t.Errorf("%d of %d: %v to %v, at least %v, at most %v, want %+v", g.K, g.N, low, high, s.AtLeast(), s.AtMost(), g)
		}
	}
	for _, c := range []struct {
		s           Share
		most, least string
	}{
		{Share{0, 412}, "0 of 412, ≤ 0.7 % at 95 %", "0 of 412, ≥ 0.0 % at 95 %"},
		{Share{412, 412}, "412 of 412, ≤ 100.0 % at 95 %", "412 of 412, ≥ 99.3 % at 95 %"},
		{Share{0, 48}, "0 of 48, ≤ 6.1 % at 95 %", "0 of 48, ≥ 0.0 % at 95 %"},
		{Share{0, 13937}, "0 of 13937, ≤ 0.02 % at 95 %", "0 of 13937, ≥ 0.0 % at 95 %"},
		{Share{0, 48020}, "0 of 48020, ≤ 0.006 % at 95 %", "0 of 48020, ≥ 0.0 % at 95 %"},
		{Share{3000, 3000}, "3000 of 3000, ≤ 100.0 % at 95 %", "3000 of 3000, ≥ 99.9 % at 95 %"},
		{Share{0, 0}, "0 of 0", "0 of 0"},
	} {
		if c.s.String() != c.most || c.s.Least() != c.least {
			t.Errorf("%q, %q, want %q, %q", c.s, c.s.Least(), c.most, c.least)
		}
	}
	if none := (Share{}); none.AtMost() != 1 || none.AtLeast() != 0 || !math.IsNaN(none.Rate()) {
		t.Errorf("none of none: %v to %v", none.AtLeast(), none.AtMost())
	}
	for s, want := range map[Share]string{
		{0, 3}: `{"k":0,"n":3,"rate":0,"low":0,"high":0.70759822`,
		{0, 0}: `{"k":0,"n":0,"rate":null,"low":0,"high":1,"at_least":0,"at_most":1}`,
	} {
		b, err := json.Marshal(s)
		var back Share
		if err != nil || !strings.HasPrefix(string(b), want) || json.Unmarshal(b, &back) != nil || back != s {
			t.Errorf("%s, %v, read back as %v, want %s…", b, err, back, want)
		}
	}
	if needed(0.05) != fewBad || needed(0.01) != 299 || (Share{0, fewBad}).AtMost() > 0.05 || (Share{0, fewBad - 1}).AtMost() <= 0.05 {
		t.Errorf("%d pictures for 5 %%, %d for 1 %%", needed(0.05), needed(0.01))
	}
}

func BenchmarkShare(b *testing.B) {
	for _, n := range []int{100, 10_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				_, _ = Share{n / 50, n}.Interval()
			}
		})
	}
}
