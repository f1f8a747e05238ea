package infer

import (
	"fmt"
	"slices"
)

// linear are the operators whose values have no bounds: what they give are
// logits, no scores.
var linear = []string{"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "BatchNormalization", "Einsum", "FusedConv", "FusedGemm", "FusedMatMul"}

func isLogits(op string) bool { return slices.Contains(linear, op) }

// activation says what still makes scores of the values of a family that has a
// choice; the last operator that the graph computes decides.
func (i Info) activation(s *Spec, o Options, p Preset, classes int) (Activation, error) {
	if o.Activation != "" {
		return o.Activation, nil
	}
	last, usual := "", Softmax
	switch s.Family {
	case "classification":
		last = i.lastOf(func(t Tensor) bool { return len(t.Shape) == 2 || t.Shape == nil })
	case "segmentation":
		last = i.lastOf(func(t Tensor) bool { return len(t.Shape) == 4 || t.Shape == nil })
		if classes == 1 {
			usual = Sigmoid
		}
	case "detr":
		last, usual = i.lastOf(func(t Tensor) bool { return t.Name == "logits" || t.Name == "labels" && t.Type != "int64" }), p.Activation
		if usual == "" { // the input was said in full
			break
		}
		if isLogits(last) || last == "" {
			return usual, nil
		}
	default:
		return s.Activation, nil
	}
	switch {
	case last == "Softmax" || last == "Sigmoid" || last == "HardSigmoid":
		return NoActivation, nil
	case isLogits(last) && usual != "":
		return usual, nil
	}
	return "", i.unscored(s.Family, last)
}

// lastOf is the operator that computed the first output that is meant.
func (i Info) lastOf(meant func(Tensor) bool) string {
	for n, t := range i.Outputs {
		if meant(t) && n < len(i.Last) {
			return i.Last[n]
		}
	}
	return ""
}

func (i Info) unscored(f Family, last string) error {
	by := "it doesn't show which operator gives them"
	if last != "" {
		by = "its last operator is " + last
	}
	return fmt.Errorf("the model is of family %s, but whether its values are scores can't be told (%s): pass --activation none, sigmoid or softmax, "+
		"or write activation: none under model: in manifest.yaml. none: they lie between 0 and 1 already; softmax: one class excludes the others; sigmoid: each class for itself", f, by)
}
