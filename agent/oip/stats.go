package oip

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
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

// stats are the counters of one model.
type stats struct {
	name, version string

	mu                       sync.Mutex // protects all below
	codes                    map[int]uint64
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

// add counts a request that was answered with that code.
func (s *stats) add(t *times, code int) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code]++
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

// count counts a request that found no model, or one that isn't ready.
func (h *Handler) count(r *http.Request, err error) {
	name := ""
	if codeOf(err) != http.StatusNotFound {
		name = r.PathValue("model")
	}
	h.mu.Lock()
	s := h.statsOf(name, "")
	h.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[codeOf(err)]++
}

// Stats are the counters of one model, of all its versions.
type Stats struct {
	Model     string         // "" for requests whose model isn't known
	Codes     map[int]uint64 // answers, by HTTP's code; 499 for clients that left before
	Wait, Run time.Duration  // of all good requests: for their turn, and the model alone
}

// Stats gives the counters of all models, by name.
func (h *Handler) Stats() []Stats {
	var all []Stats
	for _, s := range h.list() {
		if n := len(all); n == 0 || all[n-1].Model != s.name {
			all = append(all, Stats{Model: s.name, Codes: map[int]uint64{}})
		}
		sum := &all[len(all)-1]
		s.mu.Lock()
		for code, n := range s.codes {
			sum.Codes[code] += n
		}
		sum.Wait += time.Duration(s.wait.NS)
		sum.Run += time.Duration(s.run.NS)
		s.mu.Unlock()
	}
	return all
}

// list gives all counters, by name and version.
func (h *Handler) list() []*stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.stats), func(a, b *stats) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.version, b.version))
	})
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

func (s *stats) tell() modelStatistics {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := modelStatistics{
		Name: s.name, Version: s.version, InferenceCount: s.good.Count, ExecutionCount: s.run.Count,
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
	return say(w, statistics{[]modelStatistics{m.stats.tell()}})
}

func (h *Handler) allStats(w http.ResponseWriter, _ *http.Request) error {
	out := statistics{[]modelStatistics{}}
	h.mu.Lock()
	for _, m := range h.cfg.Models() {
		h.statsOf(m.Name, m.Version) // those of now, also without a request
	}
	h.mu.Unlock()
	for _, s := range h.list() {
		if s.version != "" { // else it counts those that found no model
			out.Models = append(out.Models, s.tell())
		}
	}
	return say(w, out)
}
