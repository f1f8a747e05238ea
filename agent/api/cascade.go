package api

import (
	"fmt"
	"strings"

	"github.com/sightline-edge/sightline/internal/web"
)

// Cascade is a station's large model, and what became of parts in doubt.
type Cascade struct {
	Model   Version      `json:"model" doc:"the large model"`
	Version string       `json:"version,omitempty" doc:"of the bundle that it came in"`
	Remote  bool         `json:"remote,omitempty" doc:"whether it runs on another machine"`
	Breaker *Breaker     `json:"breaker,omitempty" doc:"of a remote one: whether its server is left alone after failures"`
	Parts   uint64       `json:"parts" doc:"decided by the rule, in doubt or not, since the agent's start"`
	Looks   []LookCount  `json:"looks" doc:"that the large model took, by what made parts doubtful"`
	Missed  []LookMissed `json:"missed" doc:"that it didn't take, by the reason; those parts got the configured answer"`
	CostMS  float64      `json:"cost_ms" doc:"how long it ran for parts, ms, since the agent's start"`
	MeanMS  float64      `json:"cost_per_part_ms" doc:"how long it ran a part, on average over the newest hundred parts, ms"`
}

// Breaker keeps requests from a server that fails.
type Breaker struct {
	Open   bool   `json:"open" doc:"it has failed too often of late, and is asked again after a while"`
	Opened uint64 `json:"opened" doc:"how often that was so"`
}

// LookCount counts looks of one kind.
type LookCount struct {
	Why   string `json:"why" enum:"rule,band,disagreement" doc:"what made the parts doubtful"`
	Count uint64 `json:"count"`
}

// LookMissed counts looks that weren't taken, for one reason.
type LookMissed struct {
	Reason string `json:"reason" doc:"why (docs/cascade.md)"`
	Count  uint64 `json:"count"`
}

// looked counts the looks that were taken, and those that weren't.
func (c *Cascade) looked() (n, missed uint64) {
	for _, l := range c.Looks {
		n += l.Count
	}
	for _, m := range c.Missed {
		missed += m.Count
	}
	return n, missed
}

// large says on the page what the large model has done.
func (v *lineView) large(c *Cascade) {
	if c == nil {
		return
	}
	n, missed := c.looked()
	text := fmt.Sprintf("%s of %s parts, %s ms a part", web.Count(int(n)), web.Count(int(c.Parts)), milliseconds(c.MeanMS))
	var gave []string
	for _, m := range c.Missed {
		if m.Count > 0 {
			gave = append(gave, fmt.Sprintf("%s %d×", m.Reason, m.Count))
		}
	}
	more := c.Model.Name
	if missed > 0 {
		more += "; couldn't look: " + strings.Join(gave, ", ")
	}
	v.row("Large model", text, more)
}

// lookView is a model that looked at a part, as a page shows it.
type lookView struct{ Model, Digest, Why, Score, MS string }

// whyWords are the reasons for a look.
var whyWords = map[string]string{
	"part": "looks at each part", "band": "the score before was in doubt", "disagreement": "the pictures disagreed", "rule": "the rule asked",
}

func viewLooks(r *Result) (out []lookView) {
	for _, l := range r.Looks {
		v := lookView{Model: l.Model, Digest: l.Digest, Why: whyWords[l.Why], Score: "–", MS: milliseconds(l.MS)}
		if l.Remote {
			v.Model += " (remote)"
		}
		if l.Score != nil {
			v.Score = fmt.Sprintf("%.2f", *l.Score)
		}
		if l.Missed != "" {
			v.Why += ", but it couldn't look: " + strings.ReplaceAll(l.Missed, "_", " ")
		}
		out = append(out, v)
	}
	return out
}

// cascadeMetrics are of large models; absent for stations without one.
func cascadeMetrics() []metric {
	station := []string{"station"}
	of := func(value func(*Cascade) float64) func(*Server, *Now, func(float64, ...string)) {
		return func(_ *Server, n *Now, emit func(float64, ...string)) {
			for _, s := range n.Stations {
				if s.Cascade != nil {
					emit(value(s.Cascade), s.ID)
				}
			}
		}
	}
	counts := func(values func(*Cascade, func(uint64, string))) func(*Server, *Now, func(float64, ...string)) {
		return func(_ *Server, n *Now, emit func(float64, ...string)) {
			for _, s := range n.Stations {
				if s.Cascade != nil {
					values(s.Cascade, func(n uint64, label string) { emit(float64(n), s.ID, label) })
				}
			}
		}
	}
	return []metric{
		{"sightline_cascade_parts_total", "Parts that the rule decided at a station with a large model.", counter, station, of(func(c *Cascade) float64 { return float64(c.Parts) })},
		{"sightline_cascade_looks_total", "Parts in doubt that the large model looked at, by what made them doubtful.", counter, []string{"station", "why"},
			counts(func(c *Cascade, emit func(uint64, string)) {
				for _, l := range c.Looks {
					emit(l.Count, l.Why)
				}
			})},
		{"sightline_cascade_missed_total", "Parts in doubt that the large model didn't look at, by the reason: they got the configured answer.", counter, []string{"station", "reason"},
			counts(func(c *Cascade, emit func(uint64, string)) {
				for _, m := range c.Missed {
					emit(m.Count, m.Reason)
				}
			})},
		{"sightline_cascade_remote_open", "1 while the server of a remote large model is left alone because it failed; absent for others.", gauge, station,
			func(_ *Server, n *Now, emit func(float64, ...string)) {
				for _, s := range n.Stations {
					if s.Cascade != nil && s.Cascade.Breaker != nil {
						emit(one(s.Cascade.Breaker.Open), s.ID)
					}
				}
			}},
		{"sightline_cascade_run_seconds_total", "How long the large model ran for parts.", counter, station, of(func(c *Cascade) float64 { return c.CostMS / 1e3 })},
		{"sightline_cascade_run_per_part_seconds", "How long the large model ran a part, on average over the newest hundred.", gauge, station, of(func(c *Cascade) float64 { return c.MeanMS / 1e3 })},
	}
}
