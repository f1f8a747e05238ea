package infer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/internal/lean"
	"github.com/sightline-edge/sightline/internal/prompt"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// runNice is the run thread's nice value: above the agent's, so that frames
// are handed over at once while a model computes.
const runNice = 5

// asideNice is that of what no station waits for. Nobody may lower it again, so it is
// never the run thread's own.
const asideNice = 15

// server is the worker process. Three goroutines pass jobs on: receive and
// fill, run, decode and answer; so the next tensor is filled while the model runs.
type server struct {
	conn   *shm.Conn
	load   loadRequest
	info   Info
	sess   *session
	filler *Filler
	pools  map[uint64]*shm.Pool
	memory outputMemory
	guard  sync.Once              // starts the guard of a build
	loads  atomic.Pointer[engine] // that is being loaded, or was
	shapes [][]int64              // of a frame's inputs

	opened            chan struct{} // closed when sess is there
	free, filled, ran chan *job
	intakes           chan *intake // that no frame has
	slots             chan *slot   // whose outputs nobody reads any more

	groups  chan *groupRun // holds the one while it is free; nil where each frame has its own run
	joining *groupRun      // that takes frames; the receiver's own, as are the next two
	joiner  uint64         // Group of the newest frame in a group
	joined  int            // frames of it
	apart   atomic.Bool    // each frame has its own run from now on
}

// job is one frame on its way.
type job struct {
	id    uint64
	in    *intake // until it has run
	slot  *slot   // from its run on
	at    Placement
	w, h  int // of the frame
	outs  []Output
	err   error
	reply resultReply

	samples int  // raw values of each output that are wanted
	scores  bool // the map of scores is wanted
	aside   bool // no station waits for it

	tensors *tensorRun // of a run on tensors, else nil
	group   *groupRun  // of a run on several frames, else nil: then it stands for them
}

// WorkerMain is the inference worker: it serves the agent's requests on the
// socket fd until the agent closes it or ctx ends. The model's words, if it
// can't be loaded, are the error.
func WorkerMain(ctx context.Context, fd int) error {
	s := &server{conn: shm.NewConn(fd), pools: map[uint64]*shm.Pool{}, opened: make(chan struct{}),
		free: make(chan *job, inFlight), filled: make(chan *job, inFlight), ran: make(chan *job, inFlight)}
	defer s.conn.Close()
	defer context.AfterFunc(ctx, func() { s.conn.Close() })()
	preload()
	model, err := s.receiveLoad()
	if err != nil {
		return fmt.Errorf("inference worker: %w", err)
	}
	var g errgroup.Group
	g.Go(func() error { return s.runAll(model) })
	g.Go(s.answerAll)
	s.receiveAll()
	if err := g.Wait(); err != nil {
		return fmt.Errorf("inference worker: %w", err)
	}
	return nil
}

// receiveLoad waits for the first request and maps the model's file.
func (s *server) receiveLoad() ([]byte, error) {
	var req request
	fds, err := s.conn.Recv(&req)
	if err != nil {
		return nil, err
	}
	defer shm.CloseAll(fds)
	if req.Load == nil || len(fds) != 1 {
		return nil, errors.New("the first message must name the model")
	}
	s.load = *req.Load
	if err := limitMemory(s.load.Memory, s.load.Provider.Accelerated(s.load.Library)); err != nil {
		return nil, s.refuse(err)
	}
	s.load.Spec.Labels = make([]Label, s.load.Classes)
	var st unix.Stat_t
	if err := unix.Fstat(fds[0], &st); err != nil || st.Size < 1 {
		return nil, s.refuse(fmt.Errorf("read the model: %w", cmpErr(err, errNoONNX)))
	}
	model, err := unix.Mmap(fds[0], 0, int(st.Size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, s.refuse(fmt.Errorf("read the model: %w", err))
	}
	return model, nil
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// maxReason bounds what is told of an error, in bytes: it may hold names that the model
// has.
const maxReason = 2000

// clipped is an error's text as a message can carry it.
func clipped(err error) string {
	text := err.Error()
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// refuse tells the agent that starting again is no use.
func (s *server) refuse(err error) error {
	if send := s.conn.Send(reply{Refused: clipped(err)}); send != nil {
		return errors.Join(err, send)
	}
	return err
}

// open loads the model and runs it once, which shows the output's shape.
func (s *server) open(model []byte) error {
	if s.load.Tensors {
		return s.openTensors(model)
	}
	spec := &s.load.Spec
	sum := sha256.Sum256(model)
	var err error
	if s.info, err = Describe(model); err != nil {
		return err
	}
	s.info.Digest, s.info.asked = hex.EncodeToString(sum[:]), s.load.Batch
	if err := s.info.fits(*spec); err != nil {
		return err
	}
	wanted, _, err := s.info.wanted(spec.Family, spec.Input)
	if err != nil {
		return err
	}
	s.filler = NewFiller(spec.Input)
	feeds, err := s.info.feeds(spec.Input, s.filler.NewBlob().Data)
	if err != nil {
		return err
	}
	for _, f := range feeds {
		s.shapes = append(s.shapes, f.shape)
	}
	on := s.load.target(s.tellEngine)
	on.loads = s.loads.Store
	if s.sess, err = openSession(model, s.info, wanted, on.shaped(s.info.Inputs, feeds, s.profile())); err != nil {
		return err
	}
	s.sess.describe(&s.info)
	s.info.Library, s.info.Computed = s.load.Library, names(wanted)
	if err := s.makeRoom(); err != nil {
		return err
	}
	if err := s.warmUp(); err != nil {
		return err
	}
	s.openGroups()
	return s.sess.proved()
}

// fits checks that the model is the one that the spec was made for.
func (i Info) fits(s Spec) error {
	classes, err := i.classes(s.Family, s.Input)
	if err != nil {
		return err
	}
	if classes != 0 && classes != len(s.Labels) {
		return fmt.Errorf("the model has %d classes, there are %d labels", classes, len(s.Labels))
	}
	if t, want := i.Inputs[i.picture()], i.inputShape(s.Input); !fits(t.Shape, want...) {
		return fmt.Errorf("the model's input is %v, the settings give %s", t, shapeText(want))
	}
	return s.check()
}

// runAll owns the model, on a thread of its own; the threads that ONNX Runtime
// starts take over its priority.
func (s *server) runAll(model []byte) error {
	defer close(s.ran)
	runtime.LockOSThread()
	prompt.Humble(runNice)
	var err error
	s.giveWay(s.load.Aside && !s.load.Provider.Accelerated(s.load.Library), func() { err = s.open(model) }) // an accelerator's own threads would give way for good
	_ = unix.Munmap(model)                                                                                  // ONNX Runtime has its own copy
	if err != nil {
		s.loads.Store(nil) // it was the load that ended, not the agent
		if !s.endEngine(err) {
			err = s.refuse(s.tooMuch(err))
		}
		s.conn.Close() // ends receiveAll
		return err
	}
	close(s.opened)
	debug.SetTraceback("single") // until here a crash is the model's, told in one line
	lean.Keep()
	info := s.info
	info.Labels = nil // the agent has them; they may be too long for a message
	if err := s.conn.Send(reply{Ready: &info}); err != nil {
		s.conn.Close()
		return err
	}
	var gone error
	for j := range s.filled {
		start := time.Now()
		switch {
		case j.group != nil:
			s.runGroup(j.group)
			s.ran <- j
			continue
		case j.tensors != nil: // there is nothing to decode, and another thread would be late
			if j.err == nil {
				j.err = s.runTensors(j)
			}
			j.reply.Run = time.Since(start)
			s.lost(s.answerTensors(j), &gone)
			s.free <- j
			continue
		case j.err == nil:
			j.slot = <-s.slots
			s.giveWay(j.aside, func() { j.outs, j.err = s.sess.run(j.in.inputs, j.slot, patient(s.load.Limit, j.aside)) })
		}
		s.intakes <- j.in
		j.in = nil // it is another frame's
		j.reply.Run = time.Since(start)
		s.ran <- j
	}
	return unlessLeft(gone)
}

// patient is a limit in time for what may stand still meanwhile.
func patient(limit time.Duration, aside bool) time.Duration {
	if aside {
		return prompt.Slower * limit
	}
	return limit
}

// giveWay does what no station waits for on a thread of its own, which gives way to
// those that serve one. With several threads they are ONNX Runtime's, which would be slow
// for good.
func (s *server) giveWay(aside bool, do func()) {
	if !aside || s.load.Threads > 1 {
		do()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		prompt.Aside(asideNice)
		do()
	}()
	<-done
}

// answerAll decodes and answers in the order of the runs.
func (s *server) answerAll() error {
	decoder := NewDecoder(s.load.Spec)
	var gone error
	for j := range s.ran {
		if j.group != nil {
			s.answerGroup(decoder, j.group, &gone)
			continue
		}
		if j.err == nil {
			j.outs = s.one(j.outs)
		}
		s.answer(decoder, j, j.outs, &gone)
		if j.slot != nil {
			s.slots <- j.slot
			j.slot, j.outs = nil, nil
		}
		s.free <- j
	}
	return unlessLeft(gone)
}

// answer decodes a frame's outputs and answers.
func (s *server) answer(decoder *Decoder, j *job, outs []Output, gone *error) {
	start := time.Now()
	r := &j.reply
	*r = resultReply{ID: j.id, Boxes: r.Boxes[:0], Fill: r.Fill, Run: r.Run}
	if j.err == nil {
		j.err = s.decode(decoder, j, outs)
	}
	if j.err != nil {
		r.Err, r.TimedOut = clipped(j.err), errors.Is(j.err, ErrTimeLimit)
	}
	r.Decode = time.Since(start)
	s.lost(s.conn.Send(reply{Result: r}), gone)
}

// unlessLeft is nil for an error that only says that the agent has left.
func unlessLeft(err error) error {
	if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return err
}

// lost keeps the first error of an answer, and ends the connection then.
func (s *server) lost(err error, gone *error) {
	if err != nil && *gone == nil {
		*gone = err
		s.conn.Close()
	}
}

// decode fills the answer, and sends ahead what doesn't fit into it.
func (s *server) decode(decoder *Decoder, j *job, outs []Output) error {
	r := &j.reply
	seen, err := decoder.Decode(outs, j.at, j.w, j.h)
	if err != nil {
		return err
	}
	r.Boxes, r.Dropped, r.Score = packDetections(r.Boxes, seen.Detections), seen.Dropped, seen.Score
	if j.samples > 0 {
		r.Raw = samples(outs, j.samples)
	}
	for _, part := range packShapes(seen.Detections) {
		if err := s.conn.Send(reply{Part: &partReply{ID: j.id, Shapes: part}}); err != nil {
			return err
		}
	}
	if !j.scores || seen.Map == nil {
		return nil
	}
	m := seen.Map
	r.Map = &mapReply{W: m.W, H: m.H, OffX: m.OffX, StepX: m.StepX, OffY: m.OffY, StepY: m.StepY}
	for chunk := range slices.Chunk(m.Data, maxPart/4) {
		if err := s.conn.Send(reply{Part: &partReply{ID: j.id, Scores: packFloats(chunk)}}); err != nil {
			return err
		}
	}
	return nil
}

// receiveAll takes requests until the agent closes the socket; a run that is
// under way then is stopped.
func (s *server) receiveAll() {
	defer close(s.filled)
	for {
		var req request
		fds, err := s.conn.Recv(&req)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, err)
			}
			break
		}
		switch {
		case req.Pool != nil && len(fds) == 1:
			s.addPool(fds[0], *req.Pool)
			fds = nil // the pool's now
		case req.Forget != 0:
			s.forget(req.Forget)
		case req.Stop != 0:
			s.stopRun(req.Stop)
		case req.Infer != nil && req.Infer.Tensors != nil:
			s.filled <- s.lay(<-s.free, req.Infer)
		case req.Infer != nil && req.Infer.Of > 1 && s.groups != nil && !s.apart.Load():
			s.join(req.Infer)
		case req.Infer != nil:
			s.filled <- s.fill(<-s.free, req.Infer)
		}
		shm.CloseAll(fds)
	}
	select {
	case <-s.opened:
		s.sess.stop()
	default:
		if g := s.loads.Load(); g != nil {
			g.forgive() // the agent ends this process, whatever becomes of the load
		}
	}
}

func (s *server) addPool(fd int, info shm.Info) {
	s.forget(info.ID)
	p, err := shm.OpenPool(fd, info)
	if err != nil {
		fmt.Fprintln(os.Stderr, err) // frames of this pool are answered with an error
		return
	}
	s.pools[info.ID] = p
}

func (s *server) forget(id uint64) {
	s.memory.forget(id)
	if p := s.pools[id]; p != nil {
		delete(s.pools, id)
		p.Release()
	}
}

// fill writes the frame's tensor, straight from the shared slot.
func (s *server) fill(j *job, r *inferRequest) *job {
	j.in = <-s.intakes
	s.fillInto(j, r, func(f *vision.Frame) (Placement, error) {
		at, err := s.filler.Fill(j.in.blob, f)
		if err == nil {
			err = j.in.feed.put(j.in.blob.Data)
		}
		return at, err
	})
	return j
}

// fillInto makes a job of a request, whose frame put writes to its tensor.
func (s *server) fillInto(j *job, r *inferRequest, put func(*vision.Frame) (Placement, error)) {
	start := time.Now()
	j.id, j.w, j.h, j.samples, j.scores, j.aside, j.err = r.ID, r.Width, r.Height, min(r.Samples, MaxSamples), r.Scores, r.Aside, nil
	pool := s.pools[r.Pool]
	if pool == nil || r.Slot < 0 || r.Slot >= pool.Slots || r.Offset < 0 || r.Offset > pool.SlotSize {
		j.err = fmt.Errorf("frame in slot %d of pool %d: there is no such slot", r.Slot, r.Pool)
	} else {
		frame := vision.Frame{Pix: pool.Slot(r.Slot)[r.Offset:], Width: r.Width, Height: r.Height, Stride: r.Stride, Format: r.Format}
		j.at, j.err = put(&frame)
	}
	j.reply.Fill = time.Since(start)
}
