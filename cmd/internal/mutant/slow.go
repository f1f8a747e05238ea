package mutant

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the fields of nodes, attributes and values.
const (
	nodeInput  = 1
	nodeOutput = 2
	nodeName   = 3
	nodeType   = 4
	nodeAttr   = 5

	attrName   = 1
	attrGraph  = 6
	attrGraphs = 11
	attrType   = 20

	attrTypeGraph = 5
)

// prefix of every name that Slow adds.
const prefix = "slow/"

// Slow gives a model with the same outputs that takes about factor times as
// long (2 and up): it runs its own nodes factor-1 times more in a loop. Each
// turn's input is the picture plus 0 times what the last turn gave, so that
// the runtime can't leave a turn out.
func Slow(model []byte, factor int) ([]byte, error) {
	if factor < 2 {
		return nil, fmt.Errorf("slow the model down: factor %d: must be 2 or more", factor)
	}
	m, err := ParseModel(model)
	if err != nil {
		return nil, err
	}
	g, err := m.outline()
	if err != nil {
		return nil, fmt.Errorf("slow the model down: %w", err)
	}
	body, err := g.body()
	if err != nil {
		return nil, fmt.Errorf("slow the model down: %w", err)
	}
	loop := node("Loop", []string{prefix + "turns", prefix + "yes", g.input}, []string{prefix + "picture"},
		[]field{bytesField(attrName, []byte("body")), bytesField(attrGraph, body), numberField(attrType, attrTypeGraph)})
	var graph []field
	graph = append(graph, bytesField(graphNode, loop))
	for _, f := range m.graph { // the model's own nodes look at what the loop gives
		if f.num == graphNode {
			own, err := rename(f.val, func(name string, input bool) string {
				if input && name == g.input {
					return prefix + "picture"
				}
				return name
			})
			if err != nil {
				return nil, err
			}
			f = bytesField(graphNode, own)
		}
		graph = append(graph, f)
	}
	m.graph = append(graph,
		scalar(prefix+"turns", typeInt64, binary.LittleEndian.AppendUint64(nil, uint64(factor-1))),
		scalar(prefix+"yes", typeBool, []byte{1}),
		scalar(prefix+"nothing", typeFloat, binary.LittleEndian.AppendUint32(nil, math.Float32bits(0))))
	return m.Bytes(), nil
}

// outline is what Slow must know of a graph.
type outline struct {
	input, output string
	info          []byte // ValueInfoProto of the input
	nodes         [][]byte
	made          map[string]bool // values that nodes give
}

func (m *Model) outline() (*outline, error) {
	g := &outline{made: map[string]bool{}}
	weights := map[string]bool{}
	for _, f := range m.graph {
		if f.num == graphInitializer {
			w, _, err := parseTensor(f.val)
			if err != nil {
				return nil, err
			}
			weights[w.Name] = true
		}
	}
	for _, f := range m.graph {
		switch f.num {
		case graphInput:
			name, err := text(f.val, 1)
			if err != nil {
				return nil, err
			}
			if !weights[name] {
				if g.input != "" {
					return nil, errors.New("it has several inputs")
				}
				g.input, g.info = name, f.val
			}
		case graphOutput:
			name, err := text(f.val, 1)
			if err != nil {
				return nil, err
			}
			if g.output == "" {
				g.output = name
			}
		case graphNode:
			if err := g.add(f.val); err != nil {
				return nil, err
			}
		}
	}
	if g.input == "" || g.output == "" || len(g.nodes) == 0 {
		return nil, errors.New("it has no input, output or nodes")
	}
	return g, nil
}

func (g *outline) add(b []byte) error {
	fields, err := split(b)
	if err != nil {
		return err
	}
	for _, f := range fields {
		switch f.num {
		case nodeOutput:
			g.made[string(f.val)] = true
		case nodeAttr:
			attr, err := split(f.val)
			if err != nil {
				return err
			}
			for _, a := range attr {
				if a.num == attrGraph || a.num == attrGraphs {
					return errors.New("it has graphs within its graph")
				}
			}
		}
	}
	g.nodes = append(g.nodes, b)
	return nil
}

// body is the loop's graph: the model's nodes under new names, on the turn's
// picture, and the picture for the next turn.
func (g *outline) body() ([]byte, error) {
	inner := func(name string) string { return prefix + "in/" + name }
	var out []field
	for _, b := range g.nodes {
		renamed, err := rename(b, func(name string, input bool) string {
			switch {
			case name == g.input:
				return inner(g.input)
			case name == "" || input && !g.made[name]: // a weight, seen from inside
				return name
			}
			return inner(name)
		})
		if err != nil {
			return nil, err
		}
		out = append(out, bytesField(graphNode, renamed))
	}
	next := prefix + "next"
	for _, n := range [][]byte{
		node("ReduceMax", []string{inner(g.output)}, []string{prefix + "most"}, nil),
		node("Mul", []string{prefix + "most", prefix + "nothing"}, []string{prefix + "trace"}, nil),
		node("Add", []string{inner(g.input), prefix + "trace"}, []string{next}, nil),
		node("Identity", []string{prefix + "go"}, []string{prefix + "go_on"}, nil),
	} {
		out = append(out, bytesField(graphNode, n))
	}
	picture, err := renamedInfo(g.info, inner(g.input))
	if err != nil {
		return nil, err
	}
	after, err := renamedInfo(g.info, next)
	if err != nil {
		return nil, err
	}
	out = append(out, bytesField(graphName, []byte("slow")),
		bytesField(graphInput, scalarInfo(prefix+"turn", typeInt64)), bytesField(graphInput, scalarInfo(prefix+"go", typeBool)),
		bytesField(graphInput, picture),
		bytesField(graphOutput, scalarInfo(prefix+"go_on", typeBool)), bytesField(graphOutput, after))
	return join(out), nil
}

// rename gives a node with other names for its values, and a name of its own.
func rename(b []byte, name func(old string, input bool) string) ([]byte, error) {
	fields, err := split(b)
	if err != nil {
		return nil, err
	}
	out := make([]field, 0, len(fields))
	for _, f := range fields {
		switch f.num {
		case nodeInput, nodeOutput:
			f = bytesField(f.num, []byte(name(string(f.val), f.num == nodeInput)))
		case nodeName:
			continue // names of nodes are for people, and must differ
		}
		out = append(out, f)
	}
	return join(out), nil
}

// node makes a NodeProto; attr may be nil.
func node(kind string, inputs, outputs []string, attr []field) []byte {
	var out []field
	for _, s := range inputs {
		out = append(out, bytesField(nodeInput, []byte(s)))
	}
	for _, s := range outputs {
		out = append(out, bytesField(nodeOutput, []byte(s)))
	}
	out = append(out, bytesField(nodeType, []byte(kind)))
	if attr != nil {
		out = append(out, bytesField(nodeAttr, join(attr)))
	} else if kind == "ReduceMax" { // of all values, as a scalar
		out = append(out, bytesField(nodeAttr, join([]field{bytesField(attrName, []byte("keepdims")), numberField(3, 0), numberField(attrType, 2)})))
	}
	return join(out)
}

// scalar makes an initializer without dimensions.
func scalar(name string, kind uint64, raw []byte) field {
	return bytesField(graphInitializer, join([]field{
		numberField(tensorType, kind), bytesField(tensorName, []byte(name)), bytesField(tensorRawData, raw)}))
}

// scalarInfo is the ValueInfoProto of a scalar: TypeProto.Tensor with an
// element type and an empty shape.
func scalarInfo(name string, kind uint64) []byte {
	tensor := join([]field{numberField(1, kind), bytesField(2, nil)})
	return join([]field{bytesField(1, []byte(name)), bytesField(2, join([]field{bytesField(1, tensor)}))})
}

func renamedInfo(info []byte, name string) ([]byte, error) {
	fields, err := split(info)
	if err != nil {
		return nil, err
	}
	for i, f := range fields {
		if f.num == 1 {
			fields[i] = bytesField(1, []byte(name))
		}
	}
	return join(fields), nil
}

// text is the string in a field of a message.
func text(b []byte, num protowire.Number) (string, error) {
	fields, err := split(b)
	if err != nil {
		return "", err
	}
	for _, f := range fields {
		if f.num == num {
			return string(f.val), nil
		}
	}
	return "", nil
}
