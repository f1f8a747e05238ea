package oip

import (
	"cmp"
	"context"
	"slices"
	"sync"

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

// served is a model with what the handler keeps for it.
type served struct {
	Model
	inputs, outputs []TensorMetadata
	info            infer.Info

	stats *stats

	mu   sync.Mutex // protects the fields below
	idle []*infer.Arena
	gone bool // it isn't served any more
}

// Arenas that are kept for the next requests of a model.
const (
	maxIdle      = 8
	maxIdleBytes = 64 << 20 // of one
)

// arena gives memory for a request.
func (m *served) arena() *infer.Arena {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.idle); n > 0 {
		a := m.idle[n-1]
		m.idle = m.idle[:n-1]
		return a
	}
	return m.Worker.NewArena()
}

func (m *served) giveBack(a *infer.Arena) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.gone && len(m.idle) < maxIdle && a.Bytes() <= maxIdleBytes {
		m.idle = append(m.idle, a)
		return
	}
	a.Release()
}

// release lets go of the arenas of a model that isn't served any more.
func (m *served) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.idle {
		a.Release()
	}
	m.idle, m.gone = nil, true
}

// datatypes are the protocol's names of what ONNX calls the types of values.
var datatypes = map[string]string{
	"float32": "FP32", "float16": "FP16", "bfloat16": "BF16", "float64": "FP64", "bool": "BOOL",
	"uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
	"int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "string": bytesType,
}

// know takes over what the worker tells of the model. It returns false while the
// worker isn't ready.
func (m *served) know() (bool, error) {
	now, end := context.WithCancel(context.Background())
	end() // it is asked, not waited for
	info, err := m.Worker.Ready(now)
	if err != nil {
		if err == now.Err() {
			return false, nil
		}
		return false, err
	}
	m.info = info
	for _, t := range info.Inputs {
		m.inputs = append(m.inputs, metadataOf(t))
	}
	for _, t := range info.Outputs {
		if slices.Contains(info.Computed, t.Name) {
			m.outputs = append(m.outputs, metadataOf(t))
		}
	}
	return true, nil
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
