// Package infer runs detection models on frames. A worker process (the agent
// executed again) holds the model and ONNX Runtime, so that a model that
// crashes or hangs costs one process; the agent's side is Worker. Reading a
// model's description, filling the input tensor, decoding and NMS are plain
// Go and need no runtime.
package infer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/vision"
)

// Label is the name of one class and what it means to an inspection.
type Label struct {
	Name string
	Role vision.Role
}

// Colour is the order of a tensor's planes.
type Colour string

// The colours that models read.
const (
	BGR  Colour = "bgr"
	RGB  Colour = "rgb"
	Gray Colour = "gray" // one plane
)

// Resize says how a frame comes to the tensor's size.
type Resize string

// Letterbox keeps the frame's proportions and pads, Stretch doesn't keep them,
// Crop keeps them and shows the middle.
const (
	Letterbox Resize = "letterbox"
	Stretch   Resize = "stretch"
	Crop      Resize = "crop"
)

// Interpolation says how a pixel of the resized picture is made.
type Interpolation string

// The interpolations of the tools that models are trained with. The zero value
// counts as Linear.
const (
	Linear   Interpolation = "linear"   // OpenCV's INTER_LINEAR: two pixels a direction, whatever the factor
	Area     Interpolation = "area"     // OpenCV's INTER_AREA
	Bilinear Interpolation = "bilinear" // Pillow's BILINEAR, widened where it makes smaller (torchvision, timm)
	Bicubic  Interpolation = "bicubic"  // Pillow's BICUBIC, widened where it makes smaller (timm)
	Nearest  Interpolation = "nearest"  // Pillow's NEAREST
)

// Anchor says where a letterboxed picture lies in the tensor.
type Anchor string

// The anchors, each with the rounding of the tool that uses it.
const (
	Centre  Anchor = "centre"   // Ultralytics: size rounded to the nearest pixel
	TopLeft Anchor = "top-left" // YOLOX: size rounded down
)

// Input says how a frame becomes the input tensor. A value of the tensor is
// (pixel × Scale − Mean) / Std, computed in float64 and rounded once; Mean and
// Std are in the tensor's plane order.
type Input struct {
	Width, Height int // 0: the model's own size, the family's where the model leaves it open
	Colour        Colour
	Scale         float64
	Mean          [3]float64
	Std           [3]float64 // 0 counts as 1
	Resize        Resize
	Anchor        Anchor
	Pad           uint8 // grey value around a letterboxed picture
	Interpolation Interpolation
	CropShare     float64 // of Crop: the tensor's shorter side ÷ the resized picture's (timm's crop_pct); 0 counts as 1
}

// Planes is the number of the tensor's planes: 1 for Gray, else 3.
func (in Input) Planes() int {
	if in.Colour == Gray {
		return 1
	}
	return 3
}

// Spec is all that is needed to run a model besides its file.
type Spec struct {
	Family Family
	Labels []Label
	Input  Input

	Confidence    float32 // detections score more than this, 0 to 1
	NMS           float32 // of two boxes of one class with a larger IoU, the better stays
	MultiLabel    bool    // every class above Confidence counts, not only a place's best
	MaxDetections int     // the best so many per frame; 1 to MaxDetections

	Activation Activation // what still makes scores of the model's values
	Pixel      float32    // pixels of a map that score at least this are of the thing, 0 to 1
	MinArea    int        // regions of fewer pixels of the frame aren't told
	Background int        // class that is the background, counted from 1; 0: none
}

// Activation makes scores of a model's values. The zero value is for families
// that know it themselves.
type Activation string

// The activations.
const (
	NoActivation Activation = "none"    // they are scores already
	Sigmoid      Activation = "sigmoid" // each class for itself
	Softmax      Activation = "softmax" // one of the classes
)

// MaxDetections is the most detections that one frame can give: what fits
// into one message of the worker.
const MaxDetections = 4000

// Options is what a caller says about a model; zero fields leave it to the
// model's metadata and the family's defaults.
type Options struct {
	Family        string
	Preset        string // name of a Preset of the family
	Input         Override
	Width, Height int                    // of the input, for models that leave it open
	Labels        []string               // class names in the model's order
	Roles         map[string]vision.Role // labels not named are parts
	Confidence    float32
	NMS           float32
	MaxDetections int
	Activation    Activation
	Pixel         float32
	MinArea       int
}

// valBelow is the confidence under which Ultralytics' families count every class
// of a place, as their val does (its default is 0.001); at 0.25 their predict
// counts only the best.
const valBelow = 0.05

// Spec joins the family's defaults, the model's description and the caller's
// options, and says clearly where they contradict each other.
func (i Info) Spec(o Options) (Spec, error) {
	family := i.Family
	if o.Family != "" {
		f, err := ParseFamily(o.Family)
		if err != nil {
			return Spec{}, err
		}
		family = f
	}
	if family == "" {
		return Spec{}, i.unknownFamily()
	}
	if family.known() == nil {
		return Spec{}, fmt.Errorf("the model is of family %q (%s), which this program can't run: known are %s", family, i.Why, familyNames())
	}
	if err := cmp.Or(i.contradicts(family), i.unsettled(o)); err != nil {
		return Spec{}, err
	}
	s := family.defaults()
	if err := i.input(&s, o); err != nil {
		return Spec{}, err
	}
	classes, err := i.classes(family, s.Input)
	if err != nil {
		return Spec{}, err
	}
	if err := i.feeding(&s, o, classes); err != nil {
		return Spec{}, err
	}
	if s.Labels, err = i.labels(o, family.known(), classes); err != nil {
		return Spec{}, err
	}
	s.Background = background(family, s.Labels)
	s.Confidence = cmp.Or(o.Confidence, s.Confidence)
	s.NMS = cmp.Or(o.NMS, s.NMS)
	s.MaxDetections = cmp.Or(o.MaxDetections, s.MaxDetections)
	s.Pixel = cmp.Or(o.Pixel, s.Pixel)
	s.MinArea = cmp.Or(o.MinArea, s.MinArea)
	if below := family.known().multiLabelBelow; below > 0 {
		s.MultiLabel = s.Confidence < below
	}
	return s, s.check()
}

// input sets the input's size and planes: the model's where it fixes them, else
// what the caller or the metadata say.
func (i Info) input(s *Spec, o Options) error {
	h, w, c := i.planes()
	for _, side := range [...]struct{ fixed, asked int }{{w, o.Width}, {h, o.Height}} {
		if side.fixed > 0 && side.asked > 0 && side.fixed != side.asked {
			return fmt.Errorf("size %d×%d: the model's input is %v", o.Width, o.Height, i.Inputs[i.picture()])
		}
	}
	s.Input.Width, s.Input.Height = cmp.Or(w, o.Width, i.Width), cmp.Or(h, o.Height, i.Height)
	if s.Input.Width == 0 || s.Input.Height == 0 {
		example, hint := "640x640", ""
		if w, h, ok := i.mapSize(s.Family); ok {
			example = fmt.Sprintf("%dx%d", w, h)
			hint = fmt.Sprintf(" (its map has %s: Anomalib's size of pictures, except where a centre crop follows; another one gives other scores)", example)
		}
		return fmt.Errorf("the model takes pictures of any size (%v), and its file doesn't tell for which it was trained%s: pass --size WIDTHxHEIGHT, as --size %s, or write size: [%s] under model: in manifest.yaml",
			i.Inputs[i.picture()], hint, example, strings.Replace(example, "x", ", ", 1))
	}
	if c == 1 {
		s.Input.Colour = Gray
	}
	return nil
}

// mapSize is the size of an anomaly model's map, where that is fixed. Anomalib's
// exports take any picture and bring it to the size of training in the graph, but
// not as in training: only at that size nothing is left to do there.
func (i Info) mapSize(f Family) (w, h int64, ok bool) {
	for _, t := range i.Outputs {
		if n := len(t.Shape); f == "anomaly" && t.Name == "anomaly_map" && n >= 2 && t.Shape[n-2] > 0 && t.Shape[n-1] > 0 {
			return t.Shape[n-1], t.Shape[n-2], true
		}
	}
	return 0, 0, false
}

// feeding sets how pictures are fed and scores are made, as the caller says, or
// the file shows.
func (i Info) feeding(s *Spec, o Options, classes int) error {
	_, _, planes := i.planes()
	levels := i.Inputs[i.picture()].Type == "uint8"
	p, ok, err := i.preset(s.Family, o.Preset)
	if err != nil {
		return err
	}
	family := s.Input
	s.Input = p.Input.On(s.Input)
	if levels {
		s.Input = Override{Scale: 1, Mean: zero, Std: one3}.On(s.Input)
	}
	if s.Input = o.Input.On(s.Input); planes == 1 && o.Input.Colour == "" {
		s.Input.Colour = Gray
	}
	switch in := s.Input; {
	case planes > 0 && planes != in.Planes():
		return fmt.Errorf("colour %s: the model's input is %v", in.Colour, i.Inputs[i.picture()])
	case levels && (in.Scale != 1 || in.Mean != [3]float64{} || in.deviations() != [3]float64{1, 1, 1}):
		return fmt.Errorf("scale %v, mean %v, std %v: the model's input is of uint8, which takes the levels as they are (scale: 1, no mean, no std)", in.Scale, in.Mean, in.Std)
	case !ok && len(presetsOf(s.Family)) > 0 && !o.Input.whole():
		return i.unfed(s.Family, family)
	}
	s.Activation, err = i.activation(s, o, classes)
	return err
}

func (i Info) labels(o Options, f *family, classes int) ([]Label, error) {
	names, from := i.Labels, "the model's metadata names"
	if o.Labels != nil {
		names, from = o.Labels, "the given labels name"
	}
	switch {
	case names == nil && len(f.labels) > 0 && len(f.labels) == classes:
		names = f.labels
	case names == nil && classes == len(COCO91()):
		return nil, fmt.Errorf("the model has %d classes and names none: if they are COCO's by number, pass --labels coco91, else a label file with one name a line (--labels FILE)", classes)
	}
	if names == nil {
		for n := range classes {
			names = append(names, fmt.Sprintf("class%d", n))
		}
	}
	if f.background && len(names) == classes+1 && isBackground(names[0]) {
		names = names[1:]
	}
	if classes > 0 && len(names) != classes && len(names) != classes-f.spare {
		return nil, fmt.Errorf("%s %d classes, the model has %d: pass a label file with one name a line in the model's order (--labels FILE; --labels coco for COCO's 80, coco91 for its 91 numbers)", from, len(names), classes)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the model doesn't tell its classes: pass a label file with one name a line (--labels FILE, or --labels coco)")
	}
	labels := make([]Label, len(names))
	for n, name := range names {
		labels[n] = Label{Name: name, Role: vision.PartRole}
		if role, ok := o.Roles[name]; ok {
			labels[n].Role = role
		}
	}
	for name := range o.Roles {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("label %q has a role, but the model doesn't know it: its labels are %s", name, listed(names))
		}
	}
	return labels, nil
}

// background is the class that an image's ground has in a segmentation, and the
// first label of finished detections if it names no class, counted from 1; 0 for
// none. It is settled here: the worker's process doesn't know the names.
func background(f Family, labels []Label) int {
	if f == Detections && isBackground(labels[0].Name) {
		return 1
	}
	if f != Segmentation {
		return 0
	}
	return 1 + slices.IndexFunc(labels, func(l Label) bool { return isBackground(l.Name) })
}

// isBackground tells the names that tools give to what is no class.
func isBackground(name string) bool { return strings.Trim(strings.ToLower(name), "_") == "background" }

// listed joins names for an error, the first twelve of many.
func listed(names []string) string {
	if len(names) > 12 {
		return strings.Join(names[:12], ", ") + fmt.Sprintf(", … (%d in all)", len(names))
	}
	return strings.Join(names, ", ")
}

// maxSide bounds a tensor's sides in pixels.
const maxSide = 8192

func (s Spec) check() error {
	switch {
	case !slices.Contains(Families(), s.Family):
		return fmt.Errorf("model family %q is unknown: known are %s", s.Family, familyNames())
	case !(s.Confidence > 0 && s.Confidence < 1):
		return fmt.Errorf("confidence %v: must lie between 0 and 1", s.Confidence)
	case !(s.NMS > 0 && s.NMS <= 1):
		return fmt.Errorf("nms %v: must be more than 0 and at most 1", s.NMS)
	case s.MaxDetections < 1 || s.MaxDetections > MaxDetections:
		return fmt.Errorf("at most %d detections a frame: 1 to %d are possible", s.MaxDetections, MaxDetections)
	case !slices.Contains([]Activation{"", NoActivation, Sigmoid, Softmax}, s.Activation):
		return fmt.Errorf("activation %q is unknown: known are none, sigmoid, softmax", s.Activation)
	case !(s.Pixel >= 0 && s.Pixel < 1):
		return fmt.Errorf("pixel %v: must lie between 0 and 1", s.Pixel)
	case s.MinArea < 0:
		return fmt.Errorf("min_area %d: must not be negative", s.MinArea)
	case len(s.Labels) == 0:
		return fmt.Errorf("the model has no labels")
	case s.Input.Check() != nil:
		return s.Input.Check()
	case s.Input.Width < 1 || s.Input.Height < 1 || s.Input.Width > maxSide || s.Input.Height > maxSide:
		return fmt.Errorf("input of %d×%d pixels: 1 to %d a side are possible", s.Input.Width, s.Input.Height, maxSide)
	}
	return nil
}

// RoleOf is the role of a label's name; Ignored for names the model lacks.
func (s Spec) RoleOf(name string) vision.Role {
	for _, l := range s.Labels {
		if l.Name == name {
			return l.Role
		}
	}
	return vision.Ignored
}
