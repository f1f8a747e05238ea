package infer

import (
	"fmt"
	"math"
)

// fastestDetFamily reads dog-qiuqiu's FastestDet.
var fastestDetFamily = family{
	name: FastestDet,
	spec: Spec{MaxDetections: 100, Confidence: 0.65, NMS: 0.45,
		Input: Input{Width: 352, Height: 352, Colour: BGR, Scale: 1.0 / 255, Resize: Stretch}},
	layout: layoutFastestDet,
	read:   readFastestDet,
}

func layoutFastestDet(outs []Tensor, in Input, _ Info) (layout, error) {
	t, err := only(FastestDet, outs)
	if err != nil {
		return layout{}, err
	}
	h, w := int64(in.Height/16), int64(in.Width/16)
	if fits(t.Shape, 1, -1, h, w) && (t.Shape[1] > 5 || t.Shape[1] < 0) {
		return layout{classes: int(max(t.Shape[1]-5, 0))}, nil
	}
	return layout{}, fmt.Errorf("family fastestdet needs an output of 1×(5+classes)×%d×%d for an input of %d×%d, found %s", h, w, in.Width, in.Height, shapeText(t.Shape))
}

// readFastestDet reads planes of objectness, x, y, w, h and class scores over one
// grid; sizes are shares of the picture. A place has one class, its best.
func readFastestDet(d *Decoder, _ layout, outs []Output) {
	out, h, w := outs[0].Data, int(outs[0].Shape[2]), int(outs[0].Shape[3])
	n := w * h
	for p := range n {
		class, best := int32(-1), float32(0)
		for c := range len(d.spec.Labels) {
			s := out[(5+c)*n+p]
			if s != s {
				d.dropped++
			} else if s > best {
				class, best = int32(c), s
			}
		}
		score := float32(math.Pow(float64(out[p]), 0.6) * math.Pow(float64(best), 0.4))
		if class >= 0 && !(score <= d.spec.Confidence) {
			d.add(score, int32(p), class)
		}
	}
	tw, th := float32(d.spec.Input.Width), float32(d.spec.Input.Height)
	d.finish(func(place int32) corners {
		p := int(place)
		cx := (tanh(out[n+p]) + float32(p%w)) / float32(w)
		cy := (tanh(out[2*n+p]) + float32(p/w)) / float32(h)
		b := centred(cx*tw, cy*th, sigmoid(out[3*n+p])*tw, sigmoid(out[4*n+p])*th)
		// Many boxes reach far out of the picture; the reference cuts them before
		// NMS, which is worth 0.8 points of AP.
		return corners{max(b.x0, 0), max(b.y0, 0), min(b.x1, tw), min(b.y1, th)}
	}, true)
}

func tanh(v float32) float32 { return float32(math.Tanh(float64(v))) }

func sigmoid(v float32) float32 { return float32(1 / (1 + math.Exp(-float64(v)))) }
