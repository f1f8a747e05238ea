package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What freshness is measured with.
const (
	freshCameras = 8
	freshLoad    = 3.0  // frames that come ÷ frames that the model can do
	freshWindow  = 1024 // pictures of each station in a third: as many as the agent tells quantiles over
	freshWarm    = 32   // pictures of each station before
	freshWidth   = 256
	freshHeight  = 144
)

// p2 measures how old what a result rests on is, while far more comes than can be
// inspected.
func p2() Figure {
	return Figure{
		ID:   "P2",
		What: "8 live cameras, 3× overload, everything on: p99 age of a frame at its result ÷ (camera period + p99 model time)",
		Goal: "<= 0.96",
		Run: func(ctx context.Context, env *Env) (rows []Row, err error) {
			_, model, err := env.bottles()
			if err != nil {
				return nil, err
			}
			dir, err := os.MkdirTemp("", "sightline-bench-")
			if err != nil {
				return nil, fmt.Errorf("make a folder: %w", err)
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			run, err := alone(ctx, env, model)
			if err != nil {
				return nil, err
			}
			f := &fresh{env: env, dir: dir, model: model, alone: run, period: freshCameras * run / freshLoad}
			cameras, sources, err := liveCameras(ctx, freshCameras, 1e3/f.period, freshWidth, freshHeight)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, cameras.end()) }()
			f.sources = sources
			return f.measure(ctx)
		},
	}
}

// fresh is the cameras with what inspects them.
type fresh struct {
	env     *Env
	dir     string
	model   string
	sources []string
	alone   float64 // ms of a run with nothing beside it
	period  float64 // ms of each camera
}

// third is what the agent says at the end of a third of the run.
type third struct {
	age   []float64 // of each station, p99 of the pictures of that third, ms
	model []float64 // p99 of the model in the same pictures, ms
	half  []float64 // p50 of it
}

func (f *fresh) measure(ctx context.Context) ([]Row, error) {
	thirds, counts, err := f.ours(ctx)
	if err != nil {
		return nil, err
	}
	rows := f.rows(thirds, counts)
	beside, err := f.loops(ctx, rows[0].Ours)
	return append(rows, beside...), err
}

// ours lets the agent inspect the cameras, one station each, for three times as many
// pictures as it tells quantiles over.
func (f *fresh) ours(ctx context.Context) (thirds []third, counts []float64, err error) {
	folder, err := yoloxFolder(f.dir, f.model)
	if err != nil {
		return nil, nil, err
	}
	var text strings.Builder
	text.WriteString("stations:\n")
	for n, s := range f.sources {
		fmt.Fprintf(&text, "  - {id: s%d, camera: {source: %q}, model: %q, allow_unsigned: true}\n", n, s, folder)
	}
	agent, err := configured(f.env, f.dir, text.String())
	if err != nil {
		return nil, nil, err
	}
	if err := agent.start(); err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, agent.kill()) }()
	first, err := agent.until(ctx, eachHas(nil, freshWarm))
	for since, last := first, first; err == nil && len(thirds) < 3; since = last {
		if last, err = agent.until(ctx, eachHas(since, freshWindow)); err != nil {
			break
		}
		t := third{}
		for n := range last {
			t.age, t.model = append(t.age, last[n].AgeP99), append(t.model, last[n].Model.P99)
			t.half = append(t.half, last[n].Model.P50)
			if len(counts) < len(last) {
				counts = append(counts, 0)
			}
			counts[n] = float64(last[n].inferred() - first[n].inferred())
		}
		thirds = append(thirds, t)
	}
	return thirds, counts, err
}

// rows are what three thirds come to.
func (f *fresh) rows(thirds []third, counts []float64) []Row {
	var age, bare, model, half []float64
	worst := 0.0
	for _, t := range thirds {
		age, model, half = append(age, mean(t.age)), append(model, mean(t.model)), append(half, mean(t.half))
		bare = append(bare, f.period+mean(t.model))
		for n := range t.age {
			worst = max(worst, t.age[n]/(f.period+t.model[n]))
		}
	}
	noise := quantile(model, 0.5) / quantile(half, 0.5)
	what := fmt.Sprintf("%d live MJPEG cameras of %d×%d at %.1f/s, a station each, one YOLOX-nano, one run at a time, offered %g times what it can do alone (%.1f ms a run); "+
		"agent with journal, page and checks: ", len(f.sources), freshWidth, freshHeight, 1e3/f.period, freshLoad, f.alone)
	fair, flat := jain(counts), flatness(age)
	return []Row{
		measured(f.env, Row{ID: "P2", Goal: "<= 0.96", What: what + fmt.Sprintf("p99 age of a frame at its result (mean of the stations, over %d frames of each, three times), ms ÷ camera period + p99 of the model in the same frames, ms; worst of a station", freshWindow)},
			quantile(age, 0.5), quantile(bare, 0.5), worst, noise),
		measured(f.env, Row{ID: "P2/fair", Goal: ">= 0.99", What: what + "Jain's index of the frames that each camera had inspected ÷ 1"}, fair, 1, fair, noise),
		measured(f.env, Row{ID: "P2/flat", Goal: "<= 1.1", What: what + "p99 age, ms, of the last third ÷ the first; worst: of the worst third ÷ the first"}, age[len(age)-1], age[0], flat, noise),
		measured(f.env, Row{ID: "P2/model", Goal: "told", What: what + fmt.Sprintf("p99 of the model in the agent (median %.1f), ms ÷ its median alone, ms", quantile(half, 0.5))}, quantile(model, 0.5), f.alone, quantile(model, 1)/f.alone, noise),
	}
}

// flatness is the worst third against the first.
func flatness(thirds []float64) float64 { return quantile(thirds, 1) / thirds[0] }

// loops are the two that one would write in Python.
func (f *fresh) loops(ctx context.Context, ours float64) (rows []Row, err error) {
	if f.env.Python == "" {
		return nil, LeftOut("P2/newest, P2/queue: there is no Python with opencv and ONNX Runtime (--python)")
	}
	for _, kind := range []struct{ mode, what string }{
		{"newest", "a loop in Python that takes each camera's newest frame in turn"},
		{"queue", "the same with a queue of two frames for each camera"},
	} {
		l, err := f.loop(ctx, kind.mode)
		if err != nil {
			return rows, err
		}
		own := l.Age / (f.period + l.Model)
		what := fmt.Sprintf("p99 age at the result, ms ÷ that of %s, ms, on the same cameras and model (%d frames; its own p99 ÷ period + its model's p99 is %.2f, Jain's index %.3f)",
			kind.what, l.Frames, own, jain(l.Counts))
		rows = append(rows, measured(f.env, Row{ID: "P2/" + kind.mode, Goal: "told", What: what}, ours, l.Age, ours/l.Age, l.Model/l.Half))
	}
	return rows, nil
}

// script is where this program's Python is.
func (env *Env) script(name string) string {
	return filepath.Join(env.Root, "cmd", "sightline-bench", name)
}
