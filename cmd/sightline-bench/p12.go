package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/models"
)

// crashRate is the camera's, frames a second.
const crashRate = 25

// p12 measures how soon a station inspects again after its agent was killed,
// against the parts of its start, each alone.
func p12() Figure {
	return Figure{
		ID:   "P12",
		What: "kill -9 of the agent, started again at once, to the first result ÷ process start + the longer of model load and camera connect",
		Goal: "<= 1.2",
		Run: func(ctx context.Context, env *Env) (rows []Row, err error) {
			if err := needs(env.ORT, filepath.Join(env.Bin, "sightline-agent")); err != nil {
				return nil, err
			}
			dir, err := os.MkdirTemp("", "sightline-bench-")
			if err != nil {
				return nil, fmt.Errorf("make a folder: %w", err)
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			source, dark, err := camera(ctx, 12, crashRate)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, dark()) }()
			c := &crash{env: env, source: source}
			if c.agent, err = newRunner(env, dir, []string{source}); err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, c.agent.kill()) }()
			return c.measure(ctx)
		},
	}
}

// crash is an agent that is killed again and again, with its camera.
type crash struct {
	env    *Env
	source string
	agent  *runner
	parts  [3][]float64 // of each bare turn: process start, model, camera; ms
}

func (c *crash) measure(ctx context.Context) ([]Row, error) {
	if err := c.agent.start(); err != nil {
		return nil, err
	}
	if err := c.agent.works(ctx, 1); err != nil {
		return nil, err
	}
	often := *c.env // turns are short
	often.Rounds = max(2*c.env.Rounds, 10)
	row, err := often.Compare(ctx, Row{ID: "P12", Goal: "<= 1.2"}, c.again, c.bare)
	if err != nil {
		return nil, err
	}
	row.What = fmt.Sprintf("kill -9 of an agent with an MJPEG camera of 25 frames/s and drawn-parts, started again at once: ms to the first result ÷ "+
		"process start (%.0f) + the longer of model load (%.0f) and camera connect to its first frame (%.0f), each worker alone",
		quantile(c.parts[0], 0.5), quantile(c.parts[1], 0.5), quantile(c.parts[2], 0.5))
	return []Row{row}, nil
}

// again kills the agent, starts it as a service manager would, and waits for
// the first frame's result.
func (c *crash) again(ctx context.Context) (s Sample, err error) {
	outOfStep()
	s.Value, err = took(func() error {
		if err := errors.Join(c.agent.kill(), c.agent.start()); err != nil {
			return err
		}
		return c.agent.works(ctx, 1)
	})
	return s, err
}

// bare takes the parts that no start can do without, one after the other.
func (c *crash) bare(ctx context.Context) (s Sample, err error) {
	var ms [3]float64
	for n, part := range []func(context.Context) (float64, error){c.process, c.model, c.connect} {
		outOfStep()
		if ms[n], err = part(ctx); err != nil {
			return s, err
		}
		c.parts[n] = append(c.parts[n], ms[n])
	}
	s.Value = ms[0] + max(ms[1], ms[2])
	return s, nil
}

// outOfStep waits for a random part of the time between two of the camera's frames, since
// what was measured last ended with one: else each turn would wait for its first frame as
// long as the one before.
func outOfStep() { time.Sleep(rand.N(time.Second / crashRate)) }

// process is from exec to the agent's main and its end, in ms.
func (c *crash) process(ctx context.Context) (float64, error) {
	return took(func() error {
		return exec.CommandContext(ctx, filepath.Join(c.env.Bin, "sightline-agent"), "--version").Run()
	})
}

// model is from the start of an inference worker to the loaded model, in ms.
func (c *crash) model(ctx context.Context) (ms float64, err error) {
	spec, data, err := drawnParts()
	if err != nil {
		return 0, err
	}
	w := infer.New(infer.Config{
		Executable: filepath.Join(c.env.Bin, "sightline-agent"), Args: []string{"worker", "infer"}, Library: c.env.ORT, Provider: infer.CPU,
		Model: infer.Model{Path: "drawn-parts", Data: data}, Spec: spec, Threads: 1, Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(ctx)
	var g errgroup.Group
	ms, err = took(func() error {
		g.Go(func() error { return w.Run(ctx) })
		_, err := w.Ready(ctx)
		return err
	})
	stop()
	return ms, errors.Join(err, g.Wait())
}

// connect is from the start of a capture worker to the camera's first frame, in ms.
func (c *crash) connect(ctx context.Context) (ms float64, err error) {
	cam, err := capture.New(capture.Config{
		Source: c.source, SelfExecutable: filepath.Join(c.env.Bin, "sightline-agent"), SelfArgs: []string{"worker", "capture"},
	})
	if err != nil {
		return 0, err
	}
	feed := cam.Feed()
	ctx, stop := context.WithCancel(ctx)
	var g errgroup.Group
	ms, err = took(func() error {
		g.Go(func() error { return cam.Run(ctx) })
		frame, err := feed.Next(ctx)
		if err == nil {
			frame.Release()
		}
		return err
	})
	stop()
	return ms, errors.Join(err, g.Wait())
}

// drawnParts is the shipped model, read as a station reads it.
func drawnParts() (spec infer.Spec, data []byte, err error) {
	folder, err := models.Open("drawn-parts")
	if err != nil {
		return spec, nil, err
	}
	m, err := bundle.Read(folder)
	if err != nil {
		return spec, nil, err
	}
	if data, err = fs.ReadFile(folder, m.Model.File); err != nil {
		return spec, nil, err
	}
	info, err := infer.Describe(data)
	if err != nil {
		return spec, nil, err
	}
	options := infer.Options{Family: m.Model.Family, Confidence: 0.1}
	for _, l := range m.Model.Labels {
		options.Labels = append(options.Labels, l.Name)
	}
	spec, err = info.Spec(options)
	return spec, data, err
}
