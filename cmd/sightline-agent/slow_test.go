package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/track"
)

// TestSlowModelGivesNone: a real model whose runs take longer than the station's limit is
// stopped at it, and each part gets NONE.
func TestSlowModelGivesNone(t *testing.T) {
	if !equipment(t).has["onnx"] {
		t.Skip("ONNX Runtime isn't here")
	}
	dir := t.TempDir()
	good, err := models.Open("drawn-parts")
	if err != nil {
		t.Fatal(err)
	}
	slow := filepath.Join(dir, "slow")
	if err := mutant.WriteSlow(good, slow, 150); err != nil {
		t.Fatal(err)
	}
	shown, err := mutant.Draw(dir, "shown", 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	programs, err := findPrograms(config.Infer{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := newAssembly(t.Context(), programs, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer made.close(context.Background())
	c, err := choose(modelOptions{model: slow})
	if err != nil {
		t.Fatal(err)
	}
	camera, err := made.camera(&config.Camera{Source: filepath.Join(dir, "shown")}, "")
	if err != nil {
		t.Fatal(err)
	}
	const limit = 200 * time.Millisecond
	st, err := made.station(t.Context(), stationOptions{id: "one", cameras: []*agent.Camera{camera}, mode: track.Pictures, deadline: 10 * time.Second, limit: limit, threads: 1}, c)
	if err != nil {
		t.Fatal(err)
	}
	j, opened, err := journal.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var told []*agent.Inspection
	a := agent.New(agent.Config{Journal: j, Opened: opened, Models: made.hired(), Log: made.log, Told: func(i *agent.Inspection) { told = append(told, i) }})
	a.Add(st)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if len(told) != len(shown) {
		t.Errorf("%d verdicts of %d pictures", len(told), len(shown))
	}
	for _, i := range told {
		if i.Told.Verdict != vision.None || i.Told.Reason != vision.ReasonModelFailed {
			t.Errorf("%s is %v %s, want NONE %s", i.Part.Name, i.Told.Verdict, i.Told.Reason, vision.ReasonModelFailed)
		}
	}
	if s := st.Model.Stats(); s.TimedOut < uint64(len(shown)) || s.Inferred != 0 {
		t.Errorf("the worker tells %+v, want each run stopped", s)
	}
}
