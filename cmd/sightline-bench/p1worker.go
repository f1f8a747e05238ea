package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/shm"
)

// workerRows compare the inference worker with a loop of Run alone: what the
// process between, the tensor and the decoding cost. They need no camera, so
// they run where only a model and its runtime are.
func workerRows(ctx context.Context, env *Env, provider infer.Provider) ([]Row, error) {
	var rows []Row
	for _, m := range []struct{ name, path, goal string }{
		{"yolox-nano", filepath.Join(env.Data, "models", "yolox_nano.onnx"), toldMore},
		{"yolov8n-640", filepath.Join(env.Root, "build", "yolov8n-640.onnx"), toldMore},
	} {
		if needs(m.path, env.ORT, filepath.Join(env.Bin, "sightline-agent")) != nil {
			continue
		}
		row, err := env.workerRow(ctx, m.name, m.path, provider)
		if err != nil {
			return rows, err
		}
		row.Goal = m.goal
		rows = append(rows, row)
	}
	return rows, nil
}

func (env *Env) workerRow(ctx context.Context, name, path string, provider infer.Provider) (Row, error) {
	bare, err := openBare(env.ORT, path, 1, provider)
	if err != nil {
		return Row{}, err
	}
	defer bare.close()
	served, err := serve(ctx, env, path, provider)
	if err != nil {
		return Row{}, err
	}
	defer served.close()
	what := fmt.Sprintf("%s on %s, 640×360 frames in shared memory, two in flight, one thread: results/s of the worker ÷ runs/s of Run alone", name, served.info.Provider)
	return env.Compare(ctx, Row{ID: "P1/worker/" + name, What: what},
		func(ctx context.Context) (Sample, error) { return served.loop(ctx, bareRuns) },
		func(ctx context.Context) (Sample, error) {
			start := time.Now()
			each, _, err := bare.loop(ctx, bareRuns)
			return Sample{Value: bareRuns / time.Since(start).Seconds(), Each: each}, err
		})
}

// served is a worker with a model and frames to give it.
type served struct {
	worker *infer.Worker
	info   infer.Info
	pool   *shm.Pool
	frame  vision.Frame
	end    func()
	group  *errgroup.Group
}

func serve(ctx context.Context, env *Env, path string, provider infer.Provider) (*served, error) {
	model, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the model: %w", err)
	}
	info, err := infer.Describe(model)
	if err != nil {
		return nil, err
	}
	options := infer.Options{Confidence: 0.25}
	if info.Labels == nil {
		options.Labels = infer.COCO()
	}
	spec, err := info.Spec(options)
	if err != nil {
		return nil, err
	}
	s := &served{frame: vision.Frame{Width: 640, Height: 360, Stride: 3 * 640, Format: vision.BGR24}}
	if s.pool, err = shm.NewPool(1, 2, 3*640*360); err != nil {
		return nil, err
	}
	for slot := range 2 {
		for i, pix := 0, s.pool.Slot(slot); i < len(pix); i++ {
			pix[i] = byte(i*7 + slot)
		}
	}
	s.worker = infer.New(infer.Config{
		Executable: filepath.Join(env.Bin, "sightline-agent"), Args: []string{"worker", "infer"}, Library: env.ORT, Provider: provider,
		Engines: infer.Engines{Dir: filepath.Join(env.Root, "build", "cache", "engines")}, Model: infer.Model{Path: path}, Spec: spec, Threads: 1, Log: slog.New(slog.DiscardHandler),
	})
	ctx, s.end = context.WithCancel(ctx)
	s.group = new(errgroup.Group)
	s.group.Go(func() error { return s.worker.Run(ctx) })
	if s.info, err = s.worker.Ready(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *served) close() {
	s.end()
	_ = s.group.Wait() // what it ended with was told by Ready or Infer
	s.pool.Release()
}

// loop gives the worker n frames, two at a time, and tells results a second.
func (s *served) loop(ctx context.Context, n int) (Sample, error) {
	start := time.Now()
	var g errgroup.Group
	for slot := range 2 {
		g.Go(func() error {
			for range n / 2 {
				if _, err := s.worker.Infer(ctx, &s.frame, s.pool, slot); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	return Sample{Value: float64(n) / time.Since(start).Seconds()}, err
}
