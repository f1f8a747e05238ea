package infer

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

// mapSpec is a spec of a family for a tensor of 64×48 without resizing.
func mapSpec(f Family, classes int) Spec {
	s := f.defaults()
	s.Labels = make([]Label, classes)
	s.Input.Width, s.Input.Height = 64, 48
	return s
}

var sameSize = Placement{GainX: 1, GainY: 1}

func mapOf(name string, values []float32, shape ...int64) Output {
	return Output{Name: name, Shape: shape, Data: values}
}

// seen decodes for a frame of 64×48 and fails on an error.
func seen(t *testing.T, spec Spec, outs ...Output) Seen {
	t.Helper()
	s, err := NewDecoder(spec).Decode(outs, sameSize, 64, 48)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// spots is a map of 64×48 with a score at places.
func spots(score float32, at ...[2]int) []float32 {
	out := make([]float32, 64*48)
	for _, p := range at {
		out[p[1]*64+p[0]] = score
	}
	return out
}

func TestRegionsTouchOverCorners(t *testing.T) {
	for name, c := range map[string]struct {
		at   [][2]int
		want int
	}{
		"down right":        {[][2]int{{3, 3}, {4, 4}}, 1},
		"down left":         {[][2]int{{4, 3}, {3, 4}}, 1},
		"two apart":         {[][2]int{{3, 3}, {5, 3}}, 2},
		"two rows apart":    {[][2]int{{3, 3}, {3, 5}}, 2},
		"a V joins late":    {[][2]int{{1, 1}, {5, 1}, {2, 2}, {4, 2}, {3, 3}}, 1},
		"a W joins late":    {[][2]int{{1, 1}, {5, 1}, {9, 1}, {2, 2}, {4, 2}, {6, 2}, {8, 2}, {3, 3}, {7, 3}}, 1},
		"the frame's edges": {[][2]int{{0, 0}, {63, 0}, {0, 47}, {63, 47}}, 4},
	} {
		s := seen(t, mapSpec(Segmentation, 1), mapOf("map", spots(0.75, c.at...), 1, 1, 48, 64))
		area := 0
		for _, d := range s.Detections {
			area += d.Mask.Area()
		}
		if len(s.Detections) != c.want || area != len(c.at) || *s.Score != 0.75 {
			t.Errorf("%s: %d regions of %d pixels in all, want %d of %d", name, len(s.Detections), area, c.want, len(c.at))
		}
	}
}

// TestRegionsAreFloodFills: random maps at the frame's size, against a flood fill.
func TestRegionsAreFloodFills(t *testing.T) {
	for seed := range uint32(60) {
		values := tensorNoise(64*48, seed)
		spec := mapSpec(Segmentation, 1)
		spec.Pixel, spec.MaxDetections = 0.4+float32(seed)/120, MaxDetections
		s := seen(t, spec, mapOf("map", values, 1, 48, 64))
		want := flood(values, spec.Pixel)
		var got []int
		union := 0
		for _, d := range s.Detections {
			got, union = append(got, d.Mask.Area()), union+d.Mask.Area()
			d.Mask.Spans(func(y, x0, x1 int) {
				for x := x0; x < x1; x++ {
					if values[y*64+x] < spec.Pixel {
						t.Fatalf("seed %d: pixel %d, %d isn't of any region", seed, x, y)
					}
				}
			})
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: regions of %v pixels, want %v", seed, got, want)
		}
	}
}

// flood gives the sizes of the 8-connected regions of a map of 64×48.
func flood(values []float32, at float32) (sizes []int) {
	done := make([]bool, len(values))
	for p := range values {
		size, todo := 0, []int{p}
		for len(todo) > 0 {
			q := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if done[q] || values[q] < at {
				continue
			}
			done[q], size = true, size+1
			for y := max(q/64-1, 0); y <= min(q/64+1, 47); y++ {
				for x := max(q%64-1, 0); x <= min(q%64+1, 63); x++ {
					todo = append(todo, y*64+x)
				}
			}
		}
		if size > 0 {
			sizes = append(sizes, size)
		}
	}
	return sizes
}

// TestTheScoreSaysWhether: rules decide by the picture's own score, whatever the map shows.
func TestTheScoreSaysWhether(t *testing.T) {
	spec := mapSpec(Segmentation, 1)
	two := spots(0.9, [2]int{5, 6}, [2]int{6, 6}, [2]int{20, 20})
	for name, c := range map[string]struct {
		values []float32
		score  float32
		want   []float32
		whole  bool
	}{
		"surer than its map":    {two, 0.97, []float32{0.97, 0.9}, false},
		"less sure":             {two, 0.3, []float32{0.3, 0.3}, false},
		"nothing in the map":    {spots(0.4, [2]int{5, 6}), 0.8, []float32{0.8}, true},
		"nothing, and not sure": {spots(0.4, [2]int{5, 6}), 0.001, nil, false},
	} {
		s := seen(t, spec, mapOf("map", c.values, 1, 1, 48, 64), mapOf("score", []float32{c.score}, 1, 1))
		var got []float32
		for _, d := range s.Detections {
			got = append(got, d.Score)
		}
		if !slices.Equal(got, c.want) || c.whole && (s.Detections[0].Mask != nil || s.Detections[0].Box.W != 64) {
			t.Errorf("%s: %+v", name, s.Detections)
		}
	}
}

func TestSegmentationsOwnScoreAndNames(t *testing.T) {
	spec := mapSpec(Segmentation, 1)
	values := spots(0.9, [2]int{5, 6}, [2]int{6, 6})
	s := seen(t, spec, mapOf("map", values, 1, 1, 48, 64), mapOf("score", []float32{0.3}, 1, 1))
	want := []vision.Detection{{Score: 0.3, Box: vision.Box{X: 5, Y: 6, W: 2, H: 1}, Mask: &vision.Mask{X: 5, Y: 6, W: 2, H: 1, Runs: []uint32{0, 2}}}}
	if diff := cmp.Diff(want, s.Detections); diff != "" || *s.Score != 0.3 {
		t.Errorf("score %v (-want +got):\n%s", *s.Score, diff)
	}
	if got := []float32{s.Map.At(5, 6), s.Map.At(4, 6), s.Map.At(-1, 0), s.Map.At(64, 0)}; !slices.Equal(got, []float32{0.9, 0, 0, 0}) {
		t.Errorf("the map says %v", got)
	}
	// torchvision's second head isn't read, nor counted as a map
	for _, name := range []string{"out", "544"} {
		s = seen(t, spec, mapOf(name, values, 1, 1, 48, 64), mapOf("aux", spots(1, [2]int{0, 0}), 1, 1, 48, 64))
		if len(s.Detections) != 1 || *s.Score != 0.9 {
			t.Errorf("%s: %d regions, score %v", name, len(s.Detections), *s.Score)
		}
	}
}

func TestClassNumbers(t *testing.T) {
	values := spots(1, [2]int{5, 6}, [2]int{6, 6})
	values[6*64+7], values[47*64+63], values[0] = 2, 2, 9 // the last is no class
	spec := mapSpec(Segmentation, 3)
	spec.Background = 1
	for _, shape := range [][]int64{{1, 48, 64}, {1, 1, 48, 64}} {
		s := seen(t, spec, mapOf("argmax", values, shape...))
		var got [][3]int
		for _, d := range s.Detections {
			got = append(got, [3]int{d.Class, int(d.Box.X), d.Mask.Area()})
		}
		if diff := cmp.Diff([][3]int{{1, 5, 2}, {2, 7, 1}, {2, 63, 1}}, got); diff != "" || s.Dropped != 1 || *s.Score != 1 || s.Map.At(6, 6) != 1 {
			t.Errorf("%d dropped (-want +got):\n%s", s.Dropped, diff)
		}
	}
}

func TestAnomaly(t *testing.T) {
	spec := mapSpec(Anomaly, 1)
	mask := mapOf("pred_mask", make([]float32, 64*48), 1, 1, 48, 64)
	label := mapOf("pred_label", []float32{1}, 1, 1)
	full := vision.Box{W: 64, H: 48}
	for name, c := range map[string]struct {
		score  float32
		values []float32
		want   []vision.Detection
	}{
		"good":          {0.4, spots(0.3, [2]int{1, 1}), nil},
		"at the limit":  {0.5, spots(0.3, [2]int{1, 1}), nil},
		"two places":    {0.8, spots(0.7, [2]int{1, 1}, [2]int{3, 4}), []vision.Detection{{Score: 0.8, Box: vision.Box{X: 1, Y: 1, W: 3, H: 4}, Mask: &vision.Mask{X: 1, Y: 1, W: 3, H: 4, Runs: []uint32{0, 1, 10, 1}}}}},
		"nowhere":       {0.8, spots(0.3, [2]int{1, 1}), []vision.Detection{{Score: 0.8, Box: full}}},
		"good but seen": {0.2, spots(0.9, [2]int{1, 1}), nil},
	} {
		for _, shape := range [][]int64{{1}, {1, 1}} {
			s := seen(t, spec, mapOf("pred_score", []float32{c.score}, shape...), label, mapOf("anomaly_map", c.values, 1, 1, 48, 64), mask)
			if diff := cmp.Diff(c.want, s.Detections); diff != "" || *s.Score != c.score || s.Map == nil {
				t.Errorf("%s: score %v (-want +got):\n%s", name, *s.Score, diff)
			}
		}
	}
	s := seen(t, spec, mapOf("output", spots(0.7, [2]int{1, 1}), 1, 1, 48, 64)) // of older Anomalib
	if len(s.Detections) != 1 || *s.Score != 0.7 {
		t.Errorf("of a map alone: %+v", s)
	}
}

func TestWhatAMapCantBe(t *testing.T) {
	nan, plain := float32(math.NaN()), spots(0.7)
	for name, c := range map[string]struct {
		family  Family
		classes int
		outs    []Output
		want    string
	}{
		"logits":             {Segmentation, 1, []Output{mapOf("map", spots(4, [2]int{1, 1}), 1, 1, 48, 64)}, "aren't scores of 0 to 1 (there is 4): set activation"},
		"logits of two":      {Segmentation, 2, []Output{mapOf("map", spots(4, [2]int{1, 1}), 1, 2, 24, 64)}, "set activation"},
		"distances":          {Anomaly, 1, []Output{mapOf("output", spots(23, [2]int{1, 1}), 1, 1, 48, 64)}, "there is 23"},
		"the score is NaN":   {Anomaly, 1, []Output{mapOf("pred_score", []float32{nan}, 1), mapOf("anomaly_map", plain, 1, 1, 48, 64)}, "the picture's score is NaN"},
		"the score is large": {Segmentation, 1, []Output{mapOf("score", []float32{1.5}, 1, 1), mapOf("map", plain, 1, 1, 48, 64)}, "the picture's score is 1.5"},
		"other classes":      {Segmentation, 3, []Output{mapOf("map", plain, 1, 2, 24, 64)}, "it has 2 classes, there are 3 labels"},
		"several maps":       {Segmentation, 1, []Output{mapOf("a", plain, 1, 1, 48, 64), mapOf("b", plain, 1, 1, 48, 64)}, "named map if there are several"},
		"no plane":           {Anomaly, 1, []Output{mapOf("a", nil, 1, 0, 48, 64)}, "family anomaly needs an output of 1×C×height×width"},
		"no planes":          {Segmentation, 2, []Output{mapOf("a", nil, 1, 0, 48, 64)}, "family segmentation needs an output of 1×C×height×width"},
		"no map":             {Segmentation, 1, []Output{mapOf("a", plain, 64, 48)}, "family segmentation needs an output of 1×C×height×width"},
		"two pictures":       {Segmentation, 1, []Output{mapOf("map", plain, 2, 1, 24, 64)}, "family segmentation needs"},
		"classes of anomaly": {Anomaly, 1, []Output{mapOf("output", plain, 1, 2, 24, 64)}, "may be of family segmentation"},
		"an empty map":       {Segmentation, 1, []Output{mapOf("map", nil, 1, 1, 0, 64)}, "a map of 64×0 cells"},
		"class logits":       {Classification, 2, []Output{mapOf("logits", []float32{-1, 3}, 1, 2)}, "set activation"},
		"two vectors":        {Classification, 2, []Output{mapOf("a", []float32{0, 1}, 1, 2), mapOf("b", []float32{0, 1}, 1, 2)}, "family classification needs an output of 1×classes"},
		"no classes":         {Classification, 2, []Output{mapOf("a", nil, 1, 0)}, "family classification needs"},
		"no prototypes":      {YOLOv8Seg, 1, []Output{mapOf("a", make([]float32, 37*63), 1, 37, 63)}, "family yolov8-seg needs"},
		"no coefficients":    {YOLOv8Seg, 1, []Output{mapOf("a", make([]float32, 5*63), 1, 5, 63), mapOf("b", make([]float32, 32), 1, 32, 1, 1)}, "family yolov8-seg needs"},
	} {
		_, err := NewDecoder(mapSpec(c.family, c.classes)).Decode(c.outs, sameSize, 64, 48)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestBrokenValuesOfMapsAreCounted(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		values := spots(0.9, [2]int{5, 6})
		values[100], values[6*64+6] = bad, bad
		if s := seen(t, mapSpec(Segmentation, 1), mapOf("map", values, 1, 1, 48, 64)); s.Dropped != 2 || len(s.Detections) != 1 || s.Detections[0].Mask.Area() != 1 {
			t.Errorf("%v in one map: %+v", bad, s)
		}
		spec := mapSpec(Segmentation, 2)
		spec.Activation, spec.Background = Softmax, 1
		two := append(make([]float32, 64*48), values...)
		if s := seen(t, spec, mapOf("map", two, 1, 2, 48, 64)); s.Dropped != 2 || len(s.Detections) != 1 || s.Detections[0].Mask.Area() != 1 {
			t.Errorf("%v among two classes: %+v", bad, s)
		}
		class := mapSpec(Classification, 3)
		class.Activation = Softmax
		if s := seen(t, class, mapOf("logits", []float32{1, bad, 0}, 1, 3)); s.Dropped != 1 || len(s.Detections) != 0 {
			t.Errorf("%v among a classifier's: %+v", bad, s)
		}
		g := maskGolden{Family: YOLOv8Seg, Classes: 1, Tensor: [2]int{64, 64}, Confidence: 0.5, NMS: 0.7, Seed: 3}
		outs := g.instances()
		for k := range outs[1].Data {
			outs[1].Data[k] = bad
		}
		s, err := NewDecoder(g.spec()).Decode(outs, sameSize, 64, 64)
		if err != nil || s.Dropped == 0 || len(s.Detections) != 0 {
			t.Errorf("%v in the prototypes: %d dropped, %d detections, %v", bad, s.Dropped, len(s.Detections), err)
		}
	}
}

// TestHugeFrames: the work goes by the map, and memory by what is found.
func TestHugeFrames(t *testing.T) {
	spec := mapSpec(Segmentation, 1)
	huge := Placement{GainX: 64.0 / 20000, GainY: 48.0 / 20000}
	d := NewDecoder(spec)
	s, err := d.Decode([]Output{mapOf("map", spots(0.9, [2]int{5, 6}), 1, 1, 48, 64)}, huge, 20000, 20000)
	if err != nil || len(s.Detections) != 1 || s.Detections[0].Mask.Area() < 10_000 {
		t.Fatalf("%v: %+v", err, s.Detections)
	}
	if _, err := d.Decode([]Output{mapOf("map", spots(0.9), 1, 1, 48, 64)}, huge, 40000, 20000); err == nil {
		t.Error("a frame of 40,000 is taken")
	}
	one := Placement{GainX: 64, GainY: 48}
	if s, err = d.Decode([]Output{mapOf("map", slices.Repeat([]float32{0.8}, 64*48), 1, 1, 48, 64)}, one, 1, 1); err != nil || s.Detections[0].Mask.Area() != 1 {
		t.Errorf("one pixel: %v, %+v", err, s)
	}
	for _, at := range []Placement{{}, {GainX: math.NaN(), GainY: 1}, {GainX: 1, GainY: math.Inf(1)}, {GainX: -1, GainY: 1}, {GainX: 1, GainY: 1, PadX: 1e18}} {
		if s, err = d.Decode([]Output{mapOf("map", spots(0.8, [2]int{1, 1}), 1, 1, 48, 64)}, at, 64, 48); err != nil || len(s.Detections) != 0 {
			t.Errorf("%+v: %v, %+v", at, err, s)
		}
	}
}

// TestNoiseOverAHugeFrameEnds: more stretches than are kept.
func TestNoiseOverAHugeFrameEnds(t *testing.T) {
	const w, h = 1024, 64
	values := make([]float32, w*h)
	for k := range values {
		values[k] = float32(k % 2)
	}
	spec := mapSpec(Segmentation, 1)
	spec.Input.Width, spec.Input.Height = w, h
	_, err := NewDecoder(spec).Decode([]Output{mapOf("map", values, 1, 1, h, w)}, Placement{GainX: w / 20000.0, GainY: h / 20000.0}, 20000, 20000)
	if err == nil || !strings.Contains(err.Error(), "falls into more than 4194304 stretches") {
		t.Errorf("%v", err)
	}
}

// FuzzDecodeMaps: whatever the values are, what is told lies in the frame.
func FuzzDecodeMaps(f *testing.F) {
	for family := range uint8(4) {
		f.Add(family, uint8(2), uint8(20), uint8(9), uint64(family), []byte{0, 0, 0xc0, 0x7f})
	}
	f.Add(uint8(1), uint8(1), uint8(1), uint8(1), uint64(7), []byte{0xff, 0xff, 0x7f, 0x7f, 0, 0, 0x80, 0xff})
	f.Fuzz(func(t *testing.T, family, classes, w, h uint8, seed uint64, strange []byte) {
		kind := [...]Family{YOLOv8Seg, Segmentation, Anomaly, Classification}[family%4]
		spec, outs := fuzzMaps(kind, int(classes)%5+1, int64(w)%70+1, int64(h)%70+1, uint32(seed))
		spec.Activation = [...]Activation{NoActivation, Sigmoid, Softmax, ""}[seed%4]
		spec.Background, spec.Confidence = int(seed/4%3), 0.1
		r := rand.New(rand.NewPCG(seed, 0))
		for ; len(strange) >= 4; strange = strange[4:] {
			o := outs[r.IntN(len(outs))].Data
			for range 5 {
				o[r.IntN(len(o))] = math.Float32frombits(binary.LittleEndian.Uint32(strange))
			}
		}
		fw, fh := int(seed/16%200)+1, int(seed/4096%150)+1
		_, at := spec.Input.place(fw, fh)
		s, err := NewDecoder(spec).Decode(outs, at, fw, fh)
		if err == nil {
			checkSeen(t, s, spec, fw, fh)
		}
	})
}

func fuzzMaps(f Family, classes int, w, h int64, seed uint32) (Spec, []Output) {
	spec := mapSpec(f, classes)
	noise := func(n int64) []float32 { return tensorNoise(int(n), seed) }
	switch f {
	case YOLOv8Seg:
		spec.Input.Width, spec.Input.Height = 64, 64
		c := int64(classes)
		return spec, []Output{mapOf("output0", noise((36+c)*84), 1, 36+c, 84), mapOf("output1", noise(32*w*h), 1, 32, h, w)}
	case Anomaly:
		return mapSpec(f, 1), []Output{mapOf("pred_score", []float32{0.9}, 1), mapOf("anomaly_map", noise(w*h), 1, 1, h, w)}
	case Classification:
		return spec, []Output{mapOf("logits", noise(int64(classes)), 1, int64(classes))}
	}
	spec.Input.Resize, spec.Input.Anchor = []Resize{Letterbox, Stretch}[seed%2], Centre
	c := int64(classes)
	if seed%5 == 0 {
		c = 1
	}
	return spec, []Output{mapOf("map", noise(c*w*h), 1, c, h, w)}
}

func checkSeen(t *testing.T, s Seen, spec Spec, w, h int) {
	t.Helper()
	if s.Dropped < 0 || len(s.Detections) > spec.MaxDetections || s.Score != nil && !(*s.Score >= 0 && *s.Score <= 1) {
		t.Fatalf("%+v", s)
	}
	for k, d := range s.Detections {
		b := d.Box
		if !(d.Score >= 0 && d.Score <= 1 && b.X >= 0 && b.Y >= 0 && b.W > 0 && b.H > 0 && b.X+b.W <= float32(w)+0.001 && b.Y+b.H <= float32(h)+0.001) {
			t.Fatalf("detection %d is %+v", k, d)
		}
		if k > 0 && d.Score > s.Detections[k-1].Score {
			t.Fatalf("detection %d scores more than the one before it", k)
		}
		m := d.Mask
		if m == nil {
			continue
		}
		total := uint64(0)
		for _, r := range m.Runs {
			total += uint64(r)
		}
		if m.X < 0 || m.Y < 0 || m.X+m.W > w || m.Y+m.H > h || total > uint64(m.W*m.H) || m.Area() == 0 {
			t.Fatalf("mask %d of %d×%d is %+v", k, w, h, m)
		}
	}
	if m := s.Map; m != nil {
		all := make([]float32, w*h)
		m.Upsample(all, w, h)
		for p, v := range all {
			if !(v >= 0 && v <= 1.0001) || v != m.At(p%w, p/w) {
				t.Fatalf("pixel %d of the map is %v, alone %v", p, v, m.At(p%w, p/w))
			}
		}
	}
}
