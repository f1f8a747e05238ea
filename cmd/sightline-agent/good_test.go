package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/score"
	"github.com/sightline-edge/sightline/vision/track"
)

// goodFull is how many good bundles are let through the gate.
const goodFull = 100

// TestGoodBundles: bundles of the shipped models, each recorded over pictures of its
// own with one way of computing, pass with all other thread counts and levels of graph
// optimisation in turn. Two by default, 100 with SIGHTLINE_FAULTS=full.
func TestGoodBundles(t *testing.T) {
	n := 2
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		n = goodFull
	}
	r := bareRig(t)
	refused, runs := 0, 0
	for i := range n {
		dir := r.goodBundle(t, i)
		for step := range 3 { // three of the twelve ways for each
			way := 5*i + 4*step
			threads, level := triedThreads[way%3], infer.GraphLevels()[way/3%4]
			report := r.gateWith(t, dir, threads, level)
			runs++
			if !report.OK() || report.Unmeasured != "" {
				refused++
				t.Errorf("bundle %d, %d threads, graph %s: %s %s", i, threads, level, report.Reason(), report.Unmeasured)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d good bundles, %d runs of the gate: %d refused, at most %.1f %% at 95 %%", n, runs, refused, 100*score.Share{K: refused, N: n}.AtMost())
}

// goodBundle records one of the shipped models over four drawn pictures, those that
// are fit.
func (r *mutantRig) goodBundle(t *testing.T, i int) (dir string) {
	t.Helper()
	name, draw := "drawn-parts", mutant.Draw
	if i%2 == 1 {
		name, draw = "pitting", mutant.DrawSpindles
	}
	dir = filepath.Join(t.TempDir(), "good")
	fsys, err := models.Open(name)
	if err == nil {
		err = os.CopyFS(dir, fsys)
	}
	if err != nil {
		t.Fatal(err)
	}
	names, err := draw(dir, "drawn", 5000+uint64(i), 6)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, name := range names {
		files = append(files, filepath.Join(dir, name))
	}
	pictures, names := bundle.Place(dir, files)
	_, unfit, err := r.made.fit(t.Context(), dir, pictures, names, recordOptions{threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	files = nil
	for _, name := range names {
		if unfit[name] == nil && len(files) < 4 {
			files = append(files, filepath.Join(dir, name))
		}
	}
	if len(files) == 0 {
		t.Fatalf("bundle %d: no picture is fit: %v", i, unfit)
	}
	record(t, r.made, dir, files)
	return dir
}

// gateWith runs the gate on a device that computes so.
func (r *mutantRig) gateWith(t *testing.T, dir string, threads int, level infer.GraphLevel) *gate.Report {
	t.Helper()
	c, g, err := loadBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.made.subject(t.Context(), track.Pictures, c, threads)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRule(t.Context(), s)
	cfg := r.made.programs.worker(c, c.stationSpec(), threads, r.made.log)
	cfg.Graph = level
	s.Worker = infer.New(cfg)
	var report *gate.Report
	err = withWorker(t.Context(), s, func(ctx context.Context) error {
		report, err = gate.Run(ctx, s, os.DirFS(dir), g, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}
