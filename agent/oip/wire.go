package oip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// headerLength names the header with the number of bytes of JSON that stand
// before the tensors' binary data.
const headerLength = "Inference-Header-Content-Length"

// request is the JSON of a request to infer.
type request struct {
	ID         string            `json:"id,omitempty"`
	Parameters requestParameters `json:"parameters,omitzero"`
	Inputs     few[wireTensor]   `json:"inputs"`
	Outputs    few[wantedOutput] `json:"outputs,omitempty"`
}

// few is a list of at most maxTensors, so that a short text can't become a long list.
type few[T any] []T

// UnmarshalJSON decodes a list.
func (f *few[T]) UnmarshalJSON(text []byte) error {
	if text[0] != '[' {
		return fmt.Errorf("%s stands where a list is wanted", cut(string(text)))
	}
	*f = nil
	for entry := range entries(text) {
		if len(*f) == maxTensors {
			return fmt.Errorf("a list of tensors has more than %d entries", maxTensors)
		}
		var one T
		if err := json.Unmarshal(entry, &one); err != nil {
			return err
		}
		*f = append(*f, one)
	}
	return nil
}

// dims is a shape, of a text that is no longer than one can be.
type dims []int64

// UnmarshalJSON decodes a list of numbers.
func (d *dims) UnmarshalJSON(text []byte) error {
	const most = 1024 // bytes
	if len(text) > most {
		return fmt.Errorf("a shape of %d bytes: at most %d are read", len(text), most)
	}
	return json.Unmarshal(text, (*[]int64)(d))
}

// requestParameters are those that mean something here; others are ignored, as
// Triton does where a model has no use for them.
type requestParameters struct {
	Timeout          *int64          `json:"timeout,omitempty"` // µs
	Priority         *uint64         `json:"priority,omitempty"`
	BinaryDataOutput bool            `json:"binary_data_output,omitempty"`
	SequenceID       json.RawMessage `json:"sequence_id,omitempty"`
	SequenceStart    bool            `json:"sequence_start,omitempty"`
	SequenceEnd      bool            `json:"sequence_end,omitempty"`
}

// wireTensor is a tensor in JSON: its data stands in it, or binary behind it.
type wireTensor struct {
	Name       string           `json:"name"`
	Datatype   string           `json:"datatype"`
	Shape      dims             `json:"shape"`
	Parameters tensorParameters `json:"parameters,omitzero"`
	Data       json.RawMessage  `json:"data,omitempty"`
}

type tensorParameters struct {
	BinaryDataSize *int64  `json:"binary_data_size,omitempty"`
	SharedMemory   *string `json:"shared_memory_region,omitempty"`
}

// wantedOutput names an output that the asker wants, and how.
type wantedOutput struct {
	Name       string           `json:"name"`
	Parameters wantedParameters `json:"parameters,omitzero"`
}

type wantedParameters struct {
	BinaryData     *bool   `json:"binary_data,omitempty"`
	Classification *uint64 `json:"classification,omitempty"`
	SharedMemory   *string `json:"shared_memory_region,omitempty"`
}

// response is the JSON of an answer.
type response struct {
	ModelName    string          `json:"model_name"`
	ModelVersion string          `json:"model_version,omitempty"`
	ID           string          `json:"id,omitempty"`
	Outputs      few[wireTensor] `json:"outputs"`
}

// decodeJSON decodes one JSON value into v, with an error for people.
func decodeJSON(text []byte, v any) error {
	err := json.Unmarshal(text, v)
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return errors.New("it is empty")
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%s is a %s, which isn't wanted there", kind.Field, cut(kind.Value))
	case errors.As(err, &kind):
		return fmt.Errorf("it is a %s, an object is wanted", cut(kind.Value))
	case errors.As(err, &syntax):
		return fmt.Errorf("%w, at byte %d of %d", syntax, syntax.Offset, len(text))
	}
	return err
}

// parseHeaderLength reads the header of that name; ok is false without one.
// total is the whole body's length, -1 where it isn't known.
func parseHeaderLength(value string, total int64) (n int64, ok bool, err error) {
	if value == "" {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil || n < 0:
		return 0, false, fmt.Errorf("%s is %q: the number of bytes of JSON is wanted", headerLength, cut(value))
	case total >= 0 && n > total:
		return 0, false, fmt.Errorf("%s is %d: the whole body has %d bytes", headerLength, n, total)
	case n > maxHeader:
		return 0, false, fmt.Errorf("%s is %d: at most %d are possible", headerLength, n, maxHeader)
	}
	return n, true, nil
}

// size checks the tensor and tells how many bytes its values have. For BYTES
// as JSON it is what they have at most.
func (t *wireTensor) size() (int64, error) {
	if t.Name == "" || len(t.Name) > maxName {
		return 0, fmt.Errorf("a tensor's name has %d bytes, 1 to %d are possible", len(t.Name), maxName)
	}
	n, err := t.bytes()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.Name, err)
	}
	return n, nil
}

func (t *wireTensor) bytes() (int64, error) {
	if t.Datatype == "" {
		return 0, errors.New("its datatype is missing")
	}
	n, err := Bytes(t.Datatype, t.Shape)
	if err != nil {
		return 0, err
	}
	binary := t.Parameters.BinaryDataSize
	switch {
	case t.Parameters.SharedMemory != nil:
		return 0, errors.New("it lies in shared memory, which isn't supported: send its data")
	case t.Shape == nil:
		return 0, errors.New("its shape is missing")
	case binary != nil && t.Data != nil:
		return 0, errors.New("it has data and a binary_data_size: one of them is wanted")
	case binary == nil && t.Data == nil:
		return 0, errors.New("its data is missing: data or a binary_data_size is wanted")
	case binary == nil && n < 0:
		values, err := elements(t.Shape)
		return 4*values + int64(len(t.Data)), err // a text is longer in JSON than its bytes
	case binary == nil:
		return n, nil
	case !fitsInt(*binary):
		return 0, fmt.Errorf("its binary_data_size is %d", *binary)
	case n >= 0 && *binary != n:
		return 0, fmt.Errorf("its binary_data_size is %d, %s of %s are %d", *binary, Shape(t.Shape), t.Datatype, n)
	}
	return *binary, nil
}

// encode makes the JSON of a request's tensor, whose data stands behind the JSON.
func (t *Tensor) encode() wireTensor {
	w := wireTensor{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape}
	if w.Shape == nil {
		w.Shape = dims{}
	}
	n := int64(len(t.Data))
	w.Parameters.BinaryDataSize = &n
	return w
}

// decodeTensors gives the tensors of an answer; tail is what stands behind the
// JSON. Binary data stays where it is.
func decodeTensors(list []wireTensor, tail []byte) ([]Tensor, error) {
	var out []Tensor
	seen := map[string]bool{}
	for i := range list {
		w := &list[i]
		n, err := w.size()
		if err != nil {
			return nil, err
		}
		if seen[w.Name] {
			return nil, fmt.Errorf("%s is there twice", w.Name)
		}
		seen[w.Name] = true
		t := Tensor{Name: w.Name, Datatype: w.Datatype, Shape: w.Shape}
		if w.Parameters.BinaryDataSize == nil {
			if t.Data, err = appendData(nil, w.Datatype, w.Shape, w.Data); err != nil {
				return nil, fmt.Errorf("%s: %w", w.Name, err)
			}
		} else {
			if n > int64(len(tail)) {
				return nil, fmt.Errorf("%s: its binary data ends after %d of %d bytes", w.Name, len(tail), n)
			}
			t.Data, tail = tail[:n:n], tail[n:]
		}
		if err := t.check(); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	if len(tail) > 0 {
		return nil, fmt.Errorf("%d bytes too many stand behind the last tensor", len(tail))
	}
	return out, nil
}

// wireMetadata is a Metadata as a server sends it.
type wireMetadata struct {
	Metadata
	Inputs  few[wireDescription] `json:"inputs"`
	Outputs few[wireDescription] `json:"outputs"`
}

type wireDescription struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    dims   `json:"shape"`
}

// decodeMetadata gives what a server says of a model, with tensors as there can be.
func decodeMetadata(text []byte) (Metadata, error) {
	var w wireMetadata
	if err := decodeJSON(text, &w); err != nil {
		return Metadata{}, fmt.Errorf("its JSON: %w", err)
	}
	m := w.Metadata
	m.Inputs, m.Outputs = []TensorMetadata{}, []TensorMetadata{}
	for n, d := range slices.Concat(w.Inputs, w.Outputs) {
		switch {
		case d.Name == "" || len(d.Name) > maxName:
			return Metadata{}, fmt.Errorf("a tensor's name has %d bytes, 1 to %d are possible", len(d.Name), maxName)
		case len(d.Datatype) > maxName:
			return Metadata{}, fmt.Errorf("the datatype of %s has %d bytes, at most %d are possible", d.Name, len(d.Datatype), maxName)
		case len(d.Shape) > maxRank:
			return Metadata{}, fmt.Errorf("%s has %d dimensions, at most %d are possible", d.Name, len(d.Shape), maxRank)
		}
		t := TensorMetadata{Name: d.Name, Datatype: d.Datatype, Shape: d.Shape}
		if n < len(w.Inputs) {
			m.Inputs = append(m.Inputs, t)
		} else {
			m.Outputs = append(m.Outputs, t)
		}
	}
	return m, nil
}
