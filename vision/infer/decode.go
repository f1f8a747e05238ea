package infer

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// Decoder turns a model's outputs into what the frame shows. It keeps its
// buffers, so it is not safe for concurrent use.
type Decoder struct {
	spec   Spec
	family *family

	at   Placement // of the frame that is decoded
	w, h int       // its size in pixels

	keys    []uint64  // of the candidates, see candidate.key
	order   ascending // goes through the keys
	dropped int       // scores and boxes that are no numbers
	seen    Seen
	err     error     // of read
	maps    mapReader // of families that give maps
	scores  []float32 // of a classifier
	protos  protoMasks

	best []uint64 // per place, for single-label decoding
	kept []keptBox
	head []int32 // per class: its newest kept box, -1 without
	dets []vision.Detection

	slack   float32   // square pixels that the tool adds to a union against division by 0
	values  []float32 // room of families that compute scores
	anchors []corners // of families that need them, once
	obb     rotated
}

// Seen is what a model sees in one frame.
type Seen struct {
	Detections []vision.Detection // best first; within the frame
	Dropped    int                // scores and boxes that were NaN, infinite or out of range
	Score      *float32           // of the whole frame, 0 to 1, of families that give one; else nil
	Map        *ScoreMap          // a score for each pixel, of families that give one; else nil
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
	apart corners // moved apart from other classes
	size  float32 // its area
	score float32
	place int32
	class int32
	next  int32 // the class's kept box before it
}

type corners struct{ x0, y0, x1, y1 float32 }

// maxCandidates bounds what goes into NMS, the best first (Ultralytics' max_nms).
const maxCandidates = 30000

// NewDecoder makes a decoder; the spec comes from Info.Spec.
func NewDecoder(spec Spec) *Decoder {
	return &Decoder{spec: spec, family: spec.Family.known(), head: make([]int32, len(spec.Labels))}
}

// Decode reads the outputs of a run for a frame of w×h pixels. What it gives
// stays valid until the next call.
func (d *Decoder) Decode(outs []Output, at Placement, w, h int) (Seen, error) {
	l, err := d.check(outs)
	if err != nil {
		return Seen{}, fmt.Errorf("decode the output: %w", err)
	}
	if d.family.where != nil {
		at = d.family.where(d.spec.Input, at, w, h)
	}
	d.at, d.w, d.h = at, w, h
	d.keys, d.kept, d.dets, d.dropped, d.seen, d.err = d.keys[:0], d.kept[:0], d.dets[:0], 0, Seen{}, nil
	if d.family.read(d, l, outs); d.err != nil {
		return Seen{}, fmt.Errorf("decode the output: %w", d.err)
	}
	d.seen.Detections, d.seen.Dropped = d.dets, d.dropped
	return d.seen, nil
}

// check lays the outputs out for the family.
func (d *Decoder) check(outs []Output) (layout, error) {
	if d.family == nil {
		return layout{}, fmt.Errorf("model family %q is unknown", d.spec.Family)
	}
	tensors := make([]Tensor, len(outs))
	for k, o := range outs {
		n := int64(1)
		for _, s := range o.Shape {
			if s < 0 || s > math.MaxInt32 || n > math.MaxInt32 {
				return layout{}, fmt.Errorf("shape %s is impossible", shapeText(o.Shape))
			}
			n *= s
		}
		if n != int64(len(o.Data)) {
			return layout{}, fmt.Errorf("shape %s needs %d values, there are %d", shapeText(o.Shape), n, len(o.Data))
		}
		tensors[k] = Tensor{Name: o.Name, Type: "float32", Shape: o.Shape}
	}
	l, err := d.family.layout(tensors, d.spec.Input, Info{})
	if err != nil {
		return layout{}, err
	}
	if n := len(d.spec.Labels); l.classes != 0 && l.classes != n && l.classes != n+d.family.spare {
		return layout{}, fmt.Errorf("it has %d classes, there are %d labels", l.classes, len(d.spec.Labels))
	}
	return l, nil
}

// finish makes detections of the candidates: the best first, without those whose
// box overlaps a better one of their class, unless the model saw to that itself.
func (d *Decoder) finish(box func(place int32) corners, nms bool) {
	d.suppress(box, nms)
	for _, k := range d.kept {
		d.place(k)
	}
}

// add takes a score above the threshold (or no number at all).
func (d *Decoder) add(score float32, place, class int32) {
	if !(score <= 1.001) { // NaN, infinite, or no score at all
		d.dropped++
		return
	}
	d.keys = append(d.keys, candidate{min(score, 1), place, class}.key(d.stride()))
}

// stride is the number of classes that a place of the output may have.
func (d *Decoder) stride() uint64 { return uint64(len(d.spec.Labels) + d.family.spare) }

// A key is one number for a candidate. Ascending is best first; where scores are
// the same the place counts, then the class, as in the tools.
const placeBits = 34 // 2³¹ values are read at most

func (c candidate) key(stride uint64) uint64 {
	less := uint64(math.Float32bits(1) - math.Float32bits(c.score))
	return less<<placeBits | (uint64(c.place)*stride+uint64(c.class))&(1<<placeBits-1)
}

func candidateOf(key, stride uint64) candidate {
	at := key & (1<<placeBits - 1)
	return candidate{math.Float32frombits(math.Float32bits(1) - uint32(key>>placeBits)), int32(at / stride), int32(at % stride)}
}

// suppress keeps the best candidates whose boxes don't overlap a better one of
// their class.
func (d *Decoder) suppress(box func(int32) corners, nms bool) {
	for i := range d.head {
		d.head[i] = -1
	}
	d.order.start(d.keys)
	for range min(len(d.keys), maxCandidates) {
		c := candidateOf(d.order.next(), d.stride())
		b := box(c.place)
		if !b.finite() {
			d.dropped++
			continue
		}
		apart := b.moved(float32(c.class) * d.family.classStep)
		k := keptBox{corners: b, apart: apart, size: apart.area(), score: c.score, place: c.place, class: c.class, next: d.head[c.class]}
		if nms && d.covered(&k) {
			continue
		}
		d.kept = append(d.kept, k)
		d.head[c.class] = int32(len(d.kept) - 1)
		if len(d.kept) == d.spec.MaxDetections {
			return
		}
	}
}

func (d *Decoder) covered(b *keptBox) bool {
	for i := b.next; i >= 0; {
		k := &d.kept[i]
		i = k.next
		w := min(b.apart.x1, k.apart.x1) - max(b.apart.x0, k.apart.x0)
		h := min(b.apart.y1, k.apart.y1) - max(b.apart.y0, k.apart.y0)
		if w <= 0 || h <= 0 {
			continue
		}
		if inter := w * h; inter/(b.size+k.size-inter+d.slack) > d.spec.NMS {
			return true
		}
	}
	return false
}

// place maps a box back into the frame, clips it there and drops what is empty.
func (d *Decoder) place(k keptBox) bool {
	b := d.inFrame(k.corners)
	if b.W <= 0 || b.H <= 0 {
		return false
	}
	d.dets = append(d.dets, vision.Detection{Label: d.spec.Labels[k.class].Name, Class: int(k.class), Score: k.score, Box: b})
	return true
}

// inFrame maps corners from the tensor into the frame and clips them there.
func (d *Decoder) inFrame(c corners) vision.Box {
	at, w, h := d.at, float64(d.w), float64(d.h)
	x0 := min(max((float64(c.x0)-at.PadX)/at.GainX, 0), w)
	y0 := min(max((float64(c.y0)-at.PadY)/at.GainY, 0), h)
	x1 := min(max((float64(c.x1)-at.PadX)/at.GainX, 0), w)
	y1 := min(max((float64(c.y1)-at.PadY)/at.GainY, 0), h)
	return vision.Box{X: float32(x0), Y: float32(y0), W: float32(x1 - x0), H: float32(y1 - y0)}
}

// moved is the box so many pixels to the right and down, rounded as float32 is.
func (b corners) moved(by float32) corners {
	return corners{b.x0 + by, b.y0 + by, b.x1 + by, b.y1 + by}
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
