package infer

import (
	"fmt"
	"slices"
	"strings"
)

// Family names how a model wants its picture and what its outputs mean.
type Family string

// The families that can be run (docs/models.md has their tensors).
const (
	YOLOX      Family = "yolox"      // 1×N×(5+classes), grid not decoded, strides 8, 16, 32
	YOLOv8     Family = "yolov8"     // Ultralytics 8 to 26: 1×(4+classes)×N, or 1×N×6 finished
	FastestDet Family = "fastestdet" // 1×(5+classes)×H/16×W/16
)

// family is what is known of a Family: how it wants its picture, where its
// values lie among a model's outputs, and how they become what a frame shows.
type family struct {
	name Family
	spec Spec // its reference settings: input as its own tools feed it, thresholds as they set them

	labels []string // the classes' names where neither the model nor anybody tells them

	// layout finds the family's values among the outputs, whose sizes may be
	// open (-1) while the model hasn't run. i is the model's description where
	// it says what shapes don't; the zero Info of a run.
	layout func(outs []Tensor, in Input, i Info) (layout, error)
	// read adds what the outputs show to the decoder. Their shapes were laid out.
	read func(d *Decoder, l layout, outs []Output)

	multiLabelBelow float32 // confidence under which every class of a place counts, as in the tool's val; 0: spec says it
	classStep       float32 // pixels by which the tool keeps classes apart in NMS, in float32; 0: it compares each class alone
	spare           int     // classes at the model's end that labels needn't name (a background's)
	background      bool    // labels may start with a name for the background, which is no class

	// where says where the tool thinks that a frame of w×h lies in the tensor; nil: where it lies.
	where func(in Input, at Placement, w, h int) Placement
}

// layout says where a family's values lie among a model's outputs.
type layout struct {
	at      [4]int // index of each of the family's tensors, in the order that it tells; -1 for one that the model lacks
	classes int    // 0 where the model leaves it open
	form    form   // which of its forms the family found
}

// form tells the layouts of one family apart; each has its own constants.
type form uint8

// Output is one tensor that a run gave, its values as float32.
type Output struct {
	Name  string
	Shape []int64
	Data  []float32
}

// families lists every family in the order of help texts.
func families() []*family {
	return []*family{
		&yoloxFamily, &yolov8Family, &fastestDetFamily,
		&yolov5Family, &yolov7Family, &yolov8OBBFamily, &rtdetrFamily, &detrFamily, &rfdetrFamily, &detectionsFamily, &ssdFamily, &ssd300Family, &retinaNetFamily,
		&yolov8SegFamily, &segmentationFamily, &anomalyFamily, &classificationFamily,
	}
}

// known gives what is known of a family, nil for one that doesn't exist.
func (f Family) known() *family {
	for _, k := range families() {
		if k.name == f {
			return k
		}
	}
	return nil
}

// Families lists every family, for help texts and errors.
func Families() []Family {
	var out []Family
	for _, k := range families() {
		out = append(out, k.name)
	}
	return out
}

// ParseFamily reads a family's name; the error lists those that exist.
func ParseFamily(s string) (Family, error) {
	if f := Family(strings.ToLower(s)); slices.Contains(Families(), f) {
		return f, nil
	}
	return "", fmt.Errorf("model family %q is unknown: known are %s", s, familyNames())
}

func familyNames() string {
	var names []string
	for _, f := range Families() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// DefaultInput is the input of a family as its own tools feed it.
func DefaultInput(f Family) Input { return f.defaults().Input }

// defaults are the family's reference settings.
func (f Family) defaults() Spec {
	k := f.known()
	if k == nil {
		return Spec{Family: f}
	}
	s := k.spec
	s.Family = f
	return s
}

// fits reports whether a shape has these sizes, where -1 in either takes any.
func fits(shape []int64, want ...int64) bool {
	if len(shape) != len(want) {
		return false
	}
	for n, w := range want {
		if w >= 0 && shape[n] >= 0 && shape[n] != w {
			return false
		}
	}
	return true
}

// only is the index of the one output, for families that have no other.
func only(f Family, outs []Tensor) (Tensor, error) {
	if len(outs) != 1 {
		return Tensor{}, fmt.Errorf("family %s needs one output, found %d: %v", f, len(outs), outs)
	}
	return outs[0], nil
}

// output gives the decoder's view of the family's n-th tensor; ok is false for
// one that the model lacks.
func (l layout) output(outs []Output, n int) (o Output, ok bool) {
	if l.at[n] < 0 {
		return Output{}, false
	}
	return outs[l.at[n]], true
}
