package infer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision/shm"
)

// elementBytes are the types of values that a run on tensors carries, with the bytes
// of one value.
var elementBytes = map[string]int{
	"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "bool": 1,
	"uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8, "int8": 1, "int16": 2, "int32": 4, "int64": 8,
}

// Align is where tensors may begin in an Arena's memory: a multiple of it, in bytes.
const Align = 64

// maxArena bounds the inputs of a run, and its outputs, in bytes.
const maxArena = 1 << 30

// Laid is a tensor that lies in an Arena. Its shape has no open sizes.
type Laid struct {
	Tensor
	Offset int // in the memory of the inputs or outputs, bytes; a multiple of Align
	Size   int // bytes
}

// check tells whether the tensor's bytes are as many as its type and shape want, and
// lie in memory of so many.
func (t *Laid) check(memory int) error {
	size, ok := elementBytes[t.Type]
	if !ok {
		return fmt.Errorf("%s is of %s, which can't be carried", t.Name, t.Type)
	}
	for _, d := range t.Shape {
		if d < 0 || d > 0 && int64(size) > maxArena/d {
			return fmt.Errorf("%s: its shape %s is out of bounds", t.Name, shapeText(t.Shape))
		}
		size *= int(d)
	}
	if t.Size != size || t.Offset < 0 || t.Offset%Align != 0 || t.Offset > memory-size {
		return fmt.Errorf("%s: %d bytes at %d, where %s %s in memory of %d is wanted", t.Name, t.Size, t.Offset, t.Type, shapeText(t.Shape), memory)
	}
	return nil
}

// Arena is shared memory for one run on tensors at a time: its owner writes the inputs
// into it, a worker lays the model's tensors over them, and leaves the outputs in
// memory that grows as it must. It serves one Worker.
type Arena struct {
	worker  *Worker
	in, out *shm.Pool // nil until they are needed
}

// NewArena makes an arena for runs of this worker's model.
func (w *Worker) NewArena() *Arena { return &Arena{worker: w} }

// Room gives memory for n bytes of inputs. What lay there before is lost.
func (a *Arena) Room(n int) ([]byte, error) {
	if n < 0 || n > maxArena {
		return nil, fmt.Errorf("make room for inputs of %d bytes: at most %d are possible", n, maxArena)
	}
	if a.in == nil || a.in.SlotSize < n {
		pool, err := shm.NewPool(0, 1, max(n, Align))
		if err != nil {
			return nil, err
		}
		a.Release()
		a.in = pool
	}
	return a.in.Slot(0)[:n], nil
}

// Bytes is how much memory the arena has.
func (a *Arena) Bytes() int {
	n := 0
	for _, p := range []*shm.Pool{a.in, a.out} {
		if p != nil {
			n += p.SlotSize
		}
	}
	return n
}

// Output gives an output's bytes. They stay until the arena's next use.
func (a *Arena) Output(t Laid) []byte {
	if t.Size == 0 {
		return nil
	}
	return a.out.Slot(0)[t.Offset : t.Offset+t.Size]
}

// Release gives the memory back. The arena can be used again.
func (a *Arena) Release() {
	if a.in != nil {
		a.worker.Forget(a.in)
		a.in.Release()
	}
	if a.out != nil {
		a.out.Release()
	}
	a.in, a.out = nil, nil
}

// tensorsRequest asks for a run on tensors that lie in the request's pool.
type tensorsRequest struct {
	Inputs []Laid        `json:"inputs"` // in the model's order
	Limit  time.Duration `json:"limit"`
}

// memoryReply comes with the descriptor of memory for a call's outputs, and before
// the call's answer.
type memoryReply struct {
	ID   uint64   `json:"id"` // of the call
	Info shm.Info `json:"info"`
}

// tensorsCall is what a call on tensors gathers; link.mu protects it until the
// call is answered.
type tensorsCall struct {
	limit   time.Duration
	memory  *shm.Pool // new memory of outputs; nil: that of the arena's last run
	outputs []Laid
	run     time.Duration
	stopped bool // because it was asked for
}

// Ran is what a run on tensors gave.
type Ran struct {
	Outputs []Laid        // in the arena's memory of outputs, in the model's order
	Run     time.Duration // the model alone
}

// RunTensors runs the model on tensors in the arena, in the order of Info.Inputs, for
// at most limit (0: Config.Limit). It waits for a worker if none is ready. When ctx
// ends, the run is stopped, and ctx's error returned. The arena is free again
// when it returns.
func (w *Worker) RunTensors(ctx context.Context, a *Arena, inputs []Laid, limit time.Duration) (Ran, error) {
	if a.in == nil {
		return Ran{}, errors.New("run the model on tensors: they have no memory")
	}
	for n := range inputs {
		if err := inputs[n].check(a.in.SlotSize); err != nil {
			return Ran{}, fmt.Errorf("run the model on tensors: %w", err)
		}
	}
	if limit <= 0 || limit > w.cfg.Limit {
		limit = w.cfg.Limit
	}
	c := &call{began: time.Now(), done: make(chan struct{}), tensors: &tensorsCall{limit: limit}}
	for {
		l, err := w.awaitLink(ctx)
		if err == nil {
			err = l.runTensors(ctx, c, inputs, a.in)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, errRelieved) {
			return Ran{}, err
		}
	}
	if t := c.tensors; t.memory != nil {
		if a.out != nil {
			a.out.Release()
		}
		a.out = t.memory
	}
	if c.err != nil {
		if c.tensors.stopped && ctx.Err() != nil {
			return Ran{}, ctx.Err()
		}
		return Ran{}, c.err
	}
	return c.tensors.ran(a)
}

// ran checks what the worker says of its outputs.
func (t *tensorsCall) ran(a *Arena) (Ran, error) {
	memory := 0
	if a.out != nil {
		memory = a.out.SlotSize
	}
	for n := range t.outputs {
		if err := t.outputs[n].check(memory); err != nil {
			return Ran{}, fmt.Errorf("run the model on tensors: %w: %w", errPacked, err)
		}
	}
	return Ran{Outputs: t.outputs, Run: t.run}, nil
}

// runTensors sends a call and waits until it is answered, also when ctx ends: the
// worker may use the memory until then. The error is of what wasn't sent.
func (l *link) runTensors(ctx context.Context, c *call, inputs []Laid, pool *shm.Pool) error {
	select {
	case l.seats <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.gone:
		return l.farewell()
	}
	r := &inferRequest{Tensors: &tensorsRequest{Inputs: inputs, Limit: c.tensors.limit}}
	if err := l.send(c, r, pool); err != nil {
		<-l.seats
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	}
	_ = l.proc.Conn.Send(request{Stop: r.ID}) // a worker that is gone has answered
	<-c.done
	return nil
}

// remember keeps new memory of outputs for the call that it came for, in the place of
// what came before: a run may find that its outputs are larger.
func (l *link) remember(m *memoryReply, fds []int) error {
	if len(fds) != 1 {
		shm.CloseAll(fds)
		return fmt.Errorf("%w: memory with %d descriptors", errPacked, len(fds))
	}
	pool, err := shm.OpenPool(fds[0], m.Info)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[m.ID]
	if c == nil || c.tensors == nil {
		pool.Release()
		return fmt.Errorf("%w: memory that no run waits for", errPacked)
	}
	if old := c.tensors.memory; old != nil {
		old.Release()
	}
	c.tensors.memory = pool
	return nil
}

// deliverTensors hands an answer to its caller.
func (l *link) deliverTensors(c *call, r *resultReply) {
	t := c.tensors
	t.outputs, t.run, t.stopped = r.Tensors, r.Run, r.Stopped
	switch {
	case r.TimedOut:
		c.err = fmt.Errorf("run the model on tensors: %w: stopped after %v", ErrTimeLimit, t.limit)
	case r.Err != "":
		c.err = fmt.Errorf("run the model on tensors: %s", r.Err)
	}
	w := l.owner
	switch {
	case c.err == nil:
		w.guests.ran.Add(1)
		if w.cfg.Tensors { // else what a run takes is told of frames
			w.timed.add(time.Since(c.began), 0, r.Run, 0)
		}
	case r.TimedOut:
		w.guests.stopped.Add(1)
	case !t.stopped: // else the caller has left
		w.guests.failed.Add(1)
	}
	close(c.done)
	<-l.seats
}

// outputMemory is where a worker leaves what runs on tensors give.
type outputMemory struct {
	mu      sync.Mutex // protects all below
	pools   map[uint64]*shm.Pool
	running uint64          // the run that is under way, 0 without
	stop    map[uint64]bool // runs that are to be stopped and haven't ended
}

func names(tensors []Tensor) []string {
	var out []string
	for _, t := range tensors {
		out = append(out, t.Name)
	}
	return out
}
