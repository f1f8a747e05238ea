//go:build cgo

package infer

import (
	"errors"
	"fmt"
	"os"

	ort "github.com/yalue/onnxruntime_go"
)

// openEngine makes the session on TensorRT, with the engine that is kept or with one
// that it builds. One that it refuses is thrown away and built anew.
func (s *session) openEngine(model []byte, digest string) error {
	version := tensorRTVersion(s.on.library)
	if version == "" {
		return errors.New("its version can't be told, and engines are kept by it")
	}
	key := engineKey{
		Model: digest, Inputs: s.on.inputs, Precision: s.on.precision, Runtime: ort.GetVersion(), TensorRT: version,
		GPU: s.gpu.name, Capability: s.gpu.capability, Driver: s.gpu.driver,
	}
	atOnce := s.on.atOnce && CUDA.unready(s.on.library) == ""
	g, err := s.on.engines.openEngine(key, func() bool {
		if _, err := s.on.engines.record(key.name()); atOnce && err != nil {
			return false
		}
		s.on.tell(engineReply{Phase: phaseWait})
		return true
	})
	switch {
	case err != nil:
		return err
	case s.on.only && !g.fresh():
		g.forgive()
		return engineError{errors.Join(errBuilt, g.close())} // by another process
	}
	if s.on.loads != nil {
		s.on.loads(g)
	}
	for {
		if atOnce && g.fresh() {
			return errors.Join(errUnbuilt, g.close())
		}
		if err := s.announce(g); err != nil {
			return errors.Join(err, g.close())
		}
		err := s.open(model, TensorRT, g.options(s.on.profile, s.on.largest))
		if err == nil {
			s.engine = g
			return nil
		}
		if g.fresh() {
			return engineError{errors.Join(errors.New(plain(err)), g.close())}
		}
		fmt.Fprintf(os.Stderr, "a kept engine is thrown away, since TensorRT refuses it: %v\n", err)
		if err := g.rebuild(); err != nil {
			return errors.Join(err, g.close())
		}
	}
}

// announce tells what comes next, a load or a build, which has to wait for its turn.
func (s *session) announce(g *engine) error {
	if !g.fresh() {
		s.on.tell(engineReply{Loads: true})
		return nil
	}
	if err := g.takeTurn(func() { s.on.tell(engineReply{Phase: phaseTurn}) }); err != nil {
		return err
	}
	s.on.tell(engineReply{Phase: phaseBuild, Usual: g.cache.usual(g.key)})
	return nil
}

// add asks for the provider. What TensorRT doesn't take on falls to CUDA, what that
// doesn't to the CPU.
func (s *session) add(o *ort.SessionOptions, p Provider, tensorRT map[string]string) error {
	if p == TensorRT {
		t, err := ort.NewTensorRTProviderOptions()
		if err != nil {
			return err
		}
		defer t.Destroy()
		if err := t.Update(tensorRT); err != nil {
			return err
		}
		if err := o.AppendExecutionProviderTensorRT(t); err != nil {
			return err
		}
	}
	if p == CPU || p == TensorRT && CUDA.unready(s.on.library) != "" {
		return nil
	}
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
}

// sessionOptions are of a session with that many threads per operator.
func sessionOptions(threads int, graph GraphLevel) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		o.SetIntraOpNumThreads(threads),
		o.SetInterOpNumThreads(1),
		o.SetGraphOptimizationLevel(graph.level()),
		// Spinning threads double the latency of a busy machine (docs/rationale.md).
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		// ONNX Runtime 1.27 puts a Pad of zeros into the MaxPool behind it, which pads with
		// minus infinity: wrong values at the edges (YOLOv3-tiny's boxes move by pixels).
		o.AddSessionConfigEntry("optimization.disable_specified_optimizers", "Pad_Fusion"),
	)
	return o, err
}

func (g GraphLevel) level() ort.GraphOptimizationLevel {
	switch g {
	case GraphDisable:
		return ort.GraphOptimizationLevelDisableAll
	case GraphBasic:
		return ort.GraphOptimizationLevelEnableBasic
	case GraphExtended:
		return ort.GraphOptimizationLevelEnableExtended
	}
	return ort.GraphOptimizationLevelEnableAll
}
