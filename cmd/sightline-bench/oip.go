package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/vision/infer"
)

// What the served model is measured with.
const (
	oipClients = 8
	oipRuns    = 120 // of the bare model in a turn, and requests
	oipFirst   = 10  // requests of a turn that don't count
)

// oipFigure measures what serving a model over HTTP costs beside running it.
func oipFigure() Figure {
	return Figure{
		ID:   "OIP",
		What: "a model with the layers of ResNet18, 1×3×224×224 float32, served over loopback by sightline-agent serve, against a loop of Run alone; one thread",
		Goal: "told",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			if err := needs(env.ORT, filepath.Join(env.Bin, "sightline-agent")); err != nil {
				return nil, err
			}
			dir, err := os.MkdirTemp("", "sightline-oip-")
			if err != nil {
				return nil, err
			}
			defer os.RemoveAll(dir)
			path := filepath.Join(dir, "resnet18.onnx")
			if err := os.WriteFile(path, resnet18(), 0o600); err != nil {
				return nil, err
			}
			bare, err := openBare(env.ORT, path, 1, infer.CPU)
			if err != nil {
				return nil, err
			}
			defer bare.close()
			s, err := startServe(ctx, env, path)
			if err != nil {
				return nil, err
			}
			rows, err := s.rows(ctx, env, bare)
			return rows, errors.Join(err, s.end())
		},
	}
}

// servedHTTP is a running sightline-agent serve.
type servedHTTP struct {
	cmd    *exec.Cmd
	client *oip.Client
	stderr *bytes.Buffer
}

// startServe starts the agent and waits until it answers.
func startServe(ctx context.Context, env *Env, model string) (*servedHTTP, error) {
	s := &servedHTTP{stderr: &bytes.Buffer{}}
	s.cmd = exec.CommandContext(ctx, filepath.Join(env.Bin, "sightline-agent"), "serve", "--model", model,
		"--threads", "1", "--provider", string(infer.CPU), "--addr", "127.0.0.1:0", "--onnxruntime", env.ORT)
	s.cmd.Stderr = s.stderr
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) }
	s.cmd.WaitDelay = 5 * time.Second
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if at, ok := strings.CutPrefix(lines.Text(), "answering at "); ok {
			s.client, err = oip.NewClient(oip.ClientConfig{URL: strings.TrimSuffix(at, "/v2")})
			return s, err
		}
	}
	return nil, fmt.Errorf("start serve: %w: %s", s.cmd.Wait(), bytes.TrimSpace(s.stderr.Bytes()))
}

func (s *servedHTTP) end() error {
	s.client.Close()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("serve ended with %w: %s", err, bytes.TrimSpace(s.stderr.Bytes()))
	}
	return nil
}

// ask sends a picture n times and gives the time of each answer in seconds.
func (s *servedHTTP) ask(ctx context.Context, n int) ([]float64, error) {
	in := []oip.Tensor{{Name: resnetIn, Datatype: "FP32", Shape: []int64{1, 3, resnetSide, resnetSide}, Data: make([]byte, 4*resnetInputFloats)}}
	var each []float64
	for range n {
		start := time.Now()
		out, err := s.client.Infer(ctx, "resnet18", "", in, nil)
		if err != nil {
			return nil, err
		}
		if len(out) != 1 || len(out[0].Data) != 4*resnetOutputFloats {
			return nil, fmt.Errorf("the answer isn't one tensor of %d values", resnetOutputFloats)
		}
		each = append(each, time.Since(start).Seconds())
	}
	return each, nil
}

func (s *servedHTTP) rows(ctx context.Context, env *Env, bare *bareModel) ([]Row, error) {
	loop := func(ctx context.Context) (Sample, []float64, error) {
		start := time.Now()
		each, _, err := bare.loop(ctx, oipRuns)
		return Sample{Value: oipRuns / time.Since(start).Seconds(), Each: each}, each, err
	}
	var beyond, allowed []Sample
	for round := range max(env.Rounds, 5) {
		var request, model float64
		_, _, err := turns(ctx, round,
			func(ctx context.Context) (Sample, error) {
				each, err := s.ask(ctx, oipFirst+oipRuns)
				request = quantile(each[min(oipFirst, len(each)):], 0.5)
				return Sample{}, err
			},
			func(ctx context.Context) (Sample, error) {
				x, each, err := loop(ctx)
				model = quantile(each, 0.5)
				return x, err
			})
		if err != nil {
			return nil, fmt.Errorf("OIP/latency, round %d: %w", round+1, err)
		}
		beyond, allowed = append(beyond, Sample{Value: 1e3 * (request - model)}), append(allowed, Sample{Value: 1})
	}
	latency, err := env.Compare(ctx, Row{ID: "OIP/latency", Goal: "<= 0.4", What: "p50 of a request with binary tensors, on a connection that is kept, less the p50 of Run alone: ms ÷ 1 ms"}, again(beyond), again(allowed))
	if err != nil {
		return nil, err
	}
	throughput, err := env.Compare(ctx, Row{ID: "OIP/throughput", Goal: ">= 0.9", What: fmt.Sprintf("%d clients at once: answers/s ÷ runs/s of Run alone", oipClients)},
		s.crowd,
		func(ctx context.Context) (Sample, error) {
			x, _, err := loop(ctx)
			return x, err
		})
	return []Row{latency, throughput}, err
}

// crowd has all clients ask at once, and gives answers a second.
func (s *servedHTTP) crowd(ctx context.Context) (Sample, error) {
	var g errgroup.Group
	start := time.Now()
	for range oipClients {
		g.Go(func() error {
			_, err := s.ask(ctx, oipRuns/oipClients)
			return err
		})
	}
	err := g.Wait()
	return Sample{Value: oipRuns / time.Since(start).Seconds()}, err
}
