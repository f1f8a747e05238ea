//go:build cgo

package infer

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	ort "github.com/yalue/onnxruntime_go"
)

// session is a model in ONNX Runtime. There is one in a process.
type session struct {
	inputs, outputs []Tensor

	provider Provider
	passed   []string // providers that were tried first, and why they don't compute
	on       target
	gpu      gpu
	engine   *engine // of TensorRT, else nil
	unbuilt  bool    // there is none yet

	ort     *ort.DynamicAdvancedSession
	options *ort.RunOptions
	timer   *time.Timer
	fired   chan struct{} // holds one value for each time the timer stopped a run

	known  map[string]*known // what runs on tensors give, by the shapes of their inputs
	unread error             // why their outputs can't be read
}

// inputs are the tensors that a run takes; the picture's lies over memory of the caller's.
type inputs []ort.Value

// slot is the tensors that a run gives. An output without a tensor is allocated by ONNX
// Runtime, in each run.
type slot struct {
	out   []ort.Value
	fixed []bool // outputs that have a tensor of their own
	seen  []Output
}

// openSession loads library and model on the first of the provider's candidates
// that takes it. outputs are those that a run is to give.
func openSession(model []byte, info Info, outputs []Tensor, on target) (*session, error) {
	if err := loadLibrary(on.library); err != nil {
		return nil, err
	}
	s := &session{inputs: info.Inputs, outputs: outputs, on: on, fired: make(chan struct{}, 1)}
	if err := s.choose(model, info.Digest); err != nil {
		return nil, err
	}
	var err error
	if s.options, err = ort.NewRunOptions(); err != nil {
		return nil, fmt.Errorf("load the model: %w", err)
	}
	s.timer = time.AfterFunc(time.Hour, func() {
		s.stop()
		s.fired <- struct{}{}
	})
	s.timer.Stop()
	return s, nil
}

// loadLibrary loads ONNX Runtime, unless that was done before.
func loadLibrary(path string) error {
	if ort.IsInitialized() {
		return nil
	}
	// TensorRT has no other switch against TF32; it is read when the first library loads.
	if err := os.Setenv("NVIDIA_TF32_OVERRIDE", "0"); err != nil {
		return err
	}
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		if strings.Contains(err.Error(), "API base") {
			err = errors.New("it is too old: ONNX Runtime 1.22 or newer is needed")
		}
		return fmt.Errorf("load ONNX Runtime %s: %w", path, err)
	}
	return nil
}

// choose makes the session on the first provider that can be had.
func (s *session) choose(model []byte, digest string) error {
	var refused []string
	for _, p := range s.on.provider.candidates() {
		if why := s.on.unready(p); why != "" {
			s.passed = append(s.passed, why)
			continue
		}
		if p.libraryFile() != "" {
			s.gpu = askGPU()
		}
		var err error
		if p == TensorRT {
			err = s.openEngine(model, digest)
		} else {
			err = s.open(model, p, nil)
		}
		if err == nil {
			s.provider = p
			if p == CPU {
				// While the model computes all processors of Go's must be given away, or the
				// runtime's monitor keeps polling: 0.2 ms a picture. One is soon taken away.
				runtime.GOMAXPROCS(1)
			}
			return nil
		}
		if errors.As(err, &engineError{}) {
			return err // what a build left behind ends with the process
		}
		s.unbuilt = s.unbuilt || errors.Is(err, errUnbuilt)
		refused = append(refused, fmt.Sprintf("%s: %s", p, plain(err)))
		s.passed = append(s.passed, refused[len(refused)-1])
	}
	if refused == nil {
		return fmt.Errorf("load the model: %s", strings.Join(s.passed, "; "))
	}
	return fmt.Errorf("load the model: ONNX Runtime %s refuses it: %s", ort.GetVersion(), strings.Join(refused, "; "))
}

// plain is an error without the place in ONNX Runtime's source that leads it in.
func plain(err error) string {
	if _, text, found := strings.Cut(err.Error(), "[ONNXRuntimeError] : "); found {
		if f := strings.SplitN(text, " : ", 3); len(f) == 3 { // number, name, text
			return f[2]
		}
	}
	return err.Error()
}

// open makes the session on one provider, TensorRT with its options.
func (s *session) open(model []byte, p Provider, tensorRT map[string]string) error {
	options, err := sessionOptions(s.on.threads, s.on.graph)
	if err == nil {
		err = s.add(options, p, tensorRT)
	}
	if err == nil {
		s.ort, err = ort.NewDynamicAdvancedSessionWithONNXData(model, names(s.inputs), names(s.outputs), options)
	}
	if options != nil {
		_ = options.Destroy() // releases memory only
	}
	return err
}

// describe says what the model runs on.
func (s *session) describe(i *Info) {
	i.Provider, i.Precision, i.Runtime = string(s.provider), string(s.provider.precision(s.on.precision)), ort.GetVersion()
	i.Driver, i.Passed, i.Unbuilt = s.provider.driver(), s.passed, s.unbuilt
	if s.provider != CPU {
		i.GPU = s.gpu.name
	}
	if s.engine != nil && !s.engine.fresh() {
		i.Engine = s.engine.rec.digest()
	}
}

// proved says that the model has run, and that its outputs can be read.
func (s *session) proved() error {
	if s.engine == nil {
		return nil
	}
	return s.engine.proved()
}

// onEngine tells whether TensorRT computes, which may yet fail where others don't.
func (s *session) onEngine() bool { return s.engine != nil }

// maxHalves bounds a float16 output, whose memory is taken by its declared shape.
const maxHalves = 1 << 28

// newInputs makes the tensors that a run takes. feeds are the inputs in the model's
// order; their data must stay in place.
func (s *session) newInputs(feeds []feed) (in inputs, err error) {
	for n, f := range feeds {
		t, err := f.tensor()
		if err != nil {
			return nil, fmt.Errorf("make the input tensor %s: %w", s.inputs[n].Name, err)
		}
		in = append(in, t)
	}
	return in, nil
}

// newSlot makes the tensors that a run gives, as far as they are known.
func (s *session) newSlot() (*slot, error) {
	sl := &slot{out: make([]ort.Value, len(s.outputs)), fixed: make([]bool, len(s.outputs)), seen: make([]Output, len(s.outputs))}
	for n, t := range s.outputs {
		sl.seen[n].Name = t.Name
		if t.Type != "float16" {
			continue // its shape is known when it has run
		}
		if slices.Contains(t.Shape, -1) || t.Shape == nil {
			return nil, fmt.Errorf("the output %v has float16 values and an open size: export the model with float32 outputs, or with a fixed size", t)
		}
		if most := int64(maxHalves); slices.ContainsFunc(t.Shape, func(d int64) bool { most /= max(d, 1); return most < 1 }) {
			return nil, fmt.Errorf("the output %v has more than %d values: no family reads so many", t, maxHalves)
		}
		if err := sl.fix(n, t.Shape, ort.TensorElementDataTypeFloat16); err != nil {
			return nil, err
		}
	}
	return sl, nil
}

// tensor lays a tensor of ONNX Runtime's over the feed's memory.
func (f feed) tensor() (ort.Value, error) {
	shape := ort.NewShape(f.shape...)
	switch {
	case f.f32 != nil:
		return ort.NewTensor(shape, f.f32)
	case f.i64 != nil:
		return ort.NewTensor(shape, f.i64)
	case f.pack.Element == Float16:
		return ort.NewCustomDataTensor(shape, f.raw, ort.TensorElementDataTypeFloat16)
	case f.pack.Element == Uint8:
		return ort.NewTensor(shape, f.raw)
	}
	return ort.NewCustomDataTensor(shape, f.raw, ort.TensorElementDataTypeFloat)
}

// fixOutputs gives the slot output tensors of its own, of the shapes that the
// last run gave, so that a run allocates none. Those that may come empty are
// left out: their size depends on the picture.
func (s *session) fixOutputs(sl *slot, like []Output) error {
	for n, o := range like {
		if sl.fixed[n] || s.outputs[n].Type != "float32" || len(o.Data) == 0 {
			continue
		}
		if err := sl.fix(n, o.Shape, ort.TensorElementDataTypeFloat); err != nil {
			return err
		}
	}
	return nil
}

// fixOver is fixOutputs for slots of which one runs at a time: their tensors lie over the
// same memory, by output, which the largest must make first.
func (s *session) fixOver(sl *slot, like []Output, memory [][]float32) error {
	for n, o := range like {
		if sl.fixed[n] || s.outputs[n].Type != "float32" || len(o.Data) == 0 {
			continue
		}
		if memory[n] == nil {
			memory[n] = make([]float32, len(o.Data))
		}
		shape := slices.Clone(o.Shape)
		sl.release(n)
		out, err := ort.NewTensor(ort.NewShape(shape...), memory[n][:len(o.Data)])
		if err != nil {
			return fmt.Errorf("make the output tensor %s: %w", sl.seen[n].Name, err)
		}
		sl.out[n], sl.fixed[n] = out, true
	}
	return nil
}

func (sl *slot) fix(n int, shape []int64, element ort.TensorElementDataType) error {
	sl.release(n)
	var out ort.Value
	var err error
	if element == ort.TensorElementDataTypeFloat16 {
		size := int64(2)
		for _, d := range shape {
			size *= d
		}
		out, err = ort.NewCustomDataTensor(ort.NewShape(shape...), make([]byte, size), element)
	} else {
		out, err = ort.NewEmptyTensor[float32](ort.NewShape(shape...))
	}
	if err != nil {
		return fmt.Errorf("make the output tensor %s: %w", sl.seen[n].Name, err)
	}
	sl.out[n], sl.fixed[n] = out, true
	return nil
}

// run runs the model for at most limit. The outputs stay valid until the slot's
// next run.
func (s *session) run(in inputs, sl *slot, limit time.Duration) ([]Output, error) {
	if err := s.limited(limit, func() error { return s.execute(in, sl) }); err != nil {
		return nil, err
	}
	return sl.seen, nil
}

// limited runs the model by a function, and stops it when it takes longer than limit.
func (s *session) limited(limit time.Duration, run func() error) error {
	s.timer.Reset(limit)
	err := run()
	if !s.timer.Stop() {
		<-s.fired
		if unset := s.options.UnsetTerminate(); err == nil {
			err = unset
		} else {
			err = fmt.Errorf("%w: stopped after %v", ErrTimeLimit, limit)
		}
	}
	if err != nil {
		return fmt.Errorf("run the model: %w", err)
	}
	return nil
}

func (s *session) execute(in inputs, sl *slot) error {
	sl.releaseLoose()
	err := s.ort.RunWithOptions(in, sl.out, s.options)
	if err != nil && slices.Contains(sl.fixed, true) && strings.Contains(err.Error(), "shape") {
		for n := range sl.fixed { // an output's size depends on the picture after all
			if s.outputs[n].Type != "float16" {
				sl.release(n)
			}
		}
		err = s.ort.RunWithOptions(in, sl.out, s.options)
	}
	if err != nil {
		return err
	}
	for n, v := range sl.out {
		if err := sl.seen[n].take(v); err != nil {
			return err
		}
	}
	return nil
}

// take reads a tensor's values, without a copy where they are float32.
func (o *Output) take(v ort.Value) error {
	switch t := v.(type) {
	case *ort.Tensor[float32]:
		o.Data, o.Shape = t.GetData(), t.GetShape()
	case *ort.CustomDataTensor: // float16: other types come typed
		raw := t.GetData()
		o.Data, o.Shape = resize(o.Data, len(raw)/2), t.GetShape()
		for i := range o.Data {
			o.Data[i] = halfFloat(uint16(raw[2*i]) | uint16(raw[2*i+1])<<8)
		}
	case *ort.Tensor[bool]:
		o.Data, o.Shape = resize(o.Data, len(t.GetData())), t.GetShape()
		for i, b := range t.GetData() {
			o.Data[i] = 0
			if b {
				o.Data[i] = 1
			}
		}
	case *ort.Tensor[float64]:
		o.Data, o.Shape = widen(o.Data, t.GetData()), t.GetShape()
	case *ort.Tensor[int64]:
		o.Data, o.Shape = widen(o.Data, t.GetData()), t.GetShape()
	case *ort.Tensor[int32]:
		o.Data, o.Shape = widen(o.Data, t.GetData()), t.GetShape()
	case *ort.Tensor[uint8]:
		o.Data, o.Shape = widen(o.Data, t.GetData()), t.GetShape()
	default:
		return fmt.Errorf("the output %s is %T, which isn't read", o.Name, v)
	}
	return nil
}

func widen[T int64 | int32 | uint8 | float64](to []float32, from []T) []float32 {
	to = resize(to, len(from))
	for i, v := range from {
		to[i] = float32(v)
	}
	return to
}

func resize(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// releaseLoose lets go of the outputs that ONNX Runtime allocated.
func (sl *slot) releaseLoose() {
	for n, fixed := range sl.fixed {
		if !fixed {
			sl.release(n)
		}
	}
}

func (sl *slot) release(n int) {
	if sl.out[n] != nil {
		_ = sl.out[n].Destroy() // releases memory only
	}
	if _, zeroCopy := sl.out[n].(*ort.Tensor[float32]); zeroCopy {
		sl.seen[n].Data = nil // lay over it
	}
	sl.out[n], sl.fixed[n] = nil, false
}

// drop gives all tensors of the slot back.
func (sl *slot) drop() {
	for n := range sl.out {
		sl.release(n)
	}
}

// drop gives the tensors back.
func (in inputs) drop() { destroy(in) }

// stop ends the current run, or the next one, early. It may be called from
// any goroutine.
func (s *session) stop() {
	_ = s.options.Terminate() // without it the run ends by itself
}
