package infer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/internal/prompt"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// Errors that callers of Infer tell apart.
var (
	// ErrWorkerLost means that the worker died with the frame; a new one is
	// being started, so the frame may be given again.
	ErrWorkerLost = errors.New("the inference worker was lost")
	// ErrTimeLimit means that the model ran longer than Config.Limit.
	ErrTimeLimit = errors.New("the model took too long")
	// ErrMemory means that the model takes more than Config.Memory.
	ErrMemory = errors.New("it takes too much memory")
	// ErrLoading means that no worker is ready now; one is being started.
	ErrLoading = errors.New("the model is being loaded")
	// ErrStopped means that Run has ended.
	ErrStopped = errors.New("the inference worker is stopped")
)

// Times of a worker's life.
const (
	defaultLimit = 10 * time.Second
	loadLimit    = 10 * time.Minute // large models on slow disks take minutes; an engine's build has its own
	stopGrace    = time.Second
	crashes      = 3 // at loading in a row, until the model is given up

	hangLeast = 250 * time.Millisecond // over Limit, until a silent worker is killed
	hangMost  = 2 * time.Second
)

// patience is how long a worker with a limit may owe an answer. It stops a run at the
// limit itself; what is silent for longer is frozen, and who has a tight deadline wants
// it replaced.
func patience(limit time.Duration) time.Duration {
	return limit + min(max(limit/2, hangLeast), hangMost)
}

// Config says what a Worker runs.
type Config struct {
	Executable string   // started with Args; it must call WorkerMain(ctx, 3)
	Args       []string // such as "worker", "infer"
	Env        []string // added to the process's own
	Reserve    *Reserve // a process that has been started already, for the first who takes it; nil: none
	Library    string   // ONNX Runtime, of FindLibrary
	Model      Model
	Spec       Spec
	Tensors    bool          // the model runs on tensors alone, whatever it is for: RunTensors, without a Spec
	Provider   Provider      // "" counts as Auto
	Precision  Precision     // "" counts as Full
	Engines    Engines       // where TensorRT's are kept
	AtOnce     bool          // with Auto, CUDA serves where TensorRT has no engine yet; that is built beside, for the next Worker
	Same       bool          // a later process that computes on something else than the first ends Run with an error: it must prove itself anew
	Threads    int           // per operator; 0 counts as 1
	Limit      time.Duration // of one run; 0 counts as 10 s. A worker silent for half as long more, at least 250 ms and at most 2 s, is replaced
	Memory     int64         // bytes that a process may have for itself, without what an accelerator holds; 0: half of the machine's. Beyond it the process is recycled
	Weigh      time.Duration // how often that is looked at; 0 counts as 5 s. How long a leak is watched scales with it
	Batch      int           // pictures in each run of a model that leaves it open: the frame's and empty ones, to measure what they cost; 0 counts as 1
	Share      int           // frames that one run may look at, of a Group: of a model that leaves their number open, where that pays (Info.Shared); 0 counts as 1
	SharePays  float64       // what a picture may cost in such a run, as a part of what it costs in one on half as many; 0 counts as 0.8
	Graph      GraphLevel    // "" counts as GraphAll
	Aside      bool          // no station waits for it: it gives way to workers that serve, until Serve is called
	Log        *slog.Logger
	Loaded     func(Info)     // hears of each process that is ready; may be nil
	Building   func(Building) // hears of an engine's build, with the zero value when it has ended; may be nil

	Bystanders *prompt.Bystanders // whom its processes belong to while it is Aside, unless an accelerator computes; nil: none
}

// Model is where a model's bytes come from: a file, or Data if that is set.
type Model struct {
	Path string // beside Data only a name for messages
	Data []byte
}

// Result is what the model saw in one frame.
type Result struct {
	Detections []vision.Detection // best first; the caller's to keep
	Dropped    int                // scores and boxes that were no numbers
	Score      *float32           // of the whole picture, 0 to 1, of families that give one; else nil
	Fill       time.Duration      // frame to tensor
	Run        time.Duration      // the model alone
	Decode     time.Duration      // output to detections
	Model      string             // SHA-256 of the model file, hex
}

// Stats counts over the life of a Worker.
type Stats struct {
	Inferred uint64 // results given
	Failed   uint64 // frames that the worker answered with an error
	Stopped  uint64 // of them, those whose run was stopped at the limit
	TimedOut uint64 // runs stopped at the limit, and workers killed for silence
	Lost     uint64 // frames that died with a worker
	Restarts uint64 // workers started after one that ended by itself
	Leaked   uint64 // workers that were replaced, between two frames, because they leaked
	Outgrown uint64 // workers that were replaced so because they had more than Config.Memory
	Dropped  uint64 // scores and boxes that were no numbers
	Guests   Guests
}

// Guests counts runs on tensors, which are no frames, without those whose caller left.
type Guests struct {
	Ran     uint64 // with a result
	Failed  uint64 // that the worker answered with an error
	Stopped uint64 // at their limit
}

// Worker is the agent's side of the inference worker process: it starts it,
// starts it again when it dies, and passes frames to it.
type Worker struct {
	cfg Config

	inferred, failed, stopped, timedOut, lost, restarts, leaked, outgrown, dropped atomic.Uint64

	guests  struct{ ran, failed, stopped atomic.Uint64 }
	timed   timed
	serves  atomic.Bool  // a station waits for what it gives
	builds  atomic.Bool  // an engine is built beside
	renew   chan renewal // room for one
	leaks   leakBook
	crowded atomic.Bool // the process takes more than it may from the beginning

	mu      sync.Mutex // protects the fields below
	link    *link      // nil while no worker is ready
	changed chan struct{}
	ended   error // set when Run has ended
	cpu     time.Duration
	pid     int            // of the newest process, 0 without one
	procs   []*shm.Process // that run, the newest last
	known   Info           // of the newest process that had loaded the model
	start   time.Duration  // what that took

	building Building

	// Run's own:
	first   Info   // of the first process that was ready
	built   bool   // an engine was built, and hasn't been loaded yet
	only    bool   // its process builds an engine, and serves nobody
	beside  func() // builds the engine that isn't there yet
	without string // why TensorRT isn't tried any more, "" while it is
}

// New makes a Worker; Run starts it.
func New(cfg Config) *Worker {
	if cfg.Threads < 1 {
		cfg.Threads = 1
	}
	if cfg.Limit <= 0 {
		cfg.Limit = defaultLimit
	}
	if cfg.SharePays <= 0 {
		cfg.SharePays = pays
	}
	if cfg.Weigh <= 0 {
		cfg.Weigh = defaultWeigh
	}
	w := &Worker{cfg: cfg, renew: make(chan renewal, 1), changed: make(chan struct{})}
	w.serves.Store(!cfg.Aside)
	return w
}

// Run keeps a worker process running until ctx ends, and returns nil then. It
// returns an error when starting again can't help: the model is refused, or it
// ends the worker each time that it is loaded.
func (w *Worker) Run(ctx context.Context) error {
	err := w.run(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = ErrStopped
	if err != nil {
		w.ended = err
	}
	w.tellChange()
	return err
}

// fatalError wraps what a new start can't heal.
type fatalError struct{ error }

// life is one worker process from start to end; up hears when it serves. ready
// tells whether it could serve frames in between.
func (w *Worker) life(ctx context.Context, s *spell, model *os.File, up chan<- *spell) (ready bool, err error) {
	proc := w.cfg.Reserve.take(&w.cfg)
	if proc == nil {
		proc, err = w.cfg.process()
	}
	if err != nil {
		return false, err
	}
	w.begun(proc)
	l := newLink(proc, w)
	s.link = l
	var guards sync.WaitGroup
	guards.Go(func() { l.watch(ctx) })
	guards.Go(l.weigh)
	err = w.serve(l, model, s.aside || !w.serves.Load(), func() { up <- s })
	w.dropLink(l) // first, so that who hears of the loss waits for the next worker
	l.lose()
	proc.Stop(stopGrace)
	guards.Wait()
	w.over(proc)
	if big := l.overgrown.Load(); big > 0 && !l.ready.Load() {
		err = fatalError{fmt.Errorf("load %s: %w: its process took %d MB while loading it, at most %d MB may be", w.cfg.Model.name(), ErrMemory, big/1e6, w.cfg.memory()/1e6)}
	}
	if l.tookTooLong() {
		err = fatalError{fmt.Errorf("load %s: %w: it wasn't loaded within %v", w.cfg.Model.name(), ErrTimeLimit, loadLimit)}
	}
	if err == nil {
		err = errors.New(proc.Exit())
	}
	if !l.ready.Load() {
		err = w.engineEnd(l, err)
	}
	return l.ready.Load(), err
}

// serve loads the model and delivers answers until the worker is gone.
func (w *Worker) serve(l *link, model *os.File, aside bool, up func()) error {
	spec := w.cfg.Spec
	load := &loadRequest{Spec: spec, Classes: len(spec.Labels), Library: w.cfg.Library, Threads: w.cfg.Threads, Provider: w.cfg.Provider, Limit: w.cfg.Limit, Memory: w.cfg.memory(), Tensors: w.cfg.Tensors, Aside: aside,
		Precision: w.cfg.Precision, Engines: w.cfg.Engines, Batch: w.cfg.Batch, Without: w.without, AtOnce: w.cfg.AtOnce && w.cfg.Provider.chooses(), Only: w.only, Graph: w.cfg.Graph,
		Share: w.cfg.Share, SharePays: w.cfg.SharePays, Measured: w.first.Provider != "", Shared: w.first.Shared}
	load.Spec.Labels = nil
	if err := l.proc.Conn.Send(request{Load: load}, int(model.Fd())); err != nil {
		return nil // the exit tells why
	}
	for {
		var r reply
		fds, err := l.proc.Conn.Recv(&r)
		if err != nil {
			return nil
		}
		if r.Memory == nil {
			shm.CloseAll(fds) // nothing else comes with any
		}
		switch {
		case r.Memory != nil:
			if err := l.remember(r.Memory, fds); err != nil {
				return err
			}
		case r.Ready != nil && l.ready.Load():
			return fmt.Errorf("%w: it was ready already", errPacked)
		case r.Refused != "":
			return fatalError{fmt.Errorf("load %s: %s", w.cfg.Model.name(), r.Refused)}
		case r.Ready != nil:
			l.info = *r.Ready
			l.info.Labels = labelNames(spec.Labels)
			if l.tooLarge(shm.PrivateMemory(l.proc.Pid())) {
				return nil
			}
			if err := w.same(l.info); err != nil {
				return fatalError{err}
			}
			if !w.takeOver(l) {
				return fatalError{fmt.Errorf("load %s: the file has changed since it was first loaded", w.cfg.Model.name())}
			}
			w.cfg.Log.Info("model loaded", "model", w.cfg.Model.name(), "provider", l.info.Provider, "runtime", l.info.Runtime, "passed", l.info.Passed)
			w.loaded(l.info)
			up()
		case r.Engine != nil:
			l.hearEngine(*r.Engine)
		case r.Part != nil:
			l.collect(r.Part)
		case r.Result != nil:
			l.deliver(r.Result)
		}
	}
}

func labelNames(labels []Label) []string {
	names := make([]string, len(labels))
	for n, l := range labels {
		names[n] = l.Name
	}
	return names
}

func (m Model) name() string {
	return cmp.Or(m.Path, "the built-in model")
}

// open gives the model's file; it stays the same one even if the path is replaced.
func (m Model) open() (*os.File, error) {
	if m.Data == nil {
		f, err := os.Open(m.Path)
		if err != nil {
			return nil, fmt.Errorf("load the model: %w", err)
		}
		return f, nil
	}
	fd, err := unix.MemfdCreate("sightline-model", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", m.name(), err)
	}
	f := os.NewFile(uintptr(fd), "model")
	if _, err := f.Write(m.Data); err != nil {
		f.Close()
		return nil, fmt.Errorf("load %s: %w", m.name(), err)
	}
	return f, nil
}

// tellChange wakes everybody who waits for a worker; w.mu is held.
func (w *Worker) tellChange() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// awaitLink waits until a worker is ready.
func (w *Worker) awaitLink(ctx context.Context) (*link, error) {
	for {
		w.mu.Lock()
		l, changed, ended := w.link, w.changed, w.ended
		w.mu.Unlock()
		switch {
		case ended != nil:
			return nil, ended
		case l != nil:
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// Ready waits until a worker has loaded the model and tells what it is. When
// Run has ended it returns Run's error.
func (w *Worker) Ready(ctx context.Context) (Info, error) {
	l, err := w.awaitLink(ctx)
	if err != nil {
		return Info{}, err
	}
	return l.info, nil
}

// Up is Ready for who doesn't wait: the error is ErrLoading while none is ready.
func (w *Worker) Up() (Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended != nil:
		return Info{}, w.ended
	case w.link == nil:
		return Info{}, ErrLoading
	}
	return w.link.info, nil
}

// Infer runs the model on the frame in a pool's slot, whose geometry frame
// tells; frame.Pix isn't used. It waits for a worker if none is ready. The
// slot must stay untouched until it returns. It is safe for concurrent use;
// two calls at a time keep the model busy.
func (w *Worker) Infer(ctx context.Context, frame *vision.Frame, pool *shm.Pool, slot int) (Result, error) {
	return w.InferOf(ctx, Group{}, frame, pool, slot)
}

// InferOf is Infer of a frame in a group. A run waits for the others of the group no
// longer than a moment, so that it doesn't matter whether they come.
func (w *Worker) InferOf(ctx context.Context, g Group, frame *vision.Frame, pool *shm.Pool, slot int) (Result, error) {
	c, err := w.infer(ctx, frame, pool, slot, want{group: g})
	if err != nil {
		return Result{}, err
	}
	return c.result, nil
}

// InferScores is Infer that also gives the map of scores, of a family that has
// one; else it is nil.
func (w *Worker) InferScores(ctx context.Context, frame *vision.Frame, pool *shm.Pool, slot int) (Result, *ScoreMap, error) {
	c, err := w.infer(ctx, frame, pool, slot, want{scores: true})
	if err != nil {
		return Result{}, nil, err
	}
	return c.result, c.scores, nil
}

// want is what a caller wants beside the result.
type want struct {
	samples int  // raw values of the outputs; 0 for none
	scores  bool // the map of scores
	group   Group
}

// infer gives the answered call.
func (w *Worker) infer(ctx context.Context, frame *vision.Frame, pool *shm.Pool, slot int, also want) (*call, error) {
	if err := fitsSlot(frame, pool, slot); err != nil {
		return nil, err
	}
	for {
		l, err := w.awaitLink(ctx)
		if err != nil {
			return nil, err
		}
		c, err := l.infer(ctx, &inferRequest{Slot: slot, Offset: frame.Offset, Width: frame.Width, Height: frame.Height,
			Stride: frame.Stride, Format: frame.Format, Samples: also.samples, Scores: also.scores, Aside: !w.serves.Load(), Group: also.group.ID, Of: also.group.Of}, pool)
		if !errors.Is(err, errRelieved) {
			return c, err
		}
	}
}

func fitsSlot(f *vision.Frame, pool *shm.Pool, slot int) error {
	if slot < 0 || slot >= pool.Slots {
		return fmt.Errorf("inspect a frame: slot %d of a pool of %d", slot, pool.Slots)
	}
	if f.Offset < 0 || f.Offset > pool.SlotSize {
		return fmt.Errorf("inspect a frame: it begins at byte %d of a slot of %d", f.Offset, pool.SlotSize)
	}
	there := vision.Frame{Pix: pool.Slot(slot)[f.Offset:], Width: f.Width, Height: f.Height, Stride: f.Stride, Format: f.Format}
	if f.Stride > 8*maxFrame || f.Height > maxFrame || !there.Valid() {
		return fmt.Errorf("inspect a frame: %d×%d with %d bytes a row doesn't fit a slot of %d bytes", f.Width, f.Height, f.Stride, pool.SlotSize)
	}
	return nil
}

// Serve tells that a station waits from now on for what a worker gives that was to give
// way.
func (w *Worker) Serve() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serves.Store(true)
	for _, p := range w.procs {
		w.cfg.Bystanders.Remove(p)
	}
}

// Forget lets the worker unmap a pool whose frames won't come any more.
func (w *Worker) Forget(pool *shm.Pool) {
	w.mu.Lock()
	l := w.link
	w.mu.Unlock()
	if l != nil {
		l.forget(pool)
	}
}

// Stats gives the counters.
func (w *Worker) Stats() Stats {
	g := Guests{w.guests.ran.Load(), w.guests.failed.Load(), w.guests.stopped.Load()}
	return Stats{Guests: g, Inferred: w.inferred.Load(), Failed: w.failed.Load(), Stopped: w.stopped.Load(), TimedOut: w.timedOut.Load(),
		Lost: w.lost.Load(), Restarts: w.restarts.Load(), Leaked: w.leaked.Load(), Outgrown: w.outgrown.Load(), Dropped: w.dropped.Load()}
}
