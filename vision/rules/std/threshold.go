package main

import (
	"math"

	"github.com/sightline-edge/sightline/vision/rules/guest"
)

// threshold rejects a part on which some evidence reaches its limit.
type threshold struct {
	clauses []guest.Clause
	found   []guest.Measurement // used again by each call
}

func (t *threshold) setUp(params string) (err error) {
	t.clauses, err = guest.ParseClauses(params)
	return err
}

// decide gives FAIL with the first clause that holds, in the order of the
// parameters, and otherwise PASS "ok". Each clause gives a measurement: the
// highest score among the labels it names, 0 where there was none. Both name
// the camera where there are several. Without parameters there is no decision.
func (t *threshold) decide(p *guest.Part) guest.Answer {
	if len(t.clauses) == 0 {
		return guest.Answer{Verdict: guest.None, Reason: "no_limits"}
	}
	a := guest.Answer{Verdict: guest.Pass, Reason: "ok"}
	t.found = t.found[:0]
	for i := range t.clauses {
		c := &t.clauses[i]
		m := guest.Measurement{Name: c.Label, Limit: decimal(c.Limit)}
		if e := worst(c, p.Evidence); e != nil {
			in := where(p, e)
			m.Name, m.Value = c.Label+in, decimal(e.Score)
			if a.Verdict == guest.Pass && c.Holds(e.Score) {
				a.Verdict, a.Reason = guest.Fail, c.Describe(e.Label, e.Score)+in
			}
		}
		t.found = append(t.found, m)
	}
	a.Measurements = t.found
	return a
}

// decimal is the score to six places, so that 0.7 reads as 0.7.
func decimal(score float32) float64 { return math.Round(float64(score)*1e6) / 1e6 }

// where names the camera that saw the evidence, as in " (top)", if there are
// several.
func where(p *guest.Part, e *guest.Evidence) string {
	if camera := p.Camera(e); camera != "" {
		return " (" + camera + ")"
	}
	return ""
}

// worst is the evidence with the highest score that the clause speaks of, nil
// if there is none.
func worst(c *guest.Clause, list []guest.Evidence) *guest.Evidence {
	var found *guest.Evidence
	for i := range list {
		e := &list[i]
		if c.Names(e.Label) && (found == nil || e.Score > found.Score) {
			found = e
		}
	}
	return found
}
