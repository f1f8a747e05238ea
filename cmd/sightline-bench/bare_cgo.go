//go:build cgo

package main

import (
	"fmt"
	"os"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/sightline-edge/sightline/vision/infer"
)

// openBare loads a model as plainly as the runtime allows: tensors made once,
// the session options of the worker (vision/infer). On TensorRT it builds an engine of its own, and keeps none.
func openBare(library, path string, threads int, provider infer.Provider) (*bareModel, error) {
	if provider != infer.CPU && !provider.Accelerated(library) {
		return nil, LeftOut(fmt.Sprintf("there is no %s beside %s", provider, library))
	}
	model, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open the bare model: %w", err)
	}
	info, err := infer.Describe(model)
	if err != nil {
		return nil, err
	}
	if !ort.IsInitialized() {
		if err := os.Setenv("NVIDIA_TF32_OVERRIDE", "0"); err != nil { // as the worker: TensorRT has no other switch
			return nil, err
		}
		ort.SetSharedLibraryPath(library)
		if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
			return nil, fmt.Errorf("load ONNX Runtime %s: %w", library, err)
		}
	}
	in, out, err := bareTensors(info)
	if err != nil {
		return nil, fmt.Errorf("make tensors: %w", err)
	}
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("set options: %w", err)
	}
	defer options.Destroy()
	for _, err := range []error{options.SetIntraOpNumThreads(threads), options.SetInterOpNumThreads(1),
		options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll),
		options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		options.AddSessionConfigEntry("optimization.disable_specified_optimizers", "Pad_Fusion")} {
		if err != nil {
			return nil, fmt.Errorf("set options: %w", err)
		}
	}
	if err := addProvider(options, provider); err != nil {
		return nil, fmt.Errorf("set options of %s: %w", provider, err)
	}
	s, err := ort.NewAdvancedSessionWithONNXData(model, []string{info.Inputs[0].Name}, []string{info.Outputs[0].Name},
		[]ort.Value{in}, []ort.Value{out}, options)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	m := &bareModel{run: s.Run, close: func() {
		_ = s.Destroy() // releases memory only, as the two below
		_ = in.Destroy()
		_ = out.Destroy()
	}}
	return m, nil
}

func bareTensors(info infer.Info) (in, out *ort.Tensor[float32], err error) {
	if in, err = ort.NewEmptyTensor[float32](ort.NewShape(info.Inputs[0].Shape...)); err != nil {
		return nil, nil, err
	}
	for i, data := 0, in.GetData(); i < len(data); i++ {
		data[i] = float32(i%251) / 251 // any picture: the time doesn't depend on it
	}
	out, err = ort.NewEmptyTensor[float32](ort.NewShape(info.Outputs[0].Shape...))
	return in, out, err
}

// addProvider asks for what computes as the worker does.
func addProvider(o *ort.SessionOptions, provider infer.Provider) error {
	if provider == infer.CPU {
		return nil
	}
	if provider == infer.TensorRT {
		t, err := ort.NewTensorRTProviderOptions()
		if err != nil {
			return err
		}
		defer t.Destroy()
		if err := t.Update(map[string]string{"device_id": "0", "trt_max_workspace_size": "1073741824", "trt_fp16_enable": "0"}); err != nil {
			return err
		}
		if err := o.AppendExecutionProviderTensorRT(t); err != nil {
			return err
		}
	}
	c, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer c.Destroy()
	if err := c.Update(map[string]string{"device_id": "0", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}); err != nil {
		return err
	}
	return o.AppendExecutionProviderCUDA(c)
}
