package infer

import (
	"cmp"
	"fmt"
	"slices"
)

// linear are the operators whose values have no bounds: what they give are
// logits, no scores.
var linear = []string{"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "BatchNormalization", "Einsum", "FusedConv", "FusedGemm", "FusedMatMul"}

func isLogits(op string) bool { return slices.Contains(linear, op) }

// activation says what still makes scores of the values of a family that has a
// choice; the last operator that the graph computes decides.
func (i Info) activation(s *Spec, o Options, classes int) (Activation, error) {
	rank, usual := 0, Softmax
	switch s.Family {
	case "classification":
		rank = 2
	case "segmentation":
		if rank = 4; classes == 1 {
			usual = Sigmoid
		}
	case "anomaly":
		return cmp.Or(o.Activation, s.Activation), nil
	default:
		if o.Activation != "" && o.Activation != s.Activation {
			return "", fmt.Errorf("activation %q: family %s knows its own", o.Activation, s.Family)
		}
		return s.Activation, nil
	}
	if o.Activation != "" {
		return o.Activation, nil
	}
	if s.Family == Segmentation && i.numbered() {
		return NoActivation, nil
	}
	last := i.lastOf(func(t Tensor) bool { return len(t.Shape) == rank || t.Shape == nil })
	switch {
	case last == "Softmax" || last == "Sigmoid" || last == "HardSigmoid":
		return NoActivation, nil
	case isLogits(last):
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
