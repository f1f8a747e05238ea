package infer

import (
	"errors"
	"fmt"
	"strconv"
)

// Info is what a model file tells about itself.
type Info struct {
	Family  Family // "" where the file doesn't make it certain
	Inputs  []Tensor
	Outputs []Tensor
	Labels  []string // class names of the metadata, nil without
	Width   int      // input size in pixels, 0 where the model leaves it open
	Height  int

	Task     string // Ultralytics' task: detect, segment, …; "" without metadata
	Producer string // tool that wrote the file
	License  string // as the metadata has it
	NMS      bool   // the graph suppresses overlaps itself: output rows are detections
	Digest   string // SHA-256 in hex; set by Worker.Ready, as are those below

	Provider  string   // what computes: cpu, cuda, tensorrt
	Precision string   // in which it computes: float32
	Runtime   string   // version of ONNX Runtime
	Library   string   // path of its file
	Driver    string   // of the accelerator; "" without one
	Passed    []string // providers that were passed over, each with why
}

// errExternal is told for models whose weights lie in a second file.
var errExternal = errors.New("export the model with its weights inside")

// Describe reads a model's inputs, outputs and metadata without running it.
// It fails for what is no ONNX model and for inputs that no family reads; a
// family that stays uncertain is no error here but in Info.Spec.
func Describe(model []byte) (Info, error) {
	m, err := parseONNX(model)
	if err != nil {
		return Info{}, fmt.Errorf("read the model: %w", err)
	}
	if m.external != "" {
		return Info{}, fmt.Errorf("read the model: its weights lie in a second file, %q: %w", m.external, errExternal)
	}
	i := Info{Inputs: m.inputs, Outputs: m.outputs, Producer: m.producer, Task: m.meta["task"], License: m.meta["license"]}
	if len(i.Inputs) == 1 && len(i.Inputs[0].Shape) == 4 {
		i.Height, i.Width = fixed(i.Inputs[0].Shape[2]), fixed(i.Inputs[0].Shape[3])
	}
	if err := i.checkInput(); err != nil {
		return i, fmt.Errorf("read the model: %w", err)
	}
	if err := i.ultralytics(m.meta); err != nil {
		return i, fmt.Errorf("read the model's metadata: %w", err)
	}
	i.guess()
	return i, nil
}

// fixed is a declared size as an int, 0 for one left open or out of bounds.
func fixed(d int64) int {
	if d < 1 || d > maxSide {
		return 0
	}
	return int(d)
}

func (i Info) checkInput() error {
	if len(i.Inputs) != 1 {
		return fmt.Errorf("expected one input, a picture; found %d: %v", len(i.Inputs), i.Inputs)
	}
	t := i.Inputs[0]
	if t.Type != "float32" {
		return fmt.Errorf("expected an input of float32, found %v: export the model with float32 input and output", t)
	}
	if len(t.Shape) != 4 || (t.Shape[1] != 3 && t.Shape[1] != 1 && t.Shape[1] != -1) {
		return fmt.Errorf("expected an input of 1×3×height×width (or one plane), found %v", t)
	}
	if t.Shape[0] > 1 {
		return fmt.Errorf("expected an input of one picture, found %v: export the model with batch 1", t)
	}
	return nil
}

// ultralytics reads the metadata that Ultralytics' exports carry; values are
// Python's str() of the objects.
func (i *Info) ultralytics(meta map[string]string) error {
	names, ok := meta["names"]
	if !ok || i.Task == "" {
		return nil
	}
	l, err := parseLiteral(names)
	if err != nil {
		return fmt.Errorf("names: %w", err)
	}
	if i.Labels, err = classNames(l); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	if i.Width == 0 || i.Height == 0 {
		if size, err := parseLiteral(meta["imgsz"]); err == nil && len(size.items) == 2 {
			h, _ := strconv.ParseInt(size.items[0].text, 10, 32) // 0 on error: the family's size
			w, _ := strconv.ParseInt(size.items[1].text, 10, 32)
			i.Width, i.Height = fixed(w), fixed(h)
		}
	}
	i.NMS = meta["end2end"] == "True"
	if args, err := parseLiteral(meta["args"]); err == nil {
		if nms, ok := args.get("nms"); ok && nms.text == "True" {
			i.NMS = true
		}
	}
	return nil
}

// maxClasses bounds the classes of a model.
const maxClasses = 10000

// classNames reads {0: 'person', …} or ['person', …].
func classNames(l literal) ([]string, error) {
	if len(l.items) == 0 || len(l.items) > maxClasses {
		return nil, fmt.Errorf("%d classes: 1 to %d are possible", len(l.items), maxClasses)
	}
	names := make([]string, len(l.items))
	seen := make([]bool, len(l.items))
	for n, item := range l.items {
		at := n
		if l.dict {
			k, err := strconv.Atoi(l.keys[n].text)
			if err != nil || k < 0 || k >= len(names) || seen[k] {
				return nil, fmt.Errorf("class number %q doesn't fit 0 to %d, each once", l.keys[n].text, len(names)-1)
			}
			at = k
		}
		names[at], seen[at] = item.text, true
	}
	return names, nil
}

// guess sets Family where metadata or shapes leave no doubt.
func (i *Info) guess() {
	if i.Task != "" && i.Labels != nil {
		if i.Task == "detect" {
			i.Family = YOLOv8
		}
		return
	}
	if len(i.Outputs) != 1 || i.Width == 0 || i.Height == 0 {
		return
	}
	shape, cells := i.Outputs[0].Shape, int64(gridCells(i.Width, i.Height))
	switch {
	case len(shape) == 4 && shape[1] > 5 && shape[2] == int64(i.Height/16) && shape[3] == int64(i.Width/16):
		i.Family = FastestDet
	case len(shape) == 3 && shape[1] == cells && shape[2] > 5:
		i.Family = YOLOX
	case len(shape) == 3 && shape[2] == cells && shape[1] > 4:
		i.Family = YOLOv8
	}
}

// gridCells counts the places that a model with strides 8, 16 and 32 looks at.
func gridCells(w, h int) int {
	n := 0
	for _, stride := range [...]int{8, 16, 32} {
		n += (w / stride) * (h / stride)
	}
	return n
}

func (i Info) unknownFamily() error {
	if i.Task != "" {
		return fmt.Errorf("the model's task is %q: only detection models can be run (families %s)", i.Task, familyNames())
	}
	return fmt.Errorf("the model doesn't tell its family (input %v, outputs %v): pass one of %s (--family F)", i.Inputs, i.Outputs, familyNames())
}

// classes checks the declared output against the family and counts the
// classes, 0 where the model leaves it open.
func (i Info) classes(f Family, in Input) (int, error) {
	if i.Task != "" && i.Task != "detect" && i.Labels != nil {
		return 0, i.unknownFamily()
	}
	if len(i.Outputs) != 1 {
		return 0, fmt.Errorf("family %s needs one output, found %d: %v", f, len(i.Outputs), i.Outputs)
	}
	t := i.Outputs[0]
	if t.Type != "float32" {
		return 0, fmt.Errorf("family %s needs an output of float32, found %v", f, t)
	}
	if t.Shape == nil {
		return len(i.Labels), nil
	}
	classes, err := f.layout(t.Shape, in, i.NMS)
	if err != nil {
		return 0, err
	}
	if classes == 0 {
		classes = len(i.Labels)
	}
	return classes, nil
}

// layout checks an output's shape (-1: open) against the family and gives the
// number of classes, 0 if open.
func (f Family) layout(shape []int64, in Input, nms bool) (int, error) {
	cells := int64(gridCells(in.Width, in.Height))
	is := func(want ...int64) bool { // -1 in want: any
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
	switch f {
	case YOLOX:
		if is(1, cells, -1) && (shape[2] > 5 || shape[2] < 0) {
			return int(max(shape[2]-5, 0)), nil
		}
		return 0, fmt.Errorf("family yolox needs an output of 1×%d×(5+classes) for an input of %d×%d, found %s", cells, in.Width, in.Height, shapeText(shape))
	case YOLOv8:
		if detectionRows(shape, nms) {
			return 0, nil
		}
		// Heads with other strides (P2, P6) have other numbers of places, but
		// more places than rows; the other way about it is transposed.
		head := is(1, -1, cells) || is(1, -1, -1) && shape[1] > 0 && shape[2] > shape[1]
		if head && (shape[1] > 4 || shape[1] < 0) {
			return int(max(shape[1]-4, 0)), nil
		}
		return 0, fmt.Errorf("family yolov8 needs an output of 1×(4+classes)×%d for an input of %d×%d, or 1×N×6 with NMS inside, found %s", cells, in.Width, in.Height, shapeText(shape))
	case FastestDet:
		h, w := int64(in.Height/16), int64(in.Width/16)
		if is(1, -1, h, w) && (shape[1] > 5 || shape[1] < 0) {
			return int(max(shape[1]-5, 0)), nil
		}
		return 0, fmt.Errorf("family fastestdet needs an output of 1×(5+classes)×%d×%d for an input of %d×%d, found %s", h, w, in.Width, in.Height, shapeText(shape))
	}
	return 0, fmt.Errorf("model family %q is unknown: known are %s", f, familyNames())
}

// detectionRows tells Ultralytics' exports with NMS inside (rows of x1, y1,
// x2, y2, score, class) from raw ones.
func detectionRows(shape []int64, nms bool) bool {
	if len(shape) != 3 || shape[0] > 1 {
		return false
	}
	return shape[2] == 6 || (nms && shape[2] < 0)
}
