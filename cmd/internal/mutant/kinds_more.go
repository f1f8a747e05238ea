package mutant

import (
	"fmt"
	"math"
)

// interpolations are those that a manifest can name.
var interpolations = []string{"linear", "area", "bilinear", "bicubic", "nearest"}

// feeding changes how pictures are fed, besides what input changes.
func (m *mutation) feeding(k Kind) error {
	in := &m.manifest.Model.Input
	switch k {
	case Std:
		by := 0.5 + m.rnd.Float64()
		in.Std = []float64{by, by, by}
		m.say("divided by %.2f", by)
	case Interpolation:
		was := in.Interpolation
		in.Interpolation = interpolations[m.seed%uint64(len(interpolations))]
		if in.Interpolation == was || was == "" && in.Interpolation == interpolations[0] {
			return fmt.Errorf("resize otherwise: it is %s already: %w", in.Interpolation, ErrNothing)
		}
		m.say("%s instead of %s", in.Interpolation, was)
	case Anchor:
		if in.Resize == "stretch" {
			return fmt.Errorf("place the picture elsewhere: it is stretched: %w", ErrNothing)
		}
		was := in.Anchor
		if in.Anchor = "top-left"; was == "top-left" {
			in.Anchor = "centre"
		}
		m.say("%s instead of %s", in.Anchor, was)
	}
	return nil
}

// counts changes what of the model's answers counts.
func (m *mutation) counts(k Kind) error {
	md := &m.manifest.Model
	if segments := md.Family == "segmentation"; segments == (k == MaxDetections) {
		return fmt.Errorf("count otherwise: a model of the family %s: %w", md.Family, ErrNothing)
	}
	switch k {
	case Pixel:
		was := md.Pixel
		md.Pixel = float32(0.02 + 0.96*m.rnd.Float64())
		m.say("pixels count from %.2f instead of %v", md.Pixel, was)
	case MinArea:
		md.MinArea = 1 << (3 + m.rnd.IntN(12))
		m.say("regions below %d pixels don't count", md.MinArea)
	case MaxDetections:
		md.MaxDetections = 1 + m.rnd.IntN(10)
		m.say("only the best %d are told", md.MaxDetections)
	}
	return nil
}

// clip puts values into int8 with one scale that is too small for them: what is
// beyond its range becomes the range's end.
func clip(values []float32, keep float64) {
	most := 0.0
	for _, v := range values {
		most = max(most, math.Abs(float64(v)))
	}
	step := most * keep / 127
	if step == 0 {
		return
	}
	for i, v := range values {
		values[i] = float32(max(-127, min(127, math.Round(float64(v)/step))) * step)
	}
}
