package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/vision/models"
)

// What a critical camera among others is measured with.
const (
	othersCameras = 8
	othersLoad    = 5.0  // model time that all cameras ask for ÷ time
	criticalRate  = 25.0 // frames a second
	criticalTime  = 2 * time.Minute
	criticalWarm  = 50 // frames of the critical camera to learn the models' times from
)

// p3 measures whether a critical camera's deadlines are met where five times as much
// is asked for as can be done.
func p3() Figure {
	return Figure{
		ID:   "P3",
		What: "one critical camera, 8 best-effort ones, 5× overload: deadlines met, model time for results in time, fairness among equals; ÷ 1",
		Goal: ">= 0.98",
		Run: func(ctx context.Context, env *Env) (rows []Row, err error) {
			_, model, err := env.bottles()
			if err != nil {
				return nil, err
			}
			dir, err := os.MkdirTemp("", "sightline-bench-")
			if err != nil {
				return nil, fmt.Errorf("make a folder: %w", err)
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			c := &critical{env: env, dir: dir}
			if c.folder, err = yoloxFolder(dir, model); err != nil {
				return nil, err
			}
			if err := c.weigh(ctx, model); err != nil {
				return nil, err
			}
			one, first, err := liveCameras(ctx, 1, criticalRate, freshWidth, freshHeight)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, one.end()) }()
			others, rest, err := liveCameras(ctx, othersCameras, c.hertz, freshWidth, freshHeight)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, others.end()) }()
			c.sources = append(first, rest...)
			return c.measure(ctx)
		},
	}
}

// critical is a critical camera among others.
type critical struct {
	env         *Env
	dir, folder string
	own, other  float64  // ms of a run of each model, with nothing beside it
	hertz       float64  // of the others' cameras
	sources     []string // the critical one's first
}

// weigh takes the models' times and sets the others' rate so that all that comes is
// so many times what can be done.
func (c *critical) weigh(ctx context.Context, model string) error {
	folder, err := models.Open("drawn-parts")
	if err != nil {
		return err
	}
	data, err := fs.ReadFile(folder, "model.onnx")
	if err != nil {
		return fmt.Errorf("read drawn-parts: %w", err)
	}
	file := filepath.Join(c.dir, "drawn-parts.onnx")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return fmt.Errorf("write drawn-parts: %w", err)
	}
	if c.own, err = alone(ctx, c.env, file); err != nil {
		return err
	}
	if c.other, err = alone(ctx, c.env, model); err != nil {
		return err
	}
	c.hertz = othersRate(othersLoad, criticalRate, c.own, c.other)
	return nil
}

// othersRate is the rate of each of the other cameras, frames a second, with which
// all together ask for load times the model time that there is.
func othersRate(load, rate, own, other float64) float64 {
	return (1e3*load - rate*own) / (othersCameras * other)
}

// begin starts the agent with that deadline of the critical camera.
func (c *critical) begin(age time.Duration) (*runner, error) {
	dir, err := os.MkdirTemp(c.dir, "agent-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "stations:\n  - {id: critical, criticality: critical, camera: {source: %q}, model: drawn-parts, max_age: %dus}\n",
		c.sources[0], age.Microseconds())
	for n, s := range c.sources[1:] {
		fmt.Fprintf(&text, "  - {id: s%d, criticality: best_effort, camera: {source: %q}, model: %q, allow_unsigned: true}\n", n, s, c.folder)
	}
	r, err := configured(c.env, dir, text.String())
	if err != nil {
		return nil, err
	}
	return r, r.start()
}

// deadline is twice the longest model's p99 and the critical one's own, as the agent
// has them under the load.
func (c *critical) deadline(ctx context.Context) (d time.Duration, err error) {
	agent, err := c.begin(2 * time.Second)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, agent.kill()) }()
	if _, err := agent.until(ctx, eachHas(nil, 1)); err != nil {
		return 0, err
	}
	began, err := agent.stationsNow(ctx)
	if err != nil {
		return 0, err
	}
	all, err := agent.until(ctx, func(now []stationNow) bool {
		return now[0].inferred() >= began[0].inferred()+10*criticalWarm && eachHas(began, criticalWarm)(now)
	})
	if err != nil {
		return 0, err
	}
	var others []float64
	for _, s := range all[1:] {
		others = append(others, s.Model.P99)
	}
	return time.Duration(2 * (quantile(others, 0.5) + all[0].Model.P99) * float64(time.Millisecond)), nil
}

func (c *critical) measure(ctx context.Context) (rows []Row, err error) {
	within, err := c.deadline(ctx)
	if err != nil {
		return nil, err
	}
	agent, err := c.begin(within)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, agent.kill()) }()
	if _, err := agent.until(ctx, eachHas(nil, freshWarm)); err != nil {
		return nil, err
	}
	before, err := look(ctx, agent)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(criticalTime):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := look(ctx, agent)
	if err != nil {
		return nil, err
	}
	return c.rows(within, share(before, after)), nil
}

// lookout is all stations with the critical one's camera.
type lookout struct {
	stations []stationNow
	camera   cameraNow
}

func look(ctx context.Context, agent *runner) (l lookout, err error) {
	if l.stations, err = agent.stationsNow(ctx); err != nil {
		return l, err
	}
	cameras, err := agent.camerasNow(ctx)
	l.camera = cameras[l.stations[0].ID]
	return l, err
}

// outcome is what became of the critical camera's frames, and of the model's time.
type outcome struct {
	captured, inTime float64
	late, refused    float64   // of those that were asked for
	superseded       float64   // a newer one came first
	lost             float64   // no station could have it, or the model gave no result
	busy, useful     float64   // ms of model time of all stations, and of it for results in time
	critical         float64   // ms of model time, of the critical one
	counts           []float64 // inspected frames of each other camera

	strict     float64 // share in time of all frames that the camera gave
	asked      float64 // of those that no newer one superseded
	worthwhile float64 // share of model time for results in time
}

// share says what came between two looks.
func share(before, after lookout) (o outcome) {
	a, b := &before.stations[0], &after.stations[0]
	less := func(x, y uint64) float64 { return float64(y - x) }
	o.captured = less(before.camera.Captured, after.camera.Captured)
	o.lost = less(before.camera.lost(), after.camera.lost()) + less(a.Views[0].Failed, b.Views[0].Failed)
	o.superseded = less(a.Views[0].Overwritten, b.Views[0].Overwritten)
	o.inTime, o.late = less(a.Schedule.InTime, b.Schedule.InTime), less(a.Schedule.Late, b.Schedule.Late)
	o.refused = less(a.Schedule.RefusedLate+a.Schedule.RefusedStale, b.Schedule.RefusedLate+b.Schedule.RefusedStale)
	for n := range before.stations {
		x, y := &before.stations[n], &after.stations[n]
		o.busy += y.Schedule.Busy - x.Schedule.Busy
		o.useful += y.Schedule.BusyInTime - x.Schedule.BusyInTime
		if n > 0 {
			o.counts = append(o.counts, less(x.inferred(), y.inferred()))
		}
	}
	o.critical = b.Schedule.Busy - a.Schedule.Busy
	// One frame may be under way at either end, and isn't a miss.
	missed := max(o.late+o.refused+o.superseded+o.lost, o.captured-o.inTime-2)
	o.strict = 1 - missed/o.captured
	o.asked = o.inTime / (o.inTime + o.late + o.refused)
	o.worthwhile = o.useful / o.busy
	return o
}

func (c *critical) rows(within time.Duration, o outcome) []Row {
	what := fmt.Sprintf("a critical camera of %g frames/s with drawn-parts (%.1f ms alone), %d best-effort ones of %.1f frames/s with YOLOX-nano (%.1f ms), one run at a time, offered %g× what can be done; "+
		"deadline %.0f ms = 2 × the two models' p99 under it, one run of %v: ", criticalRate, c.own, othersCameras, c.hertz, c.other, othersLoad, milliseconds(within), criticalTime)
	fair := jain(o.counts)
	row := func(id, goal, more string, v float64) Row {
		return measured(c.env, Row{ID: "P3/" + id, Goal: goal, What: what + more}, v, 1, v, 0)
	}
	return []Row{
		row("met", ">= 0.999", fmt.Sprintf("frames that its camera gave and whose result was in time, of %.0f (%.0f late, %.0f refused, %.0f superseded by a newer one, %.0f lost) ÷ 1",
			o.captured, o.late, o.refused, o.superseded, o.lost), o.strict),
		row("asked", toldMore, "the same of those alone that a newer one didn't supersede ÷ 1", o.asked),
		row("useful", ">= 0.98", fmt.Sprintf("model time for results in time, of %.1f s (%.1f s of it critical) ÷ 1", o.busy/1e3, o.critical/1e3), o.worthwhile),
		row("fair", ">= 0.99", "Jain's index of the frames of each best-effort camera that were inspected ÷ 1", fair),
	}
}
