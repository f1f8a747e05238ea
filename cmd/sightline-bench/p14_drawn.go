package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

// The drawn recording of P14: parts in view in two of five frames.
const (
	gapFrames = 1000
	gapKept   = 8  // one part of so many is left, the others are covered by belt
	gapMargin = 40 // columns cut off on either side, so that nothing of a covered part remains
)

// drawnContest is a belt with long gaps between its parts, which runs all the
// time.
func drawnContest(ctx context.Context, env *Env, dir string) (*contest, error) {
	video := filepath.Join(dir, "gaps.mp4")
	share, err := film(ctx, video)
	if err != nil {
		return nil, err
	}
	model := filepath.Join(env.Root, "vision", "models", "drawn-parts", "model.onnx")
	return &contest{
		env: env, dir: dir, id: "P14/gaps", what: fmt.Sprintf("drawn-parts, %d frames of a moving belt with parts in view in %.0f %% of them", gapFrames, 100*share),
		video: video, model: model, ours: []string{"--model", "drawn-parts", "--count", "part"},
		theirs: []string{model, "yolov8", "384x224", "0", "0.1", "0.7"}, gated: &gated{rate: ">= 2", cpu: "told"},
	}, needs(model)
}

// film draws the recording and tells the share of frames with a part in view.
func film(ctx context.Context, file string) (share float64, err error) {
	s, err := scene.New(scene.Config{Seed: 14, DefectRate: -1})
	if err != nil {
		return 0, err
	}
	f := s.NewFrame()
	size := fmt.Sprintf("%dx%d", f.Width-2*gapMargin, f.Height)
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", size, "-r", fmt.Sprint(s.Config().Rate), "-i", "-",
		"-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p", "-y", file)
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, fmt.Errorf("film a belt: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("film a belt: %w", err)
	}
	shown, err := filmFrames(s, f, in)
	if err = errors.Join(err, in.Close(), cmd.Wait()); err != nil {
		return 0, fmt.Errorf("film a belt: %w", err)
	}
	return float64(shown) / gapFrames, nil
}

func filmFrames(s *scene.Scene, f *vision.Frame, to io.Writer) (shown int, err error) {
	window := vision.Box{X: gapMargin, W: float32(f.Width - 2*gapMargin), H: float32(f.Height)}
	for n := range gapFrames {
		if err := s.Frame(n, f); err != nil {
			return shown, err
		}
		if uncovered(s.Truth(n), f, window) {
			shown++
		}
		for y := range f.Height {
			row := f.Pix[y*f.Stride:][:3*f.Width]
			if _, err := to.Write(row[3*gapMargin : len(row)-3*gapMargin]); err != nil {
				return shown, err
			}
		}
	}
	return shown, nil
}

// uncovered covers the parts that are not to be seen, and tells whether one is.
func uncovered(parts []scene.PartTruth, f *vision.Frame, window vision.Box) (seen bool) {
	for _, p := range parts {
		if p.Part.Index%gapKept == gapKept/2 {
			seen = seen || p.Box.Intersect(window).Area() > 0
			continue
		}
		cover(f, p.Box)
	}
	return seen
}

// cover hides a part and its shadow under rows of the belt above it, to and fro.
func cover(f *vision.Frame, b vision.Box) {
	const first, rows = 80, 24 // of the belt that no part ever reaches
	x0, x1 := max(int(b.X)-12, 0), min(int(b.X+b.W)+28, f.Width)
	y0, y1 := max(int(b.Y)-12, 0), min(int(b.Y+b.H)+30, f.Height)
	for y := y0; y < y1 && x0 < x1; y++ {
		from := (y - y0) % (2 * rows)
		from = first + min(from, 2*rows-1-from)
		copy(f.Pix[y*f.Stride+x0*3:y*f.Stride+x1*3], f.Pix[from*f.Stride+x0*3:])
	}
}
