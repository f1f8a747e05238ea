package api

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/health"
)

// collector tells the fleet's state, at each scrape anew. Labels are bounded
// by the program: no device, group or station is one.
type collector struct{ s *Server }

var (
	infoDesc     = prometheus.NewDesc("sightline_fleet_info", "The program's version; always 1.", []string{"version"}, nil)
	startDesc    = prometheus.NewDesc("sightline_fleet_start_time_seconds", "When the service started, seconds since 1970.", nil, nil)
	devicesDesc  = prometheus.NewDesc("sightline_fleet_devices", "Enrolled devices.", []string{"presence"}, nil)
	worstDesc    = prometheus.NewDesc("sightline_fleet_devices_worst", "Devices by the highest severity of their warnings; ok has none.", []string{"severity"}, nil)
	backlogDesc  = prometheus.NewDesc("sightline_fleet_backlog_records", "Records that devices have and the fleet hasn't, as they told.", nil, nil)
	verdictsDesc = prometheus.NewDesc("sightline_fleet_results_total", "Results stored, by the verdict that was told.", []string{"verdict"}, nil)
	holesDesc    = prometheus.NewDesc("sightline_fleet_holes_records_total", "Records that devices said will never come.", nil, nil)
	brokenDesc   = prometheus.NewDesc("sightline_fleet_unreadable_records_total", "Records that couldn't be read and are set aside.", nil, nil)
	warningsDesc = prometheus.NewDesc("sightline_fleet_warnings", "The service's own warnings that are raised.", []string{"severity"}, nil)
	streamsDesc  = prometheus.NewDesc("sightline_fleet_streams", "Streams of events that clients hold open.", nil, nil)
	upDesc       = prometheus.NewDesc("sightline_fleet_store_up", "1 if the store answers, else 0, and what it holds is absent.", nil, nil)
)

// Describe tells nothing: the figures of other parts are known at a scrape.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect tells the current values.
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(infoDesc, 1, c.s.cfg.Version)
	gauge(startDesc, float64(c.s.began.UnixNano())/1e9)
	gauge(streamsDesc, float64(c.s.readers.Load()))
	raised := map[health.Severity]float64{}
	for _, w := range c.s.own() {
		raised[w.Severity]++
	}
	for _, severity := range []health.Severity{health.Info, health.Warn, health.Error} {
		gauge(warningsDesc, raised[severity], severity.String())
	}
	if c.s.cfg.Figures != nil {
		for _, f := range c.s.cfg.Figures() {
			kind := prometheus.GaugeValue
			if f.Total {
				kind = prometheus.CounterValue
			}
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(f.Name, f.Help, nil, nil), kind, f.Value)
		}
	}
	c.stored(out, gauge)
}

// stored tells what the store holds.
func (c collector) stored(out chan<- prometheus.Metric, gauge func(d *prometheus.Desc, v float64, labels ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime) // a scrape hands none on
	defer cancel()
	all, err := c.s.devices.list(ctx)
	if err == nil {
		var t store.Totals
		if t, err = c.s.store.Totals(ctx, ""); err == nil {
			counter := func(d *prometheus.Desc, v uint64, labels ...string) {
				out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
			}
			counter(verdictsDesc, t.Pass, "PASS")
			counter(verdictsDesc, t.Fail, "FAIL")
			counter(verdictsDesc, t.None, "NONE")
			counter(holesDesc, t.Holes)
			counter(brokenDesc, t.Unreadable)
		}
	}
	if err != nil {
		c.s.log.Warn("read the store for metrics", "err", err)
		gauge(upDesc, 0)
		return
	}
	gauge(upDesc, 1)
	now, presence, worst, backlog := c.s.store.Now(), map[store.Presence]float64{}, map[string]float64{}, uint64(0)
	for i := range all {
		d := newDevice(&all[i], now)
		presence[d.Presence]++
		worst[d.Worst]++
		if d.Journal != nil && d.Presence != store.Revoked {
			backlog += d.Journal.Backlog
		}
	}
	for _, p := range presences {
		gauge(devicesDesc, presence[p], string(p))
	}
	for _, w := range []string{"ok", "info", "warn", "error"} {
		gauge(worstDesc, worst[w], w)
	}
	gauge(backlogDesc, float64(backlog))
}

// presences are all that there are.
var presences = []store.Presence{store.Online, store.Stale, store.Offline, store.Never, store.Revoked}

func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
