package mutant

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fault is a way in which a model's file is malformed.
type Fault string

// The faults of a file, of what it declares, and of what it would compute.
const (
	FlippedBits Fault = "flipped bits"
	Cut         Fault = "cut short"
	Empty       Fault = "empty file"
	Garbage     Fault = "garbage"
	ZeroedRange Fault = "zeroed range"
	Spliced     Fault = "spliced"

	Numbers     Fault = "hostile numbers"
	Texts       Fault = "hostile names"
	Attributes  Fault = "hostile attributes"
	HugeWeight  Fault = "huge weight"
	HugeInput   Fault = "huge input"
	HugeOutput  Fault = "huge output"
	Outside     Fault = "weights outside"
	Cycle       Fault = "cycle"
	Operator    Fault = "unknown operator"
	MadeTwice   Fault = "made twice"
	Nested      Fault = "nested graphs"
	ManyNodes   Fault = "many nodes"
	HugeResult  Fault = "huge result"
	WithoutEnd  Fault = "without end"
	WrongOpsets Fault = "wrong opsets"
)

// Faults are all of them.
func Faults() []Fault {
	return []Fault{
		FlippedBits, Cut, Empty, Garbage, ZeroedRange, Spliced, Numbers, Texts, Attributes, HugeWeight, HugeInput,
		HugeOutput, Outside, Cycle, Operator, MadeTwice, Nested, ManyNodes, HugeResult, WithoutEnd, WrongOpsets,
	}
}

// WriteMalformed makes the folder to, which must not exist, a copy of the bundle's
// folder from whose model has the fault. The manifest's checksum fits it.
func WriteMalformed(from fs.FS, to string, fault Fault, seed uint64) error {
	var m mutation
	err := m.read(from)
	if err == nil {
		m.model, err = Malformed(m.model, fault, seed)
	}
	if err == nil {
		err = m.write(from, to)
	}
	if err != nil {
		return fmt.Errorf("make a malformed bundle (%s, seed %d): %w", fault, seed, err)
	}
	return nil
}

// Malformed gives a model with the fault.
func Malformed(model []byte, fault Fault, seed uint64) ([]byte, error) {
	x := malformer{rand.New(rand.NewPCG(seed, 0x6d616c666f726d)), bytes.Clone(model)}
	switch fault {
	case FlippedBits, Cut, Empty, Garbage, ZeroedRange, Spliced:
		return x.file(fault), nil
	case Numbers, Texts, Attributes, HugeWeight, HugeInput, HugeOutput, Operator, MadeTwice, WrongOpsets:
		return x.fields(fault)
	case WithoutEnd:
		return Slow(model, math.MaxInt)
	}
	m, err := ParseModel(model)
	if err != nil {
		return nil, err
	}
	return x.graph(m, fault)
}

type malformer struct {
	*rand.Rand
	b []byte
}

// file damages the bytes, whatever they mean.
func (x malformer) file(fault Fault) []byte {
	b := x.b
	switch fault {
	case FlippedBits:
		for range 1 << x.IntN(10) {
			b[x.IntN(len(b))] ^= 1 << x.IntN(8)
		}
	case Cut:
		return b[:x.IntN(len(b))]
	case Empty:
		return nil
	case Garbage:
		b = b[:1+x.IntN(min(len(b), 1<<16))]
		kept := x.IntN(2) * x.IntN(min(len(b), 64)) // of a model's beginning
		for n := kept; n < len(b); n++ {
			b[n] = byte(x.Uint32())
		}
	case ZeroedRange:
		at := x.IntN(len(b))
		clear(b[at:min(len(b), at+1<<x.IntN(17))])
	case Spliced:
		from, to := x.IntN(len(b)), x.IntN(len(b))
		return append(b[:to:to], x.b[from:]...)
	}
	return b
}

// hostile is a number where nobody would expect it.
func (x malformer) hostile() uint64 {
	all := [...]uint64{
		0, 1, 2, 255, 65536, 1 << 20, 1 << 31, 1<<31 - 1, 1 << 32, 1 << 40, 1 << 62, 1<<63 - 1, 1 << 63,
		^uint64(0), ^uint64(1), x.Uint64(), x.Uint64N(100),
	}
	return all[x.IntN(len(all))]
}

// fields changes a few fields, of which the rest of the model knows nothing.
func (x malformer) fields(fault Fault) ([]byte, error) {
	in := func(places ...place) func(leaf) bool {
		return func(l leaf) bool {
			for _, p := range places {
				if l.place == p {
					return true
				}
			}
			return false
		}
	}
	number := func(n func() uint64) func(leaf) field {
		return func(l leaf) field {
			if l.typ == protowire.VarintType {
				return numberField(l.num, n())
			}
			return bytesField(l.num, protowire.AppendVarint(nil, n())) // packed
		}
	}
	huge := func() uint64 { return 1 << (20 + x.IntN(43)) }
	set := func(text func(string) string) func(leaf) field {
		return func(l leaf) field { return bytesField(l.num, []byte(text(string(l.val)))) }
	}
	some := 1 + x.IntN(3)
	switch fault {
	case Numbers:
		return editSome(x.b, some, x.IntN, func(l leaf) bool { return l.typ == protowire.VarintType }, number(x.hostile))
	case Attributes:
		return editSome(x.b, some, x.IntN, in(place{attrMessage, 3}, place{attrMessage, 8}), number(x.hostile))
	case HugeWeight:
		return editSome(x.b, some, x.IntN, in(place{tensorMessage, tensorDims}), number(huge))
	case HugeInput, HugeOutput:
		return x.declared(fault == HugeInput, number(huge))
	case WrongOpsets:
		return editSome(x.b, 1, x.IntN, in(place{opsetMessage, 2}, place{modelMessage, 1}), number(x.hostile))
	case Operator:
		return editSome(x.b, some, x.IntN, in(place{nodeMessage, nodeType}, place{nodeMessage, 7}), set(func(s string) string {
			return []string{s + "X", "", "If", "Loop", "Scan", "Reshape", "com.example"}[x.IntN(7)]
		}))
	case MadeTwice:
		return editSome(x.b, 2+some, x.IntN, in(place{nodeMessage, nodeOutput}), set(func(string) string { return "twice" }))
	}
	return editSome(x.b, some, x.IntN, func(l leaf) bool {
		return l.typ == protowire.BytesType && l.num != tensorRawData && len(l.val) > 0 && len(l.val) < 200
	}, set(func(s string) string {
		return []string{"", s + "\x00", "\xff\xfe", strings.Repeat("long", 1<<(8+x.IntN(8))), s[:len(s)/2], "../../" + s}[x.IntN(6)]
	}))
}

// declared changes sizes that inputs, or outputs, are declared to have.
func (x malformer) declared(input bool, change func(leaf) field) ([]byte, error) {
	m, err := ParseModel(x.b)
	if err != nil {
		return nil, err
	}
	for n, f := range m.graph {
		if (f.num != graphInput || !input) && (f.num != graphOutput || input) {
			continue
		}
		val, err := edit(f.val, infoMessage, func(l leaf) field {
			if l.place == (place{dimMessage, 1}) && x.IntN(2) == 0 {
				return change(l)
			}
			return l.field
		})
		if err != nil {
			return nil, err
		}
		m.graph[n] = bytesField(f.num, val)
	}
	return m.Bytes(), nil
}

// graph changes what the model would compute.
func (x malformer) graph(m *Model, fault Fault) ([]byte, error) {
	if fault == Outside {
		return x.outside(m), nil
	}
	g, err := m.outline()
	if err != nil {
		return nil, err
	}
	first := map[Fault]func(string) []field{Cycle: x.cycle, ManyNodes: x.chain, HugeResult: x.expand, Nested: x.nest}[fault](g.input)
	for n, f := range m.graph {
		if f.num != graphNode {
			continue
		}
		own, err := rename(f.val, func(name string, input bool) string {
			if input && name == g.input {
				return pictureName
			}
			return name
		})
		if err != nil {
			return nil, err
		}
		m.graph[n] = bytesField(graphNode, own)
	}
	m.graph = append(first, m.graph...)
	return m.Bytes(), nil
}

// cycle are nodes of which each needs the one before, and the first the last.
func (x malformer) cycle(input string) (nodes []field) {
	turns := 1 + x.IntN(5)
	for n := range turns {
		from, to := fmt.Sprint(prefix, n), fmt.Sprint(prefix, (n+1)%turns)
		nodes = append(nodes, bytesField(graphNode, node("Add", []string{from, input}, []string{to}, nil)))
	}
	return append(nodes, bytesField(graphNode, node("Identity", []string{prefix + "0"}, []string{pictureName}, nil)))
}

// chain is thousands of nodes one behind the other.
func (x malformer) chain(input string) (nodes []field) {
	from := input
	for n := range 1000 << x.IntN(5) {
		to := fmt.Sprint(prefix, n)
		nodes = append(nodes, bytesField(graphNode, node([]string{"Sqrt", "Identity", "Abs"}[x.IntN(3)], []string{from}, []string{to}, nil)))
		from = to
	}
	return append(nodes, bytesField(graphNode, node("Identity", []string{from}, []string{pictureName}, nil)))
}

// expand makes more values than a machine has memory, of one that is known only when the
// model runs.
func (x malformer) expand(input string) []field {
	shape := binary.LittleEndian.AppendUint64(nil, 1<<(28+x.IntN(30)))
	return []field{
		bytesField(graphInitializer, join([]field{numberField(tensorDims, 1), numberField(tensorType, typeInt64), bytesField(tensorName, []byte(prefix+"shape")), bytesField(tensorRawData, shape)})),
		bytesField(graphNode, node("ReduceMax", []string{input}, []string{prefix + "most"}, nil)),
		bytesField(graphNode, node("Expand", []string{prefix + "most", prefix + "shape"}, []string{prefix + "all"}, nil)),
		bytesField(graphNode, node("ReduceMax", []string{prefix + "all"}, []string{prefix + "one"}, nil)),
		bytesField(graphNode, node("Add", []string{input, prefix + "one"}, []string{pictureName}, nil)),
	}
}

// nest are graphs within graphs.
func (x malformer) nest(input string) []field {
	graph := func(node []byte) []byte {
		return join([]field{bytesField(graphNode, node), bytesField(graphName, []byte("g")), bytesField(graphOutput, scalarInfo("out", typeFloat))})
	}
	inner := graph(node("Identity", []string{input}, []string{"out"}, nil))
	for range 1 << x.IntN(11) {
		inner = graph(branch("yes", "out", inner))
	}
	return []field{scalar("yes", typeBool, []byte{1}), bytesField(graphNode, branch("yes", pictureName, inner))}
}

// pictureName is what the model's own nodes read in the stead of the input.
const pictureName = prefix + "picture"

// branch is an If whose one side is the graph.
func branch(condition, output string, graph []byte) []byte {
	nothing := join([]field{bytesField(graphNode, node("Identity", []string{condition}, []string{"out"}, nil)), bytesField(graphName, []byte("g")), bytesField(graphOutput, scalarInfo("out", typeBool))})
	side := func(name string, graph []byte) field {
		return bytesField(nodeAttr, join([]field{bytesField(attrName, []byte(name)), bytesField(attrGraph, graph), numberField(attrType, attrTypeGraph)}))
	}
	return join([]field{bytesField(nodeInput, []byte(condition)), bytesField(nodeOutput, []byte(output)), bytesField(nodeType, []byte("If")), side("then_branch", graph), side("else_branch", nothing)})
}

// outside has a weight's bytes lie in another file.
func (x malformer) outside(m *Model) []byte {
	var weights []int
	for n, f := range m.graph {
		if f.num == graphInitializer {
			weights = append(weights, n)
		}
	}
	file := []string{"../../../../etc/passwd", "/etc/passwd", "/dev/zero", "..", "model.onnx", "golden/../../manifest.yaml", `..\..\x`, "none.data", ""}[x.IntN(9)]
	entry := func(key, val string) field {
		return bytesField(13, join([]field{bytesField(1, []byte(key)), bytesField(2, []byte(val))}))
	}
	at := weights[x.IntN(len(weights))]
	raw := append(bytes.Clone(m.graph[at].val), join([]field{entry("location", file), entry("offset", fmt.Sprint(x.IntN(2)*x.IntN(1<<20))), numberField(14, 1)})...)
	m.graph[at] = bytesField(graphInitializer, raw)
	return m.Bytes()
}
