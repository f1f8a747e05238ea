package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
)

// graph puts an ONNX model together, of convolutions with weights that were drawn.
type graph struct {
	rnd    *rand.Rand
	nodes  []byte
	inits  []byte
	serial int
}

// Fields of onnx.proto3, and what some of them hold.
const (
	typeInts           = 7 // AttributeProto.INTS
	typeFloat          = 1 // TensorProto.FLOAT
	resnetOpset        = 13
	resnetIR           = 8
	resnetIn           = "images"
	resnetOut          = "scores"
	resnetSide         = 224
	resnetClasses      = 1000
	resnetInputFloats  = 3 * resnetSide * resnetSide
	resnetOutputFloats = resnetClasses
)

// resnet18 makes a model with the layers of ResNet18, batch norms folded in: what
// costs as much as the real one, with drawn weights. It takes 1×3×224×224 float32.
func resnet18() []byte {
	g := &graph{rnd: rand.New(rand.NewPCG(18, 224))}
	at := g.relu(g.conv(resnetIn, 3, 64, 7, 2))
	at = g.node("MaxPool", []string{at}, ints("kernel_shape", 3, 3), ints("strides", 2, 2), ints("pads", 1, 1, 1, 1))
	in := 64
	for _, b := range []struct{ out, stride int }{{64, 1}, {64, 1}, {128, 2}, {128, 1}, {256, 2}, {256, 1}, {512, 2}, {512, 1}} {
		side := at
		if b.stride != 1 || in != b.out {
			side = g.conv(at, in, b.out, 1, b.stride)
		}
		y := g.conv(g.relu(g.conv(at, in, b.out, 3, b.stride)), b.out, b.out, 3, 1)
		at = g.relu(g.node("Add", []string{y, side}))
		in = b.out
	}
	at = g.node("Flatten", []string{g.node("GlobalAveragePool", []string{at})})
	g.append("Gemm", []string{at, g.weights(in, resnetClasses), g.weights(resnetClasses)}, resnetOut)
	return g.model()
}

// shallow makes a model that takes and gives what ResNet18 does, and hardly runs.
func shallow() []byte {
	g := &graph{rnd: rand.New(rand.NewPCG(3, 224))}
	at := g.node("Flatten", []string{g.node("GlobalAveragePool", []string{resnetIn})})
	g.append("Gemm", []string{at, g.weights(3, resnetClasses), g.weights(resnetClasses)}, resnetOut)
	return g.model()
}

func (g *graph) name() string {
	g.serial++
	return fmt.Sprintf("t%d", g.serial)
}

func (g *graph) relu(x string) string { return g.node("Relu", []string{x}) }

func (g *graph) conv(x string, in, out, side, stride int) string {
	pad := int64(side / 2)
	s, k := int64(stride), int64(side)
	return g.node("Conv", []string{x, g.weights(out, in, side, side), g.weights(out)},
		ints("kernel_shape", k, k), ints("strides", s, s), ints("pads", pad, pad, pad, pad))
}

func (g *graph) node(op string, inputs []string, attributes ...[]byte) string {
	out := g.name()
	g.append(op, inputs, out, attributes...)
	return out
}

func (g *graph) append(op string, inputs []string, output string, attributes ...[]byte) {
	var n []byte
	for _, in := range inputs {
		n = text(n, 1, in)
	}
	n = text(text(n, 2, output), 4, op)
	for _, a := range attributes {
		n = message(n, 5, a)
	}
	g.nodes = message(g.nodes, 1, n)
}

// weights are drawn so that values keep about their size from layer to layer.
func (g *graph) weights(dims ...int) string {
	count, fan := 1, 1
	for n, d := range dims {
		count *= d
		if n > 0 {
			fan *= d
		}
	}
	var t, raw []byte
	for _, d := range dims {
		t = number(t, 1, uint64(d))
	}
	scale := math.Sqrt(2 / float64(fan))
	for range count {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(g.rnd.NormFloat64()*scale)))
	}
	name := g.name()
	t = message(text(number(t, 2, typeFloat), 8, name), 9, raw)
	g.inits = message(g.inits, 5, t)
	return name
}

func (g *graph) model() []byte {
	made := append(text(nil, 2, "resnet18"), g.nodes...)
	made = append(made, g.inits...)
	made = message(made, 11, valueInfo(resnetIn, 1, 3, resnetSide, resnetSide))
	made = message(made, 12, valueInfo(resnetOut, 1, resnetClasses))
	m := text(number(nil, 1, resnetIR), 2, "sightline-bench")
	return message(message(m, 7, made), 8, number(nil, 2, resnetOpset))
}

func valueInfo(name string, dims ...uint64) []byte {
	var shape []byte
	for _, d := range dims {
		shape = message(shape, 1, number(nil, 1, d))
	}
	tensor := message(number(nil, 1, typeFloat), 2, shape)
	return message(text(nil, 1, name), 2, message(nil, 1, tensor))
}

func ints(name string, values ...int64) []byte {
	a := text(nil, 1, name)
	for _, v := range values {
		a = number(a, 8, uint64(v))
	}
	return number(a, 20, typeInts)
}

func number(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func text(b []byte, field protowire.Number, v string) []byte { return message(b, field, []byte(v)) }

func message(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}
