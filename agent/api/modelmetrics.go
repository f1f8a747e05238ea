package api

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// digestLabel is how much of a model's digest tells it from others of its name.
const digestLabel = 12 // characters

// labels are what names a model in metrics, and more. A model's name may be a file's,
// which needn't be UTF-8; labels must.
func (m *ModelUse) labels(more ...string) []string {
	all := append([]string{m.Name, m.Digest[:min(len(m.Digest), digestLabel)]}, more...)
	for n, l := range all {
		all[n] = strings.ToValidUTF8(l, "�")
	}
	return all
}

// eachModel reads one value of each model.
func eachModel(value func(*ModelUse) float64) func(*Server, *Now, func(float64, ...string)) {
	return func(_ *Server, n *Now, emit func(float64, ...string)) {
		for i := range n.Models {
			emit(value(&n.Models[i]), n.Models[i].labels()...)
		}
	}
}

// byModel reads several values of each model, which have one more label.
func byModel(values func(*ModelUse, func(value float64, label string))) func(*Server, *Now, func(float64, ...string)) {
	return func(_ *Server, n *Now, emit func(float64, ...string)) {
		for i := range n.Models {
			m := &n.Models[i]
			values(m, func(v float64, label string) { emit(v, m.labels(label)...) })
		}
	}
}

// modelMetrics are of the models, whatever station they serve.
func modelMetrics() []metric {
	model := []string{"model", "digest"}
	return []metric{
		{"sightline_infer_model_info", "What the model runs on; 1 while it answers, else 0.", gauge, []string{"model", "digest", "version", "provider", "runtime"},
			func(_ *Server, n *Now, emit func(float64, ...string)) {
				for i := range n.Models {
					m := &n.Models[i]
					emit(one(m.Ready), m.labels(m.Version, m.Provider, m.Runtime)...)
				}
			}},
		{"sightline_infer_model_requests_total", "Pictures, and runs on tensors of others, that the model was given and that have ended, well or not.", counter, model,
			eachModel(func(m *ModelUse) float64 { return float64(m.Requests) })},
		{"sightline_infer_model_failures_total", "Pictures without a result: the model was no good for it, the run was stopped at its limit, or the process died with it.", counter, []string{"model", "digest", "reason"},
			byModel(func(m *ModelUse, emit func(float64, string)) {
				emit(float64(m.Failures.Error), "error")
				emit(float64(m.Failures.Timeout), "timeout")
				emit(float64(m.Failures.Lost), "lost")
			})},
		{"sightline_infer_model_memory_bytes", "Private memory of the model's processes, without what an accelerator holds.", gauge, model,
			eachModel(func(m *ModelUse) float64 { return float64(m.Memory) })},
		{"sightline_infer_model_memory_cap_bytes", "Private memory that a process of the model may have; beyond it, it is replaced.", gauge, model,
			eachModel(func(m *ModelUse) float64 { return float64(m.Cap) })},
		{"sightline_infer_model_leak_bytes_per_second", "What the model's processes take on and don't give back; 0 where no leak shows.", gauge, model,
			eachModel(func(m *ModelUse) float64 {
				if m.Leak == nil {
					return 0
				}
				return float64(m.Leak.PerHour) / 3600
			})},
		{"sightline_infer_model_recycles_total", "How often a process of the model was replaced between two pictures: because it leaked, or had more memory than it may.", counter, []string{"model", "digest", "reason"},
			byModel(func(m *ModelUse, emit func(float64, string)) {
				emit(float64(m.Recycles.Leak), "leak")
				emit(float64(m.Recycles.Cap), "cap")
			})},
		{"sightline_infer_model_start_seconds", "Start of the model's newest process until it had loaded and run it; 0 before.", gauge, model,
			eachModel(func(m *ModelUse) float64 { return m.Start / 1e3 })},
		{"sightline_infer_model_restarts_total", "How often a process of the model ended and was started again.", counter, model,
			eachModel(func(m *ModelUse) float64 { return float64(m.Restarts) })},
		{"sightline_infer_model_swaps_total", "How often a station switched to the model.", counter, model,
			eachModel(func(m *ModelUse) float64 { return float64(m.Swaps) })},
		{"sightline_infer_model_gates_total", "Runs of the model's golden pictures before it may serve.", counter, []string{"model", "digest", "outcome"},
			byModel(func(m *ModelUse, emit func(float64, string)) {
				emit(float64(m.Gates.Passed), "passed")
				emit(float64(m.Gates.Refused), "refused")
			})},
	}
}

// The one histogram.
const (
	stageMetric = "sightline_infer_model_stage_seconds"
	stageHelp   = "How long pictures with a result took: waiting in the model's process (wait), to become a tensor (pre), in the model (run), until they were detections (decode)."
)

var stageLabels = []string{"model", "digest", "stage"}

// collectStages tells how long pictures took in each stage of each model.
func (c *collector) collectStages(models []ModelUse, out chan<- prometheus.Metric) {
	for i := range models {
		m := &models[i]
		m.Stages.each(func(name string, s *Stage) {
			buckets := map[float64]uint64{}
			for n, upto := range s.Upto {
				buckets[StageBounds[n]] = upto
			}
			out <- prometheus.MustNewConstHistogram(c.stages, s.Count, s.Total/1e3, buckets, m.labels(name)...)
		})
	}
}
