package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/vision/infer"
)

// knownFor is how long a server's word on its model is taken for true: it may get
// another one at any time.
const knownFor = time.Minute

// described is what a server says of its model.
type described struct {
	inputs, outputs []infer.Tensor

	// Protected by Remote.mu:
	read  time.Time
	spare []*infer.Elsewhere // made by it, which nobody uses now
}

// know gives what the server says of the model; anew says that it was asked for it now.
func (r *Remote) know(ctx context.Context) (k *described, anew bool, err error) {
	r.mu.Lock()
	k = r.known
	fresh := k != nil && time.Since(k.read) < knownFor
	r.mu.Unlock()
	if fresh {
		return k, false, nil
	}
	m, err := r.client.Metadata(ctx, r.cfg.Model, r.cfg.Version)
	if err != nil {
		return nil, true, err
	}
	n := &described{inputs: tensorsOf(m.Inputs), outputs: tensorsOf(m.Outputs)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.digest = digestOf(&m)
	if k = r.known; k == nil || !reflect.DeepEqual(k.inputs, n.inputs) || !reflect.DeepEqual(k.outputs, n.outputs) {
		r.known, k = n, n
	}
	k.read = time.Now()
	return k, true, nil
}

// failed hears that a request failed, by what was known. The next one asks anew what the
// model is: it may be another one by now. Only what was read just before the time was
// over is kept, else a server that is slow to tell would never come to a run.
func (r *Remote) failed(k *described, anew bool, err error) {
	if anew && errors.Is(err, context.DeadlineExceeded) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == k {
		r.known = nil
	}
}

// take gives what makes tensors of frames.
func (r *Remote) take(k *described) (*infer.Elsewhere, error) {
	r.mu.Lock()
	if n := len(k.spare); n > 0 {
		e := k.spare[n-1]
		k.spare = k.spare[:n-1]
		r.mu.Unlock()
		return e, nil
	}
	r.mu.Unlock()
	e, err := infer.NewElsewhere(k.inputs, k.outputs, r.cfg.Options)
	if err != nil {
		return nil, fmt.Errorf("feed the model %s: %w", r.cfg.Model, err)
	}
	return e, nil
}

// give brings it back.
func (r *Remote) give(k *described, e *infer.Elsewhere) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k.spare = append(k.spare, e)
}

// digestOf is the SHA-256 of the model's file, hex, where the server tells one; "" for
// anything else that stands there: it goes into each verdict.
func digestOf(m *oip.Metadata) string {
	digest := m.Properties["digest"]
	if sum, err := hex.DecodeString(digest); err != nil || len(sum) != sha256.Size {
		return ""
	}
	return strings.ToLower(digest)
}

// elements are the protocol's types by ours.
var elements = [][2]string{
	{"float32", "FP32"}, {"float16", "FP16"}, {"float64", "FP64"}, {"int64", "INT64"}, {"int32", "INT32"}, {"uint8", "UINT8"}, {"bool", "BOOL"},
}

// datatypeOf and elementOf give "" for what isn't known.
func datatypeOf(element string) string { return paired(0, element) }
func elementOf(datatype string) string { return paired(1, datatype) }

func paired(side int, name string) string {
	if n := slices.IndexFunc(elements, func(e [2]string) bool { return e[side] == name }); n >= 0 {
		return elements[n][1-side]
	}
	return ""
}

func tensorsOf(all []oip.TensorMetadata) (out []infer.Tensor) {
	for _, t := range all {
		out = append(out, infer.Tensor{Name: t.Name, Type: elementOf(t.Datatype), Shape: t.Shape})
	}
	return out
}

// maxFault bounds the text of an error that a server has words in, in bytes.
const maxFault = 512

// brief is an error whose text is cut.
type brief struct{ error }

// briefly cuts an error's text: it goes into logs, warnings and the fleet's state.
func briefly(err error) error {
	if err == nil || len(err.Error()) <= maxFault {
		return err
	}
	return brief{err}
}

func (b brief) Error() string { return strings.ToValidUTF8(b.error.Error()[:maxFault], "") + "…" }

func (b brief) Unwrap() error { return b.error }
