package infer

import (
	"fmt"
	"slices"
	"strings"
)

// target is what a session is to compute on, and how.
type target struct {
	library   string // ONNX Runtime
	threads   int    // per operator
	provider  Provider
	precision Precision
	graph     GraphLevel
	engines   Engines
	without   string            // why TensorRT isn't tried again, "" if it is
	atOnce    bool              // CUDA is taken where TensorRT has no engine yet
	only      bool              // nothing but an engine is wanted
	tell      func(engineReply) // how the engine's load or build gets on
	loads     func(*engine)     // hears which one is loaded or built; may be nil

	inputs  string // all inputs with their shapes
	profile string // those that the model leaves open, as the provider's options want them
}

// unready says why a provider can't compute, "" if it may.
func (t target) unready(p Provider) string {
	if p == TensorRT && t.without != "" {
		return "tensorrt: " + t.without
	}
	return p.unready(t.library)
}

// shaped adds the inputs as they will be fed.
func (t target) shaped(inputs []Tensor, feeds []feed) target {
	var all, open []string
	for n, in := range inputs {
		one := fmt.Sprintf("%s:%s", in.Name, strings.ReplaceAll(shapeText(feeds[n].shape), "×", "x"))
		all = append(all, one+" "+in.Type)
		if in.Shape == nil || slices.Contains(in.Shape, -1) {
			open = append(open, one)
		}
	}
	t.inputs, t.profile = strings.Join(all, ", "), strings.Join(open, ",")
	return t
}
