package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// second is a station's large model that has looked at some parts.
func second() *Cascade {
	return &Cascade{
		Model: Version{Name: "parts-large", Digest: "77ab"}, Breaker: &Breaker{Open: true, Opened: 2}, Parts: 3400, CostMS: 5120, MeanMS: 1.5,
		Looks:  []LookCount{{"rule", 1}, {"band", 119}, {"disagreement", 0}},
		Missed: []LookMissed{{"late", 3}, {"budget", 0}, {"overload", 2}},
	}
}

// TestLargeModelOnThePage: what the large model does stands with the station, and with
// each part which models looked and why.
func TestLargeModelOnThePage(t *testing.T) {
	m := newMemory(good("line"))
	m.stations[0].Cascade = second()
	score := float32(0.07)
	r := result("line", 3, time.Now())
	r.Seq, r.Verdict, r.Reason = 1, vision.None, "doubt"
	r.Looks = []Look{
		{Model: "parts", Why: "part", MS: 9.25, Score: &score}, {Model: "parts-large", Why: "band", MS: 80, Score: &score},
		{Model: "parts-far", Why: "rule", Missed: "no_picture", Remote: true},
	}
	m.results = append(m.results, r)
	url := serve(t, newServer(t, m)).URL
	for path, want := range map[string][]string{
		"/":             {"Large model", "120 of 3,400 parts, 1.5 ms a part", "parts-large; couldn&#39;t look: late 3×, overload 2×"},
		"/results/1":    {"Which models looked", "looks at each part", "the score before was in doubt", "0.07", "9.2", "80", "parts-far (remote)", "the rule asked, but it couldn&#39;t look: no picture", "in doubt, and the large model couldn&#39;t look"},
		"/v1/results/1": {`"looks":[{"model":"parts","why":"part","ms":9.25,"score":0.07}`, `{"model":"parts-far","why":"rule","ms":0,"missed":"no_picture","remote":true}`},
		"/v1/stations":  {`"cost_per_part_ms":1.5`, `{"reason":"late","count":3}`},
	} {
		_, body := call(t, "GET", url+path, "")
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s doesn't say %q", path, w)
			}
		}
	}
	if n, missed := second().looked(); fmt.Sprint(n, missed) != "120 5" {
		t.Error(n, missed)
	}
}
