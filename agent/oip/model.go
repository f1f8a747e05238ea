package oip

import (
	"cmp"
	"slices"

	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// Model is one that a Handler serves.
type Model struct {
	Name, Version string
	Worker        *infer.Worker
	Properties    map[string]string // told with its metadata; may be nil

	Cost    *sched.Model                  // what its runs take, at the scheduler
	Streams map[sched.Class]*sched.Stream // by which requests ask for turns; a class without one is BestEffort
	Yields  bool                          // a run is stopped and begun again later when a class above waits
}

// stream is that of a priority: 1 is critical, larger ones best effort, 0 normal.
func (m *Model) stream(priority uint64) *sched.Stream {
	class := sched.BestEffort
	switch priority {
	case 0:
		class = sched.Normal
	case 1:
		class = sched.Critical
	}
	if s := m.Streams[class]; s != nil {
		return s
	}
	return m.Streams[sched.BestEffort]
}

// served is a model of now with what is known of it.
type served struct {
	Model
	*known
}

// known is what a worker told of its model when it was first seen ready.
type known struct {
	inputs, outputs []TensorMetadata
	info            infer.Info
}

// datatypes are the protocol's names of what ONNX calls the types of values.
var datatypes = map[string]string{
	"float32": "FP32", "float16": "FP16", "bfloat16": "BF16", "float64": "FP64", "bool": "BOOL",
	"uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
	"int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "string": bytesType,
}

// learn asks the model's worker what it has loaded.
func (m *Model) learn() (*known, error) {
	info, err := m.Worker.Up()
	switch {
	case err == infer.ErrLoading:
		return nil, busy("model %s is being loaded: ask again", m.Name)
	case err != nil:
		return nil, busy("model %s can't run: %w", m.Name, err)
	}
	k := &known{info: info}
	for _, t := range info.Inputs {
		k.inputs = append(k.inputs, metadataOf(t))
	}
	for _, t := range info.Outputs {
		if slices.Contains(info.Computed, t.Name) {
			k.outputs = append(k.outputs, metadataOf(t))
		}
	}
	return k, nil
}

func metadataOf(t infer.Tensor) TensorMetadata {
	shape := t.Shape
	if shape == nil {
		shape = []int64{}
	}
	return TensorMetadata{Name: t.Name, Datatype: datatypes[t.Type], Shape: shape}
}

// VersionOf is under which version a model is served: its own, "1" without.
func VersionOf(own string) string { return cmp.Or(own, "1") }
