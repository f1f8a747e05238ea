package agent

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/vision/infer"
)

// TestFleetWarnings: what a person hears about the fleet, case by case.
func TestFleetWarnings(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	year := now.Add(365 * 24 * time.Hour)
	for name, c := range map[string]struct {
		fleet *api.Fleet
		want  string // code, "" for none
	}{
		"none":                  {nil, ""},
		"connected":             {&api.Fleet{Connected: true, Since: ago(time.Hour), Certificate: year}, ""},
		"just gone":             {&api.Fleet{Since: ago(time.Second), Certificate: year}, ""},
		"gone":                  {&api.Fleet{Since: ago(time.Minute), Error: "no route", Backlog: 5, Certificate: year}, "fleet_unreachable"},
		"refused":               {&api.Fleet{Since: ago(time.Minute), Refusal: "revoked", Certificate: year}, "fleet_refuses"},
		"renewal fails, early":  {&api.Fleet{Connected: true, Renewal: "refused", Certificate: year}, ""},
		"renewal fails, late":   {&api.Fleet{Connected: true, Renewal: "refused", Certificate: now.Add(time.Hour)}, "certificate_ending"},
		"certificate has ended": {&api.Fleet{Connected: true, Renewal: "refused", Certificate: now.Add(-time.Hour)}, "certificate_ending"},
	} {
		a := testAgent(t, func() *api.Fleet { return c.fleet })
		a.health.Raise(health.FleetUnreachable, "", "from before")
		a.watchFleet(now)
		got := ""
		for _, w := range a.health.List() {
			got += w.Code
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestState(t *testing.T) {
	a := testAgent(t, nil)
	a.health.Raise(health.NoRule, "s1", "")
	s := a.State()
	if s.GetClock() == 0 || len(s.GetWarnings()) != 1 || s.GetWarnings()[0].GetCode() != "no_rule" || s.GetWarnings()[0].GetSeverity() != 2 {
		t.Errorf("%+v", s)
	}
	if f := a.Now().Fleet; f != nil {
		t.Errorf("an agent without a fleet has %+v", f)
	}
}

// testAgent has a journal and no stations.
func testAgent(t *testing.T, fleet func() *api.Fleet) *Agent {
	t.Helper()
	j, _, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return j.Run(ctx) })
	t.Cleanup(func() {
		stop()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(Config{Journal: j, Fleet: fleet})
}

// TestChanged: a new warning is worth a token, the same state again isn't.
func TestChanged(t *testing.T) {
	a := testAgent(t, nil)
	var noted string
	told := func() bool {
		a.note(&noted)
		select {
		case <-a.Changed():
			return true
		default:
			return false
		}
	}
	if told() {
		t.Error("an agent without anything to tell has changed")
	}
	a.health.Raise(health.NoRule, "s1", "")
	if !told() || told() {
		t.Error("a warning is told once")
	}
	a.health.Raise(health.NoRule, "s1", "with another detail") // those change all the time
	if told() {
		t.Error("a detail is no change")
	}
	a.health.Clear(health.NoRule, "s1")
	a.note(&noted)
	a.health.Raise(health.NoRule, "s2", "")
	if !told() || told() {
		t.Error("two changes that nobody has asked for are one token")
	}
}

// TestNoteIsCheap: what is compared twice a second needs no figures of the newest
// frames, and nothing of any process.
func TestNoteIsCheap(t *testing.T) {
	l := shipped(t, "shipped", 0.1)
	r := plant(t, []*infer.Worker{l.Model}, StationConfig{ID: "belt", Model: l.Model, About: l.About, Rule: l.Rule, Track: l.Track})
	readyModel(t, l)
	var noted string
	note := testing.AllocsPerRun(20, func() { r.note(&noted) })
	if whole := testing.AllocsPerRun(20, func() { r.Now() }); note > whole/4 {
		t.Errorf("a note takes %v allocations, the state of everything %v", note, whole)
	}
}
