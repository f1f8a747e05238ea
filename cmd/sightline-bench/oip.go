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
	oipClients  = 8
	oipRuns     = 120 // of the deep model in a turn, and requests
	oipRequests = 400 // for the shallow one, and its runs
	oipFirst    = 10  // of a turn that don't count
)

// oipFigure measures what serving a model over HTTP costs beside running it.
func oipFigure() Figure {
	return Figure{
		ID:   "OIP",
		What: "1×3×224×224 float32 over loopback to sightline-agent serve, against a loop of Run alone; one thread",
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
			s := &servedHTTP{stderr: &bytes.Buffer{}}
			defer s.close()
			for name, model := range map[string][]byte{deepModel: resnet18(), shallowModel: shallow()} {
				if err := s.add(env, filepath.Join(dir, name+".onnx"), model); err != nil {
					return nil, err
				}
			}
			if err := s.start(ctx, env); err != nil {
				return nil, err
			}
			rows, err := s.rows(ctx, env)
			return rows, errors.Join(err, s.end())
		},
	}
}

// The models that are served. What a request takes beyond its run is lost in the
// uneven runs of one that takes 20 ms and more.
const (
	deepModel    = "resnet18" // its layers, with drawn weights
	shallowModel = "shallow"  // takes and gives as much, and runs for some 0.05 ms
)

// servedHTTP is a running sightline-agent serve, with its models here as well.
type servedHTTP struct {
	files  []string
	bare   map[string]*bareModel
	cmd    *exec.Cmd
	client *oip.Client
	stderr *bytes.Buffer
}

// add opens a model, which will be served under its file's name.
func (s *servedHTTP) add(env *Env, file string, model []byte) error {
	if err := os.WriteFile(file, model, 0o600); err != nil {
		return err
	}
	m, err := openBare(env.ORT, file, 1, infer.CPU)
	if err != nil {
		return err
	}
	if s.bare == nil {
		s.bare = map[string]*bareModel{}
	}
	s.files, s.bare[strings.TrimSuffix(filepath.Base(file), ".onnx")] = append(s.files, file), m
	return nil
}

func (s *servedHTTP) close() {
	for _, m := range s.bare {
		m.close()
	}
}

// start starts the agent and waits until it answers.
func (s *servedHTTP) start(ctx context.Context, env *Env) error {
	args := []string{"serve", "--threads", "1", "--provider", string(infer.CPU), "--addr", "127.0.0.1:0", "--onnxruntime", env.ORT}
	for _, file := range s.files {
		args = append(args, "--model", file)
	}
	s.cmd = exec.CommandContext(ctx, filepath.Join(env.Bin, "sightline-agent"), args...)
	s.cmd.Stderr = s.stderr
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) }
	s.cmd.WaitDelay = 5 * time.Second
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if at, ok := strings.CutPrefix(lines.Text(), "answering at "); ok {
			s.client, err = oip.NewClient(oip.ClientConfig{URL: strings.TrimSuffix(at, "/v2")})
			return err
		}
	}
	return fmt.Errorf("start serve: %w: %s", s.cmd.Wait(), bytes.TrimSpace(s.stderr.Bytes()))
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
func (s *servedHTTP) ask(ctx context.Context, model string, n int) ([]float64, error) {
	in := []oip.Tensor{{Name: resnetIn, Datatype: "FP32", Shape: []int64{1, 3, resnetSide, resnetSide}, Data: make([]byte, 4*resnetInputFloats)}}
	var each []float64
	for range n {
		start := time.Now()
		out, err := s.client.Infer(ctx, model, "", in, nil)
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

func (s *servedHTTP) rows(ctx context.Context, env *Env) ([]Row, error) {
	rows, err := s.latency(ctx, env)
	if err != nil {
		return nil, fmt.Errorf("OIP/latency: %w", err)
	}
	throughput, err := env.Compare(ctx, Row{ID: "OIP/throughput", Goal: ">= 0.9", What: fmt.Sprintf("layers of ResNet18, %d clients at once: answers/s ÷ runs/s of Run alone", oipClients)},
		s.crowd,
		func(ctx context.Context) (Sample, error) {
			start := time.Now()
			_, _, err := s.bare[deepModel].loop(ctx, oipRuns)
			return Sample{Value: oipRuns / time.Since(start).Seconds()}, err
		})
	if err != nil {
		return rows, err
	}
	return append(rows, throughput), nil
}

// latency compares requests for the shallow model with its runs, and with a bare server
// that is sent as much.
func (s *servedHTTP) latency(ctx context.Context, env *Env) ([]Row, error) {
	bare, err := startChild(ctx, answerRole, 4*resnetOutputFloats)
	if err != nil {
		return nil, err
	}
	rows, err := s.latencies(ctx, env, bare.addr)
	return rows, errors.Join(err, bare.end())
}

func (s *servedHTTP) latencies(ctx context.Context, env *Env, bare string) ([]Row, error) {
	p50 := func(each []float64) float64 { return 1e3 * quantile(each[min(oipFirst, len(each)):], 0.5) }
	var beyond, allowed, transport []Sample
	for range max(env.Rounds, 5) {
		asked, err := s.ask(ctx, shallowModel, oipFirst+oipRequests)
		if err != nil {
			return nil, err
		}
		ran, _, err := s.bare[shallowModel].loop(ctx, oipFirst+oipRequests)
		if err != nil {
			return nil, err
		}
		sent, err := post(ctx, bare, oipFirst+oipRequests)
		if err != nil {
			return nil, err
		}
		beyond = append(beyond, Sample{Value: p50(asked) - p50(ran)})
		allowed, transport = append(allowed, Sample{Value: 1}), append(transport, Sample{Value: p50(sent)})
	}
	const what = "p50 of a request with binary tensors, on a connection that is kept, less the p50 of Run alone (a shallow model): ms ÷ "
	latency, err := env.Compare(ctx, Row{ID: "OIP/latency", Goal: "<= 0.4", What: what + "1 ms"}, again(beyond), again(allowed))
	if err != nil {
		return nil, err
	}
	over, err := env.Compare(ctx, Row{ID: "OIP/transport", Goal: "told", What: what + "a bare net/http server's that reads as much into memory and answers as much"}, again(beyond), again(transport))
	return []Row{latency, over}, err
}

// crowd has all clients ask at once, and gives answers a second.
func (s *servedHTTP) crowd(ctx context.Context) (Sample, error) {
	var g errgroup.Group
	start := time.Now()
	for range oipClients {
		g.Go(func() error {
			_, err := s.ask(ctx, deepModel, oipRuns/oipClients)
			return err
		})
	}
	err := g.Wait()
	return Sample{Value: oipRuns / time.Since(start).Seconds()}, err
}
