package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/scene"
)

// What the agent with slow cameras is measured with.
const (
	slowCameras = 4
	slowWindow  = 5 * time.Second // of a round
	slowLimit   = 1.0             // percent of a core, all cameras together
)

// idlecams measures what four connected cameras of one picture a second cost
// beyond the decoding of their pictures.
func idlecams() Figure {
	return Figure{
		ID:   "idlecams",
		What: "four cameras of 1 frame/s with a model: CPU of the agent and its capture workers beyond decoding, % of a core ÷ the 1 % that is allowed",
		Goal: "<= 1",
		Run: func(ctx context.Context, env *Env) (rows []Row, err error) {
			if err := needs(env.ORT, filepath.Join(env.Bin, "sightline-agent")); err != nil {
				return nil, err
			}
			dir, err := os.MkdirTemp("", "sightline-bench-")
			if err != nil {
				return nil, fmt.Errorf("make a folder: %w", err)
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			var sources []string
			for n := range slowCameras {
				source, dark, err := camera(ctx, uint64(n+1), 1)
				if err != nil {
					return nil, err
				}
				defer func() { err = errors.Join(err, dark()) }()
				sources = append(sources, source)
			}
			agent, err := newRunner(env, dir, sources)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, agent.kill()) }()
			return slow{env, agent}.measure(ctx)
		},
	}
}

// slow is an agent with four cameras.
type slow struct {
	env   *Env
	agent *runner
}

func (s slow) measure(ctx context.Context) ([]Row, error) {
	if err := s.agent.start(); err != nil {
		return nil, err
	}
	if err := s.agent.works(ctx, 3); err != nil {
		return nil, err
	}
	pictures, err := slowPictures()
	if err != nil {
		return nil, err
	}
	var beyond, allowed, all, decoding []Sample
	for round := range max(s.env.Rounds, 5) {
		total, decode, err := s.window(ctx, pictures)
		if err != nil {
			return nil, fmt.Errorf("idlecams, round %d: %w", round+1, err)
		}
		share := 100 / float64(slowWindow)
		beyond = append(beyond, Sample{Value: float64(total-decode) * share})
		allowed = append(allowed, Sample{Value: slowLimit})
		all, decoding = append(all, Sample{Value: float64(total) * share}), append(decoding, Sample{Value: float64(decode) * share})
	}
	what := fmt.Sprintf("%d MJPEG cameras of 640×360 at 1 frame/s, a station each, drawn-parts: CPU of the agent and its capture workers (the model's process apart)", slowCameras)
	row, err := s.env.Compare(ctx, Row{ID: "idlecams", Goal: "<= 1",
		What: what + " beyond decoding, % of a core ÷ the 1 % that is allowed"}, again(beyond), again(allowed))
	if err != nil {
		return nil, err
	}
	second, err := s.env.Compare(ctx, Row{ID: "idlecams/all", Goal: "told",
		What: what + ", % of a core ÷ that of decoding as many such pictures at the same pace"}, again(all), again(decoding))
	return []Row{row, second}, err
}

// slowPictures are pictures as the cameras send them.
func slowPictures() (all [][]byte, err error) {
	drawn, err := scene.New(scene.Config{Width: 640, Height: 360, Rate: 1, Seed: 1})
	if err != nil {
		return nil, err
	}
	f := drawn.NewFrame()
	for n := range slowCameras {
		if err := drawn.Frame(n, f); err != nil {
			return nil, err
		}
		b, err := picture.EncodeJPEG(f, picture.Encoding{})
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// window takes the CPU time of the agent and its capture workers over one
// window, and that of decoding as many pictures, one at a time over the same
// window: a processor that has slept decodes slower than in a tight loop.
func (s slow) window(ctx context.Context, pictures [][]byte) (total, decode time.Duration, err error) {
	captured, err := s.captured(ctx)
	if err != nil {
		return 0, 0, err
	}
	processes := s.processes()
	before := map[int]time.Duration{}
	for _, pid := range processes {
		before[pid] = processorTime(pid)
	}
	one, err := decodeAtPace(ctx, pictures, slowWindow)
	if err != nil {
		return 0, 0, err
	}
	for _, pid := range processes {
		total += processorTime(pid) - before[pid]
	}
	now, err := s.captured(ctx)
	if err == nil && len(processes) != 1+slowCameras {
		err = fmt.Errorf("%d processes are the agent's and its capture workers', want %d", len(processes), 1+slowCameras)
	}
	return total, one * time.Duration(now-captured), err
}

// processes are the agent's and its capture workers'.
func (s slow) processes() []int {
	var all []int
	for _, pid := range tree(s.agent.cmd.Process.Pid) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && !strings.Contains(string(line), "\x00infer\x00") {
			all = append(all, pid)
		}
	}
	return all
}

func (s slow) captured(ctx context.Context) (n uint64, err error) {
	var answer struct {
		Cameras []struct {
			Captured uint64 `json:"frames_captured"`
		}
	}
	if err := s.agent.ask(ctx, "/v1/cameras", &answer); err != nil {
		return 0, err
	}
	for _, c := range answer.Cameras {
		n += c.Captured
	}
	return n, nil
}

// decodeAtPace decodes one of the pictures at a time over a window, as often as
// the cameras send some, and tells what one costs.
func decodeAtPace(ctx context.Context, pictures [][]byte, window time.Duration) (one time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pace := time.NewTicker(time.Second / slowCameras)
	defer pace.Stop()
	times := int(window * slowCameras / time.Second)
	room := make([]byte, 3*640*360)
	before := threadTime()
	for n := range times {
		_, err := picture.Decode(pictures[n%len(pictures)], func(w, h int) ([]byte, error) { return room[:3*w*h], nil })
		if err != nil {
			return 0, err
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return (threadTime() - before) / time.Duration(times), nil
}

func threadTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(1 /* RUSAGE_THREAD */, &u) // fails only for a wrong argument
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// processorTime is what a process's threads have used, to the ns (the ticks of
// /proc's stat would be as long as what is measured).
func processorTime(pid int) (total time.Duration) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/schedstat", pid))
	if err != nil {
		panic("BUG: " + err.Error()) // the pattern is a constant
	}
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		ns, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(ns, 10, 64) // the kernel writes numbers
		total += time.Duration(n)
	}
	return total
}
