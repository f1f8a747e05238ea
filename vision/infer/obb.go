package infer

import (
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
)

// YOLOv8OBB is Ultralytics' turned boxes: 1×(4+classes+1)×N, or 1×N×7 finished.
const YOLOv8OBB Family = "yolov8-obb"

// yolov8OBBFamily reads Ultralytics' models of the task obb. Values of a place
// are centre and sides in letterboxed pixels, class scores, and the angle in
// radians by which the side w is turned. Sides and angle are told as they come,
// as Results.obb does: a turned box has four descriptions.
var yolov8OBBFamily = family{
	name:   YOLOv8OBB,
	spec:   Spec{MaxDetections: 300, Confidence: 0.25, NMS: 0.7, Input: ultralyticsInput},
	layout: layoutOBB,
	read:   readOBB,

	multiLabelBelow: valBelow,
	classStep:       ultralyticsStep,
	where:           roundedGains,
}

func layoutOBB(outs []Tensor, in Input, i Info) (layout, error) {
	t, err := only(YOLOv8OBB, outs)
	if err != nil {
		return layout{}, err
	}
	if isRows(t.Shape, 7, i.NMS) {
		return layout{form: finishedRows}, nil
	}
	cells := int64(gridCells(in.Width, in.Height))
	head := fits(t.Shape, 1, -1, cells) || fits(t.Shape, 1, -1, -1) && t.Shape[1] > 0 && t.Shape[2] > t.Shape[1]
	if head && (t.Shape[1] > 5 || t.Shape[1] < 0) {
		return layout{classes: int(max(t.Shape[1]-5, 0))}, nil
	}
	return layout{}, fmt.Errorf("family yolov8-obb needs an output of 1×(4+classes+1)×%d for an input of %d×%d, or 1×N×7 with NMS inside, found %s", cells, in.Width, in.Height, shapeText(t.Shape))
}

func readOBB(d *Decoder, l layout, outs []Output) {
	out := outs[0].Data
	if l.form == finishedRows {
		d.rows(out, 7)
		d.finishTurned(func(place int32) vision.OrientedBox {
			r := out[7*int(place):]
			return vision.OrientedBox{X: r[0], Y: r[1], W: r[2], H: r[3], Angle: r[6]}
		}, false)
		return
	}
	n := int(outs[0].Shape[2])
	angles := out[len(out)-n:]
	d.planes(out[4*n:len(out)-n], n)
	d.finishTurned(func(place int32) vision.OrientedBox {
		p := int(place)
		return vision.OrientedBox{X: out[p], Y: out[n+p], W: out[2*n+p], H: out[3*n+p], Angle: angles[p]}
	}, true)
}

// finishTurned makes detections of the candidates, as finish does.
func (d *Decoder) finishTurned(box func(place int32) vision.OrientedBox, nms bool) {
	d.obb.start(d.spec.NMS)
	for i := range d.head {
		d.head[i] = -1
	}
	d.order.start(d.keys)
	kept := 0
	for range min(len(d.keys), maxCandidates) {
		c := candidateOf(d.order.next(), d.stride())
		b := box(c.place)
		if !isTurned(b) {
			d.dropped++
			continue
		}
		if nms {
			covered := d.obb.covers(b, float32(c.class)*d.family.classStep, d.head[c.class])
			d.head[c.class] = int32(len(d.obb.boxes) - 1)
			if covered {
				continue
			}
		}
		d.placeTurned(c, b)
		if kept++; kept == d.spec.MaxDetections {
			return
		}
	}
}

// isTurned reports whether all values are numbers of a size that can be computed with.
func isTurned(b vision.OrientedBox) bool {
	const most = 1e8
	return b.X >= -most && b.Y >= -most && b.X <= most && b.Y <= most &&
		b.W >= 0 && b.H >= 0 && b.W <= most && b.H <= most && b.Angle >= -most && b.Angle <= most
}

// placeTurned maps a box into the frame. Its bounds end at the frame's edges, it
// doesn't.
func (d *Decoder) placeTurned(c candidate, b vision.OrientedBox) {
	o := vision.OrientedBox{
		X: float32((float64(b.X) - d.at.PadX) / d.at.GainX), Y: float32((float64(b.Y) - d.at.PadY) / d.at.GainY),
		W: float32(float64(b.W) / d.at.GainX), H: float32(float64(b.H) / d.at.GainY), Angle: b.Angle,
	}
	bounds := o.Bounds().Intersect(vision.Box{W: float32(d.w), H: float32(d.h)})
	if bounds.W <= 0 || bounds.H <= 0 {
		return
	}
	d.dets = append(d.dets, vision.Detection{Label: d.spec.Labels[c.class].Name, Class: int(c.class), Score: c.score, Box: bounds, Oriented: &o})
}

// rotated is NMS of turned boxes as Ultralytics does it: a box goes if it overlaps
// any better one of its class, those that went included (Fast NMS), and overlap is
// that of two Gaussian distributions (probabilistic IoU, arXiv 2106.06072).
type rotated struct {
	boxes []gaussian
	limit float64 // IoU above which a box goes
	far   float32 // Bhattacharyya distance beyond which the IoU is surely less
	apart float32 // ratio of the determinants, alike
}

// gaussian is a turned box as a distribution: its middle, and its covariance
// [[a, c], [c, b]].
type gaussian struct {
	x, y, a, b, c float32
	det, root     float32
	next          int32 // the class's box before it, -1 without
}

// probEps is added where a division or a logarithm could fail.
const probEps = 1e-7

func (r *rotated) start(limit float32) {
	// IoU is 1 − √(1 − e^−distance): solved for the distance, and a little more.
	left := 1 - float64(limit)
	far := -math.Log(max(1+2*probEps-left*left, probEps))*1.01 + 1e-3
	*r = rotated{boxes: r.boxes[:0], limit: float64(limit), far: float32(far), apart: float32(math.Exp(2*far) * 1.01)}
}

// covers takes the class's next box, whose newest one is prev, moved apart from
// other classes as the tool does it, with its rounding.
func (r *rotated) covers(o vision.OrientedBox, by float32, prev int32) bool {
	g := gaussianOf(o)
	g.x, g.y, g.next = o.X+by, o.Y+by, prev
	r.boxes = append(r.boxes, g)
	for i := prev; i >= 0; i = r.boxes[i].next {
		if r.overlaps(&r.boxes[i], &g) {
			return true
		}
	}
	return false
}

func gaussianOf(o vision.OrientedBox) gaussian {
	sin64, cos64 := math.Sincos(float64(o.Angle))
	sin, cos := float32(sin64), float32(cos64)
	a, b := o.W*o.W/12, o.H*o.H/12
	g := gaussian{a: a*(cos*cos) + b*(sin*sin), b: a*(sin*sin) + b*(cos*cos), c: (a - b) * cos * sin}
	g.det = max(g.a*g.b-g.c*g.c, 0)
	g.root = float32(math.Sqrt(float64(g.det)))
	return g
}

func (r *rotated) overlaps(k, g *gaussian) bool {
	a, b, c := k.a+g.a, k.b+g.b, k.c+g.c
	dx, dy := k.x-g.x, k.y-g.y
	det := a*b - c*c
	far := a*dy*dy + b*dx*dx - 2*c*dx*dy
	if far > 4*r.far*(det+probEps) || det > r.apart*(4*k.root*g.root+probEps) {
		return false // needs no logarithm
	}
	t1 := (a*(dy*dy) + b*(dx*dx)) / (det + probEps) * 0.25
	t2 := c * -dx * dy / (det + probEps) * 0.5
	root := float32(math.Sqrt(float64(k.det * g.det)))
	t3 := float32(math.Log(float64(det/(4*root+probEps)+probEps))) * 0.5
	distance := min(max(t1+t2+t3, probEps), 100)
	return 1-math.Sqrt(1-math.Exp(-float64(distance))+probEps) > r.limit
}
