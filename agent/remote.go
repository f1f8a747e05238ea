package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
)

// DefaultRemoteTimeout is how long a remote model may take for a picture.
const DefaultRemoteTimeout = 200 * time.Millisecond

// RemoteConfig says which server has a model, and how that is fed and read.
type RemoteConfig struct {
	Server  oip.ClientConfig
	Model   string
	Version string        // "": the server's choice
	Timeout time.Duration // of one picture; 0: DefaultRemoteTimeout
	Options infer.Options // with the family
}

// Remote is a model on a server that speaks the Open Inference Protocol. Pictures leave
// this machine for it. It is safe for concurrent use.
type Remote struct {
	cfg     RemoteConfig
	client  *oip.Client
	breaker breaker

	mu    sync.Mutex // protects all below
	made  *oip.Metadata
	spare []*infer.Elsewhere // that nobody uses now
	times []time.Duration    // of the newest answers, the newest last
	tried time.Time          // when it was asked last

	answers int // all of them
}

// remoteWindow is over how many of the newest answers its times are taken.
const remoteWindow = 99

// retryAfter is how long a server isn't asked because it seems too slow, until it is asked
// all the same: what it took once may not be true any more.
const retryAfter = 2 * time.Second

// NewRemote makes a Remote; it connects when it is first used.
func NewRemote(cfg RemoteConfig) (*Remote, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultRemoteTimeout
	}
	client, err := oip.NewClient(cfg.Server)
	if err != nil {
		return nil, err
	}
	return &Remote{cfg: cfg, client: client}, nil
}

// Close lets go of its connections.
func (r *Remote) Close() { r.client.Close() }

// About is what verdicts say of the model.
func (r *Remote) About() Model {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := Model{Name: r.cfg.Model, Version: r.cfg.Version, Family: r.cfg.Options.Family}
	if r.made != nil {
		m.Digest = r.made.Properties["digest"]
	}
	return m
}

// errOpen means that the server failed too often of late to be asked.
var errOpen = errors.New("the server has failed too often of late")

// quantiles are those of the newest answers, and how many there were in all. Of 8 and more
// the longest doesn't count: it may have met with a hiccup.
func (r *Remote) quantiles() (p50, p99 time.Duration, answers int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sorted := slices.Sorted(slices.Values(r.times))
	n := len(sorted)
	if n == 0 {
		return 0, 0, 0
	}
	last := n - 1
	if n >= 8 {
		last--
	}
	return sorted[(n-1)/2], sorted[last], r.answers
}

// took keeps how long an answer took. One that took less than half of what was known
// shows that the older ones are no longer true.
func (r *Remote) took(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.times); n > 0 && 2*d < slices.Min(r.times) {
		r.times = nil
	}
	r.answers++
	r.times = append(r.times, d)
	r.times = slices.Delete(r.times, 0, max(0, len(r.times)-remoteWindow))
}

// hindrance is why the server can't be asked for so many pictures by that time.
func (r *Remote) hindrance(pictures int, by time.Time) string {
	_, p99, n := r.quantiles()
	r.mu.Lock()
	tried := r.tried
	r.mu.Unlock()
	switch open, _, _ := r.breaker.state(); {
	case open: // look finds out whether it is time for a probe
		return ""
	case n < practiceRuns:
		return MissedUnmeasured
	case time.Until(by) < time.Duration(pictures)*p99 && time.Since(tried) < retryAfter:
		return MissedLate
	}
	return ""
}

// look sends a picture to the server. It is bounded by the time-out and by ctx.
func (r *Remote) look(ctx context.Context, frame *vision.Frame) (infer.Result, error) {
	if !r.breaker.allows(time.Now()) {
		return infer.Result{}, errOpen
	}
	limited, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	began := time.Now()
	r.mu.Lock()
	r.tried = began
	r.mu.Unlock()
	out, err := r.ask(limited, frame)
	if errors.Is(ctx.Err(), context.Canceled) { // the agent goes: that is nobody's fault
		r.breaker.skip()
		return out, err
	}
	r.breaker.done(time.Now(), err)
	if err == nil {
		r.took(time.Since(began))
	}
	return out, err
}

func (r *Remote) ask(ctx context.Context, frame *vision.Frame) (infer.Result, error) {
	e, err := r.take(ctx)
	if err != nil {
		return infer.Result{}, err
	}
	began := time.Now()
	inputs, at, err := e.Fill(frame)
	if err != nil {
		return infer.Result{}, err
	}
	filled := time.Now()
	var sent []oip.Tensor
	for _, in := range inputs {
		sent = append(sent, oip.Tensor{Name: in.Name, Datatype: datatypeOf(in.Type), Shape: in.Shape, Data: in.Data})
	}
	answer, err := r.client.Infer(ctx, r.cfg.Model, r.cfg.Version, sent, e.Wanted())
	if err != nil {
		return infer.Result{}, err // e isn't kept: the request may still read its tensors
	}
	ran := time.Now()
	var outs []infer.Output
	for _, t := range answer {
		values, err := infer.Floats(elementOf(t.Datatype), t.Data)
		if err != nil {
			return infer.Result{}, fmt.Errorf("read the output %s of %s: %w", t.Name, r.cfg.Model, err)
		}
		outs = append(outs, infer.Output{Name: t.Name, Shape: t.Shape, Data: values})
	}
	out, err := e.Decode(outs, at, frame.Width, frame.Height)
	if err == nil && out.Dropped > 0 {
		err = fmt.Errorf("read the answer of %s: %d of its scores and boxes are no numbers", r.cfg.Model, out.Dropped)
	}
	if err != nil {
		return infer.Result{}, err
	}
	out.Fill, out.Run = filled.Sub(began), ran.Sub(filled)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spare = append(r.spare, e)
	return out, nil
}

// take gives what makes tensors of frames, by what the server says of the model.
func (r *Remote) take(ctx context.Context) (*infer.Elsewhere, error) {
	r.mu.Lock()
	made := r.made
	if n := len(r.spare); n > 0 {
		e := r.spare[n-1]
		r.spare = r.spare[:n-1]
		r.mu.Unlock()
		return e, nil
	}
	r.mu.Unlock()
	if made == nil {
		m, err := r.client.Metadata(ctx, r.cfg.Model, r.cfg.Version)
		if err != nil {
			return nil, err
		}
		made = &m
	}
	e, err := infer.NewElsewhere(tensorsOf(made.Inputs), tensorsOf(made.Outputs), r.cfg.Options)
	if err != nil {
		return nil, fmt.Errorf("feed the model %s: %w", r.cfg.Model, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made = made
	return e, nil
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

// practise asks the server for empty pictures until it is known how long it takes.
func (r *Remote) practise(ctx context.Context) {
	f := vision.Frame{Pix: make([]byte, 3*practiceWidth*practiceHeight), Width: practiceWidth, Height: practiceHeight, Stride: 3 * practiceWidth, Format: vision.BGR24}
	for ctx.Err() == nil {
		if _, _, n := r.quantiles(); n >= practiceRuns {
			return
		}
		if _, err := r.look(ctx, &f); err == nil {
			continue
		}
		select {
		case <-time.After(practiceAgain):
		case <-ctx.Done():
		}
	}
}

// practiceAgain is how long after a failure a server is asked to show its times again.
const practiceAgain = 500 * time.Millisecond
