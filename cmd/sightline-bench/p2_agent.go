package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
)

// stationNow is what a figure reads of a station.
type stationNow struct {
	ID    string
	Ready bool
	Views []struct {
		Inferred    uint64 `json:"frames_inferred"`
		Overwritten uint64 `json:"frames_overwritten"`
		Failed      uint64 `json:"frames_failed"`
		Late        uint64 `json:"frames_late"`
	}
	Model struct {
		P50 float64 `json:"p50_ms"`
		P99 float64 `json:"p99_ms"`
	}
	AgeP99   float64 `json:"age_p99_ms"` // of the newest 1,024 pictures, as the model's
	Schedule struct {
		InTime       uint64  `json:"in_time"`
		Late         uint64  `json:"late"`
		RefusedLate  uint64  `json:"refused_late"`
		RefusedStale uint64  `json:"refused_stale"`
		Busy         float64 `json:"busy_ms"`
		BusyInTime   float64 `json:"busy_in_time_ms"`
	}
}

func (s *stationNow) inferred() (n uint64) {
	for _, v := range s.Views {
		n += v.Inferred
	}
	return n
}

// stationsNow reads all stations at one moment.
func (r *runner) stationsNow(ctx context.Context) ([]stationNow, error) {
	var answer struct{ Stations []stationNow }
	err := r.ask(ctx, "/v1/stations", &answer)
	return answer.Stations, err
}

// cameraNow is what a figure reads of a camera: pictures that its source gave, and
// those of them that no station could have.
type cameraNow struct {
	ID       string
	Captured uint64         `json:"frames_captured"`
	Dropped  map[string]any `json:"frames_dropped"`
}

// lost counts the pictures that never reached a station.
func (c *cameraNow) lost() (n uint64) {
	for _, v := range c.Dropped {
		if x, ok := v.(float64); ok {
			n += uint64(x)
		}
	}
	return n
}

// camerasNow reads the cameras, by name.
func (r *runner) camerasNow(ctx context.Context) (map[string]cameraNow, error) {
	var answer struct{ Cameras []cameraNow }
	if err := r.ask(ctx, "/v1/cameras", &answer); err != nil {
		return nil, err
	}
	all := map[string]cameraNow{}
	for _, c := range answer.Cameras {
		all[c.ID] = c
	}
	return all, nil
}

// stationsLimit is how long a figure waits for so many pictures to be inspected.
const stationsLimit = 20 * time.Minute

// until waits for a moment at which the stations are so. Asking twice a second costs
// the agent next to nothing.
func (r *runner) until(ctx context.Context, is func([]stationNow) bool) ([]stationNow, error) {
	ctx, cancel := context.WithTimeout(ctx, stationsLimit)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := r.stationsNow(ctx)
		if err == nil && len(all) > 0 && is(all) {
			return all, nil // until it is up there are errors
		}
		select {
		case <-ctx.Done():
			return all, errors.Join(fmt.Errorf("wait for the stations: %w", ctx.Err()), err)
		case <-tick.C:
		}
	}
}

// eachHas tells whether all stations have a result of so many more pictures.
func eachHas(since []stationNow, more uint64) func([]stationNow) bool {
	return func(now []stationNow) bool {
		for n := range now {
			before := uint64(0)
			if since != nil {
				before = since[n].inferred()
			}
			if now[n].inferred() < before+more {
				return false
			}
		}
		return true
	}
}

// configured is an agent with a configuration of the figure's own; it isn't started.
// The text lacks listen and data. One model runs at a time, as on an accelerator: the
// other cores take pictures.
func configured(env *Env, dir, text string) (*runner, error) {
	addr, err := cable.FreeAddress("127.0.0.1")
	if err != nil {
		return nil, err
	}
	r := &runner{env: env, addr: addr, config: filepath.Join(dir, "agent.yaml")}
	text = fmt.Sprintf("listen: %q\ndata: %q\ninfer: {parallel: 1, threads: 1}\n", addr, filepath.Join(dir, "data")) + text
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("configure an agent: %w", err)
	}
	return r, nil
}

// yoloxFolder makes a bundle's folder of YOLOX-nano, which tells no labels itself. Of
// its 80 one is the part.
func yoloxFolder(dir, model string) (folder string, err error) {
	data, err := os.ReadFile(model)
	if err != nil {
		return "", fmt.Errorf("read YOLOX-nano: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "manifest: 1\nname: yolox-nano\nversion: 1.0.0\nlicence: Apache-2.0\nmodel:\n  file: model.onnx\n"+
		"  sha256: \"%x\"\n  family: yolox\n  labels:\n    - {name: c0, role: part}\n", sha256.Sum256(data))
	for n := 1; n < 80; n++ {
		fmt.Fprintf(&text, "    - {name: c%d, role: ignored}\n", n)
	}
	text.WriteString("  input: {colour: bgr, scale: 1, resize: letterbox, anchor: top-left, pad: 114}\n  confidence: 0.25\n  nms: 0.65\n")
	folder = filepath.Join(dir, "yolox-nano")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return "", fmt.Errorf("make a model's folder: %w", err)
	}
	err = errors.Join(os.WriteFile(filepath.Join(folder, "model.onnx"), data, 0o600),
		os.WriteFile(filepath.Join(folder, "manifest.yaml"), []byte(text.String()), 0o600))
	if err != nil {
		return "", fmt.Errorf("make a model's folder: %w", err)
	}
	return folder, nil
}

// alone is what a run of a model takes with nothing beside it, the median in ms.
func alone(ctx context.Context, env *Env, model string) (float64, error) {
	provider, err := computes()
	if err != nil {
		return 0, err
	}
	bare, err := openBare(env.ORT, model, 1, provider)
	if err != nil {
		return 0, err
	}
	defer bare.close()
	each, _, err := bare.loop(ctx, 200)
	return 1e3 * quantile(each, 0.5), err
}

// jain is Jain's index of fairness: 1 where all have the same, 1/n where one has all.
func jain(xs []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, x := range xs {
		sum, squares = sum+x, squares+x*x
	}
	if squares == 0 {
		return 0 // nobody has anything: that isn't fair, it is broken
	}
	return sum * sum / (float64(len(xs)) * squares)
}

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// measured is a row of figures that were taken at once, not in turns. Noise is 0 where
// there was one run.
func measured(env *Env, row Row, ours, bare, worst, noise float64) Row {
	row.Ours, row.Bare, row.Ratio, row.Worst, row.Noise = ours, bare, ours/bare, worst, noise
	fmt.Fprintf(env.Log, "    %s: %.4g, bare %.4g, ratio %.4f, worst %.4f\n", row.ID, row.Ours, row.Bare, row.Ratio, row.Worst)
	return row
}
