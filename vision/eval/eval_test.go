package eval

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/infer"
)

const side = 32 // pixels of the tests' pictures

// truth is a file of pictures that are bad with one square each, good, or
// uncertain, in turn, at two places.
func truth(t *testing.T, n int) *coco.File {
	t.Helper()
	var images, annotations []string
	for i := 1; i <= n; i++ {
		state := [...]string{"bad", "good", "bad", "uncertain"}[i%4]
		images = append(images, fmt.Sprintf(`{"id": %d, "file_name": "p%02d.png", "width": %d, "height": %d, "state": %q, "place": "hall %d"}`, i, i, side, side, state, i%2))
		if state == "bad" {
			annotations = append(annotations, fmt.Sprintf(`{"id": %d, "image_id": %d, "category_id": 7, "bbox": [4, 4, 10, 10], "area": 100, "iscrowd": 0, "segmentation": [[4,4,14,4,14,14,4,14]]}`, i, i))
		}
	}
	f, err := coco.Parse("truth.json", fmt.Appendf(nil, `{"images": [%s], "annotations": [%s], "categories": [{"id": 7, "name": "pit"}]}`,
		strings.Join(images, ","), strings.Join(annotations, ",")))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func frame(grey int) *vision.Frame {
	return &vision.Frame{Pix: bytes.Repeat([]byte{byte(grey)}, side*side*3), Width: side, Height: side, Stride: 3 * side, Format: vision.BGR24}
}

// square is a region as a model finds it.
func square(x, y, size int, score float32) vision.Detection {
	return vision.Detection{Label: "pit", Score: score, Box: vision.Box{X: float32(x), Y: float32(y), W: float32(size), H: float32(size)},
		Mask: &vision.Mask{X: x, Y: y, W: size, H: size, Runs: []uint32{0, uint32(size * size)}}}
}

func spec(f infer.Family) infer.Spec {
	return infer.Spec{Family: f, Labels: []infer.Label{{Name: "pit", Role: vision.DefectRole}}}
}

// measured looks at every picture as see does.
func measured(t *testing.T, f *coco.File, cfg Config, see func(n int, img *coco.Image) Look) *Report {
	t.Helper()
	r := New(f, cfg)
	for n := range f.Images {
		l := see(n, &f.Images[n])
		l.Image = &f.Images[n]
		if l.Frame == nil {
			l.Frame = frame(10 * n)
		}
		if err := r.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	out, err := r.Report()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func near(t *testing.T, what string, got *float64, want float64) {
	t.Helper()
	if got == nil || math.Abs(*got-want) > 1e-6 {
		t.Errorf("%s isn't %v", what, want)
	}
}

// TestSegmentationIsMeasured: pictures, pixels and regions, from answers whose
// faults are known.
func TestSegmentationIsMeasured(t *testing.T) {
	f := truth(t, 20) // 10 bad, 5 good, 5 uncertain
	scoreOf := func(v float32) *float32 { return &v }
	r := measured(t, f, Config{Spec: spec("segmentation"), Confidence: 0.5, FalseRejects: 0, Worst: 3}, func(n int, img *coco.Image) Look {
		m := &infer.ScoreMap{W: side, H: side, Data: make([]float32, side*side), StepX: 1, StepY: 1}
		l := Look{Score: scoreOf(0.1), Map: m}
		switch {
		case img.State == coco.Bad && n < 4: // one of the two missed, the other found half
			l.Score = scoreOf(float32(n-1) / 8)
			if n == 3 {
				l.Detections = []vision.Detection{square(4, 4, 5, 0.9)}
			}
		case img.State == coco.Bad:
			l.Score, l.Detections = scoreOf(0.9), []vision.Detection{square(4, 4, 10, 0.95), square(20, 20, 3, 0.3)} // the map counts both
			for y := 4; y < 14; y++ {
				for x := 4; x < 14; x++ {
					m.Data[y*side+x] = 0.95
				}
			}
		}
		return l
	})
	if r.Pictures != 20 || r.Bad != 10 || r.Good != 5 || r.Uncertain != 5 {
		t.Errorf("counted %d pictures, %d bad, %d good, %d uncertain", r.Pictures, r.Bad, r.Good, r.Uncertain)
	}
	near(t, "mask IoU", r.MaskIoU, (8*100+25)/(1000+8*9.0))
	near(t, "mask precision", r.MaskPrecision, (8*100+25)/(8*109+25.0))
	near(t, "image AUROC", r.ImageAUROC, (8*5+1*5+0)/50.0) // the missed one scores 0, the halved 0.25
	if r.PixelAUROC == nil || *r.PixelAUROC < 0.89 || *r.PixelAUROC > 0.91 {
		t.Errorf("pixel AUROC is %v", r.PixelAUROC)
	}
	if p := r.Operating.Confidence; p.Escapes.K != 2 || p.Escapes.N != 10 || p.FalseRejects.K != 0 {
		t.Errorf("at the model's own threshold %+v", p)
	}
	if len(r.Worst) == 0 || r.Worst[0].Why != "escapes: bad, and scores 0.000" || len(r.Worst[0].jpeg) == 0 {
		t.Errorf("the worst is %s: %s", r.Worst[0].Name, r.Worst[0].Why)
	}
	if r.AP == nil || r.MaskAP == nil || len(r.Slices) < 2 {
		t.Errorf("AP %v, mask AP %v, slices %+v", r.AP, r.MaskAP, r.Slices)
	}
	for _, s := range r.Slices {
		n := 0
		for _, row := range s.Rows {
			n += row.Pictures
		}
		if n != 20 {
			t.Errorf("slices by %s hold %d pictures", s.By, n)
		}
	}
}

// TestBoxesAreMeasured: what doesn't apply to boxes is absent.
func TestBoxesAreMeasured(t *testing.T) {
	f := truth(t, 8)
	r := measured(t, f, Config{Spec: spec(infer.YOLOv8), Confidence: 0.25}, func(_ int, img *coco.Image) Look {
		d := square(4, 4, 10, 0.8)
		d.Mask = nil
		if img.State != coco.Bad {
			return Look{}
		}
		return Look{Detections: []vision.Detection{d}}
	})
	near(t, "AP", r.AP, 1)
	near(t, "image AUROC", r.ImageAUROC, 1)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(b, &keys); err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"mask_ap", "mask_iou", "pixel_auroc", "aupro", "accuracy"} {
		if _, ok := keys[absent]; ok {
			t.Errorf("%s is told of a model of boxes", absent)
		}
	}
	for _, there := range []string{"ap", "ap50", "image_auroc", "pictures"} {
		if _, ok := keys[there]; !ok {
			t.Errorf("%s isn't told", there)
		}
	}
}

// TestClassifierIsMeasured: the share of pictures whose only category comes first.
func TestClassifierIsMeasured(t *testing.T) {
	f := truth(t, 8)
	r := measured(t, f, Config{Spec: spec("classification"), Confidence: 0.5}, func(n int, img *coco.Image) Look {
		if img.State != coco.Bad || n == 0 {
			return Look{}
		}
		return Look{Detections: []vision.Detection{{Label: "pit", Score: 0.7, Box: vision.Box{W: side, H: side}}}}
	})
	if r.AP != nil || r.Accuracy == nil || r.Accuracy.N != 4 || r.Accuracy.K < 3 {
		t.Errorf("AP %v, accuracy %+v", r.AP, r.Accuracy)
	}
}

func TestOneLabelIsTheOneCategory(t *testing.T) {
	f := truth(t, 8)
	s := spec(infer.YOLOv8)
	s.Labels[0].Name = "pitting"
	r := measured(t, f, Config{Spec: s, Confidence: 0.25}, func(_ int, img *coco.Image) Look {
		d := square(4, 4, 10, 0.8)
		d.Label = "pitting"
		if img.State != coco.Bad {
			return Look{}
		}
		return Look{Detections: []vision.Detection{d}}
	})
	near(t, "AP", r.AP, 1)
	if len(r.Notes) == 0 || !strings.Contains(r.Notes[0], `"pitting", is taken for the file's only category, "pit"`) {
		t.Errorf("notes are %q", r.Notes)
	}
}

// TestMapsNeedNoCategory: what is wrong somewhere is measured though the file tells
// kinds that the model doesn't.
func TestMapsNeedNoCategory(t *testing.T) {
	f := truth(t, 20)
	s := spec("segmentation")
	s.Labels = append(s.Labels, infer.Label{Name: "other", Role: vision.DefectRole})
	s.Labels[0].Name = "wear"
	r := measured(t, f, Config{Spec: s, Confidence: 0.5}, func(n int, img *coco.Image) Look {
		v := float32(0.1)
		if img.State == coco.Bad {
			v = 0.9
		}
		return Look{Score: &v, Map: &infer.ScoreMap{W: 1, H: 1, Data: []float32{v}, StepX: 1.0 / side, StepY: 1.0 / side}}
	})
	if r.AP != nil || r.ImageAUROC == nil || *r.ImageAUROC != 1 || r.MaskIoU == nil || r.PixelAUROC == nil || len(r.Notes) == 0 {
		t.Errorf("AP %v, image AUROC %v, notes %q", r.AP, r.ImageAUROC, r.Notes)
	}
}

func TestEvalRefuses(t *testing.T) {
	f := truth(t, 8)
	if _, err := New(f, Config{Spec: spec(infer.YOLOv8)}).Report(); err == nil || !strings.Contains(err.Error(), "no picture") {
		t.Errorf("without pictures: %v", err)
	}
	s := spec(infer.YOLOv8)
	s.Labels = []infer.Label{{Name: "cat", Role: vision.PartRole}, {Name: "dog", Role: vision.PartRole}}
	r := New(f, Config{Spec: s})
	if err := r.Add(Look{Image: &f.Images[0], Frame: frame(1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Report(); err == nil || !strings.Contains(err.Error(), "none of its labels (cat, dog) is a category of truth.json (pit)") {
		t.Errorf("without a common label: %v", err)
	}
	maps := New(f, Config{Spec: infer.Spec{Family: "segmentation", Labels: s.Labels}})
	maps.masked = false // as of a file of boxes, whose pictures are all bad
	for n := range f.Images {
		f.Images[n].State = coco.Bad
		if err := maps.Add(Look{Image: &f.Images[n], Frame: frame(1)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := maps.Report(); err == nil || !strings.Contains(err.Error(), "none of its labels") {
		t.Errorf("where nothing can be measured: %v", err)
	}
	small := frame(1)
	small.Width = 16
	if err := r.Add(Look{Image: &f.Images[0], Frame: small}); err == nil || !strings.Contains(err.Error(), "16×32") {
		t.Errorf("of another size: %v", err)
	}
}

func TestTextOfReport(t *testing.T) {
	f := truth(t, 20)
	r := measured(t, f, Config{Spec: spec(infer.YOLOv8), Confidence: 0.25, Worst: 2}, func(n int, img *coco.Image) Look {
		return Look{Detections: []vision.Detection{{Label: "pit", Score: float32(n) / 40, Box: vision.Box{X: 4, Y: 4, W: 10, H: 10}}}}
	})
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"10 bad, 5 good, 5 uncertain", "AP50", "image AUROC", "at 95 %", "By place", "hall 0"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q isn't told:\n%s", want, b.String())
		}
	}
}
