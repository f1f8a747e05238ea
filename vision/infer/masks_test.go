package infer

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"io"
	"math"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// maskGolden is a case of testdata/masks.py.
type maskGolden struct {
	Family        Family
	Classes       int
	Tensor, Frame [2]int
	Confidence    float32
	NMS           float32
	Seed          uint32
	Rows          int
	Detections    [][]float64 // class, score, x, y, w, h
	Masks         []byte      // a bit for each pixel of each detection, in zlib

	Form             string
	Map              [2]int
	Resize           Resize
	Activation       Activation
	Background, Area int
	Pixel            float32
	Place            [4]float64
	Regions          [][3]float64 // class, score, pixels
	Picture          []byte       // of each pixel the numbers of its regions, from 1, in sum; uint16 in zlib
}

func maskGoldens(t testing.TB, family Family) []maskGolden {
	b, err := os.ReadFile("testdata/masks.json")
	if err != nil {
		t.Fatal(err)
	}
	var all, out []maskGolden
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		if g.Family == family {
			out = append(out, g)
		}
	}
	return out
}

func inflate(t testing.TB, b []byte) []byte {
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// affine is noise × by + plus, rounded as NumPy does it.
func affine(v []float32, by, plus float32) []float32 {
	for i := range v {
		p := v[i] * by
		v[i] = p + plus
	}
	return v
}

func (g maskGolden) spec() Spec {
	s := g.Family.defaults()
	s.Labels = make([]Label, g.Classes)
	if g.Tensor[0] > 0 {
		s.Input.Width, s.Input.Height = g.Tensor[0], g.Tensor[1]
	}
	if g.Confidence > 0 {
		s.Confidence, s.NMS = g.Confidence, g.NMS
	}
	if g.Resize != "" {
		s.Input.Resize, s.Input.Anchor = g.Resize, Centre
	}
	s.Activation = g.Activation
	if g.Family == Segmentation {
		s.Background, s.MinArea, s.Pixel, s.MaxDetections = g.Background, g.Area, g.Pixel, MaxDetections
	}
	return s
}

// instances are the outputs of yolov8-seg.
func (g maskGolden) instances() []Output {
	w, h, n := g.Tensor[0], g.Tensor[1], gridCells(g.Tensor[0], g.Tensor[1])
	protos := Output{Name: "output1", Shape: []int64{1, 32, int64(h / 4), int64(w / 4)}, Data: affine(tensorNoise(32*(w/4)*(h/4), g.Seed+1), 2, -1)}
	if g.Rows > 0 {
		rows := tensorNoise(g.Rows*38, g.Seed)
		for p := range g.Rows {
			r := rows[p*38 : (p+1)*38]
			for k, by := range [...]float32{float32(w), float32(h)} {
				side := r[2+k] * 0.7
				r[2+k] = (r[k] + side) * by
				r[k] *= by
			}
			r[5] = float32(math.Floor(float64(r[5] * float32(g.Classes))))
			affine(r[6:], 2, -1)
		}
		return []Output{{Name: "output0", Shape: []int64{1, int64(g.Rows), 38}, Data: rows}, protos}
	}
	out := tensorNoise(n*(36+g.Classes), g.Seed)
	for k, by := range [...]float32{float32(w), float32(h), 60, 60} {
		affine(out[k*n:(k+1)*n], by, 0)
	}
	affine(out[(4+g.Classes)*n:], 2, -1)
	return []Output{{Name: "output0", Shape: []int64{1, int64(36 + g.Classes), int64(n)}, Data: out}, protos}
}

// paint adds n to a mask's pixels.
func paint(picture []uint16, w int, m *vision.Mask, n int) {
	m.Spans(func(y, x0, x1 int) {
		for x := x0; x < x1; x++ {
			picture[y*w+x] += uint16(n)
		}
	})
}

// TestInstanceMasksAreUltralytics: of 1,000 mask pixels less than one may differ,
// for PyTorch computes positions in float32. Today 1 of 145,296 differs.
func TestInstanceMasksAreUltralytics(t *testing.T) {
	differ, total := 0, 0
	for n, g := range maskGoldens(t, YOLOv8Seg) {
		w, h := g.Frame[0], g.Frame[1]
		spec := g.spec()
		seen, err := NewDecoder(spec).Decode(g.instances(), ultralyticsPlace(spec.Input, w, h), w, h)
		if err != nil || seen.Dropped != 0 {
			t.Fatalf("case %d: %v, %d dropped", n, err, seen.Dropped)
		}
		var got [][]float64
		for _, d := range seen.Detections {
			got = append(got, []float64{float64(d.Class), float64(d.Score), float64(d.Box.X), float64(d.Box.Y), float64(d.Box.W), float64(d.Box.H)})
		}
		near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 2e-3 })
		if diff := cmp.Diff(g.Detections, got, near); diff != "" {
			t.Fatalf("case %d (-reference +got):\n%s", n, diff)
		}
		bits, inside := inflate(t, g.Masks), make([]uint16, w*h)
		off, all := 0, 0
		for k, d := range seen.Detections {
			clear(inside)
			paint(inside, w, d.Mask, 1)
			for p, v := range inside {
				at := k*w*h + p
				want := uint16(bits[at/8] >> (7 - at%8) & 1)
				all += int(want)
				if v != want {
					off++
				}
			}
		}
		t.Logf("case %d: %d of %d mask pixels differ", n, off, all)
		differ, total = differ+off, total+all
	}
	if differ*1000 > total || total == 0 {
		t.Errorf("%d of %d mask pixels differ", differ, total)
	}
}

// ultralyticsPlace is Ultralytics 8.4's placement: each side's gain is that of the
// rounded picture.
func ultralyticsPlace(in Input, w, h int) Placement {
	at, p := in.place(w, h)
	p.GainX, p.GainY = float64(at.w)/float64(w), float64(at.h)/float64(h)
	return p
}

// output is the map of a case of segmentation.
func (g maskGolden) output() Output {
	w, h := g.Map[0], g.Map[1]
	data := tensorNoise(g.Classes*w*h, g.Seed)
	switch g.Form {
	case "classes":
		affine(data, 8, 0)
	case "each":
		affine(data, 8, -5)
	}
	return Output{Name: "out", Shape: []int64{1, int64(g.Classes), int64(h), int64(w)}, Data: data}
}

// TestRegionsAreTheReferences: as of PyTorch's interpolate and SciPy's label. The
// same number of regions, with the same scores to 1e-5; of 1,000 pixels less than
// one may differ, and today none does.
func TestRegionsAreTheReferences(t *testing.T) {
	differ, total := 0, 0
	for n, g := range maskGoldens(t, Segmentation) {
		w, h := g.Frame[0], g.Frame[1]
		at := Placement{GainX: g.Place[0], GainY: g.Place[1], PadX: g.Place[2], PadY: g.Place[3]}
		seen, err := NewDecoder(g.spec()).Decode([]Output{g.output()}, at, w, h)
		if err != nil || seen.Dropped != 0 {
			t.Fatalf("case %d: %v, %d dropped", n, err, seen.Dropped)
		}
		if len(seen.Detections) != len(g.Regions) {
			t.Errorf("case %d: %d regions, want %d", n, len(seen.Detections), len(g.Regions))
			continue
		}
		picture, want := make([]uint16, w*h), inflate(t, g.Picture)
		for k, d := range seen.Detections {
			ref := g.Regions[k]
			if d.Class != int(ref[0]) || math.Abs(float64(d.Score)-ref[1]) > 1e-5 || d.Mask.Area() != int(ref[2]) || d.Box != boundsOf(d.Mask) {
				t.Errorf("case %d, region %d: class %d, score %v, %d pixels, box %v; want %v", n, k, d.Class, d.Score, d.Mask.Area(), d.Box, ref)
			}
			paint(picture, w, d.Mask, k+1)
		}
		for p, v := range picture {
			total++
			if v != uint16(want[2*p])|uint16(want[2*p+1])<<8 {
				differ++
			}
		}
	}
	t.Logf("%d of %d pixels differ", differ, total)
	if differ*1000 > total || total == 0 {
		t.Errorf("%d of %d pixels differ", differ, total)
	}
}

func TestClassesAreThoseOfPyTorch(t *testing.T) {
	for n, g := range maskGoldens(t, Classification) {
		data := affine(tensorNoise(g.Classes, g.Seed), 12, 0)
		if g.Activation == Sigmoid {
			affine(data, 1, -6)
		}
		spec := g.spec()
		spec.Input.Width, spec.Input.Height = 224, 224
		for _, shape := range [][]int64{{1, int64(g.Classes)}, {1, int64(g.Classes), 1, 1}} {
			seen, err := NewDecoder(spec).Decode([]Output{{Name: "output", Shape: shape, Data: data}}, Placement{GainX: 1, GainY: 1}, 300, 200)
			if err != nil || len(seen.Detections) != len(g.Detections) {
				t.Fatalf("case %d: %d classes, %v; want %d", n, len(seen.Detections), err, len(g.Detections))
			}
			for k, d := range seen.Detections {
				if want := g.Detections[k]; d.Class != int(want[0]) || math.Abs(float64(d.Score)-want[1]) > 1e-6 || d.Box != (vision.Box{W: 300, H: 200}) {
					t.Errorf("case %d: %+v, want %v", n, d, want)
				}
			}
		}
	}
}
