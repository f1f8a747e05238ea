package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
)

const (
	hotSwaps   = 100
	ageFrames  = 1024             // over so many of the newest pictures a station tells the quantiles of their age
	settleTime = 15 * time.Second // a model's process gives back 10 s after its start what that took
	steadyTime = 3 * time.Minute  // more than it takes to see ageFrames, and until what the agent keeps of parts has its full number
)

// hotSwap measures what a station loses while other models are swapped into it again
// and again, each loaded and proved beside the running one.
func hotSwap() Figure {
	return Figure{
		ID:   "swap",
		What: "100 models swapped into a running station: age of its pictures, pictures lost, memory ÷ without swaps",
		Goal: "told",
		Run: func(ctx context.Context, env *Env) (rows []Row, err error) {
			if err := needs(env.ORT, filepath.Join(env.Bin, "sightline-agent"), filepath.Join(env.Bin, "sightline")); err != nil {
				return nil, err
			}
			dir, err := os.MkdirTemp("", "sightline-bench-")
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			s := &swapping{env: env, dir: dir}
			if err := s.bundles(ctx); err != nil {
				return nil, fmt.Errorf("make two bundles: %w", err)
			}
			stop, err := s.start(ctx)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("start a station: %w", err), stop())
			}
			defer func() { err = errors.Join(err, stop()) }()
			return s.measure(ctx)
		},
	}
}

// swapping is a real agent, and two bundles that differ in their weights.
type swapping struct {
	watched
	env     *Env
	dir     string
	pid     int
	folders [2]string
}

// bundles makes the shipped model and one with some bits of it flipped, with golden
// vectors of their own.
func (s *swapping) bundles(ctx context.Context) error {
	s.folders = [2]string{filepath.Join(s.dir, "one"), filepath.Join(s.dir, "other")}
	if _, err := mutant.Drawn(s.folders[0], mutant.GoldenPictures); err != nil {
		return err
	}
	if _, err := mutant.Write(os.DirFS(s.folders[0]), s.folders[1], mutant.Flip, 1); err != nil {
		return err
	}
	for _, folder := range s.folders {
		cmd := exec.CommandContext(ctx, filepath.Join(s.env.Bin, "sightline-agent"), "golden", folder, "--pictures", filepath.Join(folder, "golden"))
		cmd.Env = append(os.Environ(), "SIGHTLINE_ONNXRUNTIME="+s.env.ORT)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("record golden vectors: %w: %s", err, out)
		}
	}
	return nil
}

// start runs a camera and the agent. What it gives ends both, with an error too.
func (s *swapping) start(ctx context.Context) (stop func() error, err error) {
	source, dark, err := belt(ctx)
	if err != nil {
		return func() error { return nil }, err
	}
	if s.agent, err = cable.FreeAddress("127.0.0.1"); err != nil {
		return dark, err
	}
	config := filepath.Join(s.dir, "station.yaml")
	text := fmt.Sprintf("listen: %q\ndata: %q\nstations:\n  - id: belt\n    camera: {source: %q}\n    model: %s\n    allow_unsigned: true\n",
		s.agent, filepath.Join(s.dir, "device"), source, s.folders[1])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return dark, err
	}
	agent := exec.Command(filepath.Join(s.env.Bin, "sightline-agent"), "run", "--config", config)
	agent.Env = append(os.Environ(), "SIGHTLINE_ONNXRUNTIME="+s.env.ORT)
	if err := agent.Start(); err != nil {
		return dark, err
	}
	s.pid = agent.Process.Pid
	stop = func() error { return errors.Join(agent.Process.Signal(syscall.SIGTERM), agent.Wait(), dark()) }
	return stop, await(ctx, func() bool {
		n, err := s.look(ctx)
		return err == nil && n.verdicts > 5
	})
}

// swap lets the station have the other bundle.
func (s *swapping) swap(ctx context.Context, n int) error {
	address := "http://" + s.agent + "/v1/stations/belt/model"
	body, err := json.Marshal(api.SwapAsk{Model: s.folders[n%2]})
	if err != nil {
		return err
	}
	if _, err := s.call(ctx, http.MethodPut, address, body); err != nil {
		return err
	}
	var m api.StationModel
	err = await(ctx, func() bool {
		text, err := s.call(ctx, http.MethodGet, address, nil)
		return err == nil && json.Unmarshal(text, &m) == nil && m.Swap != nil && m.Swap.Phase.Over()
	})
	if err == nil && m.Swap.Phase != api.SwapDone {
		err = errors.New(m.Swap.Words())
	}
	return err
}

// measure takes a steady time, two swaps that nobody counts (so that both models have
// been there), and a time of swaps.
func (s *swapping) measure(ctx context.Context) ([]Row, error) {
	for n := range 2 {
		if err := s.swap(ctx, n); err != nil {
			return nil, err
		}
	}
	steady, err := s.over(ctx, func() error {
		select {
		case <-time.After(steadyTime):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return nil, err
	}
	busy, err := s.over(ctx, func() error {
		for n := range hotSwaps {
			if err := s.swap(ctx, n); err != nil {
				return fmt.Errorf("swap %d of %d: %w", n+1, hotSwaps, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return swapRows(steady, busy), nil
}

// swapRows compare a time of swaps with one without.
func swapRows(steady, busy stretch) []Row {
	row := func(id, goal, what string, ours, bare float64) Row {
		return Row{ID: id, Goal: goal, What: what, Ours: ours, Bare: bare, Ratio: ours / bare, Worst: ours / bare}
	}
	what := fmt.Sprintf("a station into which two models are swapped in turn, %d times in %.0f s, each loaded and proved by %d golden pictures, one run: ", hotSwaps, busy.took.Seconds(), mutant.GoldenPictures)
	return []Row{
		row("swap/age", "<= 1.5", what+"p99 ms of the age of the newest 1,024 pictures at their result ÷ without swaps", busy.age, steady.age),
		row("swap/frames", ">= 0.99", fmt.Sprintf("%sshare of %.0f pictures that a model saw ÷ without swaps, of %.0f; the others gave way to newer ones, or are those of swap/lost",
			what, busy.captured, steady.captured), busy.seen(), steady.seen()),
		row("swap/lost", "<= 0", fmt.Sprintf("%spictures that had no result though a model looked, or one that came too late (%.0f of %.0f without swaps) ÷ all that were captured",
			what, steady.lost, steady.captured), busy.lost, busy.captured),
		row("swap/memory", "<= 1.01", what+"memory of all processes that no file holds, MB after them ÷ before", busy.memory/1e6, steady.memory/1e6),
	}
}

// stretch is what a station did in a time.
type stretch struct {
	told
	took        time.Duration
	age, memory float64 // at its end: ms, bytes
}

// over measures what the station does while f runs.
func (s *swapping) over(ctx context.Context, f func() error) (out stretch, err error) {
	before, err := s.look(ctx)
	if err != nil {
		return out, err
	}
	began := time.Now()
	if err := f(); err != nil {
		return out, err
	}
	out.took = time.Since(began)
	after, err := s.look(ctx)
	if err != nil {
		return out, err
	}
	out.told, out.age = after.since(before), after.age
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
		return out, ctx.Err()
	}
	out.memory = math.Inf(1)
	for range 20 { // the least of two seconds: between two collections of garbage
		out.memory = min(out.memory, treeMemory(s.pid).private)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return out, ctx.Err()
		}
	}
	return out, nil
}
