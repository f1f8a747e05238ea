//go:build cgo

package infer

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	ort "github.com/yalue/onnxruntime_go"
)

// session is a model in ONNX Runtime. There is one in a process.
type session struct {
	provider Provider
	passed   []string // providers that were tried first, and why they don't compute

	ort     *ort.DynamicAdvancedSession
	options *ort.RunOptions
	timer   *time.Timer
	fired   chan struct{} // holds one value for each time the timer stopped a run
}

// slot is the tensors of one run: the input lies over memory of the caller's.
type slot struct {
	in, out [1]ort.Value
	data    []float32 // of a fixed output, else nil
	shape   []int64
	loose   *ort.Tensor[float32] // output of the last run, where it isn't fixed
}

// openSession loads library and model on the first of the provider's candidates
// that takes it. threads is ONNX Runtime's number of threads per operator.
func openSession(library string, model []byte, info Info, threads int, provider Provider) (*session, error) {
	ort.SetSharedLibraryPath(library)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		if strings.Contains(err.Error(), "API base") {
			err = errors.New("it is too old: ONNX Runtime 1.22 or newer is needed")
		}
		return nil, fmt.Errorf("load ONNX Runtime %s: %w", library, err)
	}
	s := &session{fired: make(chan struct{}, 1)}
	if err := s.choose(library, model, info, threads, provider); err != nil {
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

// choose makes the session on the first provider that can be had.
func (s *session) choose(library string, model []byte, info Info, threads int, provider Provider) error {
	var refused []string
	for _, p := range provider.candidates() {
		if why := p.missing(library); why != "" {
			s.passed = append(s.passed, why)
			continue
		}
		options, err := sessionOptions(threads)
		if err == nil {
			err = p.add(options)
		}
		if err == nil {
			s.ort, err = ort.NewDynamicAdvancedSessionWithONNXData(model, []string{info.Inputs[0].Name}, []string{info.Outputs[0].Name}, options)
		}
		if options != nil {
			_ = options.Destroy() // releases memory only
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
		refused = append(refused, fmt.Sprintf("%s: %v", p, err))
		s.passed = append(s.passed, refused[len(refused)-1])
	}
	if refused == nil {
		return fmt.Errorf("load the model: %s", strings.Join(s.passed, "; "))
	}
	return fmt.Errorf("load the model: ONNX Runtime %s refuses it: %s", ort.GetVersion(), strings.Join(refused, "; "))
}

// add asks for the provider. What it doesn't take on falls to the CPU.
func (p Provider) add(o *ort.SessionOptions) error {
	switch p {
	case CUDA:
		c, err := ort.NewCUDAProviderOptions()
		if err != nil {
			return err
		}
		defer c.Destroy()
		// TF32 would round float32's factors to 11 bits: other scores than in training.
		if err := c.Update(map[string]string{"device_id": "0", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}); err != nil {
			return err
		}
		return o.AppendExecutionProviderCUDA(c)
	case TensorRT:
		t, err := ort.NewTensorRTProviderOptions()
		if err != nil {
			return err
		}
		defer t.Destroy()
		if err := t.Update(map[string]string{"device_id": "0"}); err != nil {
			return err
		}
		return o.AppendExecutionProviderTensorRT(t)
	}
	return nil
}

func sessionOptions(threads int) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		o.SetIntraOpNumThreads(threads),
		o.SetInterOpNumThreads(1),
		o.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll),
		// Spinning threads double the latency of a busy machine (docs/rationale.md).
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
	)
	return o, err
}

// describe says what the model runs on.
func (s *session) describe(i *Info) {
	i.Provider, i.Precision, i.Runtime = string(s.provider), s.provider.precision(), ort.GetVersion()
	i.Driver, i.Passed = s.provider.driver(), s.passed
}

// newSlot makes the tensors of one run over data, which must stay in place.
func (s *session) newSlot(data []float32, shape []int64) (*slot, error) {
	in, err := ort.NewTensor(ort.NewShape(shape...), data)
	if err != nil {
		return nil, fmt.Errorf("make the input tensor: %w", err)
	}
	return &slot{in: [1]ort.Value{in}}, nil
}

// fixOutput gives the slot an output tensor of its own, so that a run allocates none.
func (s *session) fixOutput(sl *slot, shape []int64) error {
	out, err := ort.NewEmptyTensor[float32](ort.NewShape(shape...))
	if err != nil {
		return fmt.Errorf("make the output tensor: %w", err)
	}
	sl.free()
	sl.out[0], sl.data, sl.shape = out, out.GetData(), shape
	return nil
}

// run runs the model for at most limit. The output stays valid until the
// slot's next run.
func (s *session) run(sl *slot, limit time.Duration) ([]float32, []int64, error) {
	s.timer.Reset(limit)
	err := s.execute(sl)
	if !s.timer.Stop() {
		<-s.fired
		if unset := s.options.UnsetTerminate(); err == nil {
			err = unset
		} else {
			err = fmt.Errorf("%w: stopped after %v", ErrTimeLimit, limit)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("run the model: %w", err)
	}
	return sl.data, sl.shape, nil
}

func (s *session) execute(sl *slot) error {
	if sl.loose != nil || sl.out[0] == nil {
		return s.executeLoose(sl)
	}
	err := s.ort.RunWithOptions(sl.in[:], sl.out[:], s.options)
	if err != nil && strings.Contains(err.Error(), "shape") {
		sl.free() // the output's size depends on the picture after all
		return s.executeLoose(sl)
	}
	return err
}

// executeLoose lets ONNX Runtime allocate the output.
func (s *session) executeLoose(sl *slot) error {
	sl.free()
	if err := s.ort.RunWithOptions(sl.in[:], sl.out[:], s.options); err != nil {
		return err
	}
	out, ok := sl.out[0].(*ort.Tensor[float32])
	if !ok {
		return fmt.Errorf("the output is %T, expected float32", sl.out[0])
	}
	sl.loose, sl.data, sl.shape = out, out.GetData(), out.GetShape()
	return nil
}

func (sl *slot) free() {
	if sl.out[0] != nil {
		_ = sl.out[0].Destroy() // releases memory only
	}
	sl.out[0], sl.loose, sl.data, sl.shape = nil, nil, nil, nil
}

// stop ends the current run, or the next one, early. It may be called from
// any goroutine.
func (s *session) stop() {
	_ = s.options.Terminate() // without it the run ends by itself
}
