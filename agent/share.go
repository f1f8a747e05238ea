package agent

import (
	"time"

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
			for _, one := range [...]struct {
				worker *infer.Worker
				about  Model
			}{{l.Model, l.About}, {l.Small, l.SmallAbout}} {
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
		var takes []time.Duration
		if info, ok := w.Info(); ok && !mixed[name] {
			takes = info.Shared
		}
		a.sched.Model(name).Batches(takes)
	}
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
