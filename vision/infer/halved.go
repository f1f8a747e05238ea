package infer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of what Halved writes (onnx.proto3).
const (
	opsetCast = 6 // before it, Cast named its type by a word

	mostHalf = 65504 // the largest float16
)

// Halved gives the model as float16 would store it: each weight and each value
// between two operators of its graph is rounded to float16, while the operators
// go on to compute in float32. It stands for accelerators that multiply in float16
// and sum in float32, and is none of them: their sums and fused operators round at
// other places. Weights beyond the largest float16 become that, as converters make
// them; values beyond it become infinite. What is inside subgraphs stays as it is.
func Halved(model []byte) ([]byte, error) {
	about, err := parseONNX(model)
	switch {
	case err != nil:
		return nil, fmt.Errorf("round the model to float16: %w", err)
	case about.external != "":
		return nil, fmt.Errorf("round the model to float16: its weights lie in %s", about.external)
	case about.opset < opsetCast:
		return nil, fmt.Errorf("round the model to float16: it is of opset %d, %d is needed", about.opset, opsetCast)
	}
	var out []byte
	rounded := 0
	err = parts(model, func(num protowire.Number, v value, raw []byte) error {
		if num != 7 || v.b == nil {
			out = append(out, raw...)
			return nil
		}
		graph, n, err := halveGraph(v.b)
		out, rounded = appendBytes(out, num, graph), n
		return err
	})
	if err == nil && rounded == 0 {
		err = errors.New("none of its values are float32")
	}
	if err != nil {
		return nil, fmt.Errorf("round the model to float16: %w", err)
	}
	return out, nil
}

// parts is fields with each field's own bytes.
func parts(b []byte, f func(num protowire.Number, v value, raw []byte) error) error {
	for len(b) > 0 {
		num, typ, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return errNoONNX
		}
		n := protowire.ConsumeFieldValue(num, typ, b[tag:])
		if n < 0 {
			return errNoONNX
		}
		raw := b[:tag+n]
		var v value
		switch typ {
		case protowire.VarintType:
			v.n, _ = protowire.ConsumeVarint(b[tag:])
		case protowire.BytesType:
			v.b, _ = protowire.ConsumeBytes(b[tag:])
			v.b = v.b[:len(v.b):len(v.b)]
		}
		if err := f(num, v, raw); err != nil {
			return err
		}
		b = b[tag+n:]
	}
	return nil
}

func appendBytes(b []byte, num protowire.Number, val []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), val)
}

// halveGraph rounds a graph's weights, inputs and what its nodes make; n is how
// many values are rounded.
func halveGraph(b []byte) (out []byte, n int, err error) {
	t, err := typed(b)
	if err != nil {
		return nil, 0, err
	}
	// Inputs are rounded by a pair of their own, whose result the nodes take instead.
	instead := map[string]string{}
	for _, name := range t.inputs {
		if t.types[name] == floatType {
			instead[name] = t.unused(name + "_half")
			out = t.pair(out, name, instead[name])
			n++
		}
	}
	err = parts(b, func(num protowire.Number, v value, raw []byte) error {
		switch num {
		case 1:
			node, more, err := t.halveNode(v.b, instead)
			out, n = append(out, node...), n+more
			return err
		case 5:
			weight, err := t.halveWeight(v.b)
			out = appendBytes(out, num, weight)
			return err
		}
		out = append(out, raw...)
		return nil
	})
	return out, n, err
}

// halveNode lets a node give its float32 outputs under other names, and lays a pair
// of casts between those and the names by which others know them.
func (t *tensorTypes) halveNode(b []byte, instead map[string]string) (out []byte, n int, err error) {
	made, err := readNode(b)
	if err != nil {
		return nil, 0, err
	}
	t.learn(&made)
	var node, pairs []byte
	err = parts(b, func(num protowire.Number, v value, raw []byte) error {
		name := string(v.b)
		switch {
		case num == 1 && instead[name] != "":
			node = appendBytes(node, num, []byte(instead[name]))
		case num == 2 && t.types[name] == floatType && !t.exact[name]:
			whole := t.unused(name + "_whole")
			node = appendBytes(node, num, []byte(whole))
			pairs = t.pair(pairs, whole, name)
			n++
		default:
			node = append(node, raw...)
		}
		return nil
	})
	return append(appendBytes(nil, 1, node), pairs...), n, err
}

// pair appends two nodes that round from to float16 and give it, as float32, as to.
func (t *tensorTypes) pair(b []byte, from, to string) []byte {
	half := t.unused(from + "_float16")
	return appendCast(appendCast(b, from, half, halfType), half, to, floatType)
}

// appendCast appends a graph's field with a node that casts.
func appendCast(b []byte, from, to string, element uint64) []byte {
	var attr, node []byte
	attr = appendBytes(attr, 1, []byte("to"))
	attr = protowire.AppendVarint(protowire.AppendTag(attr, 3, protowire.VarintType), element)
	attr = protowire.AppendVarint(protowire.AppendTag(attr, 20, protowire.VarintType), 2) // an integer
	node = appendBytes(node, 1, []byte(from))
	node = appendBytes(node, 2, []byte(to))
	node = appendBytes(node, 3, []byte(to))
	node = appendBytes(node, 4, []byte("Cast"))
	node = appendBytes(node, 5, attr)
	return appendBytes(b, 1, node)
}

// halveWeight rounds an initializer of float32.
func (t *tensorTypes) halveWeight(b []byte) ([]byte, error) {
	name, err := initializer(b)
	if err != nil || t.types[name] != floatType || t.exact[name] {
		return b, err
	}
	var out []byte
	err = parts(b, func(num protowire.Number, v value, raw []byte) error {
		if (num == 4 || num == 9) && v.b != nil {
			if len(v.b)%4 != 0 {
				return fmt.Errorf("weight %s has %d bytes", name, len(v.b))
			}
			raw = appendBytes(nil, num, halve(v.b))
		}
		out = append(out, raw...)
		return nil
	})
	return out, err
}

// halve rounds float32 values in little endian.
func halve(b []byte) []byte {
	b = slices.Clone(b)
	for i := 0; i < len(b); i += 4 {
		v := math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))
		v = halfFloat(toFloat16(max(-mostHalf, min(mostHalf, v))))
		binary.LittleEndian.PutUint32(b[i:], math.Float32bits(v))
	}
	return b
}
