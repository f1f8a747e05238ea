package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/models"
)

// pittingRuns is the runs of one turn.
const pittingRuns = 50

// pitting measures the shipped model for pitting alone.
func pitting() Figure {
	return Figure{
		ID:   "pitting",
		What: "the shipped model for pitting, Run alone on one core, ms ÷ 1 ms",
		Goal: "<= 25",
		Run: func(ctx context.Context, env *Env) (rows []Row, err error) {
			if !slices.Contains(models.Names(), "pitting") {
				return nil, LeftOut("no model called pitting is shipped")
			}
			if err := needs(env.ORT); err != nil {
				return nil, err
			}
			bundle, err := models.Open("pitting")
			if err != nil {
				return nil, err
			}
			network, err := fs.ReadFile(bundle, "model.onnx")
			if err != nil {
				return nil, err
			}
			dir, err := os.MkdirTemp("", "sightline-bench-")
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			path := filepath.Join(dir, "model.onnx")
			if err := os.WriteFile(path, network, 0o644); err != nil {
				return nil, err
			}
			bare, err := openBare(env.ORT, path, 1, infer.CPU)
			if err != nil {
				return nil, err
			}
			defer bare.close()
			row, err := env.Compare(ctx, Row{ID: "pitting", Goal: "<= 25", What: "the shipped model for pitting, one run on one thread, median ms ÷ 1 ms"},
				func(ctx context.Context) (s Sample, err error) {
					err = onOneCore(func() error { s, err = repeat(pittingRuns, bare.run); return err })
					return s, err
				},
				func(context.Context) (Sample, error) { return Sample{Value: 1}, nil })
			if err != nil {
				return nil, err
			}
			return []Row{row}, nil
		},
	}
}
