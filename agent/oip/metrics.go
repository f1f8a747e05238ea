package oip

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Names and meanings of the metrics, as /metrics of the agent and of serve has them.
const (
	MetricRequests = "sightline_oip_requests_total"
	MetricWait     = "sightline_oip_wait_seconds_total"
	MetricRun      = "sightline_oip_run_seconds_total"
	HelpRequests   = "Requests to infer of the Open Inference Protocol, by model (empty: none that is known) and HTTP code (499: the client left before the answer)."
	HelpWait       = "How long requests that were answered waited for their turn."
	HelpRun        = "How long the model ran for requests that were answered."
)

// Metrics serves the handler's metrics with those of the process.
func (h *Handler) Metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{h})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// collector gives the metrics that the handler counts itself.
type collector struct{ h *Handler }

var (
	requestsDesc = prometheus.NewDesc(MetricRequests, HelpRequests, []string{"model", "code"}, nil)
	waitDesc     = prometheus.NewDesc(MetricWait, HelpWait, []string{"model"}, nil)
	runDesc      = prometheus.NewDesc(MetricRun, HelpRun, []string{"model"}, nil)
)

// Describe lists the metrics.
func (collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsDesc, waitDesc, runDesc} {
		to <- d
	}
}

// Collect reads them.
func (c collector) Collect(to chan<- prometheus.Metric) {
	for _, s := range c.h.Stats() {
		for code, n := range s.Codes {
			to <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(n), s.Model, strconv.Itoa(code))
		}
		if s.Model != "" {
			to <- prometheus.MustNewConstMetric(waitDesc, prometheus.CounterValue, s.Wait.Seconds(), s.Model)
			to <- prometheus.MustNewConstMetric(runDesc, prometheus.CounterValue, s.Run.Seconds(), s.Model)
		}
	}
}
