package infer

import (
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision/shm"
)

// preloadEnv names the ONNX Runtime that a worker loads before it knows its model.
const preloadEnv = "SIGHTLINE_PRELOAD"

// reserveTime is how long a process waits for a model that nobody may have for it.
const reserveTime = 10 * time.Second

// Reserve is the process of a worker's that starts, and loads ONNX Runtime, while the
// agent still finds out which model it is for: those take half of a small model's load.
// The first Worker that it fits takes it.
type Reserve struct {
	cfg   Config
	begun chan struct{} // closed when the process was started, or couldn't be

	mu   sync.Mutex   // protects what follows
	proc *shm.Process // nil once it was taken or ended, or couldn't be started
}

// NewReserve starts the process, which ends after ten seconds if nobody takes it. Of the
// configuration Executable, Args, Env, Library and Log count: that is what must fit.
func NewReserve(cfg Config) *Reserve {
	r := &Reserve{cfg: cfg, begun: make(chan struct{})}
	go func() {
		defer close(r.begun)
		proc, err := cfg.process(preloadEnv + "=" + cfg.Library)
		r.mu.Lock()
		defer r.mu.Unlock()
		if err == nil { // else the worker that wants it tells
			r.proc = proc
		}
		time.AfterFunc(reserveTime, r.Close)
	}()
	return r
}

// take gives the process to a worker that it fits, else nil. It is the worker's then.
func (r *Reserve) take(c *Config) *shm.Process {
	if r == nil || c.Executable != r.cfg.Executable || c.Library != r.cfg.Library || !slices.Equal(c.Args, r.cfg.Args) || !slices.Equal(c.Env, r.cfg.Env) {
		return nil
	}
	<-r.begun
	r.mu.Lock()
	defer r.mu.Unlock()
	proc := r.proc
	r.proc = nil
	if proc != nil {
		select {
		case <-proc.Done(): // nobody's fault yet: the next one tells, if it ends too
			proc.Stop(0)
			return nil
		default:
		}
	}
	return proc
}

// Close ends the process if nobody has taken it. It may be called more than once.
func (r *Reserve) Close() {
	<-r.begun
	r.mu.Lock()
	proc := r.proc
	r.proc = nil
	r.mu.Unlock()
	if proc != nil {
		proc.Stop(stopGrace)
	}
}

// process starts a worker's process, with more in its environment.
func (c *Config) process(more ...string) (*shm.Process, error) {
	// One line tells a crash while loading; WorkerMain raises the level later.
	env := append(append([]string{"GOTRACEBACK=none"}, c.Env...), more...)
	return shm.Command{Path: c.Executable, Args: c.Args, Env: env, Log: c.Log}.Start()
}

// preload loads ONNX Runtime while the order isn't there yet. What is wrong with it is
// told when the model is loaded.
func preload() {
	if library := os.Getenv(preloadEnv); library != "" {
		_ = loadLibrary(library)
	}
}
