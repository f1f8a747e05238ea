package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/sightline-edge/sightline/vision/infer"
)

// bareModel is a loop of Run alone.
type bareModel struct {
	run   func() error
	close func()
}

// bareRuns is the runs of one turn.
const bareRuns = 400

// loop runs the model n times and gives the time of each in seconds and the
// process's CPU time for all.
func (m *bareModel) loop(ctx context.Context, n int) (each []float64, cpu time.Duration, err error) {
	before := selfCPU()
	for range n {
		start := time.Now()
		if err := errors.Join(ctx.Err(), m.run()); err != nil {
			return nil, 0, fmt.Errorf("run the bare model: %w", err)
		}
		each = append(each, time.Since(start).Seconds())
	}
	return each, selfCPU() - before, nil
}

func selfCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails only for a wrong argument
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// computes is what both sides run the model on: the CPU unless SIGHTLINE_PROVIDER
// names another.
func computes() (infer.Provider, error) {
	p, err := infer.FindProvider("")
	if p == infer.Auto {
		p = infer.CPU
	}
	return p, err
}

// trySummary is the part of try's summary that we use.
type trySummary struct {
	Kind     string  `json:"kind"`
	Inferred int     `json:"frames_inferred"`
	Dropped  int     `json:"frames_dropped"`
	FPS      float64 `json:"fps"`
	CPU      float64 `json:"cpu_seconds"`
}

// try inspects a recording with the real agent on two cores, its model on so many
// threads.
func try(ctx context.Context, env *Env, source, model string, labels bool, threads int) (trySummary, error) {
	var s trySummary
	args := []string{"try", "--source", source, "--model", model, "--threads", strconv.Itoa(threads), "--json"}
	if labels {
		args = append(args, "--labels", "coco")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(env.Bin, "sightline-agent"), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	provider, err := computes()
	if err != nil {
		return s, err
	}
	cmd.Env = append(os.Environ(), infer.ProviderEnv+"="+string(provider))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err = startOnTwo(cmd); err == nil {
		err = cmd.Wait()
	}
	out := stdout.Bytes()
	if err != nil {
		return s, fmt.Errorf("try %s: %w: %s", source, err, bytes.TrimSpace(stderr.Bytes()))
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &s); err != nil || s.Kind != "summary" || s.Inferred == 0 {
		return s, fmt.Errorf("try %s: the last line is no summary of inspected frames: %s", source, lines[len(lines)-1])
	}
	if s.Dropped > 0 {
		return s, fmt.Errorf("try %s: %d frames of a file were dropped", source, s.Dropped)
	}
	return s, nil
}

// needs says what is absent of the files.
func needs(paths ...string) error {
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return LeftOut(p + " is absent")
		}
	}
	return nil
}

// bottles gives the recording and the model of P1 and P7.
func (env *Env) bottles() (video, model string, err error) {
	if env.Data == "" {
		return "", "", LeftOut("SIGHTLINE_REALDATA isn't set")
	}
	video = filepath.Join(env.Data, "video", "bottle-detection.mp4")
	model = filepath.Join(env.Data, "models", "yolox_nano.onnx")
	return video, model, needs(video, model, env.ORT, filepath.Join(env.Bin, "sightline-agent"), filepath.Join(env.Bin, "sightline-capture"))
}

// p1 measures what is left of the bare model's speed when a file is inspected.
func p1() Figure {
	return Figure{
		ID:   "P1",
		What: "results/s of try on a file ÷ runs/s of the bare model, YOLOX-nano, one thread and two",
		Goal: ">= 0.97",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			provider, err := computes()
			if err != nil {
				return nil, err
			}
			rows, err := workerRows(ctx, env, provider)
			if err != nil {
				return rows, err
			}
			for _, w := range []struct {
				id, what, goal string
				threads        int
			}{
				{"P1", "one thread", ">= 0.97", 1},
				{"P1/threads2", "two threads", ">= 0.88", 2},
			} {
				row, err := env.fileRow(ctx, Row{ID: w.id, Goal: w.goal,
					What: fmt.Sprintf("YOLOX-nano by %s on 1,189 frames of 640×360, %s, either side on the same two cores: results/s ÷ runs/s of Run alone", provider, w.what)}, w.threads, provider)
				if err != nil {
					return rows, err
				}
				rows = append(rows, row)
			}
			return rows, nil
		},
	}
}

func (env *Env) fileRow(ctx context.Context, row Row, threads int, provider infer.Provider) (Row, error) {
	video, model, err := env.bottles()
	if err != nil {
		return row, err
	}
	var bare *bareModel
	err = onTwo(func() (err error) {
		bare, err = openBare(env.ORT, model, threads, provider)
		return err
	})
	if err != nil {
		return row, err
	}
	defer bare.close()
	return env.Compare(ctx, row,
		func(ctx context.Context) (Sample, error) {
			s, err := try(ctx, env, video, model, true, threads)
			return Sample{Value: s.FPS}, err
		},
		func(ctx context.Context) (Sample, error) {
			var each []float64
			err := onTwo(func() (err error) {
				each, _, err = bare.loop(ctx, bareRuns)
				return err
			})
			if err != nil {
				return Sample{}, err
			}
			total := 0.0
			for _, t := range each {
				total += t
			}
			return Sample{Value: float64(len(each)) / total, Each: each}, nil
		})
}
