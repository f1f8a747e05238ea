package mutant

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the fields that are touched (onnx.proto3).
const (
	modelGraph = 7

	graphNode        = 1
	graphName        = 2
	graphInitializer = 5
	graphInput       = 11
	graphOutput      = 12

	tensorDims      = 1
	tensorType      = 2
	tensorFloatData = 4
	tensorName      = 8
	tensorRawData   = 9

	typeFloat = 1
	typeInt64 = 7
	typeBool  = 9
)

// field is one field of a message: raw is all of it with its tag, val what a
// length-delimited one holds.
type field struct {
	num protowire.Number
	typ protowire.Type
	n   uint64 // of a number
	val []byte
	raw []byte
}

func split(b []byte) ([]field, error) {
	var out []field
	for len(b) > 0 {
		num, typ, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return nil, fmt.Errorf("read the model: %w", protowire.ParseError(tag))
		}
		n := protowire.ConsumeFieldValue(num, typ, b[tag:])
		if n < 0 {
			return nil, fmt.Errorf("read the model: %w", protowire.ParseError(n))
		}
		f := field{num: num, typ: typ, raw: b[:tag+n]}
		switch typ {
		case protowire.BytesType:
			f.val, _ = protowire.ConsumeBytes(b[tag:])
		case protowire.VarintType:
			f.n, _ = protowire.ConsumeVarint(b[tag:])
		}
		out, b = append(out, f), b[tag+n:]
	}
	return out, nil
}

func join(fields []field) []byte {
	var b []byte
	for _, f := range fields {
		b = append(b, f.raw...)
	}
	return b
}

// bytesField makes a field of bytes, a string or a message.
func bytesField(num protowire.Number, val []byte) field {
	raw := protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), val)
	return field{num: num, typ: protowire.BytesType, val: val, raw: raw}
}

func numberField(num protowire.Number, n uint64) field {
	raw := protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), n)
	return field{num: num, typ: protowire.VarintType, n: n, raw: raw}
}

// Model is an ONNX model whose weights can be changed; what isn't touched
// stays as it was, byte for byte.
type Model struct {
	top   []field
	at    int // of the graph in top
	graph []field
}

// Weight is an initializer of float32 values.
type Weight struct {
	Name   string
	Dims   []int64
	Values []float32

	at int // in the graph's fields
}

// ParseModel reads a model's structure.
func ParseModel(b []byte) (*Model, error) {
	m := &Model{at: -1}
	var err error
	if m.top, err = split(b); err != nil {
		return nil, err
	}
	for i, f := range m.top {
		if f.num == modelGraph && f.typ == protowire.BytesType {
			m.at = i
		}
	}
	if m.at < 0 {
		return nil, errors.New("read the model: it has no graph")
	}
	m.graph, err = split(m.top[m.at].val)
	return m, err
}

// Bytes is the model as a file.
func (m *Model) Bytes() []byte {
	m.top[m.at] = bytesField(modelGraph, join(m.graph))
	return join(m.top)
}

// Weights gives the float32 initializers with more than one value, in the
// file's order.
func (m *Model) Weights() ([]Weight, error) {
	var out []Weight
	for at, f := range m.graph {
		if f.num != graphInitializer {
			continue
		}
		w, isFloat, err := parseTensor(f.val)
		if err != nil {
			return nil, err
		}
		if w.at = at; isFloat && len(w.Values) > 1 {
			out = append(out, w)
		}
	}
	return out, nil
}

func parseTensor(b []byte) (w Weight, isFloat bool, err error) {
	fields, err := split(b)
	if err != nil {
		return w, false, err
	}
	for _, f := range fields {
		switch {
		case f.num == tensorDims && f.typ == protowire.VarintType:
			w.Dims = append(w.Dims, int64(f.n))
		case f.num == tensorDims && f.typ == protowire.BytesType:
			for v := f.val; len(v) > 0; {
				d, n := protowire.ConsumeVarint(v)
				if n < 0 {
					return w, false, errors.New("read the model: the sizes of a weight are damaged")
				}
				w.Dims, v = append(w.Dims, int64(d)), v[n:]
			}
		case f.num == tensorType:
			isFloat = f.n == typeFloat
		case f.num == tensorName:
			w.Name = string(f.val)
		case f.num == tensorRawData || f.num == tensorFloatData && f.typ == protowire.BytesType:
			if len(f.val)%4 != 0 {
				continue // of another type
			}
			w.Values = make([]float32, 0, len(f.val)/4)
			for v := f.val; len(v) > 0; v = v[4:] {
				w.Values = append(w.Values, math.Float32frombits(binary.LittleEndian.Uint32(v)))
			}
		}
	}
	return w, isFloat, nil
}

// SetWeight writes the weight's values back into the model.
func (m *Model) SetWeight(w Weight) error {
	fields, err := split(m.graph[w.at].val)
	if err != nil {
		return err
	}
	raw := make([]byte, 0, 4*len(w.Values))
	for _, v := range w.Values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	kept := fields[:0:0]
	for _, f := range fields {
		if f.num != tensorRawData && f.num != tensorFloatData {
			kept = append(kept, f)
		}
	}
	m.graph[w.at] = bytesField(graphInitializer, join(append(kept, bytesField(tensorRawData, raw))))
	return nil
}
