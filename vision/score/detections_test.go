package score

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision/coco"
)

//go:embed testdata/detections.json
var detectionsJSON []byte

// expected is what COCOeval said: its twelve figures, and the AP of each class.
type expected struct {
	Stats   [12]float64
	Classes []float64
}

type detectionGoldens struct {
	Cases []struct {
		Name             string
		Truth, Results   json.RawMessage
		Box              expected `json:"bbox"`
		Mask             expected `json:"segm"`
		Images           []int64
		BoxOfThoseImages expected `json:"some"`
	}
	Real []struct {
		File  string
		Found int
		Box   expected `json:"bbox"`
		Mask  expected `json:"segm"`
	}
}

func goldens(t testing.TB) (g detectionGoldens) {
	t.Helper()
	if err := json.Unmarshal(detectionsJSON, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// close fails if a figure isn't pycocotools' to the last digits but two.
func (e expected) compare(t *testing.T, what string, s *DetectionScores) {
	t.Helper()
	for i, v := range s.fields() {
		if math.Abs(*v-e.Stats[i]) > 1e-12 {
			t.Errorf("%s: figure %d is %v, want %v", what, i, *v, e.Stats[i])
		}
	}
	if len(s.Classes) != len(e.Classes) {
		t.Fatalf("%s: %d classes, want %d", what, len(s.Classes), len(e.Classes))
	}
	for i, c := range s.Classes {
		if math.Abs(c.AP-e.Classes[i]) > 1e-12 {
			t.Errorf("%s: AP of %s is %v, want %v", what, c.Name, c.AP, e.Classes[i])
		}
	}
}

func TestDetectionsAsPycocotoolsHasThem(t *testing.T) {
	for _, c := range goldens(t).Cases {
		truth, err := coco.Parse(c.Name, c.Truth)
		if err != nil {
			t.Fatal(err)
		}
		results, err := coco.ParseResults(c.Name, c.Results, truth)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []struct {
			what string
			c    DetectionConfig
			want expected
		}{
			{"boxes", DetectionConfig{}, c.Box},
			{"masks", DetectionConfig{Masks: true}, c.Mask},
			{"some pictures", DetectionConfig{Images: c.Images}, c.BoxOfThoseImages},
		} {
			s, err := Detections(truth, results, k.c)
			if err != nil {
				t.Errorf("%s, %s: %v", c.Name, k.what, err)
				continue
			}
			k.want.compare(t, c.Name+", "+k.what, s)
			if zero := c.Name == "id 0"; zero != (len(s.Notes) > 0) {
				t.Errorf("%s: notes %q", c.Name, s.Notes)
			}
		}
	}
}

// `ignore` counts only where it is asked for, and then as a crowd does.
func TestIgnore(t *testing.T) {
	truth, err := coco.Parse("t", []byte(`{"images": [{"id": 1, "file_name": "1", "width": 100, "height": 100}], "categories": [{"id": 1, "name": "a"}], "annotations": [
		{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]}, {"id": 2, "image_id": 1, "category_id": 1, "bbox": [50, 50, 10, 10], "ignore": 1}]}`))
	if err != nil {
		t.Fatal(err)
	}
	results := []coco.Result{{Image: 1, Category: 1, Box: [4]float64{50, 50, 10, 10}, Score: 0.9}, {Image: 1, Category: 1, Box: [4]float64{0, 0, 10, 10}, Score: 0.8}}
	for _, c := range []struct {
		results []coco.Result
		ignore  bool
		want    float64
	}{{results, true, 1}, {results, false, 1}, {results[1:], true, 1}, {results[1:], false, 51. / 101}, {results[:1], true, 0}} {
		s, err := Detections(truth, c.results, DetectionConfig{Ignore: c.ignore})
		if err != nil || math.Abs(s.AP-c.want) > 1e-12 {
			t.Errorf("%d results, ignore %v: AP %v, %v, want %v", len(c.results), c.ignore, s.AP, err, c.want)
		}
	}
}

// An area of exactly 32² is small and medium, one of 96² medium and large.
func TestSizesIncludeTheirBounds(t *testing.T) {
	for area, want := range map[float64][3]bool{
		1023: {true, false, false}, 1024: {true, true, false}, 1025: {false, true, false},
		9215: {false, true, false}, 9216: {false, true, true}, 9217: {false, false, true},
	} {
		truth, err := coco.Parse("t", fmt.Appendf(nil, `{"images": [{"id": 1, "file_name": "1", "width": 200, "height": 200}], "categories": [{"id": 1, "name": "a"}],
			"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 50], "area": %v}]}`, area))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Detections(truth, []coco.Result{{Image: 1, Category: 1, Box: [4]float64{0, 0, 50, 50}, Score: 1}}, DetectionConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]bool{s.APSmall > 0.99, s.APMedium > 0.99, s.APLarge > 0.99}; got != want {
			t.Errorf("an area of %v: small, medium, large %v, want %v", area, got, want)
		}
	}
}

// noise are numbers in [0, 1) that testdata/detections.py computes alike.
func noise(n int, seed uint32) []float64 {
	out := make([]float64, n)
	for i := range out {
		v := uint32(i)*2654435761 + seed
		v ^= v >> 15
		v *= 0x2C1B3C6D
		v ^= v >> 12
		out[i] = float64(v>>8) / (1 << 24)
	}
	return out
}

// madeUp are detections as testdata/detections.py makes them of annotations.
func madeUp(t testing.TB, f *coco.File, seed uint32) (out []coco.Result) {
	t.Helper()
	var categories []int64
	for _, c := range f.Categories {
		categories = append(categories, c.ID)
	}
	slices.Sort(categories)
	n := -1
	for i := range 2 * len(f.Annotations) {
		a := &f.Annotations[i/2]
		if a.Crowd {
			continue
		}
		n++
		r := noise(8, seed+97*uint32(n))
		if r[0] < 0.2 {
			continue
		}
		s := 0.25 * r[1]
		x, y, w, h := a.Box[0], a.Box[1], a.Box[2], a.Box[3]
		dx, dy := float64(s*(r[2]-0.5)*w), float64(s*(r[3]-0.5)*h)
		sx, sy := 1+float64(s*(r[4]-0.5)), 1+float64(s*(r[5]-0.5))
		category := a.Category
		if r[6] < 0.1 {
			category = categories[n%len(categories)]
		}
		img := f.Image(a.Image)
		var moved [][]float64
		for _, p := range a.Polygons {
			var q []float64
			for i := 0; i < len(p); i += 2 {
				q = append(q, min(max(float64((p[i]-x)*sx)+x+dx, 0), float64(img.W)), min(max(float64((p[i+1]-y)*sy)+y+dy, 0), float64(img.H)))
			}
			moved = append(moved, q)
		}
		m, err := coco.FromPolygons(moved, img.W, img.H)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, coco.Result{Image: a.Image, Category: category, Box: [4]float64{x + dx, y + dy, w * sx, h * sy}, Score: math.Floor(r[7]*64) / 64, Segmentation: &m})
	}
	return out
}

func realData(t testing.TB) string {
	t.Helper()
	root := os.Getenv("SIGHTLINE_REALDATA")
	if root == "" {
		t.Skip("left out: SIGHTLINE_REALDATA isn't set")
	}
	return root
}

func TestDetectionsOnRealAnnotations(t *testing.T) {
	root := realData(t)
	for _, c := range goldens(t).Real {
		truth, err := coco.Read(filepath.Join(root, c.File))
		if err != nil {
			t.Fatal(err)
		}
		results := madeUp(t, truth, 5)
		if len(results) != c.Found {
			t.Fatalf("%s: %d detections, want %d", c.File, len(results), c.Found)
		}
		for _, masks := range []bool{false, true} {
			s, err := Detections(truth, results, DetectionConfig{Masks: masks})
			if err != nil {
				t.Fatal(err)
			}
			want := c.Box
			if masks {
				want = c.Mask
			}
			want.compare(t, c.File, s)
			t.Logf("%s, masks %v: AP %.4f, pycocotools %.4f", c.File, masks, s.AP, want.Stats[0])
		}
	}
}

func TestDetectionsRefuse(t *testing.T) {
	truth, err := coco.Parse("t.json", []byte(`{"images": [{"id": 1, "file_name": "1", "width": 10, "height": 10}], "categories": [{"id": 1, "name": "a"}],
		"annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	good := coco.Result{Image: 1, Category: 1, Box: [4]float64{0, 0, 5, 5}, Score: 1}
	other, fits := coco.Empty(10, 9), coco.Empty(10, 10)
	for _, c := range []struct {
		change func(*coco.Result, *DetectionConfig)
		want   string
	}{
		{func(r *coco.Result, _ *DetectionConfig) { r.Score = math.NaN() }, "result 1: of image 1: score is NaN"},
		{func(r *coco.Result, _ *DetectionConfig) { r.Score = math.Inf(1) }, "result 1: of image 1: score is +Inf"},
		{func(r *coco.Result, _ *DetectionConfig) { r.Image = 2 }, "result 1: of image 2, which t.json doesn't have"},
		{func(r *coco.Result, _ *DetectionConfig) { r.Category = 2 }, "result 1: of category 2, which t.json doesn't have"},
		{func(r *coco.Result, _ *DetectionConfig) { r.Box[3] = -1 }, "result 1: of image 1: bbox is [0, 0, 5, -1]"},
		{func(r *coco.Result, _ *DetectionConfig) { r.Box[0] = math.NaN() }, "bbox is [NaN, 0, 5, 5]"},
		{func(r *coco.Result, _ *DetectionConfig) { r.Segmentation = &other }, "the mask's size is 10×9, the picture's 10×10"},
		{func(_ *coco.Result, c *DetectionConfig) { c.Masks = true }, "result 1: of image 1: has no segmentation"},
		{func(r *coco.Result, c *DetectionConfig) { c.Masks, r.Segmentation = true, &fits }, "annotation 5 has a box and no segmentation"},
		{func(_ *coco.Result, c *DetectionConfig) { c.Images = []int64{3} }, "t.json has no image 3"},
	} {
		r, cfg := good, DetectionConfig{}
		c.change(&r, &cfg)
		if _, err := Detections(truth, []coco.Result{r}, cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	flat := good
	flat.Box[2] = 0
	s, err := Detections(truth, []coco.Result{flat}, DetectionConfig{})
	if err != nil || s.AP != 0 || len(s.Notes) != 1 {
		t.Errorf("a box without size: %+v, %v", s, err)
	}
	s, err = Detections(truth, nil, DetectionConfig{})
	if err != nil || s.AP != 0 || s.AR100 != 0 || s.APLarge != -1 {
		t.Errorf("no results: %+v, %v", s, err)
	}
}

// benchmarks: the pictures of coco129 with a hundred detections of each of the
// 80 classes, a million in all, and with a hundred detections a picture.
func BenchmarkDetections(b *testing.B) {
	root := realData(b)
	truth, err := coco.Read(filepath.Join(root, "coco129/annotations.json"))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		every bool
	}{{"100 a picture", false}, {"100 a picture and class", true}} {
		var results []coco.Result
		for _, img := range truth.Images {
			r := noise(6*100*80, uint32(img.ID))
			for k, category := range truth.Categories {
				for i := range 100 {
					v := r[6*(k*100+i):]
					if c.every || i == 0 || k < 20 && i == 1 {
						results = append(results, coco.Result{Image: img.ID, Category: category.ID, Score: v[0], Box: [4]float64{v[1] * 300, v[2] * 300, v[3]*200 + 1, v[4]*200 + 1}})
					}
				}
			}
		}
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Detections(truth, results, DetectionConfig{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(results)), "detections")
		})
	}
	for _, name := range []string{"bsdata/annotations_train.json", "coco129/annotations.json"} {
		b.Run("masks of "+name, func(b *testing.B) {
			truth, err := coco.Read(filepath.Join(root, name))
			if err != nil {
				b.Fatal(err)
			}
			results := madeUp(b, truth, 5)
			for b.Loop() {
				if _, err := Detections(truth, results, DetectionConfig{Masks: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
