package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/internal/prompt"
	"github.com/sightline-edge/sightline/vision/capture"
)

// What a hand-over is measured with.
const (
	handoverLimit  = 0.2 // ms, p99
	handoverFrames = 300 // in a turn
	handoverRate   = 200 // frames a second
	handoverFirst  = 20  // frames of a turn that don't count: the process has just started
	handoverSide   = 64  // pixels: so small that reading and copying them takes next to no time
)

// modelNice is the nice value of the inference worker's threads.
const modelNice = 5

// handover measures the way of a frame from a capture worker to its consumer,
// on an idle machine and on one whose every core is busy.
func handover() Figure {
	return Figure{
		ID:   "handover",
		What: "a frame from the capture worker's hands to its consumer's, p99 ms ÷ the 0.2 ms that are allowed; ÷ a bare blocking socket between two processes",
		Goal: "told",
		Run: func(ctx context.Context, env *Env) (rows []Row, err error) {
			if err := needs(filepath.Join(env.Bin, "sightline-agent")); err != nil {
				return nil, err
			}
			if err := prompt.All(); err != nil { // as the agent does
				return nil, err
			}
			self, err := os.Executable()
			if err != nil {
				return nil, fmt.Errorf("find this program's own file: %w", err)
			}
			for _, l := range []burden{
				{"idle", "nothing else runs", nil},
				{"model", "a thread that computes at nice 5, as a model's, on each core", []int{modelNice}},
				{"busy", "a busy loop at nice 0 on each core", []int{0}},
			} {
				two, err := l.measure(ctx, env, self)
				if err != nil {
					return rows, err
				}
				rows = append(rows, two...)
			}
			return rows, nil
		},
	}
}

// burden is what keeps the cores busy meanwhile.
type burden struct {
	name, what string
	nice       []int // of the loops on each core
}

func (l burden) measure(ctx context.Context, env *Env, self string) ([]Row, error) {
	var ours, bare, allowed []Sample
	for round := range max(env.Rounds, 5) {
		a, b, err := turns(ctx, round,
			func(ctx context.Context) (Sample, error) { return l.under(ctx, self, handFrames(env, self)) },
			func(ctx context.Context) (Sample, error) { return l.under(ctx, self, handBytes(self)) })
		if err != nil {
			return nil, fmt.Errorf("handover, %s, round %d: %w", l.name, round+1, err)
		}
		ours, bare, allowed = append(ours, a), append(bare, b), append(allowed, Sample{Value: handoverLimit})
	}
	what := fmt.Sprintf("%s; from a picture's first byte in the capture worker to Next in the agent's process, "+
		"%d pictures of %d×%d gray a turn, %d a second, the worker's copying, its message and our threads included: p99 ms ÷ ",
		l.what, handoverFrames, handoverSide, handoverSide, handoverRate)
	first, err := env.Compare(ctx, Row{ID: "handover/" + l.name, Goal: "<= 1", What: what + "the 0.2 ms that are allowed"}, again(ours), again(allowed))
	if err != nil {
		return nil, err
	}
	second, err := env.Compare(ctx, Row{ID: "handover/" + l.name + "-socket", Goal: "told",
		What: what + "that of 150 bytes over a bare socket to a thread that blocks in the kernel"}, again(ours), again(bare))
	return []Row{first, second}, err
}

// under measures while the load is on.
func (l burden) under(ctx context.Context, self string, turn Turn) (s Sample, err error) {
	ctx, stop := context.WithCancel(ctx)
	var loops errgroup.Group
	defer func() {
		stop()
		_ = loops.Wait() // they are killed, which is no news
	}()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return s, err
	}
	for core, left := 0, all.Count(); left > 0; core++ {
		if !all.IsSet(core) {
			continue
		}
		left--
		for _, nice := range l.nice {
			cmd := exec.CommandContext(ctx, self, loopRole, strconv.Itoa(core), strconv.Itoa(nice))
			if err := cmd.Start(); err != nil {
				return s, fmt.Errorf("load core %d: %w", core, err)
			}
			loops.Go(cmd.Wait)
		}
	}
	return turn(ctx)
}

// handFrames is a turn through a real capture worker, which reads a program.
func handFrames(env *Env, self string) Turn {
	return func(ctx context.Context) (s Sample, err error) {
		side, rate := strconv.Itoa(handoverSide), strconv.Itoa(handoverRate)
		cam, err := capture.New(capture.Config{
			Source:  "exec:" + self + " " + framesRole + " " + side + " " + rate,
			Options: capture.Options{Format: "GRAY8", Width: handoverSide, Height: handoverSide}, SelfExecutable: filepath.Join(env.Bin, "sightline-agent"), SelfArgs: []string{"worker", "capture"},
		})
		if err != nil {
			return s, err
		}
		feed := cam.Feed()
		ctx, stop := context.WithTimeout(ctx, 30*time.Second)
		var g errgroup.Group
		g.Go(func() error { return cam.Run(ctx) })
		each := make([]float64, 0, handoverFrames)
		for n := 0; n < handoverFirst+handoverFrames && err == nil; n++ {
			var f *capture.Frame
			if f, err = feed.Next(ctx); err != nil {
				err = fmt.Errorf("frame %d: %w: %s", n, err, cam.Stats().LastError)
				break
			}
			if age := time.Since(f.Captured); n >= handoverFirst {
				each = append(each, milliseconds(age))
			}
			f.Release()
		}
		stop()
		return p99(each), errors.Join(err, g.Wait())
	}
}
