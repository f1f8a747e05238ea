package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision/rules/guest"
)

// The host's tests run the same decisions through WebAssembly; these are the
// cases that only the rule itself is concerned with.
func TestDecide(t *testing.T) {
	part := &guest.Part{Evidence: []guest.Evidence{{Label: "dent", Score: 0.4}, {Label: "scratch", Score: 0.6}, {Label: "dent", Score: 0.5}}}
	for _, tt := range []struct {
		params string
		want   guest.Answer
	}{
		{"dent>0.4", guest.Answer{Verdict: guest.Fail, Reason: "dent 0.5 > 0.4",
			Measurements: []guest.Measurement{{Name: "dent", Value: 0.5, Limit: 0.4}}}},
		{"dent>0.4,scratch>0.1", guest.Answer{Verdict: guest.Fail, Reason: "dent 0.5 > 0.4",
			Measurements: []guest.Measurement{{Name: "dent", Value: 0.5, Limit: 0.4}, {Name: "scratch", Value: 0.6, Limit: 0.1}}}},
		{"rust>=0", guest.Answer{Verdict: guest.Pass, Reason: "ok", // what isn't there isn't at least 0
			Measurements: []guest.Measurement{{Name: "rust", Value: 0, Limit: 0}}}},
		{"defect>0.6", guest.Answer{Verdict: guest.Pass, Reason: "ok",
			Measurements: []guest.Measurement{{Name: "defect", Value: 0.6, Limit: 0.6}}}},
	} {
		var rule threshold
		if err := rule.setUp(tt.params); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second call uses the first's memory again
			if diff := cmp.Diff(tt.want, rule.decide(part)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.params, diff)
			}
		}
	}
}

// TestDecideAmongCameras: reasons and measurements name the camera of what
// they are about, the first of those that saw the same.
func TestDecideAmongCameras(t *testing.T) {
	part := &guest.Part{Views: []guest.View{{Camera: "top"}, {Camera: "side"}, {}},
		Evidence: []guest.Evidence{{Label: "dent", Score: 0.4, View: 2}, {Label: "scratch", Score: 0.6, View: 1}, {Label: "scratch", Score: 0.6}}}
	for _, tt := range []struct {
		params string
		want   guest.Answer
	}{
		{"defect>0.5", guest.Answer{Verdict: guest.Fail, Reason: "scratch 0.6 > 0.5 (side)",
			Measurements: []guest.Measurement{{Name: "defect (side)", Value: 0.6, Limit: 0.5}}}},
		{"dent>0.3", guest.Answer{Verdict: guest.Fail, Reason: "dent 0.4 > 0.3",
			Measurements: []guest.Measurement{{Name: "dent", Value: 0.4, Limit: 0.3}}}},
		{"rust>0.3", guest.Answer{Verdict: guest.Pass, Reason: "ok", Measurements: []guest.Measurement{{Name: "rust", Limit: 0.3}}}},
	} {
		var rule threshold
		if err := rule.setUp(tt.params); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, rule.decide(part)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.params, diff)
		}
	}
}

// TestNoLimits: a rule that was refused its parameters, or never got any,
// passes nothing.
func TestNoLimits(t *testing.T) {
	var rule threshold
	if rule.setUp("defect") == nil {
		t.Error("a clause without a limit was taken")
	}
	if a := rule.decide(&guest.Part{}); a.Verdict != guest.None {
		t.Errorf("without limits the answer is %+v", a)
	}
}
