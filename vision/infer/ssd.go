package infer

import (
	"fmt"
	"math"
)

// The families that look at boxes laid over the picture beforehand.
const (
	// SSD has its prior boxes in the graph, as pytorch-ssd and Ultra-Light-Face
	// export it: scores 1×N×classes, of which the first is the background, and
	// boxes 1×N×4, corners as shares of the picture.
	SSD Family = "ssd"
	// SSD300 is the head of torchvision's SSD300 without what follows it:
	// cls_logits 1×8732×classes, of which the first is the background, and
	// bbox_regression 1×8732×4.
	SSD300 Family = "ssd300"
	// RetinaNet is the head of torchvision's RetinaNet without what follows it:
	// cls_logits 1×N×classes and bbox_regression 1×N×4.
	RetinaNet Family = "retinanet"
)

var ssdFamily = family{
	name: SSD,
	spec: Spec{MaxDetections: 200, Confidence: 0.4, NMS: 0.45, MultiLabel: true,
		Input: Input{Width: 300, Height: 300, Colour: RGB, Scale: 1, Resize: Stretch,
			Mean: [3]float64{127, 127, 127}, Std: [3]float64{128, 128, 128}}},
	layout:     layoutSSD,
	read:       readSSD,
	background: true,
}

// ssd300Family's input is torchvision's mean taken away from 0 to 255.
var ssd300Family = family{
	name: SSD300,
	spec: Spec{MaxDetections: 200, Confidence: 0.01, NMS: 0.45, MultiLabel: true,
		Input: Input{Width: 300, Height: 300, Colour: RGB, Scale: 1, Resize: Stretch,
			Mean: [3]float64{0.48235 * 255, 0.45882 * 255, 0.40784 * 255}}},
	layout:     layoutHead(SSD300),
	read:       readSSD300,
	background: true,
}

var retinaNetFamily = family{
	name: RetinaNet,
	spec: Spec{MaxDetections: 300, Confidence: 0.05, NMS: 0.5, MultiLabel: true,
		Input: Input{Width: 640, Height: 640, Colour: RGB, Scale: 1.0 / 255, Resize: Stretch,
			Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}}},
	layout: layoutHead(RetinaNet),
	read:   readRetinaNet,
}

func layoutSSD(outs []Tensor, _ Input, _ Info) (layout, error) {
	scores, boxes := named(outs, "scores"), named(outs, "boxes")
	if scores < 0 || boxes < 0 {
		boxes, scores = byShape(outs)
	}
	if scores >= 0 && boxes >= 0 && len(outs) == 2 {
		b, s := outs[boxes].Shape, outs[scores].Shape
		if fits(b, 1, -1, 4) && fits(s, 1, b[1], -1) && (s[2] > 1 || s[2] < 0) {
			return layout{at: [4]int{scores, boxes, -1, -1}, classes: int(max(s[2]-1, 0))}, nil
		}
	}
	return layout{}, fmt.Errorf("family ssd needs two outputs, scores of 1×N×(1+classes) and boxes of 1×N×4, found %v", outs)
}

// ssdSlack is what pytorch-ssd adds to a union, in shares of the picture.
const ssdSlack = 1e-5

func readSSD(d *Decoder, l layout, outs []Output) {
	scores, _ := l.output(outs, 0)
	boxes, _ := l.output(outs, 1)
	d.foreground(scores.Data, int(scores.Shape[2]), math.MaxInt)
	w, h := float32(d.spec.Input.Width), float32(d.spec.Input.Height)
	d.slack = ssdSlack * w * h
	d.finish(func(place int32) corners {
		r := boxes.Data[4*int(place):]
		return corners{r[0] * w, r[1] * h, r[2] * w, r[3] * h}
	}, true)
}

// foreground adds every class but the first whose score is above the threshold,
// at most so many of each class.
func (d *Decoder) foreground(scores []float32, width, most int) {
	for c := 1; c < width; c++ {
		from := len(d.keys)
		for p := range len(scores) / width {
			if s := scores[p*width+c]; !(s <= d.spec.Confidence) {
				d.add(s, int32(p), int32(c-1))
			}
		}
		d.limit(from, most)
	}
}

func layoutHead(f Family) func([]Tensor, Input, Info) (layout, error) {
	return func(outs []Tensor, in Input, _ Info) (layout, error) {
		n := int64(anchorCount(f, in))
		logits, boxes := named(outs, "cls_logits"), named(outs, "bbox_regression")
		if logits < 0 || boxes < 0 {
			boxes, logits = byShape(outs)
		}
		if logits < 0 || boxes < 0 || !fits(outs[boxes].Shape, 1, n, 4) || !fits(outs[logits].Shape, 1, n, -1) {
			return layout{}, fmt.Errorf("family %s needs the outputs cls_logits of 1×%d×classes and bbox_regression of 1×%d×4 for an input of %d×%d, found %v",
				f, n, n, in.Width, in.Height, outs)
		}
		classes := outs[logits].Shape[2]
		if f == SSD300 {
			classes--
		}
		return layout{at: [4]int{logits, boxes, -1, -1}, classes: int(max(classes, 0))}, nil
	}
}

// Candidates that torchvision takes into NMS.
const (
	ssdOfClass       = 400
	retinaNetOfLevel = 1000
)

func readSSD300(d *Decoder, l layout, outs []Output) {
	logits, _ := l.output(outs, 0)
	deltas, _ := l.output(outs, 1)
	width := int(logits.Shape[2])
	d.values = softmaxRows(append(d.values[:0], logits.Data...), width)
	d.foreground(d.values, width, ssdOfClass)
	d.finish(d.fromAnchors(deltas.Data, [4]float32{10, 10, 5, 5}), true)
}

func readRetinaNet(d *Decoder, l layout, outs []Output) {
	logits, _ := l.output(outs, 0)
	deltas, _ := l.output(outs, 1)
	width, at := int(logits.Shape[2]), 0
	for _, g := range pyramid(d.spec.Input) {
		n := g.w * g.h * len(g.cell)
		from := len(d.keys)
		d.logits(logits.Data[at*width:(at+n)*width], width, at)
		d.limit(from, retinaNetOfLevel)
		at += n
	}
	d.finish(d.fromAnchors(deltas.Data, [4]float32{1, 1, 1, 1}), true)
}

// softmaxRows makes shares of rows of logits, in place. A row with what is no
// number becomes nothing else.
func softmaxRows(v []float32, width int) []float32 {
	for row := v; len(row) >= width && width > 0; row = row[width:] {
		most, sum := row[0], 0.0
		for _, x := range row[1:width] {
			most = max(most, x) // NaN stays
		}
		for c, x := range row[:width] {
			row[c] = float32(math.Exp(float64(x - most)))
			sum += float64(row[c])
		}
		for c := range row[:width] {
			row[c] = float32(float64(row[c]) / sum)
		}
	}
	return v
}
