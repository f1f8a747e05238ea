package infer

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Element types of TensorProto.DataType that are told apart.
const (
	floatType = 1
	uint8Type = 2
	int64Type = 7
	boolType  = 9
	halfType  = 10
)

// tensorTypes are the element types of a graph's tensors, as far as they can be
// known without running it; 0 is an unknown one.
type tensorTypes struct {
	types  map[string]uint64
	inputs []string        // that aren't weights
	exact  map[string]bool // tell sizes or limits, not values: rounding them would change shapes
}

// unused is a tensor's name that the graph doesn't have.
func (t *tensorTypes) unused(name string) string {
	for {
		if _, taken := t.types[name]; !taken {
			t.types[name] = 0
			return name
		}
		name += "_"
	}
}

// typed reads what a graph declares.
func typed(graph []byte) (*tensorTypes, error) {
	t := &tensorTypes{types: map[string]uint64{}, exact: map[string]bool{}}
	weights := map[string]bool{}
	err := fields(graph, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			n, err := readNode(v.b)
			for k, name := range n.in {
				if k > 0 && slices.Contains(sized, n.op) {
					t.exact[name] = true
				}
			}
			for _, name := range n.out {
				t.types[name] += 0 // so that unused knows it
			}
			return err
		case 5:
			name, err := initializer(v.b)
			weights[name] = true
			t.types[name] = numberIn(v.b, 2)
			return err
		case 11, 12, 13:
			name, element, err := declared(v.b)
			if element != 0 {
				t.types[name] = element
			}
			if num == 11 {
				t.inputs = append(t.inputs, name)
			}
			return err
		}
		return nil
	})
	t.inputs = slices.DeleteFunc(t.inputs, func(name string) bool { return weights[name] })
	delete(t.exact, "")
	return t, err
}

// sized are operators whose inputs after the first are sizes and limits.
var sized = []string{"Resize", "Upsample", "NonMaxSuppression", "Range", "RoiAlign", "MaxRoiPool"}

// declared is the name of a ValueInfoProto and its element type, 0 if it is no tensor.
func declared(b []byte) (name string, element uint64, err error) {
	err = fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			name = string(v.b)
		case 2:
			return fields(v.b, func(num protowire.Number, v value) error {
				if num == 1 {
					element = numberIn(v.b, 1)
				}
				return nil
			})
		}
		return nil
	})
	return name, element, err
}

// numberIn is a message's number field, 0 without.
func numberIn(b []byte, want protowire.Number) (n uint64) {
	_ = fields(b, func(num protowire.Number, v value) error { // what is damaged was refused before
		if num == want {
			n = v.n
		}
		return nil
	})
	return n
}

// graphNode is what tells the types of a node's outputs.
type graphNode struct {
	op, domain string
	in, out    []string
	to         uint64 // of Cast, and of what makes constants
}

func readNode(b []byte) (n graphNode, err error) {
	err = fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			n.in = append(n.in, string(v.b))
		case 2:
			n.out = append(n.out, string(v.b))
		case 4:
			n.op = string(v.b)
		case 5:
			return n.attribute(v.b)
		case 7:
			n.domain = string(v.b)
		}
		return nil
	})
	return n, err
}

// attribute takes down what an attribute says of the type of the node's output.
func (n *graphNode) attribute(b []byte) error {
	var name string
	var i, element uint64
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			name = string(v.b)
		case 3:
			i = v.n
		case 5:
			element = numberIn(v.b, 2)
		}
		return nil
	})
	switch name {
	case "to":
		n.to = i
	case "value":
		n.to = element
	case "value_float", "value_floats":
		n.to = floatType
	case "value_int", "value_ints":
		n.to = int64Type
	}
	return err
}

// learn adds the types of a node's outputs, where they aren't declared.
func (t *tensorTypes) learn(n *graphNode) {
	for k, name := range n.out {
		if t.types[name] == 0 && name != "" {
			t.types[name] = t.of(n, k)
		}
	}
}

// of is the type of a node's output.
func (t *tensorTypes) of(n *graphNode, k int) uint64 {
	like := func(i int) uint64 {
		if i >= len(n.in) {
			return 0
		}
		return t.types[n.in[i]]
	}
	if n.domain != "" && n.domain != "ai.onnx" {
		return 0
	}
	switch n.op {
	case "Cast", "Constant":
		return n.to
	case "ConstantOfShape":
		return max(n.to, floatType)
	case "Shape", "Size", "NonZero", "ArgMax", "ArgMin", "NonMaxSuppression":
		return int64Type
	case "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf":
		return boolType
	case "QuantizeLinear", "DynamicQuantizeLinear":
		return uint8Type // or another integer
	case "Where", "CastLike", "DequantizeLinear":
		return like(1)
	case "OneHot":
		return like(2)
	case "If", "Loop", "Scan", "SequenceAt", "SplitToSequence", "EyeLike", "Bernoulli":
		return 0
	}
	if k > 0 && n.op != "Split" && n.op != "LSTM" && n.op != "GRU" && n.op != "RNN" && n.op != "BatchNormalization" && n.op != "LayerNormalization" {
		return int64Type // places, or a mask
	}
	return like(0)
}
