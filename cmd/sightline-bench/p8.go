package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// What the flat run is: the bottles' recording so often that it has this many frames.
const (
	bottleFrames = 1189
	flatFrames   = 100_000
)

// p8 measures the memory of all our processes, and whether it grows.
func p8() Figure {
	return Figure{
		ID:   "P8",
		What: "memory of all processes beyond the bare model's, MB (PSS) ÷ that of P14's script; at the end of 100,000 frames ÷ after a tenth of them",
		Goal: "<= 0.4",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			rows, err := bottleContest(ctx, env, "P8", func(c *contest) ([]Row, error) { return c.weighed(ctx) })
			var left LeftOut
			if err != nil && !errors.As(err, &left) {
				return rows, err
			}
			flat, err := env.flat(ctx, flatFrames)
			if err != nil {
				return rows, err
			}
			what := fmt.Sprintf("FastestDet, bottles on %d frames of 640×360, one run, in its last twentieth ÷ behind its first tenth: ", flat.frames)
			return append(rows,
				flat.row(env, Row{ID: "P8/flat", Goal: "<= 1.01", What: what + "memory of all processes, MB (PSS)"}, func(m memory) float64 { return m.all }),
				// A leak shows here, also while other programs begin and cease to share our libraries.
				flat.row(env, Row{ID: "P8/flat-private", Goal: "told", What: what + "of it what no file holds, MB"}, func(m memory) float64 { return m.private })), nil
		},
	}
}

// weighed lets both sides count, and makes the rows of what they took beyond the model.
func (c *contest) weighed(ctx context.Context) ([]Row, error) {
	if err := c.env.uncached(); err != nil {
		return nil, err
	}
	bare, err := weighBare(ctx, c.env, c.model)
	if err != nil {
		return nil, err
	}
	for side, as := range map[int]string{agentSide: "in our processes", scriptSide: "in the script"} {
		fmt.Fprintf(c.env.Log, "    P8: the bare model takes %.1f MB %s, %.1f of them in no file\n", bare[side].all/1e6, as, bare[side].private/1e6)
	}
	var taken [sides][]lap
	for round := range max(c.env.Rounds, 5) {
		_, _, err := turns(ctx, round, c.kept(agentSide, &taken[agentSide]), c.kept(scriptSide, &taken[scriptSide]))
		if err != nil {
			return nil, fmt.Errorf("P8, round %d: %w", round+1, err)
		}
	}
	if err := sameCount(taken[agentSide], taken[scriptSide]); err != nil {
		return nil, fmt.Errorf("P8: %w", err)
	}
	var rows []Row
	for _, w := range []struct {
		row  Row
		take func(memory) float64
	}{
		{Row{ID: "P8", Goal: "<= 0.4", What: "memory beyond the bare model's, MB (PSS, median of the run's seconds), programs and libraries read from the disk as after a boot ÷ the script's"},
			func(m memory) float64 { return m.all }},
		{Row{ID: "P8/private", Goal: "told", What: "of it what no file holds and only swapping could take away ÷ the script's"},
			func(m memory) float64 { return m.private }},
	} {
		var both [sides][]Sample
		for side, laps := range taken {
			for _, l := range laps {
				both[side] = append(both[side], Sample{Value: (w.take(l.median()) - w.take(bare[side])) / 1e6})
			}
		}
		w.row.What = c.what + "; " + w.row.What
		row, err := c.env.Compare(ctx, w.row, again(both[agentSide]), again(both[scriptSide]))
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// kept is a turn of one side that is also noted.
func (c *contest) kept(side int, laps *[]lap) Turn {
	return func(ctx context.Context) (Sample, error) {
		r, err := c.turn(ctx, side, c.video)
		*laps = append(*laps, r)
		return Sample{}, err
	}
}

// flatness of memory, in bytes of PSS.
type flatRun struct {
	frames      int
	early, late memory // medians behind the first tenth, and of the last twentieth
}

func (f flatRun) row(env *Env, row Row, take func(memory) float64) Row {
	early, late := take(f.early), take(f.late)
	return measured(env, row, late/1e6, early/1e6, late/early, 0)
}

// flat counts bottles in a long recording.
func (env *Env) flat(ctx context.Context, frames int) (f flatRun, err error) {
	video, _, err := env.bottles()
	if err == nil {
		err = needsFFmpeg()
	}
	model := filepath.Join(env.Data, "models", "FastestDet.onnx")
	if err == nil {
		err = needs(model)
	}
	if err != nil {
		return f, err
	}
	dir, err := os.MkdirTemp("", "sightline-bench-")
	if err != nil {
		return f, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	again := (frames - 1) / bottleFrames // behind the first
	c := &contest{env: env, video: filepath.Join(dir, "long.mp4"), ours: []string{"--model", model, "--labels", "coco", "--count", "bottle"}}
	out, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-stream_loop", strconv.Itoa(again), "-i", video, "-c", "copy", "-an", "-y", c.video).CombinedOutput()
	if err != nil {
		return f, fmt.Errorf("make a long recording of %s: %w: %s", video, err, out)
	}
	r, err := c.turn(ctx, agentSide, c.video)
	if err != nil {
		return f, fmt.Errorf("P8/flat: %w", err)
	}
	if r.frames < frames {
		return f, fmt.Errorf("P8/flat: %d frames were inspected, not %d", r.frames, frames)
	}
	return flatOf(r)
}

// flatOf compares the run's seconds.
func flatOf(r lap) (f flatRun, err error) {
	n := len(r.seconds)
	if n < 3 {
		return f, fmt.Errorf("P8/flat: memory was looked at %d times, which tells nothing", n)
	}
	early, late := lap{seconds: r.seconds[n/10 : n/10+max(n/20, 1)]}, lap{seconds: r.seconds[n-max(n/20, 1):]}
	return flatRun{r.frames, early.median(), late.median()}, nil
}
