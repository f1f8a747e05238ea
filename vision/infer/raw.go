package infer

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// MaxSamples is the most values that InferRaw takes of one output: they go in
// one message with the detections.
const MaxSamples = 2048

// RawSample is a sample of one output tensor as the model gave it: every
// Every-th value, from the first on.
type RawSample struct {
	Name   string
	Shape  []int64
	Every  int // at least 1
	Values []float32
	Broken int // values of the whole output that were NaN or infinite
}

// rawReply is a RawSample on its way; Values are float32, little endian.
type rawReply struct {
	Name   string  `json:"name"`
	Shape  []int64 `json:"shape"`
	Every  int     `json:"every"`
	Values []byte  `json:"values"`
	Broken int     `json:"broken,omitempty"`
}

// InferRaw is Infer that also gives a sample of each output, at most samples
// values of it (1 to MaxSamples), and of all together at most MaxSamples. The same
// model and samples always give the same places.
func (w *Worker) InferRaw(ctx context.Context, frame *vision.Frame, pool *shm.Pool, slot, samples int) (Result, []RawSample, error) {
	if samples < 1 || samples > MaxSamples {
		return Result{}, nil, fmt.Errorf("inspect a frame: %d samples of an output: 1 to %d are possible", samples, MaxSamples)
	}
	c, err := w.infer(ctx, frame, pool, slot, want{samples: samples})
	if err != nil {
		return Result{}, nil, err
	}
	return c.result, c.raw, nil
}

// samples takes values of each output: n, or what of MaxSamples falls to one.
func samples(outs []Output, n int) []rawReply {
	var all []rawReply
	for _, o := range outs {
		all = append(all, sample(o, max(min(n, MaxSamples/len(outs)), 1)))
	}
	return all
}

// sample takes at most n values of an output.
func sample(o Output, n int) rawReply {
	r := rawReply{Name: o.Name, Shape: o.Shape, Every: max((len(o.Data)+n-1)/n, 1)}
	for i, v := range o.Data {
		if v-v != 0 { // NaN or infinite
			r.Broken++
		}
		if i%r.Every == 0 {
			r.Values = binary.LittleEndian.AppendUint32(r.Values, math.Float32bits(v))
		}
	}
	return r
}

func unpackSamples(packed []rawReply) ([]RawSample, error) {
	var out []RawSample
	for _, p := range packed {
		if len(p.Values)%4 != 0 || p.Every < 1 {
			return nil, fmt.Errorf("%w: %d bytes of output %s", errPacked, len(p.Values), p.Name)
		}
		s := RawSample{Name: p.Name, Shape: p.Shape, Every: p.Every, Broken: p.Broken, Values: make([]float32, len(p.Values)/4)}
		for i := range s.Values {
			s.Values[i] = math.Float32frombits(binary.LittleEndian.Uint32(p.Values[4*i:]))
		}
		out = append(out, s)
	}
	return out, nil
}
