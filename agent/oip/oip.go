// Package oip speaks the Open Inference Protocol, version 2 over HTTP, with the
// binary-tensor extension: what Triton and KServe call it by. Client asks a
// server, Handler is one.
package oip

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// Tensor is values with a name. Data are the values row by row, little-endian;
// those of BYTES are each a length of 4 bytes and so many bytes.
type Tensor struct {
	Name     string
	Datatype string // such as FP32
	Shape    []int64
	Data     []byte
}

// Metadata says what a model takes and gives.
type Metadata struct {
	Name     string           `json:"name"`
	Versions []string         `json:"versions,omitempty"`
	Platform string           `json:"platform"`
	Inputs   []TensorMetadata `json:"inputs"`
	Outputs  []TensorMetadata `json:"outputs"`
	// Properties are what a server tells beside them, such as the file's digest.
	Properties map[string]string `json:"properties,omitempty"`
}

// TensorMetadata describes one input or output; an open size is -1.
type TensorMetadata struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

// bytesType is the one datatype whose values have no common size.
const bytesType = "BYTES"

// sizes are the bytes of one value.
var sizes = map[string]int64{
	"BOOL": 1, "UINT8": 1, "INT8": 1,
	"UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2,
	"UINT32": 4, "INT32": 4, "FP32": 4,
	"UINT64": 8, "INT64": 8, "FP64": 8,
}

// Limits of what a peer may send.
const (
	maxRank    = 32
	maxTensors = 256       // of a request or an answer
	maxHeader  = 1 << 20   // bytes of JSON before binary data
	maxName    = 512       // bytes
	maxID      = 4 << 10   // bytes of a request's id
	maxValues  = 1<<31 - 1 // of a tensor
)

// elements is the number of values of a tensor's shape.
func elements(shape []int64) (int64, error) {
	if len(shape) > maxRank {
		return 0, fmt.Errorf("its shape has %d dimensions, at most %d are possible", len(shape), maxRank)
	}
	n, empty := int64(1), false
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("its shape is %s: a dimension can't be negative", Shape(shape))
		}
		if d == 0 {
			empty = true
			continue
		}
		if n > maxValues/d {
			return 0, fmt.Errorf("its shape is %s: more than %d values", Shape(shape), int64(maxValues))
		}
		n *= d
	}
	if empty {
		return 0, nil
	}
	return n, nil
}

// Bytes is how many bytes a tensor of that type and shape has, -1 for BYTES.
func Bytes(datatype string, shape []int64) (int64, error) {
	n, err := elements(shape)
	if err != nil {
		return 0, err
	}
	if datatype == bytesType {
		return -1, nil
	}
	size, ok := sizes[datatype]
	if !ok {
		return 0, fmt.Errorf("its datatype is %q: one of BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64, BF16 and BYTES is wanted", cut(datatype))
	}
	return n * size, nil
}

// Shape writes a shape as people read it: [1,3,-1].
func Shape(shape []int64) string {
	text := fmt.Sprint(shape)
	return strings.ReplaceAll(text, " ", ",")
}

// check tells whether the tensor's data are as long as its type and shape say.
func (t *Tensor) check() error {
	if t.Name == "" || len(t.Name) > maxName {
		return fmt.Errorf("a tensor's name has %d bytes, 1 to %d are possible", len(t.Name), maxName)
	}
	want, err := Bytes(t.Datatype, t.Shape)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	if t.Datatype == bytesType {
		return checkStrings(t)
	}
	if int64(len(t.Data)) != want {
		return fmt.Errorf("%s has %d bytes of data, %s of %s are %d", t.Name, len(t.Data), Shape(t.Shape), t.Datatype, want)
	}
	return nil
}

// checkStrings walks the lengths of a tensor of BYTES.
func checkStrings(t *Tensor) error {
	n, err := elements(t.Shape)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	found := int64(0)
	for rest := t.Data; len(rest) > 0; found++ {
		if len(rest) < 4 || uint64(binary.LittleEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return fmt.Errorf("%s: its data of BYTES ends in the middle of value %d", t.Name, found)
		}
		rest = rest[4+int(binary.LittleEndian.Uint32(rest)):]
	}
	if found != n {
		return fmt.Errorf("%s has %d values, its shape %s wants %d", t.Name, found, Shape(t.Shape), n)
	}
	return nil
}

// cut shortens what a peer sent, to be shown in a message.
func cut(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// fitsInt tells whether a length can be an int on every machine.
func fitsInt(n int64) bool { return n >= 0 && n <= math.MaxInt32 }
