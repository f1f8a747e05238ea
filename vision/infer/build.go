package infer

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/internal/prompt"
)

// buildLimit is how long an engine may take to build, with the wait for another
// process that builds the same one. turnLimit is how long it may wait for its turn:
// each that is before it is ended after its own limit.
const (
	buildLimit = time.Hour
	turnLimit  = 6 * time.Hour
)

// BuildLimit is how long a Worker may take until it is ready, the wait for its turn, its
// engine's build and what follows included.
const BuildLimit = turnLimit + buildLimit + loadLimit

// What a worker does about its engine before it is ready.
const (
	phaseWait  = "waiting for another process that builds the same engine"
	phaseTurn  = "waiting until another engine is built"
	phaseBuild = "building engine"
)

// engineReply tells how a worker gets on with its engine. With Done the process ends,
// and the next one loads what was built; with Err it ends too, and TensorRT can't
// be used.
type engineReply struct {
	Phase string        `json:"phase,omitempty"` // while there is none that could be loaded
	Loads bool          `json:"loads,omitempty"` // it is kept, and loaded
	Usual time.Duration `json:"usual,omitempty"` // what the last build of this model took, 0 unknown
	Done  bool          `json:"done,omitempty"`
	Err   string        `json:"err,omitempty"`
}

// Building is an engine that isn't there yet.
type Building struct {
	Phase string        // what is done, for people
	Began time.Time     // when that began
	Usual time.Duration // how long it took last time, 0 unknown
}

// String is for people; TensorRT doesn't tell how far it is.
func (b Building) String() string {
	s := fmt.Sprintf("%s, %s", b.Phase, spoken(time.Since(b.Began)))
	if b.Usual > 0 {
		s += ", usually about " + spoken(b.Usual)
	}
	return s
}

// spoken is a duration as people say it: 45 s, 3 min 10 s, 1 h 5 min.
func spoken(d time.Duration) string {
	d = d.Truncate(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

// Building tells of the engine that the worker builds now, false if it builds none.
func (w *Worker) Building() (Building, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.building, w.building.Phase != ""
}

func (w *Worker) setBuilding(b Building) {
	w.mu.Lock()
	was := w.building
	w.building = b
	w.mu.Unlock()
	if w.cfg.Building != nil && b != was {
		w.cfg.Building(b)
	}
}

// Info is what the worker that is ready now has loaded, false while none is.
func (w *Worker) Info() (Info, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.link == nil {
		return Info{}, false
	}
	return w.link.info, true
}

// hearEngine takes what a worker tells of its engine.
func (l *link) hearEngine(r engineReply) {
	l.mu.Lock()
	if r.Phase != l.engine.Phase { // what only says so again is no progress
		l.progress = time.Now()
	}
	l.engine = r
	l.mu.Unlock()
	if r.Loads {
		l.owner.setBuilding(Building{}) // another process has built it
	}
	if r.Phase == "" {
		return
	}
	w, b := l.owner, Building{Phase: r.Phase, Began: time.Now(), Usual: r.Usual}
	w.setBuilding(b)
	w.cfg.Log.Info("the model isn't ready yet", "model", w.cfg.Model.name(), "what", b.Phase, "usually", b.Usual)
}

// engineEnd is for a worker that has ended before it was ready: an engine was built,
// or can't be, which sends a provider that may choose on to the next one.
func (w *Worker) engineEnd(l *link, err error) error {
	l.mu.Lock()
	r, hung := l.engine, l.hung
	l.mu.Unlock()
	w.setBuilding(Building{})
	why := ""
	switch big := l.overgrown.Load(); {
	case r.Loads && big > 0:
		why = fmt.Sprintf("its process takes %d MB with it, since TensorRT keeps in memory what builds engines, and at most %d MB may be (infer.memory_mb)", big/1e6, w.cfg.memory()/1e6)
	case r.Done && w.built:
		why = "its engine was built, and isn't there"
	case r.Done:
		w.built = true
		w.cfg.Log.Info("the engine is built", "model", w.cfg.Model.name())
		return errBuilt
	case r.Err != "":
		why = r.Err
		if said := l.proc.Said(); said != "" { // by TensorRT, which ONNX Runtime doesn't pass on
			why = clipped(errors.New(why + ": " + said))
		}
	case r.Phase != "" && hung:
		why = r.Phase + " took too long"
	case r.Phase == phaseBuild:
		why = fmt.Sprintf("building its engine ended the process: %v", err)
	default:
		return err
	}
	if !w.cfg.Provider.chooses() {
		if r.Phase != phaseBuild || hung {
			return fatalError{fmt.Errorf("load %s: tensorrt: %s", w.cfg.Model.name(), why)}
		}
		return errors.New(why)
	}
	w.without = why
	w.cfg.Log.Warn("the model goes without TensorRT", "model", w.cfg.Model.name(), "why", why)
	return errWithout
}

// errWithout ends a process that would go without TensorRT: the next one does.
var errWithout = errors.New("TensorRT can't be used")

// builds tells whether the worker builds an engine, under a guard of its own, or waits
// to.
func (l *link) builds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.engine.Phase != ""
}

// loadsEngine tells whether the worker loads a kept engine. It is to end by itself: that
// it was killed would count against the engine.
func (l *link) loadsEngine() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.engine.Loads
}

// loadTime is how long the worker may be silent before it is ready; l.mu is held.
func (l *link) loadTime() time.Duration {
	switch l.engine.Phase {
	case "":
		return loadLimit
	case phaseTurn:
		return turnLimit
	}
	return buildLimit
}

// target is what the load asks for.
func (r *loadRequest) target(tell func(engineReply)) target {
	return target{
		library: r.Library, threads: r.Threads, provider: r.Provider, precision: cmp.Or(r.Precision, Full),
		engines: r.Engines, without: r.Without, atOnce: r.AtOnce, only: r.Only, graph: r.Graph, tell: tell,
	}
}

// engineError is a build that came to nothing.
type engineError struct{ error }

// tellEngine passes on how the engine gets on; while one is built, the process is
// under guard.
func (s *server) tellEngine(r engineReply) {
	if err := s.conn.Send(reply{Engine: &r}); err != nil {
		return // the agent has left: receiveAll ends the process
	}
	if r.Phase == phaseBuild {
		prompt.Aside(buildNice)
		s.guard.Do(func() { go guardBuild(func(why string) { s.tellEngine(engineReply{Err: why}) }) })
	}
}

// endEngine tells the agent what becomes of a process whose engine was built, or isn't
// usable, false if err is no matter of engines.
func (s *server) endEngine(err error) bool {
	switch {
	case errors.Is(err, errBuilt):
		s.tellEngine(engineReply{Done: true})
	case errors.As(err, &engineError{}), s.sess != nil && s.sess.onEngine():
		s.tellEngine(engineReply{Err: clipped(err)})
	default:
		return false
	}
	return true
}
