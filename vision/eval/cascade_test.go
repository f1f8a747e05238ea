package eval

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/infer"
)

// pairSpec is of models that know parts and one defect.
func pairSpec() infer.Spec {
	return infer.Spec{Family: "yolov8", Labels: []infer.Label{{Name: "cap", Role: vision.PartRole}, {Name: "pit", Role: vision.DefectRole}}}
}

// caps is a file of n pictures with two parts each, of which the left one is bad in every
// third picture.
func caps(t *testing.T, n int) *coco.File {
	t.Helper()
	var images, annotations []string
	add := func(image, category int, box string) {
		annotations = append(annotations, fmt.Sprintf(`{"id": %d, "image_id": %d, "category_id": %d, "bbox": [%s], "area": 64, "iscrowd": 0}`, len(annotations)+1, image, category, box))
	}
	for i := 1; i <= n; i++ {
		images = append(images, fmt.Sprintf(`{"id": %d, "file_name": "p%04d.png", "width": %d, "height": %d}`, i, i, side, side))
		add(i, 1, "0, 0, 15, 30")
		add(i, 1, "16, 0, 15, 30")
		if i%3 == 0 {
			add(i, 2, "4, 4, 4, 4")
		}
	}
	f, err := coco.Parse("caps.json", fmt.Appendf(nil, `{"images": [%s], "annotations": [%s], "categories": [{"id": 1, "name": "cap"}, {"id": 2, "name": "pit"}]}`,
		strings.Join(images, ","), strings.Join(annotations, ",")))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// pit is a defect on the left or the right part.
func pit(right bool, score float32) vision.Detection {
	x := float32(4)
	if right {
		x = 20
	}
	return vision.Detection{Label: "pit", Score: score, Box: vision.Box{X: x, Y: 4, W: 4, H: 4}}
}

// paired compares two models on the file: the small one scores bad parts 0.3 to 0.9 and
// good ones 0 to 0.6, the large one is right but for every fiftieth bad part.
func paired(t *testing.T, f *coco.File, cfg PairConfig) (*Cascade, error) {
	t.Helper()
	cfg.Spec, cfg.Large = pairSpec(), "large"
	cfg.Rejects = func(p vision.Part, _, _ int) bool {
		for _, e := range p.Defects {
			if e.Score > 0.5 {
				return true
			}
		}
		return false
	}
	p, err := NewPair(f, cfg)
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range f.Images {
		img := &f.Images[i]
		small, large := 0.6*r.Float32(), float32(0.1)
		if img.ID%3 == 0 {
			small, large = 0.3+0.6*r.Float32(), 0.95
		}
		if img.ID%150 == 0 {
			large = 0.1
		}
		look := func(score float32) Look {
			return Look{Image: img, Frame: frame(9), Detections: []vision.Detection{pit(false, score), pit(true, 0.6*r.Float32()*score), {Label: "cap", Score: 1, Box: vision.Box{W: 30, H: 30}}}}
		}
		p.Add(false, look(small))
		p.Add(true, look(large))
		p.Took(false, 10)
		p.Took(true, 100)
	}
	return p.Report()
}

// TestBandForEscapes: the band keeps to what was asked on the half that it was chosen on,
// and what is told of it is of the other one.
func TestBandForEscapes(t *testing.T) {
	c, err := paired(t, caps(t, 3000), PairConfig{MoreEscapes: 0.005, MoreFalseRejects: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	if c.Unit != "parts" || c.Units != 6000 || c.SmallMS != 10 || c.LargeMS != 100 || c.Chosen.Pictures+c.Checked.Pictures != 6000 {
		t.Errorf("%+v", c)
	}
	// Bad parts score 0.3 to 0.9, good ones at most 0.6, and 0.5 is the limit.
	if c.Low < 0.25 || c.Low > 0.35 || c.High < 0.5 || c.High > 0.62 {
		t.Errorf("the band is %v to %v", c.Low, c.High)
	}
	if o := c.Checked.Outcome; o.Cost > 0.6 || o.Escapes.Rate() > c.LargeAlone.Escapes.Rate()+0.02 || c.SmallAlone.Escapes.Rate() < 0.25 {
		t.Errorf("%+v, alone %+v and %+v", o, c.SmallAlone, c.LargeAlone)
	}
	if want := (Outcome{Cost: 1, MS: 100}); c.LargeAlone.Cost != want.Cost || c.LargeAlone.MS != want.MS || c.SmallAlone.Cost != 0.1 {
		t.Errorf("%+v", c.LargeAlone)
	}
	for n := 1; n < len(c.Curve); n++ {
		if c.Curve[n].Cost < c.Curve[n-1].Cost {
			t.Errorf("the curve goes back at %d: %+v", n, c.Curve)
		}
	}
	if last := c.Curve[len(c.Curve)-1]; len(c.Curve) < 4 || last.Escapes.K > c.Curve[0].Escapes.K {
		t.Errorf("%+v", c.Curve)
	}
}

// TestBandForCost: the cost holds on both halves, and no asked one is beyond reach unsaid.
func TestBandForCost(t *testing.T) {
	f := caps(t, 1200)
	c, err := paired(t, f, PairConfig{Cost: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	if c.Chosen.Cost > 0.2 || c.Checked.Cost > 0.25 || c.Checked.Looks.K == 0 || !strings.Contains(c.Asked, "at most 0.2 of") {
		t.Errorf("%+v", c)
	}
	if c.Checked.Escapes.K >= c.SmallAlone.Escapes.K {
		t.Errorf("with the large model %v escape, without %v", c.Checked.Escapes, c.SmallAlone.Escapes)
	}
	if _, err := paired(t, f, PairConfig{Cost: 0.05}); err == nil || !strings.Contains(err.Error(), "the small model alone takes 0.1 of") {
		t.Error(err)
	}
	if _, err := paired(t, caps(t, 2), PairConfig{Cost: 0.5}); err == nil || !strings.Contains(err.Error(), "both need good and bad ones") {
		t.Error(err)
	}
}

// TestBandOutcomes: running sums say what counting does.
func TestBandOutcomes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var units []unit
	for range 300 {
		units = append(units, unit{bad: r.IntN(3) == 0, score: float64(r.IntN(20)) / 20, small: r.IntN(2) == 0, large: r.IntN(2) == 0})
	}
	b := newBands(units, 10, 90)
	for range 500 {
		w := band{float64(r.IntN(25)) / 20, float64(r.IntN(25)) / 20}
		looks, escapes, rejects := 0, 0, 0
		for _, u := range units {
			rejected := u.small
			if u.score >= w.low && u.score <= w.high {
				looks++
				rejected = u.large
			}
			switch {
			case u.bad && !rejected:
				escapes++
			case !u.bad && rejected:
				rejects++
			}
		}
		if o := b.outcome(w); o.Looks.K != looks || o.Escapes.K != escapes || o.FalseRejects.K != rejects || o.MS != 10+90*float64(looks)/300 {
			t.Fatalf("%v: %+v, want %d %d %d", w, o, looks, escapes, rejects)
		}
	}
}

// TestPicturesWithoutParts: where no parts are marked each picture is one; uncertain ones
// count for nothing.
func TestPicturesWithoutParts(t *testing.T) {
	f := truth(t, 40)
	p, err := NewPair(f, PairConfig{Spec: spec("yolov8")})
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, u := range p.units {
		if u.bad {
			bad++
		}
	}
	if p.parts || len(p.units) != 30 || bad != 20 {
		t.Errorf("%d units, %d bad", len(p.units), bad)
	}
}

// TestCascadeIsTold: the report has the cascade as text, as a page and for programs.
func TestCascadeIsTold(t *testing.T) {
	c, err := paired(t, caps(t, 600), PairConfig{MoreEscapes: 0.005, MoreFalseRejects: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	c.Large = "large <b>"
	r := &Report{Model: "small", Cascade: c}
	var text, page bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	for where, wants := range map[string][]string{
		text.String(): {"Cascade with large <b>", "the small model alone", "Proposed: doubt: [0.", "cost   band", "█", "half bears it out"},
		page.String(): {"A cascade with <bdi>large &lt;b&gt;</bdi>", "Proposed: <code>doubt: [0.", "cost-desc", "Small, large and both"},
	} {
		for _, want := range wants {
			if !strings.Contains(where, want) {
				t.Errorf("%q isn't told in\n%s", want, where)
			}
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"cascade":{"large":"large \u003cb\u003e"`, `"low":0.`, `"checked":{"units":`, `"curve":[{"low":1,"high":0,`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s isn't told in %s", want, b)
		}
	}
}
