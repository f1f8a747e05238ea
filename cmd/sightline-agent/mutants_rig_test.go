package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/shm"
	"github.com/sightline-edge/sightline/vision/track"
)

// heldOut is how many pictures that the golden vectors don't show tell whether
// a mutation does harm, which is counted, not judged: a few do where few are counted.
func heldOut() int {
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		return 24
	}
	return 4
}

// outcome is what a bundle says about one picture, found out without the gate.
type outcome struct {
	dets     []vision.Detection
	verdicts []vision.Verdict // of the parts
	boxes    []vision.Box
	run      time.Duration // of the model
}

// mutantRig is a good bundle with golden vectors, and what it says.
type mutantRig struct {
	made         *assembly
	good         string
	goldenFiles  []string
	heldFiles    []string
	golden, held []outcome
	within       *bundle.Golden
	lowest       float32
}

// newMutantRig has drawn-parts with pictures and vectors of the test's own.
func newMutantRig(t *testing.T) *mutantRig {
	t.Helper()
	r := bareRig(t)
	names, err := mutant.Drawn(r.good, mutant.GoldenPictures)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		r.goldenFiles = append(r.goldenFiles, filepath.Join(r.good, name))
	}
	record(t, r.made, r.good, r.goldenFiles)
	r.begin(t, mutant.Draw)
	return r
}

// newShippedRig has a shipped model with the golden pictures that it is shipped with.
func newShippedRig(t *testing.T, name string) *mutantRig {
	t.Helper()
	r := bareRig(t)
	fsys, err := models.Open(name)
	if err == nil {
		err = os.CopyFS(r.good, fsys)
	}
	if err != nil {
		t.Fatal(err)
	}
	g, err := bundle.ReadGolden(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range g.Vectors {
		r.goldenFiles = append(r.goldenFiles, filepath.Join(r.good, filepath.FromSlash(v.Picture)))
	}
	draw := mutant.Draw
	if name == "pitting" {
		draw = mutant.DrawSpindles
	}
	r.begin(t, draw)
	return r
}

func bareRig(t *testing.T) *mutantRig {
	t.Helper()
	programs, err := findPrograms(config.Infer{})
	if err != nil {
		t.Skip("left out: ", err)
	}
	r := &mutantRig{good: filepath.Join(t.TempDir(), "good")}
	if r.made, err = newAssembly(t.Context(), programs, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.made.close(context.Background()) })
	return r
}

// begin draws what is held out, and takes down what the good bundle says.
func (r *mutantRig) begin(t *testing.T, draw func(dir, folder string, seed uint64, n int) ([]string, error)) {
	t.Helper()
	held := t.TempDir()
	names, err := draw(held, "held", 99, heldOut())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		r.heldFiles = append(r.heldFiles, filepath.Join(held, name))
	}
	report, golden, out := r.examine(t, r.good, func([]outcome) bool { return true })
	if !report.OK() {
		t.Fatalf("the good bundle: %s", report.Reason())
	}
	r.golden, r.held = golden, out
}

// record gives a bundle's folder golden vectors.
func record(t *testing.T, made *assembly, dir string, files []string) {
	t.Helper()
	pictures, names := bundle.Place(dir, files)
	g, err := made.record(t.Context(), dir, pictures, names, recordOptions{threads: 1})
	if err == nil {
		err = pictures.Keep(dir, g)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// examine runs the gate on a bundle, what it does with golden pictures by itself, and,
// if those that say so don't tell enough, with the held out. A bundle that no worker
// loads is refused, and says nothing.
func (r *mutantRig) examine(t *testing.T, dir string, more func(golden []outcome) bool) (report *gate.Report, golden, held []outcome) {
	t.Helper()
	c, g, err := loadBundle(dir)
	if err != nil && r.within != nil {
		return &gate.Report{Pictures: len(r.goldenFiles), Refusals: []gate.Refusal{{What: gate.WhatModel, Expected: "a model", Found: err.Error()}}}, nil, nil
	} else if err != nil {
		t.Fatal(err)
	}
	s, err := r.made.subject(t.Context(), track.Pictures, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRule(t.Context(), s)
	r.lowest = max(r.lowest, s.Lowest)
	if r.within == nil {
		r.within = g
	}
	err = withWorker(t.Context(), s, func(ctx context.Context) error {
		var err error
		if report, err = gate.Run(ctx, s, os.DirFS(dir), g, nil); err != nil {
			return err
		}
		if _, err := s.Worker.Ready(ctx); err != nil {
			return nil
		}
		if golden, err = look(ctx, s, r.goldenFiles); err != nil {
			return err
		}
		if more(golden) {
			held, err = look(ctx, s, r.heldFiles)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return report, golden, held
}

// look is what predict does, and a station in still pictures.
func look(ctx context.Context, s gate.Subject, files []string) ([]outcome, error) {
	var all []outcome
	cfg := s.Track
	cfg.Mode = track.Pictures
	if slices.Contains(slices.Collect(maps.Values(cfg.Roles)), vision.PartRole) {
		cfg.Mode = track.Stills
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var pool *shm.Pool
		frame, err := picture.Decode(data, func(w, h int) ([]byte, error) {
			var err error
			if pool, err = shm.NewPool(1, 1, 3*w*h); err != nil {
				return nil, err
			}
			return pool.Slot(0)[:3*w*h], nil
		})
		if err != nil {
			return nil, err
		}
		result, err := s.Worker.Infer(ctx, &frame, pool, 0)
		s.Worker.Forget(pool)
		pool.Release()
		if err != nil && !errors.Is(err, infer.ErrTimeLimit) {
			return nil, err
		}
		o := outcome{dets: result.Detections, run: result.Run}
		tracker := track.New(cfg)
		parts := tracker.Update(track.Frame{Seq: 1, Width: frame.Width, Height: frame.Height}, result.Detections)
		for _, p := range append(parts, tracker.Flush()...) {
			decision := s.Rule.Decide(ctx, p, frame.Width, frame.Height)
			for range 20 { // the rule's time is short, and the machine may be busy
				if decision.Reason != vision.ReasonRuleFailed {
					break
				}
				decision = s.Rule.Decide(ctx, p, frame.Width, frame.Height)
			}
			o.boxes, o.verdicts = append(o.boxes, p.Box), append(o.verdicts, decision.Verdict)
		}
		all = append(all, o)
	}
	return all, nil
}

// moved says what is beyond tolerance between two outcomes, "" if nothing is.
// It finds for each thing any that fits, so what it tells is certain.
func (r *mutantRig) moved(was, is []outcome, tol bundle.Tolerance) string {
	if len(was) != len(is) {
		return "it doesn't run"
	}
	for i := range was {
		for _, pair := range [2][2]outcome{{was[i], is[i]}, {is[i], was[i]}} {
			for _, d := range pair[0].dets {
				if d.Score > r.lowest+tol.Score && !there(d, pair[1].dets, tol) {
					return fmt.Sprintf("picture %d: %s %.3f at %v has no fellow", i, d.Label, d.Score, d.Box)
				}
			}
			for n, box := range pair[0].boxes {
				found := false
				for m, other := range pair[1].boxes {
					found = found || box.IoU(other) >= tol.IoU && pair[0].verdicts[n] == pair[1].verdicts[m]
				}
				if !found {
					return fmt.Sprintf("picture %d: part at %v, %v, has no fellow", i, box, pair[0].verdicts[n])
				}
			}
		}
	}
	return ""
}

func there(d vision.Detection, among []vision.Detection, tol bundle.Tolerance) bool {
	for _, o := range among {
		if diff := d.Score - o.Score; o.Label == d.Label && diff <= tol.Score && diff >= -tol.Score && o.Box.IoU(d.Box) >= tol.IoU {
			return true
		}
	}
	return false
}
