package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed p14.py
var p14Script string

// gateFlag is what P14 asks of try for its rows with the change gate.
var gateFlag = []string{"--change-gate", "1s"}

// p14 measures a recording's parts counted by the agent, against a script as
// an engineer would write it. Both sides get the same two cores, the same model
// and runtime, one thread for the model and one that decodes.
func p14() Figure {
	return Figure{
		ID:   "P14",
		What: "parts counted in a recording: the agent ÷ Python with OpenCV, ONNX Runtime and supervision's ByteTrack",
		Goal: "told",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			return bottleContest(ctx, env, "P14", func(bottles *contest) ([]Row, error) {
				bottles.gated, bottles.plain = &gated{rate: ">= 1.5", cpu: "<= 0.7"}, true
				var left LeftOut
				rows, err := bottles.measure(ctx)
				if err != nil && !errors.As(err, &left) {
					return rows, err
				}
				drawn, err := drawnContest(ctx, env, bottles.dir)
				if err != nil {
					return rows, err
				}
				more, err := drawn.measure(ctx)
				return append(rows, more...), err
			})
		},
	}
}

// bottleContest measures with the bottles' recording, counted by both sides.
func bottleContest(ctx context.Context, env *Env, id string, measure func(*contest) ([]Row, error)) (rows []Row, err error) {
	video, model, err := env.bottles()
	if err == nil && env.Python == "" {
		err = LeftOut("there is no Python with the pinned packages (make bench makes one)")
	}
	if err == nil {
		err = needsFFmpeg()
	}
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sightline-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return measure(&contest{
		env: env, dir: dir, id: id, what: "YOLOX-nano, bottles on 1,189 frames of 640×360", video: video, model: model,
		ours: []string{"--model", model, "--labels", "coco", "--count", "bottle"}, theirs: []string{model, "yolox", "416x416", "39", "0.1", "0.45"},
	})
}

func needsFFmpeg() error {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return LeftOut("there is no ffmpeg to cut recordings with")
	}
	return nil
}

// contest is one recording that both sides count the parts of.
type contest struct {
	env          *Env
	dir          string // for files
	id, what     string
	video, model string
	ours, theirs []string // arguments behind the recording
	plain        bool     // rows without the gate are wanted; else one turn for the count
	gated        *gated   // nil: no rows with it

	first  string     // a recording of the first frame alone
	empty  [sides]lap // of it
	noGate string     // why there are no rows with the gate
}

// gated are the goals with the change gate; "" for a row that isn't wanted.
type gated struct{ rate, cpu string }

// sides of a contest.
const (
	agentSide = iota
	gateSide
	scriptSide
	sides
)

// measure lets the sides take turns and makes the rows of what they took.
func (c *contest) measure(ctx context.Context) ([]Row, error) {
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	var taken [sides][]lap
	for round := range max(c.env.Rounds, 5) {
		for n := range sides {
			side := (round + n) % sides
			if side == agentSide && !c.plain && round > 0 || side == gateSide && c.noGate != "" {
				continue
			}
			r, err := c.turn(ctx, side, c.video)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", c.id, round+1, err)
			}
			taken[side] = append(taken[side], r)
		}
	}
	var rows []Row
	var void error
	for _, side := range []int{agentSide, gateSide} {
		if len(taken[side]) == 0 {
			continue
		}
		if err := sameCount(taken[side], taken[scriptSide]); err != nil {
			void = errors.Join(void, fmt.Errorf("%s: %w", c.id, err))
			continue
		}
		if side == agentSide && !c.plain {
			continue
		}
		more, err := c.rows(ctx, side, taken[side], taken[scriptSide])
		if err != nil {
			return rows, err
		}
		rows = append(rows, more...)
	}
	if void == nil && c.noGate != "" {
		void = LeftOut(c.noGate)
	}
	return rows, void
}

// sameCount is an error where the sides, or their turns, disagree about what
// they saw: nothing that was measured counts then.
func sameCount(ours, theirs []lap) error {
	for n := range ours {
		if ours[n].parts != theirs[n].parts || ours[n].frames != theirs[n].frames || ours[n].parts != ours[0].parts {
			return fmt.Errorf("void: the agent counted %d parts in %d frames, the script %d in %d",
				ours[n].parts, ours[n].frames, theirs[n].parts, theirs[n].frames)
		}
	}
	return nil
}

// prepare cuts off the first frame and takes the cost of starting and ending
// with it: the median of three.
func (c *contest) prepare(ctx context.Context) error {
	help, err := exec.CommandContext(ctx, filepath.Join(c.env.Bin, "sightline-agent"), "try", "--help").Output()
	if err != nil {
		return fmt.Errorf("ask the agent what it can: %w", err)
	}
	if c.gated == nil {
		c.noGate = "no rows with the change gate are wanted"
	} else if !strings.Contains(string(help), gateFlag[0]) {
		c.noGate = "this agent has no " + gateFlag[0]
	}
	if err := c.cutFirst(ctx); err != nil {
		return err
	}
	for _, side := range [2]int{agentSide, scriptSide} {
		var wall, cpu []float64
		for range 3 {
			r, err := c.turn(ctx, side, c.first)
			if err != nil {
				return fmt.Errorf("%s, start: %w", c.id, err)
			}
			wall, cpu = append(wall, r.wall.Seconds()), append(cpu, r.cpu.Seconds())
		}
		c.empty[side] = lap{wall: seconds(quantile(wall, 0.5)), cpu: seconds(quantile(cpu, 0.5))}
	}
	c.empty[gateSide] = c.empty[agentSide]
	fmt.Fprintf(c.env.Log, "    %s: start and end with one frame: %v, the script %v\n", c.id,
		c.empty[agentSide].wall.Round(time.Millisecond), c.empty[scriptSide].wall.Round(time.Millisecond))
	return nil
}

// cutFirst makes the recording of the first frame alone.
func (c *contest) cutFirst(ctx context.Context) error {
	c.first = filepath.Join(c.dir, "first-"+filepath.Base(c.video))
	out, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", c.video, "-frames:v", "1", "-c", "copy", "-an", "-y", c.first).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cut the first frame off %s: %w: %s", c.video, err, out)
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// rows compare what a side took with what the script took.
func (c *contest) rows(ctx context.Context, side int, ours, theirs []lap) ([]Row, error) {
	wanted := []Row{
		{ID: c.id + "/rate", Goal: ">= 1.15", What: "frames/s, start and end left out ÷ the script's"},
		{ID: c.id + "/cpu", Goal: "<= 0.92", What: "CPU a frame of all processes, ms, start and end left out ÷ the script's"},
	}
	take := []func(lap, lap) float64{rate, perFrame}
	if side == gateSide {
		for n, goal := range []string{c.gated.rate, c.gated.cpu} {
			wanted[n].ID, wanted[n].Goal = strings.Replace(wanted[n].ID, c.id, c.id+"/gate", 1), goal
			wanted[n].What = "with " + strings.Join(gateFlag, " ") + ": " + wanted[n].What
		}
	}
	var rows []Row
	for n, row := range wanted {
		if row.Goal == "" {
			continue
		}
		var a, b []Sample
		for i := range ours {
			a = append(a, Sample{Value: take[n](ours[i], c.empty[side])})
			b = append(b, Sample{Value: take[n](theirs[i], c.empty[scriptSide])})
		}
		row.What = fmt.Sprintf("%s, %d on either side; %s", c.what, ours[0].parts, row.What)
		row, err := c.env.Compare(ctx, row, again(a), again(b))
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// rate and perFrame are a turn's figures, without what a run over the first frame takes.
func rate(r, empty lap) float64 { return float64(r.frames-1) / (r.wall - empty.wall).Seconds() }

func perFrame(r, empty lap) float64 { return milliseconds(r.cpu-empty.cpu) / float64(r.frames-1) }
