package infer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxModel bounds a model with its weights, in bytes: more than protobuf can hold.
const MaxModel = math.MaxInt32

// message is a message of ONNX that may hold tensors.
type message uint8

const (
	_ message = iota
	modelMessage
	graphMessage
	nodeMessage
	attributeMessage
	functionMessage
	trainingMessage
	sparseMessage
	tensorMessage
)

// place is a field of a message.
type place struct {
	in message
	at protowire.Number
}

// holds gives the fields that hold tensors, or messages that do.
var holds = map[place]message{
	{modelMessage, 7}: graphMessage, {modelMessage, 20}: trainingMessage, {modelMessage, 25}: functionMessage,
	{trainingMessage, 1}: graphMessage, {trainingMessage, 2}: graphMessage,
	{graphMessage, 1}: nodeMessage, {graphMessage, 5}: tensorMessage, {graphMessage, 15}: sparseMessage,
	{nodeMessage, 5}:      attributeMessage,
	{attributeMessage, 5}: tensorMessage, {attributeMessage, 6}: graphMessage, {attributeMessage, 10}: tensorMessage,
	{attributeMessage, 11}: graphMessage, {attributeMessage, 22}: sparseMessage, {attributeMessage, 23}: sparseMessage,
	{functionMessage, 7}: nodeMessage, {functionMessage, 11}: attributeMessage,
	{sparseMessage, 1}: tensorMessage, {sparseMessage, 2}: tensorMessage,
}

// maxNesting bounds graphs within graphs.
const maxNesting = 100

// External names the files beside a model that hold weights of it, in the order
// in which the model names them; none for a model that is whole.
func External(model []byte) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	_, err := Inline(model, func(name string) ([]byte, error) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
		return nil, errLater
	})
	if err != nil && !errors.Is(err, errLater) {
		return nil, err
	}
	return names, nil
}

// errLater says that a file's contents aren't wanted yet.
var errLater = errors.New("later")

// external is the first of External; "" for none.
func external(model []byte) (string, error) {
	first := ""
	_, err := Inline(model, func(name string) ([]byte, error) {
		first = name
		return nil, errLater
	})
	if errors.Is(err, errLater) || first != "" {
		return first, nil
	}
	return first, err
}

// Inline gives a model with all weights inside that lie in files beside it
// (model.onnx.data), and a model that is whole as it is. Open reads such a file;
// its name is a path relative to the model's folder that doesn't lead out of it.
// The same files give the same bytes.
func Inline(model []byte, open func(name string) ([]byte, error)) ([]byte, error) {
	x := inliner{open: open, files: map[string][]byte{}}
	parts, err := x.message(modelMessage, model, 0)
	if err != nil {
		return nil, err
	}
	if parts == nil {
		return model, nil
	}
	if total(parts) > MaxModel {
		return nil, fmt.Errorf("with its weights it has %d bytes, at most %d are possible", total(parts), MaxModel)
	}
	return bytes.Join(parts, nil), nil
}

// inliner holds the files that were read.
type inliner struct {
	open  func(name string) ([]byte, error)
	files map[string][]byte
}

func total(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// message gives the parts of a message whose weights lie elsewhere, nil for one
// that is whole.
func (x *inliner) message(m message, b []byte, depth int) ([][]byte, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("its graphs are nested more than %d deep", maxNesting)
	}
	if m == tensorMessage {
		return x.tensor(b)
	}
	var out [][]byte
	kept := 0 // what follows from here on is as it was
	for at := 0; at < len(b); {
		start := at
		num, typ, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			return nil, errNoONNX
		}
		at += n
		inner := holds[place{m, num}]
		if n = protowire.ConsumeFieldValue(num, typ, b[at:]); n < 0 {
			return nil, errNoONNX
		}
		field := b[at : at+n]
		at += n
		if inner == 0 || typ != protowire.BytesType {
			continue
		}
		v, _ := protowire.ConsumeBytes(field)
		parts, err := x.message(inner, v, depth+1)
		if err != nil {
			return nil, err
		}
		if parts != nil {
			head := protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.BytesType), uint64(total(parts)))
			out = append(append(out, b[kept:start], head), parts...)
			kept = at
		}
	}
	if out == nil {
		return nil, nil
	}
	return append(out, b[kept:]), nil
}

// outside is where a tensor's bytes lie.
type outside struct {
	name           string // the tensor's
	file           string
	offset, length int64 // length -1: up to the file's end
	dims           []int64
	kind           uint64
}

// tensor gives a tensor with its bytes inside, nil if they are.
func (x *inliner) tensor(b []byte) ([][]byte, error) {
	t := outside{length: -1}
	elsewhere := false
	err := fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			return t.dim(v)
		case 2:
			t.kind = v.n
		case 8:
			t.name = string(v.b)
		case 13:
			return t.entry(v.b)
		case 14:
			elsewhere = v.n == 1
		}
		return nil
	})
	if err != nil || !elsewhere {
		return nil, err
	}
	raw, err := x.read(t)
	if err != nil {
		if errors.Is(err, errLater) {
			return nil, err
		}
		return nil, fmt.Errorf("weight %q: %w", t.name, err)
	}
	var rest []byte
	for at := 0; at < len(b); {
		num, _, n := protowire.ConsumeField(b[at:])
		if num != 9 && num != 13 && num != 14 {
			rest = append(rest, b[at:at+n]...)
		}
		at += n
	}
	head := protowire.AppendVarint(protowire.AppendTag(rest, 9, protowire.BytesType), uint64(len(raw)))
	return [][]byte{head, raw}, nil
}

// dim takes a size, alone or packed with others.
func (t *outside) dim(v value) error {
	if v.b == nil {
		t.dims = append(t.dims, int64(v.n))
	}
	for b := v.b; len(b) > 0; {
		d, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return errNoONNX
		}
		t.dims, b = append(t.dims, int64(d)), b[n:]
	}
	if len(t.dims) > maxDims {
		return fmt.Errorf("weight %q: more than %d dimensions", t.name, maxDims)
	}
	return nil
}

func (t *outside) entry(b []byte) error {
	key, val, err := entry(b)
	if err != nil {
		return err
	}
	number := func(to *int64) error {
		if *to, err = strconv.ParseInt(val, 10, 64); err != nil || *to < 0 {
			return fmt.Errorf("weight %q: %s %.40q is no number of bytes", t.name, key, val)
		}
		return nil
	}
	switch key {
	case "location":
		t.file = val
	case "offset":
		return number(&t.offset)
	case "length":
		return number(&t.length)
	}
	return nil
}

// read gives a tensor's bytes, of the length that its shape asks for.
func (x *inliner) read(t outside) ([]byte, error) {
	if !fs.ValidPath(t.file) || t.file == "." || bytes.ContainsAny([]byte(t.file), "\\\x00") {
		return nil, fmt.Errorf("its bytes lie in %.80q, which is no file of the model's own folder", t.file)
	}
	data, ok := x.files[t.file]
	if !ok {
		var err error
		if data, err = x.open(t.file); err != nil {
			return nil, fmt.Errorf("its bytes lie in a second file: %w", err)
		}
		x.files[t.file] = data
	}
	size := int64(len(data))
	if t.length < 0 {
		t.length = max(size-t.offset, 0)
	}
	if t.offset > size || t.length > size-t.offset {
		return nil, fmt.Errorf("its %d bytes from %d on reach beyond %s, which has %d: the file is cut, or of another model", t.length, t.offset, t.file, size)
	}
	if want, known := t.bytes(); known && want != t.length {
		return nil, fmt.Errorf("%s %s takes %d bytes, %s holds %d of it: the file is cut, or of another model", elementType(t.kind), shapeText(t.dims), want, t.file, t.length)
	}
	return data[t.offset : t.offset+t.length], nil
}

// bytes is what the tensor's shape asks for; known is false for types of which
// that isn't known.
func (t outside) bytes() (n int64, known bool) {
	bits := map[string]int64{"float32": 32, "uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "int32": 32, "int64": 64, "bool": 8,
		"float16": 16, "float64": 64, "uint32": 32, "uint64": 64, "complex64": 64, "complex128": 128, "bfloat16": 16,
		"float8e4m3fn": 8, "float8e4m3fnuz": 8, "float8e5m2": 8, "float8e5m2fnuz": 8, "float8e8m0": 8, "uint4": 4, "int4": 4, "float4e2m1": 4}[elementType(t.kind)]
	if bits == 0 {
		return 0, false
	}
	n = 1
	for _, d := range t.dims {
		if d < 0 || d > MaxModel {
			return -1, true
		}
		if n *= d; n > MaxModel {
			return -1, true
		}
	}
	return (n*bits + 7) / 8, true
}
