package infer

import (
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision/shm"
)

// Report is what a worker tells of itself at one moment.
type Report struct {
	Stats
	Stages Stages
	Info   Info          // of the newest process that had loaded the model; zero before
	Ready  bool          // frames are answered now
	Start  time.Duration // that process's start until it had loaded the model and run it once
	Memory int64         // private memory of all its processes, bytes, without what an accelerator holds
	Cap    int64         // what one process may have of it
	Leak   *Leak         // nil for none that shows
}

// Report tells all that there is to tell; Stats is cheaper.
func (w *Worker) Report() Report {
	r := Report{Stats: w.Stats(), Stages: w.timed.read(), Cap: w.cfg.memory(), Leak: w.Leak()}
	w.mu.Lock()
	r.Info, r.Ready, r.Start = w.known, w.link != nil, w.start
	procs := slices.Clone(w.procs)
	w.mu.Unlock()
	for _, p := range procs { // not while each frame that is given waits for it
		r.Memory += shm.PrivateMemory(p.Pid())
	}
	return r
}

// Merge adds what another worker of the same model counted, and takes on the rest of
// a report that tells more.
func (r *Report) Merge(o *Report) {
	for _, c := range []struct{ to, from *uint64 }{
		{&r.Inferred, &o.Inferred}, {&r.Failed, &o.Failed}, {&r.Stopped, &o.Stopped}, {&r.TimedOut, &o.TimedOut},
		{&r.Lost, &o.Lost}, {&r.Restarts, &o.Restarts}, {&r.Leaked, &o.Leaked}, {&r.Outgrown, &o.Outgrown}, {&r.Dropped, &o.Dropped},
		{&r.Guests.Ran, &o.Guests.Ran}, {&r.Guests.Failed, &o.Guests.Failed}, {&r.Guests.Stopped, &o.Guests.Stopped},
	} {
		*c.to += *c.from
	}
	r.Stages.Merge(&o.Stages)
	r.Memory += o.Memory
	if r.Cap = max(r.Cap, o.Cap); r.Leak == nil || o.Leak != nil && o.Leak.PerHour > r.Leak.PerHour {
		r.Leak = o.Leak
	}
	if !r.Ready && (o.Ready || o.Info.Digest != "") {
		r.Info, r.Ready, r.Start = o.Info, o.Ready, o.Start
	}
}

// timed collects how long frames took.
type timed struct {
	mu     sync.Mutex // protects stages
	stages Stages
}

// add takes what a frame took; all is from when it was given to its answer.
func (t *timed) add(all, pre, run, decode time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stages[StageWait].Add(max(0, all-pre-run-decode))
	t.stages[StagePre].Add(pre)
	t.stages[StageRun].Add(run)
	t.stages[StageDecode].Add(decode)
}

func (t *timed) read() Stages {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stages
}
