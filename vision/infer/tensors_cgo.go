//go:build cgo

package infer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// kind is how ONNX Runtime's binding carries one type of values.
type kind struct {
	element ort.TensorElementDataType
	single  func(memory []byte) (ort.Value, error) // a value without dimensions; nil: there is none
	bytes   func(ort.Value) []byte                 // of a tensor that the binding allocated
}

// kinds are those of the types in elementBytes.
var kinds = map[string]kind{
	"float32": kindOf[float32](ort.TensorElementDataTypeFloat), "float64": kindOf[float64](ort.TensorElementDataTypeDouble),
	"uint8": kindOf[uint8](ort.TensorElementDataTypeUint8), "int8": kindOf[int8](ort.TensorElementDataTypeInt8),
	"uint16": kindOf[uint16](ort.TensorElementDataTypeUint16), "int16": kindOf[int16](ort.TensorElementDataTypeInt16),
	"uint32": kindOf[uint32](ort.TensorElementDataTypeUint32), "int32": kindOf[int32](ort.TensorElementDataTypeInt32),
	"uint64": kindOf[uint64](ort.TensorElementDataTypeUint64), "int64": kindOf[int64](ort.TensorElementDataTypeInt64),
	"bool":    kindOf[bool](ort.TensorElementDataTypeBool),
	"float16": {element: ort.TensorElementDataTypeFloat16}, "bfloat16": {element: ort.TensorElementDataTypeBFloat16},
}

// single is a value without dimensions, with a way to its bytes.
type single struct {
	ort.Value
	bytes func() []byte
}

func kindOf[T ort.TensorData](element ort.TensorElementDataType) kind {
	return kind{
		element: element,
		single: func(memory []byte) (ort.Value, error) {
			one := make([]T, 1)
			copy(bytesOf(one), memory)
			v, err := ort.NewScalar(one[0])
			if err != nil {
				return nil, err
			}
			return single{Value: v, bytes: func() []byte { return bytesOf([]T{v.GetData()}) }}, nil
		},
		bytes: func(v ort.Value) []byte {
			t, ok := v.(*ort.Tensor[T])
			if !ok {
				return nil
			}
			return bytesOf(t.GetData())
		},
	}
}

// bytesOf shows values as the machine has them: little-endian.
func bytesOf[T any](values []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(*new(T))))
}

// maxKnown bounds the shapes of inputs for which those of the outputs are kept.
const maxKnown = 256

// known is what runs on inputs of some shapes give.
type known struct {
	outputs []Tensor // with their shapes
	open    bool     // their shapes depend on the values too
}

// runTensors runs the model on tensors that lie in memory of the caller's, for at
// most limit, however often it must be run to find its outputs' shapes. Where those are
// known from the inputs' the model writes straight into their memory.
func (s *session) runTensors(t *tensorsOn, limit time.Duration) error {
	if s.unread != nil {
		return s.unread
	}
	until := time.Now().Add(limit)
	values, err := s.inputValues(t)
	defer destroy(values)
	if err != nil {
		return err
	}
	key := shapesKey(t.inputs)
	k := s.known[key]
	if k != nil && !k.open {
		err := s.runInto(t, values, k.outputs, until)
		if err == nil || !strings.Contains(err.Error(), "shape") {
			return err
		}
		k.open = true
	}
	found, err := s.runLoose(t, values, until)
	if err != nil {
		return err
	}
	if s.known == nil || len(s.known) >= maxKnown {
		s.known = map[string]*known{}
	}
	s.known[key] = &known{outputs: found, open: k != nil}
	return nil
}

// shapesKey tells the inputs' shapes apart.
func shapesKey(inputs []Laid) string {
	var key []byte
	for _, t := range inputs {
		key = fmt.Append(key, t.Shape)
	}
	return string(key)
}

// inputValues lays ONNX Runtime's tensors over the inputs.
func (s *session) inputValues(t *tensorsOn) ([]ort.Value, error) {
	var values []ort.Value
	for _, in := range t.inputs {
		v, err := tensorOver(in.Tensor, t.in[in.Offset:in.Offset+in.Size])
		if err != nil {
			return values, fmt.Errorf("make the input tensor %s: %w", in.Name, err)
		}
		values = append(values, v)
	}
	return values, nil
}

// tensorOver lays a tensor over memory of as many bytes as it has. A single value
// without dimensions is copied.
func tensorOver(t Tensor, memory []byte) (ort.Value, error) {
	if t.Type == "bool" {
		for i, b := range memory {
			memory[i] = min(b, 1) // others are nothing that C++ expects
		}
	}
	if len(t.Shape) == 0 {
		return singleOver(t, memory)
	}
	if len(memory) == 0 {
		memory = make([]byte, 1) // it isn't read
	}
	return ort.NewCustomDataTensor(t.Shape, memory, kinds[t.Type].element)
}

func singleOver(t Tensor, memory []byte) (ort.Value, error) {
	if kinds[t.Type].single == nil {
		return nil, fmt.Errorf("a single value of %s can't be carried", t.Type)
	}
	return kinds[t.Type].single(memory)
}

// runInto runs the model with outputs of these shapes, into their memory.
func (s *session) runInto(t *tensorsOn, inputs []ort.Value, outputs []Tensor, until time.Time) error {
	memory, err := t.room(t.lay(outputs))
	if err != nil {
		return err
	}
	var outs []ort.Value
	defer func() { destroy(outs) }()
	for _, o := range t.outputs {
		v, err := tensorOver(o.Tensor, memory[o.Offset:o.Offset+o.Size])
		if err != nil {
			return fmt.Errorf("make the output tensor %s: %w", o.Name, err)
		}
		outs = append(outs, v)
	}
	if err := s.runUntil(until, inputs, outs); err != nil {
		return err
	}
	for n, o := range t.outputs {
		if len(o.Shape) == 0 {
			copy(memory[o.Offset:o.Offset+o.Size], outs[n].(single).bytes())
		}
	}
	return nil
}

// runLoose runs the model with outputs that ONNX Runtime allocates, copies them into
// their memory, and tells their shapes.
func (s *session) runLoose(t *tensorsOn, inputs []ort.Value, until time.Time) ([]Tensor, error) {
	found := slices.Clone(s.outputs)
	for n := range found { // of halves ONNX Runtime is asked for the shape first
		found[n].Shape = slices.Clone(found[n].Shape)
		for d := range found[n].Shape {
			found[n].Shape[d] = max(found[n].Shape[d], 1)
		}
	}
	for tries := 2 * len(found); ; tries-- {
		outs, err := s.looseValues(found)
		if err == nil {
			err = s.runUntil(until, inputs, outs)
		}
		if err == nil {
			for n, v := range outs {
				found[n].Shape = append([]int64{}, v.GetShape()...)
			}
			err = keep(t, outs, found)
			destroy(outs)
			return found, err
		}
		if errors.Is(err, ort.ZeroShapeLengthError) {
			s.unread = errors.New("run the model: an output is a single value without dimensions, which the model doesn't say: export it with the output's shape")
			return nil, s.unread // what the binding made before is lost, once
		}
		for n := range outs {
			if isHalf(s.outputs[n]) || len(s.outputs[n].Shape) == 0 && s.outputs[n].Shape != nil {
				destroy(outs[n : n+1])
			}
		}
		if tries == 0 || !correct(found, err) {
			return nil, err
		}
	}
}

// runUntil runs the model once, and stops it at that time.
func (s *session) runUntil(until time.Time, inputs, outs []ort.Value) error {
	return s.limited(max(time.Until(until), 0), func() error { return s.ort.RunWithOptions(inputs, outs, s.options) })
}

// looseValues are the outputs that ONNX Runtime can't be left to allocate, by the
// binding's limits: halves, and single values. The others are nil.
func (s *session) looseValues(found []Tensor) ([]ort.Value, error) {
	outs := make([]ort.Value, len(s.outputs))
	var err error
	for n, o := range s.outputs {
		switch {
		case isHalf(o):
			if o.Shape == nil {
				return outs, fmt.Errorf("run the model: the output %v: export the model with its shape, or with float32 outputs", o)
			}
			count := 2
			for _, d := range found[n].Shape {
				if d > int64(maxArena/max(count, 1)) {
					return outs, fmt.Errorf("run the model: the output %s of %s is too large", o.Name, shapeText(found[n].Shape))
				}
				count *= int(d)
			}
			outs[n], err = tensorOver(found[n], make([]byte, count))
		case o.Shape != nil && len(o.Shape) == 0:
			outs[n], err = singleOver(o, make([]byte, elementBytes[o.Type]))
		}
		if err != nil {
			return outs, fmt.Errorf("make the output tensor %s: %w", o.Name, err)
		}
	}
	return outs, nil
}

func isHalf(t Tensor) bool { return t.Type == "float16" || t.Type == "bfloat16" }

// wrongShape is how ONNX Runtime says which shape an output has and should have: from
// 1.27 on, and before.
var wrongShape = regexp.MustCompile(`has shape \{([0-9,]*)\} but the computed output shape for this run is \{([0-9,]*)\}|` +
	`Current shape:\{([0-9,]*)\} Requested shape:\{([0-9,]*)\}`)

// correct takes the shape that ONNX Runtime asks for over to a half that has the
// other. Where several have it that may be the wrong one, until its turn comes.
func correct(found []Tensor, err error) bool {
	m := wrongShape.FindStringSubmatch(err.Error())
	if m == nil {
		return false
	}
	named := func(t Tensor) bool { return strings.Contains(err.Error(), "output '"+t.Name+"'") }
	for n := range found {
		shape := strings.Trim(strings.ReplaceAll(fmt.Sprint(found[n].Shape), " ", ","), "[]")
		if !isHalf(found[n]) || shape != m[1]+m[3] || slices.ContainsFunc(found, named) && !named(found[n]) {
			continue
		}
		found[n].Shape = nil
		for text := range strings.SplitSeq(m[2]+m[4], ",") {
			d, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return false
			}
			found[n].Shape = append(found[n].Shape, d)
		}
		return true
	}
	return false
}

// keep copies what ONNX Runtime allocated into the outputs' memory.
func keep(t *tensorsOn, outs []ort.Value, found []Tensor) error {
	memory, err := t.room(t.lay(found))
	if err != nil {
		return err
	}
	for n, o := range t.outputs {
		var from []byte
		switch v := outs[n].(type) {
		case single:
			from = v.bytes()
		case *ort.CustomDataTensor:
			from = v.GetData()[:o.Size]
		default:
			from = kinds[o.Type].bytes(v)
		}
		if len(from) != o.Size {
			return fmt.Errorf("run the model: the output %v came as %T of %d bytes", o.Tensor, outs[n], len(from))
		}
		copy(memory[o.Offset:], from)
	}
	return nil
}

func destroy(values []ort.Value) {
	for _, v := range values {
		if v != nil {
			_ = v.Destroy() // releases memory only
		}
	}
}

// unstop makes the session usable again after stop.
func (s *session) unstop() error { return s.options.UnsetTerminate() }
