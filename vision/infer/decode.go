package infer

import (
	"fmt"
	"math"
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

// Decoder turns a model's output into detections. It keeps its buffers, so it
// is not safe for concurrent use.
type Decoder struct {
	spec Spec

	cands   []candidate
	keys    []uint64 // score (inverted) and index of a candidate: ascending is best first
	dropped int      // scores and boxes that are no numbers

	best []candidate // per place, for single-label decoding
	kept []keptBox
	head []int32 // per class: its newest kept box, -1 without
	dets []vision.Detection
}

// candidate is one class at one place of the output.
type candidate struct {
	score float32
	place int32
	class int32
}

// keptBox is a box that survived, in the tensor's pixels.
type keptBox struct {
	corners
	score float32
	class int32
	next  int32 // the class's kept box before it
}

type corners struct{ x0, y0, x1, y1 float32 }

// maxCandidates bounds what goes into NMS, the best first (Ultralytics' max_nms).
const maxCandidates = 30000

// NewDecoder makes a decoder; the spec comes from Info.Spec.
func NewDecoder(spec Spec) *Decoder {
	return &Decoder{spec: spec, head: make([]int32, len(spec.Labels))}
}

// Decode reads an output tensor of the given shape for a frame of w×h pixels.
// Detections are sorted by score, lie within the frame, and stay valid until
// the next call. dropped counts scores and boxes that were NaN, infinite or
// out of range.
func (d *Decoder) Decode(out []float32, shape []int64, at Placement, w, h int) (dets []vision.Detection, dropped int, err error) {
	if err := d.checkShape(out, shape); err != nil {
		return nil, 0, err
	}
	d.cands, d.keys, d.kept, d.dets, d.dropped = d.cands[:0], d.keys[:0], d.kept[:0], d.dets[:0], 0
	var box func(place int32) corners
	nms := true
	switch d.spec.Family {
	case YOLOX:
		box = d.yolox(out, int(shape[2]))
	case YOLOv8:
		if detectionRows(shape, true) {
			box, nms = d.rows(out), false
		} else {
			box = d.yolov8(out, int(shape[2]))
		}
	case FastestDet:
		box = d.fastestDet(out, int(shape[3]), int(shape[2]))
	}
	d.suppress(box, nms)
	for _, k := range d.kept {
		d.place(k, at, float64(w), float64(h))
	}
	return d.dets, d.dropped, nil
}

func (d *Decoder) checkShape(out []float32, shape []int64) error {
	n := int64(1)
	for _, s := range shape {
		if s < 0 || s > math.MaxInt32 || n > math.MaxInt32 {
			return fmt.Errorf("decode the output: shape %s is impossible", shapeText(shape))
		}
		n *= s
	}
	if n != int64(len(out)) {
		return fmt.Errorf("decode the output: shape %s needs %d values, there are %d", shapeText(shape), n, len(out))
	}
	classes, err := d.spec.Family.layout(shape, d.spec.Input, true)
	if err != nil {
		return fmt.Errorf("decode the output: %w", err)
	}
	if classes != 0 && classes != len(d.spec.Labels) {
		return fmt.Errorf("decode the output: it has %d classes, there are %d labels", classes, len(d.spec.Labels))
	}
	return nil
}

// add takes a score above the threshold (or no number at all).
func (d *Decoder) add(score float32, place, class int32) {
	if !(score <= 1.001) { // NaN, infinite, or no score at all
		d.dropped++
		return
	}
	score = min(score, 1)
	d.keys = append(d.keys, uint64(^math.Float32bits(score))<<32|uint64(len(d.cands)))
	d.cands = append(d.cands, candidate{score, place, class})
}

// suppress keeps the best candidates whose boxes don't overlap a better one of
// their class.
func (d *Decoder) suppress(box func(int32) corners, nms bool) {
	slices.Sort(d.keys)
	d.keys = d.keys[:min(len(d.keys), maxCandidates)]
	for i := range d.head {
		d.head[i] = -1
	}
	for _, key := range d.keys {
		c := d.cands[uint32(key)]
		b := box(c.place)
		if !b.finite() {
			d.dropped++
			continue
		}
		if nms && d.covered(b, c.class) {
			continue
		}
		d.kept = append(d.kept, keptBox{corners: b, score: c.score, class: c.class, next: d.head[c.class]})
		d.head[c.class] = int32(len(d.kept) - 1)
		if len(d.kept) == d.spec.MaxDetections {
			return
		}
	}
}

func (d *Decoder) covered(b corners, class int32) bool {
	area := b.area()
	for i := d.head[class]; i >= 0; i = d.kept[i].next {
		k := &d.kept[i]
		w := min(b.x1, k.x1) - max(b.x0, k.x0)
		h := min(b.y1, k.y1) - max(b.y0, k.y0)
		if w <= 0 || h <= 0 {
			continue
		}
		if inter := w * h; inter/(area+k.area()-inter) > d.spec.NMS {
			return true
		}
	}
	return false
}

// place maps a box back into the frame, clips it there and drops what is empty.
func (d *Decoder) place(k keptBox, at Placement, w, h float64) {
	x0 := min(max((float64(k.x0)-at.PadX)/at.GainX, 0), w)
	y0 := min(max((float64(k.y0)-at.PadY)/at.GainY, 0), h)
	x1 := min(max((float64(k.x1)-at.PadX)/at.GainX, 0), w)
	y1 := min(max((float64(k.y1)-at.PadY)/at.GainY, 0), h)
	if x1 <= x0 || y1 <= y0 {
		return
	}
	d.dets = append(d.dets, vision.Detection{
		Label: d.spec.Labels[k.class].Name,
		Class: int(k.class),
		Score: k.score,
		Box:   vision.Box{X: float32(x0), Y: float32(y0), W: float32(x1 - x0), H: float32(y1 - y0)},
	})
}

func (b corners) area() float32 { return (b.x1 - b.x0) * (b.y1 - b.y0) }

// finite reports whether all corners are numbers of a size whose area is one too.
func (b corners) finite() bool {
	const most = 1e9
	return b.x0 >= -most && b.y0 >= -most && b.x1 <= most && b.y1 <= most && b.x1 >= b.x0 && b.y1 >= b.y0
}

// centred makes corners of a centre and a size.
func centred(cx, cy, w, h float32) corners {
	return corners{cx - w/2, cy - h/2, cx + w/2, cy + h/2}
}
