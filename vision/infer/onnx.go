package infer

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Tensor describes one input or output as the model file declares it.
type Tensor struct {
	Name  string
	Type  string  // "float32", "float16", "uint8", …
	Shape []int64 // -1 where the model leaves a size open; nil if it tells none
}

func (t Tensor) String() string {
	return fmt.Sprintf("%s %s %s", t.Name, t.Type, shapeText(t.Shape))
}

func shapeText(shape []int64) string {
	if shape == nil {
		return "of unknown shape"
	}
	if len(shape) == 0 {
		return "of one value"
	}
	var parts []string
	for _, d := range shape {
		if d < 0 {
			parts = append(parts, "?")
		} else {
			parts = append(parts, fmt.Sprint(d))
		}
	}
	return strings.Join(parts, "×")
}

// onnxModel is what we read of a ModelProto (onnx.proto3, IR version 3 and up).
type onnxModel struct {
	ir       int64
	opset    int64 // of ONNX's own operators
	producer string
	meta     map[string]string
	inputs   []Tensor
	outputs  []Tensor
	external string // file that holds weights beside the model

	nodes   int
	makers  map[string]maker  // by the name of what they make
	ops     map[string]bool   // the operators that occur
	foreign map[string]string // domains that aren't the runtime's, each with an operator of it
	own     map[string]bool   // domains of the model's own functions
}

// maker is the operator that makes a tensor, and what it is made of: from is ""
// where that is several things, the first of which is first.
type maker struct{ op, from, first string }

// Limits of what a model may declare; more than any real model has.
const (
	maxTensors  = 1024
	maxMeta     = 256
	maxMetaText = 1 << 20
	maxDims     = 16
	maxNodes    = 1 << 20 // and as many tensors between them
)

var errNoONNX = errors.New("this is no ONNX model, or a part of one")

// parseONNX reads the description out of a model's bytes without touching the weights.
func parseONNX(b []byte) (*onnxModel, error) {
	m := &onnxModel{meta: map[string]string{}, makers: map[string]maker{}, ops: map[string]bool{}, foreign: map[string]string{}, own: map[string]bool{}}
	graphs := 0
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			m.ir = int64(v.n)
		case 2:
			m.producer = string(v.b)
		case 7:
			graphs++
			return m.graph(v.b)
		case 8:
			return m.opsets(v.b)
		case 14:
			return m.metaEntry(v.b)
		case 25:
			return m.function(v.b)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case graphs != 1 || m.ir < 1:
		return nil, errNoONNX
	case m.nodes == 0 && len(m.inputs) == 0 && len(m.outputs) == 0:
		return nil, fmt.Errorf("%w: its graph is empty", errNoONNX)
	case m.nodes == 0:
		return nil, errors.New("its graph computes nothing: it has no operator")
	}
	m.external, err = external(b)
	return m, err
}

// value is one protobuf field: n for numbers, b for bytes and messages.
type value struct {
	n uint64
	b []byte
}

// fields calls f for each field of a message and fails on what isn't protobuf.
func fields(b []byte, f func(protowire.Number, value) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errNoONNX
		}
		b = b[n:]
		var v value
		switch typ {
		case protowire.VarintType:
			v.n, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			v.b, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return errNoONNX
		}
		b = b[n:]
		if err := f(num, v); err != nil {
			return err
		}
	}
	return nil
}

// entry reads a StringStringEntryProto.
func entry(b []byte) (key, val string, err error) {
	err = fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			key = string(v.b)
		case 2:
			val = string(v.b)
		}
		return nil
	})
	return key, val, err
}

func (m *onnxModel) metaEntry(b []byte) error {
	key, val, err := entry(b)
	if err != nil || len(m.meta) >= maxMeta || len(key)+len(val) > maxMetaText {
		return err
	}
	m.meta[key] = val
	return nil
}

func (m *onnxModel) graph(b []byte) error {
	weights := map[string]bool{} // old exporters list the weights among the inputs
	var inputs []Tensor
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			return m.node(v.b)
		case 5:
			name, err := initializer(v.b)
			weights[name] = true
			return err
		case 11, 12:
			t, err := valueInfo(v.b)
			if err != nil {
				return err
			}
			if num == 11 {
				inputs = append(inputs, t)
			} else if m.outputs = append(m.outputs, t); len(m.outputs) > maxTensors {
				return fmt.Errorf("the model has more than %d outputs", maxTensors)
			}
		}
		return nil
	})
	for _, t := range inputs {
		if !weights[t.Name] {
			m.inputs = append(m.inputs, t)
		}
	}
	if len(m.inputs) > maxTensors {
		return fmt.Errorf("the model has more than %d inputs", maxTensors)
	}
	return err
}

// initializer gives a weight's name.
func initializer(b []byte) (name string, err error) {
	err = fields(b, func(num protowire.Number, v value) error {
		if num == 8 {
			name = string(v.b)
		}
		return nil
	})
	return name, err
}

func valueInfo(b []byte) (Tensor, error) {
	t := Tensor{Type: "no tensor"}
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			t.Name = string(v.b)
		case 2:
			return fields(v.b, func(num protowire.Number, v value) error {
				if num != 1 {
					return nil
				}
				return tensorType(v.b, &t)
			})
		}
		return nil
	})
	return t, err
}

func tensorType(b []byte, t *Tensor) error {
	return fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			t.Type = elementType(v.n)
		case 2:
			t.Shape = []int64{}
			return fields(v.b, func(num protowire.Number, v value) error {
				if num != 1 || len(t.Shape) >= maxDims {
					return nil
				}
				d, err := dimension(v.b)
				t.Shape = append(t.Shape, d)
				return err
			})
		}
		return nil
	})
}

func dimension(b []byte) (int64, error) {
	d := int64(-1)
	err := fields(b, func(num protowire.Number, v value) error {
		if num == 1 && int64(v.n) > 0 {
			d = int64(v.n)
		}
		return nil
	})
	return d, err
}

// elementType names TensorProto.DataType.
func elementType(n uint64) string {
	names := [...]string{"undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64",
		"string", "bool", "float16", "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16",
		"float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1", "float8e8m0"}
	if n < uint64(len(names)) {
		return names[n]
	}
	return fmt.Sprintf("type %d", n)
}
