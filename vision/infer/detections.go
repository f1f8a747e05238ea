package infer

import "fmt"

// Detections is the outputs of models that finish their detections themselves,
// with boxes, scores and classes apart: torchvision's and TensorFlow's detectors,
// MMDetection's through mmdeploy, and NMS plug-ins'.
const Detections Family = "detections"

// detectionsFamily reads finished detections in the forms below. torchvision and
// TensorFlow count classes from 1, after the background: the first label is class
// 1, unless it names the background. The others count from 0.
var detectionsFamily = family{
	name: Detections,
	spec: Spec{MaxDetections: 300, Confidence: 0.5, NMS: 0.5,
		Input: Input{Width: 640, Height: 640, Colour: RGB, Scale: 1.0 / 255, Resize: Stretch}},
	layout: layoutDetections,
	read:   readDetections,
}

// The forms of detections: a family's tensors are boxes, classes, scores and the
// number of detections.
const (
	torchvisionBoxes form = iota // boxes N×4, labels N, scores N: corners in the tensor's pixels
	tensorflowBoxes              // 1×N×4, 1×N, 1×N, 1: y1, x1, y2, x2 as shares of the picture
	pluginBoxes                  // num_dets, det_boxes 1×N×4, det_scores 1×N, det_classes 1×N: corners in the tensor's pixels
	scoredBoxes                  // dets 1×N×5, labels 1×N: corners in the tensor's pixels, and the score
	unnamedBoxes                 // torchvisionBoxes without names, classes and scores in any order
)

func layoutDetections(outs []Tensor, _ Input, _ Info) (layout, error) {
	if l, ok := finished(outs); ok && l.sized(outs) {
		return l, nil
	}
	return layout{}, fmt.Errorf("family detections needs outputs boxes, labels and scores of N×4, N and N (torchvision), "+
		"detection_boxes, detection_classes, detection_scores and num_detections (TensorFlow), dets of 1×N×5 and labels (mmdeploy), "+
		"or num_dets, det_boxes, det_scores and det_classes, found %v", outs)
}

// finished finds the tensors by name, else by shape.
func finished(outs []Tensor) (layout, bool) {
	at := func(box, class, score, count string) [4]int {
		return [4]int{named(outs, box), named(outs, class), named(outs, score), named(outs, count)}
	}
	for _, l := range []layout{
		{at: at("detection_boxes", "detection_classes", "detection_scores", "num_detections"), form: tensorflowBoxes},
		{at: at("det_boxes", "det_classes", "det_scores", "num_dets"), form: pluginBoxes},
		{at: at("boxes", "labels", "scores", ""), form: torchvisionBoxes},
	} {
		if l.at[0] >= 0 && l.at[1] >= 0 && l.at[2] >= 0 {
			return l, true
		}
	}
	if l := (layout{at: at("dets", "labels", "", ""), form: scoredBoxes}); l.at[0] >= 0 && l.at[1] >= 0 {
		return l, true
	}
	l := layout{at: [4]int{-1, -1, -1, -1}, form: unnamedBoxes}
	rest := 1
	for n, t := range outs {
		switch {
		case l.at[0] < 0 && fits(t.Shape, -1, 4) && t.Shape[1] == 4:
			l.at[0] = n
		case len(t.Shape) == 1 && rest < 3:
			l.at[rest], rest = n, rest+1
		default:
			return l, false
		}
	}
	return l, l.at[0] >= 0 && rest == 3
}

// sized reports whether the tensors' shapes are the form's. The number of
// detections may be told in any shape of one value.
func (l layout) sized(outs []Tensor) bool {
	shape := func(n int) []int64 { return withoutBatch(outs[l.at[n]].Shape) }
	width := int64(4)
	if l.form == scoredBoxes {
		width = 5
	}
	boxes := outs[l.at[0]].Shape
	if len(boxes) == 3 {
		boxes = withoutBatch(boxes)
	}
	if !fits(boxes, -1, width) {
		return false
	}
	for n := 1; n < 3; n++ {
		if l.at[n] >= 0 && !fits(shape(n), boxes[0]) {
			return false
		}
	}
	return true
}

// withoutBatch leaves the first of several dimensions out if it is 1 or open.
func withoutBatch(shape []int64) []int64 {
	if len(shape) > 1 && (shape[0] == 1 || shape[0] == -1) {
		return shape[1:]
	}
	return shape
}

func readDetections(d *Decoder, l layout, outs []Output) {
	boxes, _ := l.output(outs, 0)
	classes, _ := l.output(outs, 1)
	scores, apart := l.output(outs, 2)
	if l.form == unnamedBoxes && areScores(classes.Data, scores.Data) {
		classes, scores = scores, classes
	}
	width := 4
	if !apart {
		width = 5
	}
	n := len(boxes.Data) / width
	if count, ok := l.output(outs, 3); ok && len(count.Data) == 1 && count.Data[0] >= 0 && count.Data[0] < float32(n) {
		n = int(count.Data[0])
	}
	first := d.firstClass(l.form)
	for p := range n {
		score := boxes.Data[width*p+width-1]
		if apart {
			score = scores.Data[p]
		}
		if !(score <= d.spec.Confidence) {
			d.addClass(score, p, classes.Data[p]-first)
		}
	}
	d.finish(d.finishedBoxes(l.form, boxes.Data, width), false)
}

// firstClass is the number that the model gives to the first label.
func (d *Decoder) firstClass(f form) float32 {
	switch f {
	case pluginBoxes, scoredBoxes:
		return 0
	}
	if d.spec.Background == 1 {
		return 0
	}
	return 1
}

func (d *Decoder) finishedBoxes(f form, out []float32, width int) func(int32) corners {
	w, h := float32(d.spec.Input.Width), float32(d.spec.Input.Height)
	return func(place int32) corners {
		r := out[width*int(place):]
		if f == tensorflowBoxes {
			return corners{r[1] * w, r[0] * h, r[3] * w, r[2] * h}
		}
		return corners{r[0], r[1], r[2], r[3]}
	}
}

// areScores reports whether a holds scores rather than b: classes are whole, and
// where scores are whole too they are at most 1.
func areScores(a, b []float32) bool {
	most := func(v []float32) (m float32, whole bool) {
		for _, c := range v {
			if m = max(m, c); !(c >= 0 && c == float32(int32(c))) {
				return m, false
			}
		}
		return m, true
	}
	mostA, wholeA := most(a)
	mostB, wholeB := most(b)
	return wholeB && (!wholeA || mostA <= 1 && mostB > 1)
}
