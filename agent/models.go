package agent

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/vision/infer"
)

// keepModels is how many models that run no more are remembered.
const keepModels = 16

// modelBook is what is known of the models that run, and ran, by digest. Figures
// outlive the workers, so that they only grow.
type modelBook struct {
	mu   sync.Mutex
	list []*modelRecord // the one that came into use last is the last
}

type modelRecord struct {
	about   Model
	workers []*infer.Worker // that run it now
	past    infer.Report    // of workers that have ended

	swaps, passed, refused uint64
}

// of gives the model's record; b.mu is held.
func (b *modelBook) of(about Model) *modelRecord {
	key := costName(about)
	n := slices.IndexFunc(b.list, func(r *modelRecord) bool { return costName(r.about) == key })
	r := &modelRecord{}
	if n >= 0 {
		r = b.list[n]
		b.list = slices.Delete(b.list, n, n+1)
	}
	r.about = about
	b.list = append(b.list, r)
	b.trim()
	return r
}

// trim forgets the models that have been out of use the longest.
func (b *modelBook) trim() {
	idle := 0
	for _, r := range b.list {
		if len(r.workers) == 0 {
			idle++
		}
	}
	b.list = slices.DeleteFunc(b.list, func(r *modelRecord) bool {
		if len(r.workers) > 0 || idle <= keepModels {
			return false
		}
		idle--
		return true
	})
}

// use notes that a station inspects with the loadout from now on; swapped tells that
// it had another one before.
func (b *modelBook) use(l *Loadout, swapped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range slices.Backward(l.lookers()) { // its own model is the newest
		if r := b.add(k); swapped && k.worker == l.Model {
			r.swaps++
		}
	}
}

func (b *modelBook) add(k looker) *modelRecord {
	r := b.of(k.about)
	if !slices.Contains(r.workers, k.worker) {
		r.workers = append(r.workers, k.worker)
	}
	return r
}

// retire keeps what a worker that has ended counted.
func (b *modelBook) retire(w *infer.Worker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.list {
		if n := slices.Index(r.workers, w); n >= 0 {
			last := w.Report()
			r.past.Merge(&last)
			r.workers = slices.Delete(r.workers, n, n+1)
		}
	}
	b.trim()
}

// gated notes how the golden pictures of a model went.
func (b *modelBook) gated(about Model, passed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.of(about)
	if passed {
		r.passed++
	} else {
		r.refused++
	}
}

// Gated counts that a model's golden pictures passed on this device, or were refused.
func (a *Agent) Gated(about Model, passed bool) { a.models.gated(about, passed) }

// modelUses tells of each model, those that serve a station first, then the newest.
func (a *Agent) modelUses() []api.ModelUse {
	users := map[string][]string{}
	for _, s := range a.stations {
		l := s.loadout()
		for _, m := range l.lookers() {
			if key := costName(m.about); !slices.Contains(users[key], s.cfg.ID) {
				users[key] = append(users[key], s.cfg.ID)
			}
		}
	}
	a.models.mu.Lock()
	defer a.models.mu.Unlock()
	var out []api.ModelUse
	for _, r := range slices.Backward(a.models.list) {
		out = append(out, r.use(users[costName(r.about)]))
	}
	slices.SortStableFunc(out, func(x, y api.ModelUse) int { return cmp.Compare(min(1, len(y.Stations)), min(1, len(x.Stations))) })
	return out
}

func (r *modelRecord) use(stations []string) api.ModelUse {
	sum := r.past
	sum.Ready, sum.Memory, sum.Leak = false, 0, nil
	for _, w := range r.workers {
		one := w.Report()
		sum.Merge(&one)
	}
	m := api.ModelUse{
		Name: r.about.Name, Version: r.about.Version, Digest: r.about.Digest, Family: r.about.Family,
		Stations: append([]string{}, stations...), Workers: len(r.workers), Ready: sum.Ready,
		Provider: sum.Info.Provider, Precision: sum.Info.Precision, Runtime: sum.Info.Runtime, Passed: sum.Info.Passed,
		Requests: sum.Inferred + sum.Failed + sum.Lost + sum.Guests.Ran + sum.Guests.Failed + sum.Guests.Stopped,
		Failures: api.Failures{Error: sum.Failed - sum.Stopped + sum.Guests.Failed, Timeout: sum.Stopped + sum.Guests.Stopped, Lost: sum.Lost},
		Memory:   sum.Memory, Cap: sum.Cap, Leak: leakNow(sum.Leak), Recycles: api.Recycles{Leak: sum.Leaked, Cap: sum.Outgrown}, Start: api.MS(sum.Start), Restarts: sum.Restarts, Swaps: r.swaps,
		Gates: api.Gates{Passed: r.passed, Refused: r.refused},
	}
	for n, to := range []*api.Stage{infer.StageWait: &m.Stages.Wait, infer.StagePre: &m.Stages.Pre, infer.StageRun: &m.Stages.Run, infer.StageDecode: &m.Stages.Decode} {
		*to = stage(&sum.Stages[n])
	}
	return m
}

func leakNow(l *infer.Leak) *api.Leak {
	if l == nil {
		return nil
	}
	out := &api.Leak{PerHour: int64(l.PerHour), OverMS: api.MS(l.Over), Runs: l.Runs}
	if !l.Full.IsZero() {
		out.Full = &l.Full
	}
	return out
}

func stage(s *infer.Spread) api.Stage {
	out := api.Stage{Count: s.Count, Total: api.MS(s.Sum), P50: api.MS(s.Quantile(0.5)), P99: api.MS(s.Quantile(0.99))}
	for _, bound := range api.StageBounds {
		out.Upto = append(out.Upto, s.Upto(time.Duration(bound*float64(time.Second)+0.5)))
	}
	return out
}
