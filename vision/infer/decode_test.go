package infer

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// tensorNoise gives the numbers that testdata/decode.py computes alike.
func tensorNoise(n int, seed uint32) []float32 {
	out := make([]float32, n)
	for i := range out {
		v := uint32(i)*2654435761 + seed
		v ^= v >> 15
		v *= 0x2C1B3C6D
		v ^= v >> 12
		out[i] = float32(float64(v>>8) / (1 << 24))
	}
	return out
}

// decodeOne decodes the only output of a run.
func decodeOne(d *Decoder, out []float32, shape []int64, at Placement, w, h int) ([]vision.Detection, int, error) {
	seen, err := d.Decode([]Output{{Name: "output0", Shape: shape, Data: out}}, at, w, h)
	return seen.Detections, seen.Dropped, err
}

type decodeGolden struct {
	Family          Family
	Classes         int
	Tensor, Frame   [2]int
	Confidence, NMS float32
	Seed            uint32
	Multi           bool
	Detections      [][6]float64 // class, score, x, y, w, h
}

func (g decodeGolden) spec() Spec {
	s := g.Family.defaults()
	s.Labels = make([]Label, g.Classes)
	s.Input.Width, s.Input.Height = g.Tensor[0], g.Tensor[1]
	s.Confidence, s.NMS, s.MultiLabel = g.Confidence, g.NMS, g.Multi || g.Family == YOLOX
	return s
}

// output is a raw output of the family's shape.
func (g decodeGolden) output() ([]float32, []int64) {
	w, h := g.Tensor[0], g.Tensor[1]
	n := gridCells(w, h)
	switch g.Family {
	case YOLOX:
		return tensorNoise(n*(5+g.Classes), g.Seed), []int64{1, int64(n), int64(5 + g.Classes)}
	case YOLOv8:
		out := tensorNoise(n*(4+g.Classes), g.Seed)
		for plane, by := range [...]float32{float32(w), float32(h), 60, 60} {
			for i := range n {
				out[plane*n+i] *= by
			}
		}
		return out, []int64{1, int64(4 + g.Classes), int64(n)}
	}
	n = w / 16 * (h / 16)
	return tensorNoise(n*(5+g.Classes), g.Seed), []int64{1, int64(5 + g.Classes), int64(h / 16), int64(w / 16)}
}

func TestDecodersMatchTheReference(t *testing.T) {
	b, err := os.ReadFile("testdata/decode.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []decodeGolden
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for n, g := range all {
		spec := g.spec()
		out, shape := g.output()
		_, at := spec.Input.place(g.Frame[0], g.Frame[1])
		dets, dropped, err := decodeOne(NewDecoder(spec), out, shape, at, g.Frame[0], g.Frame[1])
		if err != nil || dropped != 0 {
			t.Fatalf("case %d: %v, %d dropped", n, err, dropped)
		}
		var got [][6]float64
		for _, d := range dets {
			got = append(got, [6]float64{float64(d.Class), float64(d.Score), float64(d.Box.X), float64(d.Box.Y), float64(d.Box.W), float64(d.Box.H)})
		}
		near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 2e-3 })
		if diff := cmp.Diff(g.Detections, got, near); diff != "" {
			t.Errorf("case %d, %s (-reference +got):\n%s", n, g.Family, diff)
		}
	}
}

func rowsSpec() Spec {
	s := YOLOv8.defaults()
	s.Labels = []Label{{Name: "a"}, {Name: "b"}}
	s.Input.Width, s.Input.Height = 64, 64
	return s
}

func TestRowsWithNMSInside(t *testing.T) {
	nan := float32(math.NaN())
	rows := []float32{
		0, 0, 32, 32, 0.9, 1,
		1, 0, 32, 32, 0.8, 1, // overlaps, stays: the graph has decided
		0, 0, 32, 32, 0.2, 1, // under the threshold
		0, 0, 0, 0, 0, 0, // padding
		0, 0, 32, 32, 0.7, 2, // no such class
		0, 0, nan, 32, 0.6, 0,
		0, 0, 32, 32, nan, 0,
		-20, 8, 200, 16, 0.5, 0, // clipped
		70, 0, 90, 9, 0.4, 0, // outside
	}
	spec := rowsSpec()
	at := Placement{GainX: 0.5, GainY: 0.5, PadY: 8}
	dets, dropped, err := decodeOne(NewDecoder(spec), rows, []int64{1, int64(len(rows) / 6), 6}, at, 128, 96)
	if err != nil {
		t.Fatal(err)
	}
	want := []vision.Detection{
		{Label: "b", Class: 1, Score: 0.9, Box: vision.Box{W: 64, H: 48}},
		{Label: "b", Class: 1, Score: 0.8, Box: vision.Box{X: 2, W: 62, H: 48}},
		{Label: "a", Class: 0, Score: 0.5, Box: vision.Box{W: 128, H: 16}},
	}
	if diff := cmp.Diff(want, dets); diff != "" || dropped != 3 {
		t.Errorf("%d dropped, want 3; detections (-want +got):\n%s", dropped, diff)
	}
}

func TestValuesThatAreNoNumbersAreCounted(t *testing.T) {
	for name, bad := range map[string]float32{"NaN": float32(math.NaN()), "-NaN": math.Float32frombits(0xffc00000),
		"Inf": float32(math.Inf(1)), "huge": 3e38, "minus": float32(math.Inf(-1))} {
		check := func(d *Decoder, outs []Output) {
			for _, o := range outs {
				for i := range o.Data {
					o.Data[i] = bad
				}
			}
			seen, err := d.Decode(outs, Placement{GainX: 1, GainY: 1}, 64, 64)
			none := name == "minus" || name == "huge" && d.family.name == SSD300 // no class is above the others
			if err != nil || len(seen.Detections) != 0 || (seen.Dropped == 0 && !none) {
				t.Errorf("%s, %s: %d detections, %d dropped, %v", d.spec.Family, name, len(seen.Detections), seen.Dropped, err)
			}
		}
		for _, family := range []Family{YOLOX, YOLOv8, FastestDet} { // the masks' families have tests of their own
			g := decodeGolden{Family: family, Classes: 2, Tensor: [2]int{64, 64}, Confidence: 0.25, NMS: 0.5, Seed: 5}
			out, shape := g.output()
			check(NewDecoder(g.spec()), []Output{{Shape: shape, Data: out}})
		}
		for _, g := range familyGoldens(t) {
			check(NewDecoder(g.spec()), g.outputs())
		}
	}
}

func TestShapesThatDontFit(t *testing.T) {
	for _, c := range []struct {
		family Family
		values int
		shape  []int64
	}{
		{YOLOX, 84 * 7, []int64{1, 84, 8}},
		{YOLOX, 84 * 8, []int64{1, 84, 8}},
		{YOLOX, 83 * 7, []int64{1, 83, 7}},
		{YOLOX, 0, []int64{1, 84, 0}},
		{YOLOX, 84 * 7, []int64{1, -84, -7}},
		{YOLOX, 84 * 7, []int64{84, 7}},
		{YOLOX, 0, nil},
		{YOLOX, 0, []int64{1 << 31, 1 << 31, 1 << 31, 1 << 31}},
		{YOLOv8, 84 * 7, []int64{1, 7, 84}},
		{YOLOv8, 2 * 84 * 6, []int64{2, 6, 84}},
		{FastestDet, 7 * 15, []int64{1, 7, 3, 5}},
	} {
		g := decodeGolden{Family: c.family, Classes: 2, Tensor: [2]int{64, 64}, Confidence: 0.25, NMS: 0.5}
		if dets, _, err := decodeOne(NewDecoder(g.spec()), make([]float32, c.values), c.shape, Placement{GainX: 1, GainY: 1}, 64, 64); err == nil {
			t.Errorf("%s took %d values as %v: %v", c.family, c.values, c.shape, dets)
		}
	}
}

// fuzzCase is a small output of any family.
func fuzzCase(goldens []familyGolden, family, classes uint8, seed uint64) (Spec, []Output) {
	if n := int(family) % (3 + len(goldens)); n >= 3 {
		g := goldens[n-3]
		g.Seed, g.Multi = uint32(seed), seed%2 == 0
		spec := g.spec()
		spec.Confidence = 0.01
		return spec, g.outputs()
	}
	g := decodeGolden{Family: Families()[int(family)%(3+len(goldens))], Classes: int(classes)%90 + 1, Tensor: [2]int{64, 96},
		Confidence: 0.01, NMS: 0.5, Seed: uint32(seed), Multi: seed%2 == 0}
	out, shape := g.output()
	return g.spec(), []Output{{Name: "output0", Shape: shape, Data: out}}
}

// FuzzDecode puts strange values into outputs of every family and form.
func FuzzDecode(f *testing.F) {
	var goldens []familyGolden
	for _, g := range familyGoldens(f) {
		if g.Tensor[0] < 320 {
			goldens = append(goldens, g)
		}
	}
	f.Add(uint8(0), uint8(2), uint64(1), []byte{0, 0, 0xc0, 0x7f})
	f.Add(uint8(1), uint8(1), uint64(2), []byte{})
	for n := range 3 + len(goldens) {
		f.Add(uint8(n), uint8(90), uint64(n), []byte{0xff, 0xff, 0x7f, 0x7f, 0, 0, 0x80, 0xff, 0, 0, 0xc0, 0xff, 0, 0, 0x80, 0xbf, 0, 0, 0x80, 0x3f})
	}
	f.Fuzz(func(t *testing.T, family, classes uint8, seed uint64, strange []byte) {
		spec, outs := fuzzCase(goldens, family, classes, seed)
		r := rand.New(rand.NewPCG(seed, 0))
		for ; len(strange) >= 4; strange = strange[4:] {
			v := math.Float32frombits(binary.LittleEndian.Uint32(strange))
			for range 20 {
				o := outs[r.IntN(len(outs))].Data
				o[r.IntN(len(o))] = v
			}
		}
		seen, err := NewDecoder(spec).Decode(outs, Placement{GainX: 0.5, GainY: 0.25, PadX: 3}, 100, 50)
		dets := seen.Detections
		if err != nil || seen.Dropped < 0 || len(dets) > spec.MaxDetections {
			t.Fatalf("%d detections, %d dropped, %v", len(dets), seen.Dropped, err)
		}
		for i, d := range dets {
			b := d.Box
			if !(d.Score > 0 && d.Score <= 1 && b.X >= 0 && b.Y >= 0 && b.W > 0 && b.H > 0 && b.X+b.W <= 100.001 && b.Y+b.H <= 50.001) {
				t.Fatalf("detection %d is %+v", i, d)
			}
			if i > 0 && d.Score > dets[i-1].Score {
				t.Fatalf("detection %d scores more than the one before it", i)
			}
			if o := d.Oriented; o != nil && (o.X-o.X != 0 || o.Y-o.Y != 0 || o.W-o.W != 0 || o.H-o.H != 0 || o.Angle-o.Angle != 0) {
				t.Fatalf("detection %d is turned as %+v", i, *o)
			}
		}
	})
}

func FuzzUnpackDetections(f *testing.F) {
	f.Add(packDetections(nil, []vision.Detection{{Class: 1, Score: 0.5, Box: vision.Box{X: 1, Y: 2, W: 3, H: 4}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		labels := []Label{{Name: "a"}, {Name: "b"}}
		dets, err := unpackDetections(b, labels)
		if err == nil && string(packDetections(nil, dets)) != string(b) {
			t.Errorf("%x came back as %x", b, packDetections(nil, dets))
		}
	})
}

// BenchmarkDecode takes outputs with about so many candidates.
func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		family Family
		conf   float32
		side   int
	}{{YOLOX, 0.25, 416}, {YOLOX, 0.001, 416}, {YOLOv8, 0.25, 640}, {YOLOv8, 0.001, 640}, {FastestDet, 0.01, 352}} {
		g := decodeGolden{Family: c.family, Classes: 80, Tensor: [2]int{c.side, c.side}, Confidence: c.conf, NMS: 0.65, Seed: 1, Multi: c.conf < valBelow}
		out, shape := g.output()
		for i, v := range out { // most scores are near 0, as a model's are
			if v < 0.85 {
				out[i] = v * 1e-4
			}
		}
		d := NewDecoder(g.spec())
		b.Run(fmt.Sprintf("%s-%v", c.family, c.conf), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := decodeOne(d, out, shape, Placement{GainX: 1, GainY: 1}, 1920, 1080); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(d.keys)), "candidates")
		})
	}
}
