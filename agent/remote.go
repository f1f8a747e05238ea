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

	mu     sync.Mutex      // protects all below
	known  *described      // nil: to be asked for
	digest string          // of the model's file, as the server told last; "" where it doesn't
	times  []time.Duration // of the newest answers, the newest last
	tried  time.Time       // when it was asked last

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
	return Model{Name: r.cfg.Model, Version: r.cfg.Version, Family: r.cfg.Options.Family, Digest: r.digest}
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
	p, ok := r.breaker.allows(time.Now())
	if !ok {
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
		r.breaker.skip(p)
		return out, err
	}
	err = briefly(err)
	r.breaker.done(time.Now(), p, err)
	if err == nil {
		r.took(time.Since(began))
	}
	return out, err
}

func (r *Remote) ask(ctx context.Context, frame *vision.Frame) (infer.Result, error) {
	k, anew, err := r.know(ctx)
	if err != nil {
		return infer.Result{}, err
	}
	out, err := r.run(ctx, k, frame)
	if err != nil {
		r.failed(k, anew, err)
	}
	return out, err
}

// run lets the server run the model. What it answers is read in this process, which
// mustn't end by it.
func (r *Remote) run(ctx context.Context, k *described, frame *vision.Frame) (out infer.Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = infer.Result{}, fmt.Errorf("BUG: the answer of %s can't be read: %v", r.cfg.Model, v)
		}
	}()
	e, err := r.take(k)
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
	out, err = e.Decode(outs, at, frame.Width, frame.Height)
	if err == nil && out.Dropped > 0 {
		err = fmt.Errorf("read the answer of %s: %d of its scores and boxes are no numbers", r.cfg.Model, out.Dropped)
	}
	if err != nil {
		return infer.Result{}, err
	}
	out.Fill, out.Run = filled.Sub(began), ran.Sub(filled)
	r.give(k, e)
	return out, nil
}

// practise asks the server for empty pictures until it is known how long it takes, or
// nobody wants to know any more.
func (r *Remote) practise(ctx context.Context, wanted func() bool) {
	f := vision.Frame{Pix: make([]byte, 3*practiceWidth*practiceHeight), Width: practiceWidth, Height: practiceHeight, Stride: 3 * practiceWidth, Format: vision.BGR24}
	for ctx.Err() == nil && wanted() {
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
