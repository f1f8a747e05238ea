package infer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/sightline-edge/sightline/vision/shm"
)

// DescribeTensors reads what a model takes and gives, whatever it is for. It fails
// for what is no ONNX model, and for one that takes or gives what a run on tensors
// can't carry.
func DescribeTensors(model []byte) (Info, error) {
	m, err := parseONNX(model)
	if err == nil && m.external != "" {
		err = fmt.Errorf("its weights lie in a second file, %q: %w", m.external, errExternal)
	}
	if err == nil {
		err = m.checkDomains()
	}
	if err != nil {
		return Info{}, fmt.Errorf("read the model: %w", err)
	}
	i := Info{Inputs: m.inputs, Outputs: m.outputs, Producer: m.producer, License: m.meta["license"], Opset: m.opset}
	if len(i.Inputs) == 0 || len(i.Outputs) == 0 {
		return i, errors.New("read the model: it has no input or no output")
	}
	for _, t := range slices.Concat(i.Inputs, i.Outputs) {
		half := t.Type == "float16" || t.Type == "bfloat16"
		switch {
		case t.Type == "no tensor":
			return i, fmt.Errorf("read the model: %s is a list or a map: export the model with tensors alone (of scikit-learn: zipmap off)", t.Name)
		case elementBytes[t.Type] == 0:
			return i, fmt.Errorf("read the model: %v: values of %s can't be carried", t, t.Type)
		case half && t.Shape != nil && len(t.Shape) == 0:
			return i, fmt.Errorf("read the model: %v: a single value of %s can't be carried: give it a dimension", t, t.Type)
		}
	}
	return i, nil
}

// openTensors loads a model that runs on tensors alone.
func (s *server) openTensors(model []byte) error {
	sum := sha256.Sum256(model)
	var err error
	if s.info, err = DescribeTensors(model); err != nil {
		return err
	}
	s.info.Digest = hex.EncodeToString(sum[:])
	on := s.load.target(s.tellEngine)
	on.without = cmp.Or(on.without, "tensorrt: models that run on tensors alone have no fixed shapes to build an engine for")
	if s.sess, err = openSession(model, s.info, s.info.Outputs, on); err != nil {
		return err
	}
	s.sess.describe(&s.info)
	s.info.Library, s.info.Computed = s.load.Library, names(s.info.Outputs)
	for range inFlight {
		s.free <- &job{}
	}
	if Provider(s.info.Provider) == CPU {
		return nil
	}
	return s.warmTensors()
}

// warmTensors runs a model whose inputs have one shape each once, on zeros: what an
// accelerator compiles in its first run takes longer than a client waits.
func (s *server) warmTensors() error {
	run := tensorsOn{room: func(n int) ([]byte, error) { return make([]byte, n), nil }}
	for _, t := range s.info.Inputs {
		size := elementBytes[t.Type]
		for _, d := range t.Shape {
			if d < 0 || d > 0 && int64(size) > maxArena/d {
				return nil
			}
			size *= int(d)
		}
		if t.Shape == nil || len(run.in)+size > maxArena {
			return nil
		}
		run.inputs = append(run.inputs, Laid{Tensor: t, Offset: len(run.in), Size: size})
		run.in = append(run.in, make([]byte, (size+Align-1)/Align*Align)...)
	}
	if err := s.sess.runTensors(&run, loadLimit); errors.Is(err, ErrTimeLimit) {
		return err
	} else if err != nil {
		fmt.Fprintf(os.Stderr, "the first run, on zeros: %v\n", err) // which may be nothing that this model takes
	}
	return nil
}

// tensorRun is the part of a job that runs on tensors.
type tensorRun struct {
	in, out *shm.Pool // hold a reference until the run is answered
	pool    uint64    // its ID
	request *tensorsRequest
	outputs []Laid
	stopped bool
}

// lay takes a run on tensors in.
func (s *server) lay(j *job, r *inferRequest) *job {
	j.id, j.err = r.ID, nil
	j.tensors = &tensorRun{pool: r.Pool, request: r.Tensors}
	pool := s.pools[r.Pool]
	if pool == nil {
		j.err = fmt.Errorf("tensors in pool %d: there is no such pool", r.Pool)
		return j
	}
	if j.err = s.fitTensors(r.Tensors.Inputs, pool.SlotSize); j.err == nil {
		pool.Retain()
		j.tensors.in = pool
	}
	return j
}

// fitTensors checks that the tensors are the model's inputs.
func (s *server) fitTensors(inputs []Laid, memory int) error {
	if len(inputs) != len(s.info.Inputs) {
		return fmt.Errorf("%d inputs, the model has %d", len(inputs), len(s.info.Inputs))
	}
	for n, t := range inputs {
		if want := s.info.Inputs[n]; t.Name != want.Name || t.Type != want.Type {
			return fmt.Errorf("input %d is %v, the model's is %v", n, t.Tensor, want)
		}
		if s.sess.onEngine() && !slices.Equal(t.Shape, s.shapes[n]) { // for others it would be built anew, here and now
			return fmt.Errorf("input %s is %s: TensorRT's engine is for %s alone", t.Name, shapeText(t.Shape), shapeText(s.shapes[n]))
		}
		if err := t.check(memory); err != nil {
			return err
		}
	}
	return nil
}

// runTensors runs the model on a job's tensors.
func (s *server) runTensors(j *job) error {
	t, m := j.tensors, &s.memory
	if !m.begin(j.id) {
		t.stopped = true
		return errors.New("it was stopped")
	}
	run := tensorsOn{inputs: t.request.Inputs, in: t.in.Slot(0), room: func(n int) ([]byte, error) { return s.room(j, n) }}
	err := s.sess.runTensors(&run, min(t.request.Limit, s.load.Limit))
	if t.stopped = m.end(j.id); t.stopped {
		if unset := s.sess.unstop(); unset != nil {
			return unset
		}
	}
	t.outputs = run.outputs
	return err
}

// answerTensors tells the agent what a run gave, and where it lies.
func (s *server) answerTensors(j *job) error {
	t, r := j.tensors, &resultReply{ID: j.id, Run: j.reply.Run}
	for _, p := range []*shm.Pool{t.in, t.out} {
		if p != nil {
			p.Release()
		}
	}
	if j.err != nil {
		r.Err, r.Stopped, r.TimedOut = clipped(j.err), t.stopped, errors.Is(j.err, ErrTimeLimit)
	} else {
		r.Tensors = t.outputs
	}
	j.tensors = nil
	err := s.conn.Send(reply{Result: r})
	if errors.Is(err, shm.ErrTooLong) { // so many outputs, or of so many dimensions
		r.Tensors, r.Err = nil, "the outputs' shapes take too much to tell"
		err = s.conn.Send(reply{Result: r})
	}
	return err
}

// room gives memory for n bytes of a run's outputs: that of the last run on the same
// inputs' memory, or new one, which the agent is sent.
func (s *server) room(j *job, n int) ([]byte, error) {
	if n > maxArena {
		return nil, fmt.Errorf("its outputs take %d bytes, at most %d are possible", n, maxArena)
	}
	m := &s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.pools[j.tensors.pool]
	if old != nil && old.SlotSize >= n {
		return j.tensors.into(old), nil
	}
	pool, err := shm.NewPool(1, 1, n)
	if err != nil {
		return nil, err
	}
	if err := s.conn.Send(reply{Memory: &memoryReply{ID: j.id, Info: pool.Info}}, pool.FD()); err != nil {
		pool.Release()
		return nil, err
	}
	if old != nil {
		old.Release()
	}
	if m.pools == nil {
		m.pools = map[uint64]*shm.Pool{}
	}
	m.pools[j.tensors.pool] = pool
	return j.tensors.into(pool), nil
}

// into makes the run hold the memory of its outputs.
func (t *tensorRun) into(pool *shm.Pool) []byte {
	pool.Retain()
	if t.out != nil {
		t.out.Release()
	}
	t.out = pool
	return pool.Slot(0)
}

// forget lets go of the outputs that belong to a pool of inputs.
func (m *outputMemory) forget(pool uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if out := m.pools[pool]; out != nil {
		delete(m.pools, pool)
		out.Release()
	}
}

// begin notes that a run is under way, unless it is to be stopped.
func (m *outputMemory) begin(id uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop[id] {
		delete(m.stop, id)
		return false
	}
	m.running = id
	return true
}

// end notes that a run is over, and tells whether it was to be stopped.
func (m *outputMemory) end(id uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = 0
	stopped := m.stop[id]
	delete(m.stop, id)
	return stopped
}

// stopRun stops a run on tensors that is under way or still to come. The agent asks
// for it once, and before it has the answer in its hands: one that comes too late for
// a run is kept until maxStops of them are.
func (s *server) stopRun(id uint64) {
	m := &s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop == nil || len(m.stop) >= maxStops {
		m.stop = map[uint64]bool{}
	}
	m.stop[id] = true
	if m.running == id {
		s.sess.stop()
	}
}

// maxStops is more than there can be runs in a worker.
const maxStops = 64

// tensorsOn is a run on tensors on its way through a session.
type tensorsOn struct {
	inputs  []Laid
	in      []byte                    // their memory
	room    func(int) ([]byte, error) // memory for so many bytes of outputs
	outputs []Laid
}

// lay gives the outputs places one behind the other, and the bytes that they take.
func (t *tensorsOn) lay(outputs []Tensor) (bytes int) {
	t.outputs = t.outputs[:0]
	for _, o := range outputs {
		size := elementBytes[o.Type]
		for _, d := range o.Shape {
			size *= int(d)
		}
		t.outputs = append(t.outputs, Laid{Tensor: o, Offset: bytes, Size: size})
		bytes += max((size+Align-1)/Align, 1) * Align // an empty one has a place too
	}
	return bytes
}
