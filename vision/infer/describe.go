package infer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Info is what a model file tells about itself.
type Info struct {
	Family  Family // "" where the file doesn't make it certain
	Why     string // what shows the family; without one, why it can't be told or read
	Preset  string // how its tool feeds it pictures, where the file shows that the family's own way isn't it
	Inputs  []Tensor
	Outputs []Tensor
	Last    []string // the operator that computed each output, moves of its values passed over; "" where that is open
	Labels  []string // class names of the metadata, nil without
	Width   int      // input size in pixels, 0 where the model leaves it open
	Height  int

	Task     string // Ultralytics' task: detect, segment, …; "" without metadata
	Producer string // tool that wrote the file
	License  string // as the metadata has it
	Opset    int64  // version of ONNX's operators
	NMS      bool   // the graph suppresses overlaps itself: output rows are detections
	Digest   string // SHA-256 in hex; set by Worker.Ready, as are those below

	Provider  string   // what computes: cpu, cuda, tensorrt
	Precision string   // in which it computes: float32, or float16 where that was asked for and faster
	Runtime   string   // version of ONNX Runtime
	Library   string   // path of its file
	Driver    string   // of the accelerator; "" without one
	GPU       string   // the accelerator's name; "" without one
	Engine    string   // tells TensorRT's engines apart, of which no two builds are alike; "" without one
	Unbuilt   bool     // TensorRT was passed over since its engine isn't there yet
	Passed    []string // providers that were passed over, each with why
	Computed  []string // outputs that a run gives, in the order of Outputs

	Shared []time.Duration // what runs on 1, 2, 4, … frames took; nil: each frame has a run of its own

	ends  []string // the operator that gives each output
	head  []string // the operator that computed the first of the things that each output is put together of; "" where that is open
	asked int      // pictures in a run, of a model that leaves it open; 0 counts as 1
	exp   bool     // an exponential is computed somewhere
}

// errExternal is told for models whose weights lie in a second file, where
// nothing but the model is at hand: Inline makes one of both.
var errExternal = errors.New("put that file beside the model, or export the model with its weights inside")

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
	if err := m.checkDomains(); err != nil {
		return Info{}, fmt.Errorf("read the model: %w", err)
	}
	i := Info{Inputs: m.inputs, Outputs: m.outputs, Producer: m.producer, Task: m.meta["task"], License: m.meta["license"], Opset: m.opset, exp: m.ops["Exp"]}
	for _, t := range m.outputs {
		end, computed := m.origin(t.Name)
		i.ends, i.Last, i.head = append(i.ends, end), append(i.Last, computed), append(i.head, m.foremost(t.Name))
	}
	if err := i.checkInput(); err != nil {
		return i, fmt.Errorf("read the model: %w", err)
	}
	i.Height, i.Width, _ = i.planes()
	if err := i.metadata(m.meta); err != nil {
		return i, fmt.Errorf("read the model's metadata: %w", err)
	}
	i.guess(m.meta)
	return i, nil
}

// fixed is a declared size as an int, 0 for one left open or out of bounds.
func fixed(d int64) int {
	if d < 1 || d > maxSide {
		return 0
	}
	return int(d)
}

// checkInput refuses what can't be filled from a picture.
func (i Info) checkInput() error {
	if len(i.Inputs) == 0 {
		return errors.New("it has no input: no picture can be given to it")
	}
	if len(i.Outputs) == 0 {
		return errors.New("it has no output: nothing can be read from it")
	}
	t := i.Inputs[i.picture()]
	if !slices.Contains([]string{"float32", "float16", "uint8"}, t.Type) {
		return fmt.Errorf("expected a picture of float32, float16 or uint8, found the input %v: export the model with float32 input", t)
	}
	shape := t.Shape
	if len(shape) == 4 {
		shape = shape[1:]
	}
	channels := func(d int64) bool { return d == 3 || d == 1 }
	if len(shape) != 3 || !channels(shape[0]) && !channels(shape[2]) && shape[0] != -1 {
		return fmt.Errorf("expected an input of 1×3×height×width or 1×height×width×3 (or one plane), found %v", t)
	}
	if t.Shape[0] > maxBatch && len(t.Shape) == 4 {
		return fmt.Errorf("expected an input of one picture, found %v: export the model with batch 1", t)
	}
	for n, other := range i.Inputs {
		if n != i.picture() && (other.Name != sizesInput || other.Type != "int64") {
			return fmt.Errorf("it has %d inputs, of which %v is neither a picture nor %s: export the model with the picture as its only input", len(i.Inputs), other, sizesInput)
		}
	}
	return nil
}

// maxBatch bounds a batch that a model fixes: all but one of its pictures are
// computed for nothing.
const maxBatch = 8

// planes gives height, width and channels of the picture's input, 0 for those left open.
func (i Info) planes() (h, w, c int) {
	t := i.Inputs[i.picture()]
	s := t.Shape
	if len(s) == 4 {
		s = s[1:]
	}
	if len(s) != 3 {
		return 0, 0, 0
	}
	if i.nhwc() {
		return fixed(s[0]), fixed(s[1]), fixed(s[2])
	}
	return fixed(s[1]), fixed(s[2]), fixed(s[0])
}

// metadata reads what Ultralytics' exports carry (version 5 too, which tells no
// task); values are Python's str() of the objects.
func (i *Info) metadata(meta map[string]string) error {
	names, ok := meta["names"]
	if _, stride := meta["stride"]; !ok || i.Task == "" && !stride {
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
			h, _ := strconv.ParseInt(size.items[0].text, 10, 32) // 0 on error: the size stays open
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

// Bounds of a model's classes and of the names that they have, in bytes.
const (
	maxClasses   = 10000
	maxClassName = 256
)

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
				return nil, fmt.Errorf("class number %.40q doesn't fit 0 to %d, each once", l.keys[n].text, len(names)-1)
			}
			at = k
		}
		if len(item.text) > maxClassName {
			return nil, fmt.Errorf("the name of class %d has %d bytes, at most %d are read", at, len(item.text), maxClassName)
		}
		names[at], seen[at] = item.text, true
	}
	return names, nil
}

// classes checks the declared outputs against the family and counts the
// classes, 0 where the model leaves it open.
func (i Info) classes(f Family, in Input) (int, error) {
	if err := i.contradicts(f); err != nil {
		return 0, err
	}
	wanted, classes, err := i.wanted(f, in)
	if err != nil {
		return 0, err
	}
	for _, t := range wanted {
		if !slices.Contains([]string{"float32", "float16", "float64", "int64", "int32", "uint8", "bool"}, t.Type) {
			return 0, fmt.Errorf("family %s reads the output %v, whose type isn't known: export the model with outputs of float32", f, t)
		}
	}
	if classes == 0 {
		return len(i.Labels), nil
	}
	return classes, nil
}

// wanted are the outputs that a family reads, in the model's order, with the
// number of classes, 0 where it is open. The others are never asked for.
func (i Info) wanted(f Family, in Input) (outs []Tensor, classes int, err error) {
	if len(i.Outputs) == 1 && i.Outputs[0].Shape == nil {
		return i.Outputs, 0, nil // the first run shows it
	}
	l, err := f.known().layout(i.single(), in, i)
	if err != nil {
		return nil, 0, err
	}
	for n, t := range i.Outputs {
		if slices.Contains(l.at[:], n) {
			outs = append(outs, t)
		}
	}
	return outs, l.classes, nil
}

// single are the outputs for one picture, of models that take several at a time.
func (i Info) single() []Tensor {
	n := int64(i.batch())
	if n == 1 {
		return i.Outputs
	}
	outs := slices.Clone(i.Outputs)
	for k, t := range outs {
		if len(t.Shape) > 0 && t.Shape[0] == n {
			outs[k].Shape = append([]int64{1}, t.Shape[1:]...)
		}
	}
	return outs
}
