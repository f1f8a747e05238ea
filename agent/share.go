package agent

import (
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// shareRuns tells the scheduler whose frames may be looked at in one run: those of all
// cameras whose stations have the same worker, where it has found that to pay.
func (a *Agent) shareRuns() {
	workers := map[string]*infer.Worker{}
	mixed := map[string]bool{} // models that several workers run, by other settings
	for _, s := range a.stations {
		for _, l := range s.lanes() {
			all := []share{{l.Model, l.About}, {l.Small, l.SmallAbout}}
			if c := l.Cascade; c != nil {
				all = append(all, share{c.Large, c.About})
			}
			for _, one := range all {
				if one.worker == nil {
					continue
				}
				name := costName(one.about)
				if w := workers[name]; w != nil && w != one.worker {
					mixed[name] = true
				}
				workers[name] = one.worker
			}
		}
	}
	for name, w := range workers {
		info, ok := w.Info()
		switch {
		case mixed[name]:
			a.sched.Model(name).Batches(nil)
		case ok: // what isn't loaded just now will be as it was
			a.sched.Model(name).Batches(info.Shared)
		}
	}
}

// share is a model with the worker that runs it.
type share struct {
	worker *infer.Worker
	about  Model
}

// lanes are those that see frames now.
func (s *Station) lanes() []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		return []*lane{s.lane, s.next.new}
	}
	return []*lane{s.lane}
}

// groupOf names the frames that were given their turns together with this one.
func groupOf(t *sched.Turn) infer.Group {
	if t == nil {
		return infer.Group{}
	}
	id, of := t.Batch()
	return infer.Group{ID: id, Of: of}
}
