package api

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision"
)

// A metric is one family of /metrics. Labels are bounded: stations by the
// configuration, the others by lists in the code.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	read       func(s *Server, n *Now, emit func(value float64, labels ...string))
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// each reads one value of each station.
func each(value func(*Station) float64) func(*Server, *Now, func(float64, ...string)) {
	return func(_ *Server, n *Now, emit func(float64, ...string)) {
		for i := range n.Stations {
			emit(value(&n.Stations[i]), n.Stations[i].ID)
		}
	}
}

// eachCamera reads one value of each camera.
func eachCamera(value func(*Camera) float64) func(*Server, *Now, func(float64, ...string)) {
	return func(_ *Server, n *Now, emit func(float64, ...string)) {
		for i := range n.Cameras {
			emit(value(&n.Cameras[i]), n.Cameras[i].ID)
		}
	}
}

// eachView reads one value of each camera of each station.
func eachView(value func(*View) float64) func(*Server, *Now, func(float64, ...string)) {
	return func(_ *Server, n *Now, emit func(float64, ...string)) {
		for _, s := range n.Stations {
			for i := range s.Views {
				emit(value(&s.Views[i]), s.ID, s.Views[i].Camera)
			}
		}
	}
}

// byStation reads several values of each station, which have one more label.
func byStation(values func(*Station, func(value float64, label string))) func(*Server, *Now, func(float64, ...string)) {
	return func(_ *Server, n *Now, emit func(float64, ...string)) {
		for i := range n.Stations {
			values(&n.Stations[i], func(v float64, label string) { emit(v, n.Stations[i].ID, label) })
		}
	}
}

// metricTable is all that /metrics tells besides the process itself.
func metricTable() []metric {
	return slices.Concat(agentMetrics(), frameMetrics(), modelMetrics(), lineMetrics(), cascadeMetrics(), deviceMetrics(), fleetMetrics(), guestMetrics())
}

// agentMetrics are of the agent and what its stations decided.
func agentMetrics() []metric {
	station, quantiles := []string{"station"}, []string{"station", "quantile"}
	return []metric{
		{"sightline_agent_info", "The program's version; always 1.", gauge, []string{"version"},
			func(_ *Server, n *Now, emit func(float64, ...string)) { emit(1, n.Version) }},
		{"sightline_agent_start_time_seconds", "When the agent started, seconds since 1970.", gauge, nil,
			func(_ *Server, n *Now, emit func(float64, ...string)) { emit(float64(n.Began.UnixNano()) / 1e9) }},
		{"sightline_agent_station_state", "1 for the state that the station is in, 0 for the others.", gauge, []string{"station", "state"},
			byStation(func(s *Station, emit func(float64, string)) {
				for _, state := range []State{Starting, Inspecting, Stalled, Failed, Ended} {
					emit(one(s.State == state), string(state))
				}
			})},
		{"sightline_agent_station_signed", "0 while the station runs a file that nobody signed, else 1.", gauge, station,
			each(func(s *Station) float64 { return one(s.Signed) })},
		{"sightline_agent_verdicts_total", "Verdicts told.", counter, []string{"station", "verdict"},
			byStation(func(s *Station, emit func(float64, string)) {
				for _, v := range []vision.Verdict{vision.Pass, vision.Fail, vision.None} {
					emit(float64(s.Counts.Of(v)), v.String())
				}
			})},
		{"sightline_agent_first_pass_yield_ratio", "PASS ÷ all parts of the last hour; absent without parts.", gauge, station,
			func(_ *Server, n *Now, emit func(float64, ...string)) {
				for _, s := range n.Stations {
					if s.Hour.Yield != nil {
						emit(s.Hour.Yield.Value, s.ID)
					}
				}
			}},
		{"sightline_agent_verdict_latency_seconds", "A part decided (in trigger mode: triggered) until its verdict was recorded and told, over the last hour.", gauge, quantiles,
			byStation(func(s *Station, emit func(float64, string)) {
				emit(s.Hour.P50/1e3, "0.5")
				emit(s.Hour.P99/1e3, "0.99")
			})},
		{"sightline_agent_verdict_deadline_seconds", "By when a verdict must be recorded and told, after the decision, or in trigger mode after the trigger.", gauge, station,
			each(func(s *Station) float64 { return s.DeadlineMS / 1e3 })},
		{"sightline_agent_events_lost_total", "Results that readers of events were too slow for.", counter, nil,
			func(_ *Server, n *Now, emit func(float64, ...string)) { emit(float64(n.Lost)) }},
	}
}

// frameMetrics are of pictures on their way from the camera through the model.
func frameMetrics() []metric {
	station, quantiles := []string{"station"}, []string{"station", "quantile"}
	camera, view := []string{"camera"}, []string{"station", "camera"}
	return []metric{
		{"sightline_capture_frames_total", "Pictures that the camera gave.", counter, camera,
			eachCamera(func(c *Camera) float64 { return float64(c.Captured) })},
		{"sightline_capture_frames_dropped_total", "Pictures that no station could have.", counter, []string{"camera", "reason"},
			func(_ *Server, n *Now, emit func(float64, ...string)) {
				for _, c := range n.Cameras {
					d := c.Dropped
					emit(float64(d.NoSlot), c.ID, "no_slot")
					emit(float64(d.Late), c.ID, "late")
					emit(float64(d.Unreadable), c.ID, "unreadable")
					emit(float64(d.Incomplete), c.ID, "incomplete")
					emit(float64(d.Stale), c.ID, "stale")
				}
			}},
		{"sightline_capture_rate_hertz", "Pictures a second, measured.", gauge, camera,
			eachCamera(func(c *Camera) float64 { return c.Rate })},
		{"sightline_capture_frame_age_seconds", "Since the newest picture was taken; absent before the first.", gauge, camera,
			func(_ *Server, n *Now, emit func(float64, ...string)) {
				for _, c := range n.Cameras {
					if c.LastFrame != nil {
						emit(time.Since(*c.LastFrame).Seconds(), c.ID)
					}
				}
			}},
		{"sightline_capture_worker_restarts_total", "How often the capture process was started again.", counter, camera,
			eachCamera(func(c *Camera) float64 { return float64(c.Restarts) })},
		{"sightline_capture_worker_memory_bytes", "Private memory of the capture process.", gauge, camera,
			eachCamera(func(c *Camera) float64 { return float64(c.Memory) })},
		{"sightline_capture_picture_fault", "1 while the camera's pictures have this fault.", gauge, []string{"camera", "fault"},
			func(_ *Server, n *Now, emit func(float64, ...string)) {
				for _, c := range n.Cameras {
					for _, l := range c.Lies {
						emit(1, c.ID, l.Fault)
					}
				}
			}},
		{"sightline_infer_frames_total", "Pictures that the model has seen.", counter, view,
			eachView(func(v *View) float64 { return float64(v.Inferred) })},
		{"sightline_infer_frames_unchanged_total", "Pictures that showed nothing new, and for which the last result stood.", counter, view,
			eachView(func(v *View) float64 { return float64(v.Unchanged) })},
		{"sightline_infer_frames_dropped_total", "Pictures that came to the station and were never inspected.", counter, []string{"station", "camera", "reason"},
			func(_ *Server, n *Now, emit func(float64, ...string)) {
				for _, s := range n.Stations {
					for _, v := range s.Views {
						emit(float64(v.Overwritten), s.ID, v.Camera, "overwritten")
						emit(float64(v.Failed), s.ID, v.Camera, "failed")
						emit(float64(v.Late), s.ID, v.Camera, "late")
					}
				}
			}},
		{"sightline_infer_run_seconds", "Time of a run of the model, over the newest runs.", gauge, quantiles,
			byStation(func(s *Station, emit func(float64, string)) {
				emit(s.Model.P50/1e3, "0.5")
				emit(s.Model.P99/1e3, "0.99")
			})},
		{"sightline_infer_worker_restarts_total", "How often the model's process was started again.", counter, station,
			each(func(s *Station) float64 { return float64(s.Model.Restarts) })},
	}
}

// lineMetrics are of the schedule, of degradation, and of the doors to the line.
func lineMetrics() []metric {
	station, door := []string{"station"}, []string{"station", "protocol", "address"}
	doors := func(value func(*Door) float64) func(*Server, *Now, func(float64, ...string)) {
		return func(_ *Server, n *Now, emit func(float64, ...string)) {
			for _, d := range n.Doors {
				emit(value(&d), d.Station, d.Protocol, d.Address)
			}
		}
	}
	return []metric{
		{"sightline_sched_turns_total", "Pictures that had their turn at the accelerator, by what came of it.", counter, []string{"station", "outcome"},
			byStation(func(s *Station, emit func(float64, string)) {
				emit(float64(s.Schedule.InTime), "in_time")
				emit(float64(s.Schedule.Late), "late")
			})},
		{"sightline_sched_refused_total", "Pictures that weren't inspected because their result would have come too late.", counter, []string{"station", "reason"},
			byStation(func(s *Station, emit func(float64, string)) {
				emit(float64(s.Schedule.RefusedLate), "late")
				emit(float64(s.Schedule.RefusedStale), "stale")
			})},
		{"sightline_sched_degradation_step", "How far the station is turned down: 0 not, 1 fewer pictures, 2 the smaller model, 3 every part gets NONE.", gauge, station,
			each(func(s *Station) float64 {
				return float64(slices.Index([]string{"full", "slower", "smaller", "none"}, s.Degraded.Step))
			})},
		{"sightline_sched_degradation_entered_total", "How often the station came to a step.", counter, []string{"station", "step"},
			byStation(func(s *Station, emit func(float64, string)) {
				emit(float64(s.Degraded.Slower), "slower")
				emit(float64(s.Degraded.Smaller), "smaller")
				emit(float64(s.Degraded.None), "none")
			})},
		{"sightline_agent_station_ready", "1 while a verdict can be promised for a trigger.", gauge, station, each(func(s *Station) float64 { return one(s.Ready) })},
		{"sightline_plc_open", "1 while the door can be used.", gauge, door, doors(func(d *Door) float64 { return one(d.Open) })},
		{"sightline_plc_connected", "1 while a controller is in.", gauge, door, doors(func(d *Door) float64 { return one(d.Client != "") })},
		{"sightline_plc_heartbeat", "1 while the heartbeat goes on.", gauge, door, doors(func(d *Door) float64 { return one(d.Alive) })},
		{"sightline_plc_triggers_total", "Triggers that were taken.", counter, door, doors(func(d *Door) float64 { return float64(d.Triggers) })},
		{"sightline_plc_triggers_missed_total", "Triggers that came while no verdict could be promised.", counter, door, doors(func(d *Door) float64 { return float64(d.Missed) })},
		{"sightline_plc_overruns_total", "Results that found the queue full.", counter, door, doors(func(d *Door) float64 { return float64(d.Overruns) })},
		{"sightline_plc_refused_total", "Connections that were turned away.", counter, door, doors(func(d *Door) float64 { return float64(d.Refused) })},
	}
}

// deviceMetrics are of the journal, the warnings and this server.
func deviceMetrics() []metric {
	return []metric{
		{"sightline_journal_records_late_total", "Verdicts that weren't on disk by their deadline.", counter, nil,
			func(_ *Server, n *Now, emit func(float64, ...string)) { emit(float64(n.Recorder.Late)) }},
		{"sightline_journal_records_owed", "Records that still wait for the disk.", gauge, nil,
			func(_ *Server, n *Now, emit func(float64, ...string)) { emit(float64(n.Recorder.Owed)) }},
		{"sightline_journal_records_lost_total", "Records given up: the disk didn't take them.", counter, nil,
			func(_ *Server, n *Now, emit func(float64, ...string)) { emit(float64(n.Recorder.Lost)) }},
		{"sightline_journal_last_number", "The highest number that a record has.", gauge, nil,
			func(_ *Server, n *Now, emit func(float64, ...string)) { emit(float64(n.Journal.Last)) }},
		{"sightline_journal_size_bytes", "Size of the journal's file.", gauge, nil,
			func(_ *Server, n *Now, emit func(float64, ...string)) { emit(float64(n.Journal.Bytes)) }},
		{"sightline_journal_records_dropped_total", "Records dropped for room before the fleet had them, since the file was made.", counter, nil,
			func(_ *Server, n *Now, emit func(float64, ...string)) { emit(float64(n.Journal.Dropped)) }},
		{"sightline_health_warnings", "Warnings that are raised.", gauge, []string{"severity"},
			func(_ *Server, n *Now, emit func(float64, ...string)) {
				for _, severity := range []health.Severity{health.Info, health.Warn, health.Error} {
					raised := 0
					for _, w := range n.Health {
						raised += int(one(w.Severity == severity))
					}
					emit(float64(raised), severity.String())
				}
			}},
		{"sightline_api_streams", "Streams that clients hold open.", gauge, []string{"kind"},
			func(s *Server, _ *Now, emit func(float64, ...string)) {
				emit(float64(s.readers.Load()), "events")
				emit(float64(s.viewers.Load()), "live")
			}},
	}
}

// fleetMetrics are of the connection to the fleet; absent without one.
func fleetMetrics() []metric {
	of := func(value func(*Fleet) float64) func(*Server, *Now, func(float64, ...string)) {
		return func(_ *Server, n *Now, emit func(float64, ...string)) {
			if n.Fleet != nil {
				emit(value(n.Fleet))
			}
		}
	}
	return []metric{
		{"sightline_uplink_connected", "1 while the connection to the fleet is there.", gauge, nil, of(func(f *Fleet) float64 { return one(f.Connected) })},
		{"sightline_uplink_connects_total", "Connections made to the fleet.", counter, nil, of(func(f *Fleet) float64 { return float64(f.Connects) })},
		{"sightline_uplink_backlog_records", "Records that wait for the fleet.", gauge, nil, of(func(f *Fleet) float64 { return float64(f.Backlog) })},
		{"sightline_uplink_records_sent_total", "Records sent to the fleet, those sent again among them.", counter, nil, of(func(f *Fleet) float64 { return float64(f.Sent) })},
		{"sightline_uplink_records_resent_total", "Records sent to the fleet again.", counter, nil, of(func(f *Fleet) float64 { return float64(f.Resent) })},
		{"sightline_uplink_sent_bytes_total", "Bytes of batches sent to the fleet, as MQTT's payload.", counter, nil, of(func(f *Fleet) float64 { return float64(f.SentBytes) })},
		{"sightline_uplink_certificate_expiry_time_seconds", "When the device's certificate ends, seconds since 1970.", gauge, nil,
			of(func(f *Fleet) float64 { return float64(f.Certificate.Unix()) })},
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// collector renders a table from the state of now, at each scrape anew.
type collector struct {
	server *Server
	now    func() Now
	table  []metric
	descs  []*prometheus.Desc
	stages *prometheus.Desc
}

func newCollector(s *Server, now func() Now, table []metric) *collector {
	c := &collector{server: s, now: now, table: table, stages: prometheus.NewDesc(stageMetric, stageHelp, stageLabels, nil)}
	for _, m := range c.table {
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	return c
}

// Describe tells the registry which metrics there are.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
	out <- c.stages
}

// Collect tells the current values.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	now := c.now()
	for i, m := range c.table {
		m.read(c.server, &now, func(value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(c.descs[i], m.kind, value, labels...)
		})
	}
	c.collectStages(now.Models, out)
}

func (s *Server) metrics() http.Handler {
	return rendered(newCollector(s, s.source.Now, metricTable()))
}

// rendered serves what a collector gives, with the metrics of the process.
func rendered(c *collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
