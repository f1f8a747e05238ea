package infer

import (
	"fmt"
	"math"
	"slices"
)

// yoloxFamily reads Megvii's YOLOX as its tools/export_onnx.py writes it.
var yoloxFamily = family{
	name: YOLOX,
	spec: Spec{MaxDetections: 100, Confidence: 0.25, NMS: 0.65, MultiLabel: true,
		Input: Input{Width: 416, Height: 416, Colour: BGR, Scale: 1, Resize: Letterbox, Anchor: TopLeft, Pad: 114}},
	layout: layoutYOLOX,
	read:   readYOLOX,
}

func layoutYOLOX(outs []Tensor, in Input, _ Info) (layout, error) {
	t, err := only(YOLOX, outs)
	if err != nil {
		return layout{}, err
	}
	cells := int64(gridCells(in.Width, in.Height))
	if fits(t.Shape, 1, cells, -1) && (t.Shape[2] > 5 || t.Shape[2] < 0) {
		return layout{classes: int(max(t.Shape[2]-5, 0))}, nil
	}
	return layout{}, fmt.Errorf("family yolox needs an output of 1×%d×(5+classes) for an input of %d×%d, found %s", cells, in.Width, in.Height, shapeText(t.Shape))
}

// readYOLOX reads rows of cx, cy, log w, log h, objectness and class scores, all
// relative to a cell of a grid (YOLOX's demo_postprocess). Every class above
// the threshold counts.
func readYOLOX(d *Decoder, _ layout, outs []Output) {
	out, width := outs[0].Data, int(outs[0].Shape[2])
	conf := d.spec.Confidence
	for p := range len(out) / width {
		row := out[p*width : (p+1)*width]
		obj := row[4]
		if obj <= conf {
			continue // class scores are at most 1
		}
		for c, cls := range row[5:] {
			if score := obj * cls; !(score <= conf) {
				d.add(score, int32(p), int32(c))
			}
		}
	}
	d.finish(func(place int32) corners {
		gx, gy, stride := gridCell(int(place), d.spec.Input)
		row := out[int(place)*width:]
		return centred((row[0]+gx)*stride, (row[1]+gy)*stride, exp32(row[2])*stride, exp32(row[3])*stride)
	}, true)
}

func exp32(v float32) float32 { return float32(math.Exp(float64(v))) }

// gridCell is the cell that a place of the output belongs to: the grids of
// strides 8, 16 and 32 follow each other, row by row.
func gridCell(place int, in Input) (x, y, stride float32) {
	for _, s := range [...]int{8, 16, 32} {
		w, h := in.Width/s, in.Height/s
		if place < w*h {
			return float32(place % w), float32(place / w), float32(s)
		}
		place -= w * h
	}
	panic("BUG: place beyond the grids") // layoutYOLOX compared their sizes
}

// gridCells counts the places that a model with strides 8, 16 and 32 looks at.
func gridCells(w, h int) int {
	n := 0
	for _, stride := range [...]int{8, 16, 32} {
		n += (w / stride) * (h / stride)
	}
	return n
}

// yolov8Family reads Ultralytics' detectors from version 8 on.
var yolov8Family = family{
	name: YOLOv8,
	spec: Spec{MaxDetections: 300, Confidence: 0.25, NMS: 0.7,
		Input: Input{Width: 640, Height: 640, Colour: RGB, Scale: 1.0 / 255, Resize: Letterbox, Anchor: Centre, Pad: 114}},
	layout: layoutYOLOv8,
	read:   readYOLOv8,

	multiLabelBelow: valBelow,
	classStep:       ultralyticsStep,
	where:           roundedGains,
}

// ultralyticsStep is Ultralytics' max_wh, in pixels of the tensor.
const ultralyticsStep = 7680

// roundedGains are Ultralytics' since 8.4: a letterboxed frame's sides are
// rounded each for itself, so their gains differ a little.
func roundedGains(in Input, at Placement, w, h int) Placement {
	if in.Resize != Letterbox || in.Anchor != Centre {
		return at
	}
	r := min(float64(in.Height)/float64(h), float64(in.Width)/float64(w))
	at.GainX = max(math.RoundToEven(float64(w)*r), 1) / float64(w)
	at.GainY = max(math.RoundToEven(float64(h)*r), 1) / float64(h)
	return at
}

// The forms of yolov8.
const (
	rawPlanes    form = iota // 1×(4+classes)×N
	finishedRows             // 1×N×6: x1, y1, x2, y2, score, class
)

func layoutYOLOv8(outs []Tensor, in Input, i Info) (layout, error) {
	t, err := only(YOLOv8, outs)
	if err != nil {
		return layout{}, err
	}
	if isRows(t.Shape, 6, i.NMS) && (t.Shape[1] < 1 || t.Shape[1] != int64(gridCells(in.Width, in.Height))) {
		return layout{form: finishedRows}, nil // with a row for each place it is a transposed head of two classes
	}
	// Heads with other strides (P2, P6) have other numbers of places, but
	// more places than rows; the other way about it is transposed.
	cells := int64(gridCells(in.Width, in.Height))
	head := fits(t.Shape, 1, -1, cells) || fits(t.Shape, 1, -1, -1) && t.Shape[1] > 0 && t.Shape[2] > t.Shape[1]
	if head && (t.Shape[1] > 4 || t.Shape[1] < 0) {
		return layout{classes: int(max(t.Shape[1]-4, 0))}, nil
	}
	return layout{}, fmt.Errorf("family yolov8 needs an output of 1×(4+classes)×%d for an input of %d×%d, or 1×N×6 with NMS inside, found %s", cells, in.Width, in.Height, shapeText(t.Shape))
}

// isRows tells Ultralytics' exports whose graph finishes the detections (rows
// of so many values) from raw ones.
func isRows(shape []int64, width int64, nms bool) bool {
	if len(shape) != 3 || shape[0] > 1 {
		return false
	}
	return shape[2] == width || (nms && shape[2] < 0)
}

func readYOLOv8(d *Decoder, l layout, outs []Output) {
	out := outs[0].Data
	if l.form == finishedRows {
		d.finish(d.rows(out, 6), false)
		return
	}
	n := int(outs[0].Shape[2])
	d.planes(out[4*n:], n)
	d.finish(centredPlanes(out, n), true)
}

// planes reads class scores, one plane of n places for each class.
func (d *Decoder) planes(scores []float32, n int) {
	if !d.spec.MultiLabel {
		d.bestOf(scores, n)
		return
	}
	conf := d.spec.Confidence
	for i, s := range scores {
		if !(s <= conf) {
			d.add(s, int32(i%n), int32(i/n))
		}
	}
}

// centredPlanes gives boxes of planes cx, cy, w, h over n places.
func centredPlanes(out []float32, n int) func(int32) corners {
	return func(place int32) corners {
		p := int(place)
		return centred(out[p], out[n+p], out[2*n+p], out[3*n+p])
	}
}

// blockOf is how many places bestOf looks at together: their best fit into the
// processor's nearest memory.
const blockOf = 1024

// bestOf adds each place's best class. A best is a score's bits above its class,
// counted down, so that the larger number is the better score or the earlier
// class, and no branch depends on the values: they can't be foreseen.
func (d *Decoder) bestOf(scores []float32, n int) {
	d.best = slices.Grow(d.best[:0], n)[:n]
	classes := len(scores) / max(n, 1)
	least := uint64(math.Float32bits(d.spec.Confidence))<<32 | math.MaxUint32
	for from := 0; from < n; from += blockOf {
		best := d.best[from:min(from+blockOf, n)]
		for p := range best {
			best[p] = least
		}
		row := func(c int) []float32 { // the last class stands for those that four lack
			return scores[min(c, classes-1)*n+from:][:len(best)]
		}
		for c := 0; c < classes; c += 4 {
			better(best, row(c), row(c+1), row(c+2), row(c+3), uint64(math.MaxUint32-1-c))
		}
	}
	for p, b := range d.best {
		if b != least {
			d.addBest(scores, n, p, b)
		}
	}
}

// better puts four classes in the place of bests that are less. Rows are as long
// as best.
func better(best []uint64, r0, r1, r2, r3 []float32, class uint64) {
	r0, r1, r2, r3 = r0[:len(best)], r1[:len(best)], r2[:len(best)], r3[:len(best)]
	for p, b := range best {
		k0 := uint64(math.Float32bits(r0[p]))<<32 | class
		k1 := uint64(math.Float32bits(r1[p]))<<32 | (class - 1)
		k2 := uint64(math.Float32bits(r2[p]))<<32 | (class - 2)
		k3 := uint64(math.Float32bits(r3[p]))<<32 | (class - 3)
		best[p] = max(b, max(max(k0, k1), max(k2, k3)))
	}
}

// addBest adds the best class of a place. What is no number has larger bits than
// all scores, and so have numbers less than 0: a place with one is looked at again.
func (d *Decoder) addBest(scores []float32, n, p int, best uint64) {
	if s := math.Float32frombits(uint32(best >> 32)); s > 0 && s <= 1.001 {
		d.add(s, int32(p), int32(math.MaxUint32-1-uint32(best)))
		return
	}
	top := candidate{score: d.spec.Confidence, class: -1}
	for c := range len(scores) / n {
		switch s := scores[c*n+p]; {
		case s <= top.score:
		case !(s <= 1.001):
			d.dropped++
		default:
			top.score, top.class = s, int32(c)
		}
	}
	if top.class >= 0 {
		d.add(top.score, int32(p), top.class)
	}
}

// rows reads finished detections, width values each: x1, y1, x2, y2, score,
// class, and what a family adds. Rows of zeros pad.
func (d *Decoder) rows(out []float32, width int) func(int32) corners {
	for p := range len(out) / width {
		score, class := out[width*p+4], out[width*p+5]
		if !(score <= d.spec.Confidence) {
			d.addClass(score, p, class)
		}
	}
	return func(place int32) corners {
		r := out[width*int(place):]
		return corners{r[0], r[1], r[2], r[3]}
	}
}
