package infer

import (
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// goldenOutput says how the values of an output come from noise, as
// testdata/families.py has it: each column along Axis has its own range, the last
// one's counts for the rest; a range of three is of whole numbers.
type goldenOutput struct {
	Name   string
	Shape  []int64
	Axis   int
	Ranges [][]float64
}

func (o goldenOutput) fill(seed uint32) Output {
	n, inner := int64(1), int64(1)
	for k, d := range o.Shape {
		n *= d
		if k > o.Axis {
			inner *= d
		}
	}
	data := tensorNoise(int(n), seed)
	for i, v := range data {
		r := o.Ranges[min(int64(i)/inner%o.Shape[o.Axis], int64(len(o.Ranges)-1))]
		f := r[0] + float64(v)*(r[1]-r[0])
		if len(r) == 3 {
			f = math.Floor(f)
		}
		data[i] = float32(f)
	}
	return Output{Name: o.Name, Shape: o.Shape, Data: data}
}

type familyGolden struct {
	Family          Family
	Classes         int
	Labels          []string
	Tensor, Frame   [2]int
	Confidence, NMS float32
	Seed            uint32
	Multi           bool
	Most            int
	Outputs         []goldenOutput
	Detections      [][]float64 // class, score, x, y, w, h; and of a turned box its own x, y, w, h, angle
}

func (g familyGolden) spec() Spec {
	s := g.Family.defaults()
	s.Labels = make([]Label, g.Classes)
	for n, name := range g.Labels {
		s.Labels[n].Name = name
	}
	if len(s.Labels) > 0 {
		s.Background = background(s.Family, s.Labels)
	}
	s.Input.Width, s.Input.Height = g.Tensor[0], g.Tensor[1]
	s.Confidence, s.NMS, s.MultiLabel, s.MaxDetections = g.Confidence, g.NMS, g.Multi, g.Most
	return s
}

func (g familyGolden) outputs() []Output {
	var outs []Output
	for n, o := range g.Outputs {
		outs = append(outs, o.fill(g.Seed+uint32(n)))
	}
	return outs
}

func familyGoldens(t testing.TB) []familyGolden {
	f, err := os.Open("testdata/families.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []familyGolden
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// values of a detection as the goldens have them.
func values(d vision.Detection) []float64 {
	v := []float64{float64(d.Class), float64(d.Score), float64(d.Box.X), float64(d.Box.Y), float64(d.Box.W), float64(d.Box.H)}
	if o := d.Oriented; o != nil {
		v = append(v, float64(o.X), float64(o.Y), float64(o.W), float64(o.H), float64(o.Angle))
	}
	return v
}

// TestDetectionsAreTheTools compares with what the tools make of the same outputs.
func TestDetectionsAreTheTools(t *testing.T) {
	const scores, pixels = 1e-6, 0.01
	count := map[Family]int{}
	worstScore, worstBox := 0.0, 0.0
	for n, g := range familyGoldens(t) {
		spec := g.spec()
		_, at := spec.Input.place(g.Frame[0], g.Frame[1])
		seen, err := NewDecoder(spec).Decode(g.outputs(), at, g.Frame[0], g.Frame[1])
		if err != nil || seen.Dropped != 0 {
			t.Errorf("case %d, %s: %v, %d dropped", n, g.Family, err, seen.Dropped)
			continue
		}
		if len(seen.Detections) != len(g.Detections) {
			t.Errorf("case %d, %s: %d detections, want %d", n, g.Family, len(seen.Detections), len(g.Detections))
		}
		for i, d := range seen.Detections[:min(len(seen.Detections), len(g.Detections))] {
			got, want := values(d), g.Detections[i]
			if len(got) != len(want) || got[0] != want[0] || math.Abs(got[1]-want[1]) > scores {
				t.Fatalf("case %d, %s, detection %d:\n got %v\nwant %v", n, g.Family, i, got, want)
			}
			worstScore = max(worstScore, math.Abs(got[1]-want[1]))
			for k := 2; k < len(got); k++ {
				worstBox = max(worstBox, math.Abs(got[k]-want[k]))
				if math.Abs(got[k]-want[k]) > pixels {
					t.Fatalf("case %d, %s, detection %d:\n got %v\nwant %v", n, g.Family, i, got, want)
				}
			}
			count[g.Family]++
		}
	}
	t.Logf("%v detections differ by at most %.1e in score and %.1e in pixels or radians", count, worstScore, worstBox)
}
