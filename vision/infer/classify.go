package infer

import (
	"fmt"
	"math"
	"slices"

	"github.com/sightline-edge/sightline/vision"
)

// Classification models say what a whole picture shows.
const Classification Family = "classification" // 1×C, or 1×C×1×1

// classificationFamily reads classifiers; its input is that of torchvision's
// presets for evaluation.
var classificationFamily = family{
	name: Classification,
	spec: Spec{MaxDetections: 5, Confidence: 0.01, NMS: 1,
		Input: Input{Width: 224, Height: 224, Colour: RGB, Scale: 1.0 / 255, Mean: imageNetMean, Std: imageNetStd,
			Resize: Crop, Interpolation: Bilinear, CropShare: 224.0 / 256}},
	layout: layoutClassification,
	read:   readClassification,
}

func layoutClassification(outs []Tensor, _ Input, i Info) (layout, error) {
	var found []int
	for n, t := range outs {
		if shape := i.alone(t.Shape); fits(shape, 1, -1) || fits(shape, 1, -1, 1, 1) {
			found = append(found, n)
		}
	}
	if len(found) > 1 { // such as features beside them
		found = slices.DeleteFunc(found, func(n int) bool { return !slices.Contains([]string{"logits", "output", "output0"}, outs[n].Name) })
	}
	if len(found) != 1 || outs[found[0]].Shape[1] == 0 {
		return layout{}, fmt.Errorf("family classification needs an output of 1×classes (named logits or output if there are several), found %v", outs)
	}
	return layout{at: [4]int{found[0], -1, -1, -1}, classes: int(max(outs[found[0]].Shape[1], 0))}, nil
}

// readClassification tells the best classes, each of the whole frame.
func readClassification(d *Decoder, l layout, outs []Output) {
	if d.err = d.frameSize(); d.err != nil {
		return
	}
	o, _ := l.output(outs, 0)
	for c, score := range d.classScores(o.Data) {
		if !(score <= d.spec.Confidence) {
			d.add(score, 0, int32(c))
		}
	}
	d.suppress(func(int32) corners { return corners{} }, false)
	for _, k := range d.kept {
		d.dets = append(d.dets, vision.Detection{Label: d.spec.Labels[k.class].Name, Class: int(k.class), Score: k.score,
			Box: vision.Box{W: float32(d.w), H: float32(d.h)}})
	}
}

// classScores makes scores of the model's values; none of values that give no
// scores, which are counted.
func (d *Decoder) classScores(values []float32) []float32 {
	out := d.scores[:0]
	top, broken := math.Inf(-1), 0
	for _, v := range values {
		if v-v != 0 {
			broken++
		}
		top = max(top, float64(v))
	}
	if broken > 0 { // one of them spoils a softmax, and says that the others are worth little
		d.dropped += broken
		return nil
	}
	sum := 0.0
	for _, v := range values {
		switch {
		case d.spec.Activation == Sigmoid:
			v = sigmoid(v)
		case d.spec.Activation == Softmax:
			e := math.Exp(float64(v) - top)
			sum += e
			v = float32(e)
		case v < -scoreSlack || v > 1+scoreSlack:
			d.err = noScore(v)
			return nil
		}
		out = append(out, v)
	}
	if d.spec.Activation == Softmax {
		for c, v := range out {
			out[c] = float32(float64(v) / sum)
		}
	}
	d.scores = out
	return out
}
