package oip

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// times are those of one request.
type times struct {
	began time.Time
	read  time.Time     // its inputs were there; zero: it didn't come so far
	wait  time.Duration // until its run began
	run   time.Duration // the model alone
	told  time.Time     // its answer was written; zero without one
}

// keepGone is of how many models that aren't served any more the counters are kept.
const keepGone = 16

// key is whose counters stats are. Without a version they are of requests that found
// the model not ready, or none, and of the model's versions that are gone.
type key struct{ name, version string }

// book is the counters of all models.
type book struct {
	mu   sync.Mutex // protects all below
	list map[key]*stats
}

// stats are the counters of one model.
type stats struct {
	codes                    map[int]uint64
	asked                    time.Time // newest request
	last                     time.Time // answer with outputs
	good, failed             duration
	input, wait, run, output duration // of the good ones
}

// duration is how Triton tells times.
type duration struct {
	Count uint64 `json:"count"`
	NS    uint64 `json:"ns"`
}

func (d *duration) add(t time.Duration) {
	d.Count++
	d.NS += uint64(max(t, 0))
}

// of gives the counters of a model; b.mu is held.
func (b *book) of(k key) *stats {
	s := b.list[k]
	if s == nil {
		s = &stats{codes: map[int]uint64{}}
		b.list[k] = s
	}
	return s
}

// add counts a request that was answered with that code.
func (b *book) add(k key, t *times, code int) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(k)
	s.codes[code]++
	s.asked = now
	if code != http.StatusOK {
		s.failed.add(now.Sub(t.began))
		return
	}
	s.last = now
	s.good.add(now.Sub(t.began))
	s.input.add(t.read.Sub(t.began))
	s.wait.add(t.wait)
	s.run.add(t.run)
	s.output.add(max(t.told.Sub(t.read)-t.wait-t.run, 0))
}

// merge takes on what another model's counters say, but for their times of day.
func (s *stats) merge(o *stats) {
	for code, n := range o.codes {
		s.codes[code] += n
	}
	for _, d := range []struct{ to, from *duration }{
		{&s.good, &o.good}, {&s.failed, &o.failed}, {&s.input, &o.input}, {&s.wait, &o.wait}, {&s.run, &o.run}, {&s.output, &o.output},
	} {
		d.to.Count += d.from.Count
		d.to.NS += d.from.NS
	}
	if o.asked.After(s.asked) {
		s.asked = o.asked
	}
}

// trim adds versions that aren't served any more to what is kept of their model, so
// that its counters only grow, and forgets the models that nobody has asked for the
// longest.
func (b *book) trim(now []Model) {
	b.mu.Lock()
	defer b.mu.Unlock()
	served := map[key]bool{{}: true}
	for _, m := range now {
		served[key{m.Name, m.Version}], served[key{m.Name, ""}] = true, true
	}
	for k, s := range b.list {
		if k.version != "" && !served[k] {
			delete(b.list, k)
			b.of(key{k.name, ""}).merge(s)
		}
	}
	gone := slices.DeleteFunc(slices.Collect(maps.Keys(b.list)), func(k key) bool { return served[k] })
	slices.SortFunc(gone, func(x, y key) int { return b.list[y].asked.Compare(b.list[x].asked) })
	for _, k := range gone[min(len(gone), keepGone):] {
		delete(b.list, k)
	}
}

// count counts a request that found no model, or one that isn't ready.
func (h *Handler) count(r *http.Request, err error) {
	name := ""
	if codeOf(err) != http.StatusNotFound {
		name = r.PathValue("model")
	}
	h.book.add(key{name, ""}, &times{began: time.Now()}, codeOf(err))
}

// Stats are the counters of one model, of all its versions.
type Stats struct {
	Model     string         // "" for requests whose model isn't known; UTF-8, as labels must be and a file's name needn't
	Codes     map[int]uint64 // answers, by HTTP's code; 499 for clients that left before
	Wait, Run time.Duration  // of all good requests: for their turn, and the model alone
}

// Stats gives the counters of all models, by name.
func (h *Handler) Stats() []Stats {
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	sums := map[string]*Stats{}
	for k, s := range h.book.list {
		name := strings.ToValidUTF8(k.name, "�")
		sum := sums[name]
		if sum == nil {
			sum = &Stats{Model: name, Codes: map[int]uint64{}}
			sums[name] = sum
		}
		for code, n := range s.codes {
			sum.Codes[code] += n
		}
		sum.Wait += time.Duration(s.wait.NS)
		sum.Run += time.Duration(s.run.NS)
	}
	var all []Stats
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		all = append(all, *sums[name])
	}
	return all
}

// modelStatistics is the JSON of one model's statistics.
type modelStatistics struct {
	Name           string         `json:"name"`
	Version        string         `json:"version"`
	LastInference  int64          `json:"last_inference"` // ms since 1970, 0 without one
	InferenceCount uint64         `json:"inference_count"`
	ExecutionCount uint64         `json:"execution_count"`
	InferenceStats inferenceStats `json:"inference_stats"`
	BatchStats     []struct{}     `json:"batch_stats"` // requests aren't batched
}

type inferenceStats struct {
	Success       duration `json:"success"`
	Fail          duration `json:"fail"`
	Queue         duration `json:"queue"`
	ComputeInput  duration `json:"compute_input"`
	ComputeInfer  duration `json:"compute_infer"`
	ComputeOutput duration `json:"compute_output"`
	CacheHit      duration `json:"cache_hit"`
	CacheMiss     duration `json:"cache_miss"`
}

// tell gives a model's statistics as Triton's; b.mu is held.
func (b *book) tell(k key) modelStatistics {
	s := b.of(k)
	out := modelStatistics{
		Name: k.name, Version: k.version, InferenceCount: s.good.Count, ExecutionCount: s.run.Count,
		InferenceStats: inferenceStats{Success: s.good, Fail: s.failed, Queue: s.wait, ComputeInput: s.input, ComputeInfer: s.run, ComputeOutput: s.output},
		BatchStats:     []struct{}{},
	}
	if !s.last.IsZero() {
		out.LastInference = s.last.UnixMilli()
	}
	return out
}

type statistics struct {
	Models []modelStatistics `json:"model_stats"`
}

func (h *Handler) modelStats(w http.ResponseWriter, r *http.Request) error {
	m, err := h.find(r)
	if err != nil {
		return err
	}
	return h.tellStats(w, m.Model)
}

func (h *Handler) allStats(w http.ResponseWriter, _ *http.Request) error {
	return h.tellStats(w, h.cfg.Models()...)
}

func (h *Handler) tellStats(w http.ResponseWriter, list ...Model) error {
	out := statistics{[]modelStatistics{}}
	h.book.mu.Lock()
	for _, m := range list {
		out.Models = append(out.Models, h.book.tell(key{m.Name, m.Version}))
	}
	h.book.mu.Unlock()
	return say(w, out)
}
