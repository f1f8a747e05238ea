package infer

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// The families of transformers that detect (DETR's successors that score each
// class by a sigmoid). Nothing is suppressed.
const (
	// RTDETR is Ultralytics' RT-DETR: 1×N×6, or 1×N×(4+classes) before 8.4.
	RTDETR Family = "rtdetr"
	// DETR is RT-DETR, D-FINE, DEIM and what Hugging Face exports of their kind:
	// logits 1×N×classes and boxes 1×N×4; or labels, boxes and scores, finished.
	DETR Family = "detr"
	// RFDETR is Roboflow's RF-DETR: dets 1×N×4 and labels 1×N×classes.
	RFDETR Family = "rfdetr"
)

var rtdetrFamily = family{
	name: RTDETR,
	spec: Spec{MaxDetections: 300, Confidence: 0.25, NMS: 0.7,
		Input: Input{Width: 640, Height: 640, Colour: RGB, Scale: 1.0 / 255, Resize: Stretch}},
	layout: layoutRTDETR,
	read:   readRTDETR,
}

var detrFamily = family{
	name: DETR,
	spec: Spec{MaxDetections: 300, Confidence: 0.5, NMS: 0.7, MultiLabel: true,
		Input: Input{Width: 640, Height: 640, Colour: RGB, Scale: 1.0 / 255, Resize: Stretch, Interpolation: Bilinear}},
	layout: layoutDETR(DETR),
	read:   readDETR,
	spare:  1,
}

// rfdetrFamily's labels are COCO's numbers, 0 to 90, in models that nobody trained
// further; else the classes and, at the end, one that stands for nothing.
var rfdetrFamily = family{
	name: RFDETR,
	spec: Spec{MaxDetections: 300, Confidence: 0.5, NMS: 0.7, MultiLabel: true,
		Input: Input{Width: 560, Height: 560, Colour: RGB, Scale: 1.0 / 255, Resize: Stretch,
			Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}}},
	layout: layoutDETR(RFDETR),
	read:   readDETR,
	spare:  1,
}

// The forms of rtdetr and detr. Boxes are cx, cy, w, h as shares of the picture
// but for deployed, whose corners are in the tensor's pixels, since that is the
// size we tell the model.
const (
	queryRows   form = iota // 1×N×6: box, score, class
	queryScores             // 1×N×(4+classes), scores
	queryLogits             // 1×N×classes and 1×N×4
	deployed                // labels 1×N, boxes 1×N×4, scores 1×N
)

func layoutRTDETR(outs []Tensor, _ Input, _ Info) (layout, error) {
	t, err := only(RTDETR, outs)
	if err != nil {
		return layout{}, fmt.Errorf("%w (with boxes and scores apart, pass detr)", err)
	}
	switch {
	case fits(t.Shape, 1, -1, 6):
		return layout{form: queryRows}, nil // maybe queryScores of two classes: the values tell
	case fits(t.Shape, 1, -1, -1) && t.Shape[2] > 4 && (t.Shape[1] < 0 || t.Shape[1] <= mostQueries):
		return layout{form: queryScores, classes: int(t.Shape[2] - 4)}, nil
	}
	return layout{}, fmt.Errorf("family rtdetr needs an output of 1×N×6 or 1×N×(4+classes), N at most %d, found %s", mostQueries, shapeText(t.Shape))
}

// mostQueries bounds the places of a transformer, which has hundreds.
const mostQueries = 2000

func readRTDETR(d *Decoder, l layout, outs []Output) {
	out, width := outs[0].Data, int(outs[0].Shape[2])
	if l.form == queryRows && (len(d.spec.Labels) != 2 || areRows(out)) {
		for p := range len(out) / width {
			if score := out[width*p+4]; !(score <= d.spec.Confidence) {
				d.addClass(score, p, out[width*p+5])
			}
		}
	} else {
		for p := range len(out) / width {
			scores := out[width*p+4 : width*(p+1)]
			d.objectScores(scores[:min(len(scores), len(d.spec.Labels))], 1, int32(p), d.spec.MultiLabel)
		}
	}
	d.finish(d.shares(out, width), false)
}

// areRows reports whether each row's last value is a class's number, not a score
// between 0 and 1. What is no number tells nothing: one of them mustn't make
// scores of all others.
func areRows(out []float32) bool {
	for p := 5; p < len(out); p += 6 {
		if v := out[p]; v-v == 0 && v != float32(int32(v)) {
			return false
		}
	}
	return true
}

// shares gives boxes of rows that begin with cx, cy, w, h as shares of the picture.
func (d *Decoder) shares(out []float32, width int) func(int32) corners {
	w, h := float32(d.spec.Input.Width), float32(d.spec.Input.Height)
	return func(place int32) corners {
		r := out[width*int(place):]
		b := centred(r[0], r[1], r[2], r[3])
		return corners{b.x0 * w, b.y0 * h, b.x1 * w, b.y1 * h}
	}
}

// layoutDETR finds the outputs by name, and where names tell nothing by shape.
func layoutDETR(f Family) func([]Tensor, Input, Info) (layout, error) {
	return func(outs []Tensor, _ Input, _ Info) (layout, error) {
		boxes := named(outs, "pred_boxes", "dets", "boxes")
		scores := named(outs, "scores")
		labels := named(outs, "logits", "pred_logits", "labels")
		if boxes < 0 || labels < 0 {
			boxes, labels = byShape(outs)
		}
		if boxes < 0 || labels < 0 {
			return layout{}, fmt.Errorf("family %s needs the outputs boxes of 1×N×4 and logits of 1×N×classes, or labels, boxes and scores, found %v", f, outs)
		}
		b, c := outs[boxes].Shape, outs[labels].Shape
		if scores >= 0 && fits(b, 1, -1, 4) && fits(c, 1, b[1]) && fits(outs[scores].Shape, 1, b[1]) {
			return layout{at: [4]int{labels, boxes, scores, -1}, form: deployed}, nil
		}
		if fits(b, 1, -1, 4) && fits(c, 1, b[1], -1) && b[1] <= mostQueries && c[2] != 0 {
			return layout{at: [4]int{labels, boxes, -1, -1}, form: queryLogits, classes: int(max(c[2], 0))}, nil
		}
		return layout{}, fmt.Errorf("family %s needs boxes of 1×N×4 and logits of 1×N×classes, N at most %d, found %v and %v", f, mostQueries, outs[boxes], outs[labels])
	}
}

// named is the index of the first output with one of these names, the first name
// first; -1 without. What TensorFlow puts after a name doesn't count.
func named(outs []Tensor, names ...string) int {
	for _, name := range names {
		if n := slices.IndexFunc(outs, func(t Tensor) bool { return strings.TrimSuffix(t.Name, ":0") == name }); n >= 0 {
			return n
		}
	}
	return -1
}

// byShape tells boxes, which have four values, from logits; neither if that's in doubt.
func byShape(outs []Tensor) (boxes, logits int) {
	if len(outs) != 2 || len(outs[0].Shape) != 3 || len(outs[1].Shape) != 3 {
		return -1, -1
	}
	switch a, b := outs[0].Shape[2] == 4, outs[1].Shape[2] == 4; {
	case a && !b && outs[1].Shape[2] > 0:
		return 0, 1
	case b && !a && outs[0].Shape[2] > 0:
		return 1, 0
	}
	return -1, -1
}

func readDETR(d *Decoder, l layout, outs []Output) {
	labels, _ := l.output(outs, 0)
	boxes, _ := l.output(outs, 1)
	if l.form == deployed {
		scores, _ := l.output(outs, 2)
		for p, score := range scores.Data {
			if !(score <= d.spec.Confidence) {
				d.addClass(score, p, labels.Data[p])
			}
		}
		d.finish(cornerRows(boxes.Data), false)
		return
	}
	d.logits(labels.Data, int(labels.Shape[2]), 0)
	// As many as there are places count, over all classes; what stands for nothing
	// among them isn't told.
	d.limit(0, int(labels.Shape[1]))
	d.keys = slices.DeleteFunc(d.keys, func(key uint64) bool {
		return int(candidateOf(key, d.stride()).class) >= len(d.spec.Labels)
	})
	d.finish(d.shares(boxes.Data, 4), false)
}

// logits adds every class whose sigmoid is above the threshold, of rows of width
// classes, the first of which is of place from.
func (d *Decoder) logits(values []float32, width, from int) {
	conf := float64(d.spec.Confidence)
	low := float32(math.Log(conf/(1-conf)) - 1e-3) // surely below the threshold
	for i, v := range values {
		if v <= low {
			continue
		}
		if s := sigmoid(v); v-v != 0 { // NaN or infinite
			d.dropped++
		} else if s > d.spec.Confidence {
			d.add(s, int32(from+i/width), int32(i%width))
		}
	}
}

// limit leaves of the candidates from the index on the best n.
func (d *Decoder) limit(from, n int) {
	if part := d.keys[from:]; len(part) > n {
		slices.Sort(part)
		d.keys = d.keys[:from+n]
	}
}

// cornerRows gives boxes of rows x1, y1, x2, y2.
func cornerRows(out []float32) func(int32) corners {
	return func(place int32) corners {
		r := out[4*int(place):]
		return corners{r[0], r[1], r[2], r[3]}
	}
}
