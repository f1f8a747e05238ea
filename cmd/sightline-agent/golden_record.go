package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/track"
)

// triedThreads are the thread counts with which golden pictures are run.
var triedThreads = []int{1, 2, 4}

// recordOptions say how golden vectors are recorded.
type recordOptions struct {
	hand     bundle.Tolerance // what isn't 0 is taken instead of what is measured
	threads  int
	progress func(done, of int, name string) // may be nil
}

// checkHand refuses tolerances chosen by hand that would prove nothing.
func checkHand(t bundle.Tolerance) error {
	if t.IoU == 0 {
		t.IoU = 1
	}
	return t.Check()
}

// record runs the bundle's folder on pictures, in workers of its own.
func (a *assembly) record(ctx context.Context, dir string, pictures fs.FS, names []string, o recordOptions) (g *bundle.Golden, err error) {
	err = a.recording(ctx, dir, o, func(ctx context.Context, m gate.Measuring, s gate.Subject) error {
		g, err = m.Record(ctx, s, pictures, names)
		return err
	})
	return g, err
}

// recording lets do measure with the bundle's folder while its worker runs.
func (a *assembly) recording(ctx context.Context, dir string, o recordOptions, do func(context.Context, gate.Measuring, gate.Subject) error) error {
	c, err := choose(modelOptions{model: dir})
	if err != nil {
		return err
	}
	s, err := a.subject(ctx, track.Pictures, c, o.threads)
	if err != nil {
		return err
	}
	m := a.measuring(c, o)
	err = withWorker(ctx, s, func(ctx context.Context) error { return do(ctx, m, s) })
	return errors.Join(err, closeRule(ctx, s))
}

// measuring are the ways in which a model can be computed on this machine, other
// than a station's own.
func (a *assembly) measuring(c *choice, o recordOptions) gate.Measuring {
	m := gate.Measuring{Hand: o.hand, Progress: o.progress}
	way := func(name, precision string, model []byte, threads int, level infer.GraphLevel) {
		cfg := a.programs.worker(c, c.stationSpec(), threads, a.log)
		cfg.Model, cfg.Graph, cfg.Same, cfg.Aside = infer.Model{Path: c.path, Data: model}, level, true, true
		emulated := precision != ""
		if emulated {
			cfg.Provider = infer.CPU // an accelerator would build engines for it
		}
		m.Ways = append(m.Ways, gate.Way{Name: name, Emulated: emulated, Precision: precision, Worker: infer.New(cfg)})
	}
	for _, level := range infer.GraphLevels() {
		m.Graph = append(m.Graph, string(level))
		for _, threads := range triedThreads {
			if level == infer.GraphAll || threads == 1 {
				way(fmt.Sprintf("%d threads, graph optimisation %s", threads, level), "", c.data, threads, level)
			}
		}
	}
	m.Threads = slices.Clone(triedThreads)
	half, err := infer.Halved(c.data)
	if err != nil {
		m.Left = "float16: " + err.Error()
		return m
	}
	for _, level := range []infer.GraphLevel{infer.GraphDisable, infer.GraphAll} {
		way("float16 emulated, graph optimisation "+string(level), "float16", half, 1, level)
	}
	return m
}

// progress tells a person how far a measurement is; nobody who reads JSON.
func progress(w io.Writer, quiet bool) func(done, of int, name string) {
	if quiet {
		return nil
	}
	return func(done, of int, name string) { fmt.Fprintf(w, "measuring %d of %d: %s\n", done+1, of, name) }
}
