package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/picture"
)

// knownModel is a detector whose average precision on the COCO pictures is known
// from its reference decoding and pycocotools.
type knownModel struct {
	id, file, name string
	ap, ap50       float64
}

// evalFigure measures what eval says and how long it takes.
func evalFigure() Figure {
	return Figure{
		ID:   "eval",
		What: "average precision on 129 COCO pictures against pycocotools', and seconds ÷ those of the bare model and of decoding the pictures",
		Goal: "<= 0.002",
		Run: func(ctx context.Context, env *Env) (rows []Row, err error) {
			if env.Data == "" {
				return nil, LeftOut("SIGHTLINE_REALDATA isn't set")
			}
			for _, m := range []knownModel{
				{"yolox", "yolox_nano.onnx", "YOLOX-nano", 0.3045, 0.463},
				{"fastestdet", "FastestDet.onnx", "FastestDet", 0.179, 0.318},
			} {
				two, err := m.precision(ctx, env)
				if err != nil {
					return rows, err
				}
				rows = append(rows, two...)
			}
			row, err := evalSpeed(ctx, env)
			if err != nil {
				return rows, err
			}
			return append(rows, row), nil
		},
	}
}

// evalSummary is the part of eval's report that we use.
type evalSummary struct {
	Pictures int      `json:"pictures"`
	Missing  int      `json:"missing"`
	Unread   int      `json:"unread"`
	AP       *float64 `json:"ap"`
	AP50     *float64 `json:"ap50"`
}

// readEval refuses a report on other pictures than all of them.
func readEval(out []byte, pictures int) (s evalSummary, err error) {
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("read eval's report: %w", err)
	}
	switch {
	case s.Pictures != pictures || s.Missing > 0 || s.Unread > 0:
		return s, fmt.Errorf("eval measured %d pictures, %d missing and %d unread, want %d", s.Pictures, s.Missing, s.Unread, pictures)
	case s.AP == nil || s.AP50 == nil:
		return s, errors.New("eval's report has no average precision")
	}
	return s, nil
}

// cocoPictures are the pictures of the reference scores, and their annotations.
func (env *Env) cocoPictures() (pictures []string, annotations string, err error) {
	dir := filepath.Join(env.Data, "coco129")
	found, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(found) != 1 {
		return nil, "", LeftOut(fmt.Sprintf("%s has %d annotation files, want one", dir, len(found)))
	}
	for _, at := range []string{dir, filepath.Join(dir, "images")} {
		for _, ending := range []string{"*.jpg", "*.png"} {
			more, err := filepath.Glob(filepath.Join(at, ending))
			if err != nil {
				return nil, "", err
			}
			pictures = append(pictures, more...)
		}
	}
	if len(pictures) == 0 {
		return nil, "", LeftOut(dir + " has no pictures")
	}
	return pictures, found[0], nil
}

// eval runs the real agent's eval on them, and tells how long it took.
func (env *Env) eval(ctx context.Context, model string) (s evalSummary, took time.Duration, err error) {
	pictures, annotations, err := env.cocoPictures()
	agent := filepath.Join(env.Bin, "sightline-agent")
	if err = firstError(err, needs(agent, env.ORT, model)); err != nil {
		return s, 0, err
	}
	cmd := exec.CommandContext(ctx, agent, "eval", "--model", model, "--labels", "coco", "--coco", annotations, "--images", filepath.Dir(pictures[0]), "--json")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), infer.ProviderEnv+"="+string(infer.CPU))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return s, 0, fmt.Errorf("eval %s: %w: %s", model, err, bytes.TrimSpace(stderr.Bytes()))
	}
	took = time.Since(start)
	s, err = readEval(out, len(pictures))
	return s, took, err
}

// precision is how far eval is from the reference, which rounds to three or four
// digits. It doesn't vary, so one run does.
func (m knownModel) precision(ctx context.Context, env *Env) ([]Row, error) {
	s, _, err := env.eval(ctx, filepath.Join(env.Data, "models", m.file))
	if err != nil {
		return nil, err
	}
	row := func(name string, got, want float64) Row {
		off := math.Abs(got - want)
		what := fmt.Sprintf("%s on %d COCO pictures, eval's %s %.4f: how far from %.4g, the reference decoding's by pycocotools; one run", m.name, s.Pictures, name, got, want)
		return measured(env, Row{ID: "eval/" + m.id + "-" + name, What: what}, off, 1, off, 0)
	}
	return []Row{row("ap", *s.AP, m.ap), row("ap50", *s.AP50, m.ap50)}, nil
}

// evalSpeed compares eval, the process's start included, with what can't be
// saved: to decode each picture and to run the model once for it.
func evalSpeed(ctx context.Context, env *Env) (Row, error) {
	model := filepath.Join(env.Data, "models", "yolox_nano.onnx")
	pictures, _, err := env.cocoPictures()
	if err != nil {
		return Row{}, err
	}
	bare, err := openBare(env.ORT, model, 1, infer.CPU)
	if err != nil {
		return Row{}, err
	}
	defer bare.close()
	what := fmt.Sprintf("eval of YOLOX-nano on %d COCO pictures, one thread, the start included, s ÷ the bare model's runs and the decoding of the pictures, s", len(pictures))
	return env.Compare(ctx, Row{ID: "eval/speed", What: what, Goal: "<= 1.3"},
		func(ctx context.Context) (Sample, error) {
			_, took, err := env.eval(ctx, model)
			return Sample{Value: took.Seconds()}, err
		},
		func(ctx context.Context) (Sample, error) {
			start := time.Now()
			for _, p := range pictures {
				data, err := picture.ReadFile(p)
				if err == nil {
					_, err = picture.Decode(data, nil)
				}
				if err = errors.Join(err, ctx.Err()); err != nil {
					return Sample{}, fmt.Errorf("decode %s: %w", p, err)
				}
				if err := bare.run(); err != nil {
					return Sample{}, fmt.Errorf("run the bare model: %w", err)
				}
			}
			return Sample{Value: time.Since(start).Seconds()}, nil
		})
}
