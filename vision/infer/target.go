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
	largest string // the same, with as many frames as a run may look at
}

// unready says why a provider can't compute, "" if it may.
func (t target) unready(p Provider) string {
	if p == TensorRT && t.without != "" {
		return "tensorrt: " + t.without
	}
	return p.unready(t.library)
}

// shaped adds the inputs as they will be fed, with up to share frames where the model
// leaves their number open.
func (t target) shaped(inputs []Tensor, feeds []feed, share int) target {
	var all, open, most []string
	as := func(name string, shape []int64) string {
		return fmt.Sprintf("%s:%s", name, strings.ReplaceAll(shapeText(shape), "×", "x"))
	}
	for n, in := range inputs {
		one, large := as(in.Name, feeds[n].shape), slices.Clone(feeds[n].shape)
		if len(in.Shape) > 0 && in.Shape[0] < 0 {
			large[0] *= int64(max(share, 1))
		}
		if key := one + " " + in.Type; as(in.Name, large) != one {
			all = append(all, fmt.Sprintf("%s, up to %d", key, share))
		} else {
			all = append(all, key)
		}
		if in.Shape == nil || slices.Contains(in.Shape, -1) {
			open, most = append(open, one), append(most, as(in.Name, large))
		}
	}
	t.inputs, t.profile, t.largest = strings.Join(all, ", "), strings.Join(open, ","), strings.Join(most, ",")
	return t
}
