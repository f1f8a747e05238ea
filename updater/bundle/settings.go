package bundle

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// The words that a manifest may have for how a model is read; vision/infer gives
// them their meaning.
var (
	colours        = []string{"rgb", "bgr", "gray"}
	resizes        = []string{"letterbox", "stretch", "crop"}
	interpolations = []string{"linear", "area", "bilinear", "bicubic", "nearest"}
	anchors        = []string{"centre", "top-left"}
	activations    = []string{"none", "sigmoid", "softmax"}
)

// Bounds of the settings.
const (
	maxSide       = 8192 // pixels of an input
	maxDetections = 4000 // a picture
	maxArea       = 1 << 30
)

// checkSettings checks what the manifest says of how a model is read, besides its input.
func (m Model) checkSettings() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, v := range []struct {
		key   string
		value float32
	}{{"confidence", m.Confidence}, {"nms", m.NMS}, {"pixel", m.Pixel}} {
		if !(v.value >= 0 && v.value <= 1) {
			fault("model.%s: %v is outside 0 to 1", v.key, v.value)
		}
	}
	if m.Size != nil && (len(m.Size) != 2 || slices.Min(m.Size) < 1 || slices.Max(m.Size) > maxSide) {
		fault("model.size: %v must be width and height, 1 to %d pixels each, as [640, 480]", m.Size, maxSide)
	}
	if m.MaxDetections < 0 || m.MaxDetections > maxDetections {
		fault("model.max_detections: %d is outside 0 to %d", m.MaxDetections, maxDetections)
	}
	if m.MinArea < 0 || m.MinArea > maxArea {
		fault("model.min_area: %d is outside 0 to %d pixels", m.MinArea, maxArea)
	}
	if m.Activation != "" && !slices.Contains(activations, m.Activation) {
		fault("model.activation: %q is none of %s", m.Activation, strings.Join(activations, ", "))
	}
	return faults
}

func (in Input) check() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, v := range []struct {
		key, value string
		known      []string
	}{{"colour", in.Colour, colours}, {"resize", in.Resize, resizes}, {"interpolation", in.Interpolation, interpolations}, {"anchor", in.Anchor, anchors}} {
		if v.value != "" && !slices.Contains(v.known, v.value) {
			fault("model.input.%s: %q is none of %s", v.key, v.value, strings.Join(v.known, ", "))
		}
	}
	for _, v := range []struct {
		key    string
		values []float64
	}{{"mean", in.Mean}, {"std", in.Std}, {"scale", []float64{in.Scale}}} {
		if n := len(v.values); n != 0 && n != 1 && n != 3 {
			fault("model.input.%s: has %d numbers, want one for each channel", v.key, n)
		}
		if slices.ContainsFunc(v.values, func(f float64) bool { return !(math.Abs(f) <= math.MaxFloat32) }) {
			fault("model.input.%s: holds what is no number, or too large", v.key)
		}
	}
	if slices.Contains(in.Std, 0) {
		faults = append(faults, errors.New("model.input.std: 0 can't divide"))
	}
	if !(in.Crop >= 0 && in.Crop <= 1) {
		fault("model.input.crop: %v is outside 0 to 1", in.Crop)
	}
	if in.Crop != 0 && in.Resize != "crop" {
		faults = append(faults, errors.New("model.input.crop: is for resize: crop alone"))
	}
	return faults
}

// Open names what of the pre-processing is left to the family's defaults; none
// where everything is said.
func (in Input) Open() []string {
	var keys []string
	for _, v := range []struct {
		key string
		set bool
	}{{"colour", in.Colour != ""}, {"scale", in.Scale != 0}, {"mean", in.Mean != nil}, {"std", in.Std != nil}, {"resize", in.Resize != ""},
		{"interpolation", in.Interpolation != ""},
		{"anchor", in.Anchor != "" || in.Resize != "letterbox"}, {"pad", in.Pad != nil || in.Resize != "letterbox"}, {"crop", in.Crop != 0 || in.Resize != "crop"}} {
		if !v.set {
			keys = append(keys, v.key)
		}
	}
	return keys
}
