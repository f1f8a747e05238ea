package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// overheadCase is one model on one recording.
type overheadCase struct {
	id, what, goal string
	video, model   string
	labels         bool // the model doesn't tell its own
}

// p7 measures what a frame costs beyond its decoding and the model's run.
func p7() Figure {
	return Figure{
		ID:   "P7",
		What: "CPU of all processes beyond decoding and model ÷ the model's CPU, ms a frame",
		Goal: "<= 0.15",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			video, model, err := env.bottles()
			if err != nil {
				return nil, err
			}
			if _, err := exec.LookPath("ffmpeg"); err != nil {
				return nil, LeftOut("there is no ffmpeg to measure the decoding with")
			}
			row, err := overheadCase{"P7/yolox-nano", "YOLOX-nano from 640×360", "<= 0.15", video, model, true}.measure(ctx, env)
			if err != nil {
				return nil, err
			}
			rows := []Row{row}
			large := filepath.Join(env.Root, "build", "yolov8n-640.onnx")
			if err := needs(large); err != nil {
				return rows, LeftOut("YOLOv8n-640: cmd/sightline-bench/export_yolov8n.py writes it to " + large)
			}
			dir, err := os.MkdirTemp("", "sightline-bench-")
			if err != nil {
				return rows, fmt.Errorf("make a folder: %w", err)
			}
			defer os.RemoveAll(dir)
			hd := filepath.Join(dir, "1080p.mp4")
			if err := enlarge(ctx, video, hd); err != nil {
				return rows, err
			}
			row, err = overheadCase{"P7/yolov8n-640", "YOLOv8n-640 from 1080p", "<= 0.05", hd, large, false}.measure(ctx, env)
			if err != nil {
				return rows, err
			}
			return append(rows, row), nil
		},
	}
}

// enlarge makes 300 frames of 1080p, H.264, from the small recording.
func enlarge(ctx context.Context, from, to string) error {
	out, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", from, "-frames:v", "300",
		"-vf", "scale=1920:1080", "-c:v", "libx264", "-preset", "veryfast", "-an", to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make a 1080p recording: %w: %s", err, out)
	}
	return nil
}

// decoding is the CPU time of decoding a recording to BGR alone. What a run of
// ffmpeg costs besides is taken off by decoding a single frame, too.
func decoding(ctx context.Context, video string) (all time.Duration, err error) {
	var cpu [2]time.Duration
	for i, frames := range [2]int{1 << 30, 1} {
		cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", video, "-an", "-frames:v", strconv.Itoa(frames),
			"-f", "rawvideo", "-pix_fmt", "bgr24", "-y", os.DevNull)
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("decode %s: %w: %s", video, err, out)
		}
		cpu[i] = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return cpu[0] - cpu[1], nil
}

func (c overheadCase) measure(ctx context.Context, env *Env) (Row, error) {
	provider, err := computes()
	if err != nil {
		return Row{}, err
	}
	bare, err := openBare(env.ORT, c.model, 1, provider)
	if err != nil {
		return Row{}, err
	}
	defer bare.close()
	model := func(ctx context.Context) (Sample, error) {
		each, cpu, err := bare.loop(ctx, 100)
		for i := range each {
			each[i] *= 1e3
		}
		return Sample{Value: milliseconds(cpu) / float64(max(len(each), 1)), Each: each}, err
	}
	ours := func(ctx context.Context) (Sample, error) {
		decode, err := decoding(ctx, c.video)
		if err != nil {
			return Sample{}, err
		}
		before, err := model(ctx)
		if err != nil {
			return Sample{}, err
		}
		s, err := try(ctx, env, c.video, c.model, c.labels, 1)
		if err != nil {
			return Sample{}, err
		}
		after, err := model(ctx)
		if err != nil {
			return Sample{}, err
		}
		total := (s.CPU*1e3 - milliseconds(decode)) / float64(s.Inferred)
		return Sample{Value: total - (before.Value+after.Value)/2}, nil
	}
	what := c.what + ": CPU beyond decoding (ffmpeg's, to BGR) and model, ms a frame, start included ÷ CPU of Run alone, ms"
	return env.Compare(ctx, Row{ID: c.id, What: what, Goal: c.goal}, ours, model)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
