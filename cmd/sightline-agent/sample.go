package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/track"
)

// How a sample of the golden pictures runs after each start.
const (
	samplePictures = 2                // of each bundle; the next ones at the next start
	sampleAfter    = 3                // results of the model that come first
	samplePatience = 30 * time.Second // for those: a camera may be away
	sampleTime     = 10 * time.Minute // for all, where stations leave hardly a turn over
	sampleLook     = 200 * time.Millisecond
)

// sampler runs a sample of the golden pictures of each station's bundle once after the
// start, on the worker that serves, in turns that stations leave over.
type sampler struct {
	made    *assembly
	cfg     *config.Config
	models  []*infer.Worker // that the stations begin with; nil where one follows a bundle
	agent   *agent.Agent
	updates *updates
	log     *slog.Logger

	boot    int // number of this start, once it is counted
	counted bool
	doubted map[string]string // stations whose signed bundle differed, and its digest
}

func newSampler(made *assembly, cfg *config.Config, stations []agent.StationConfig, a *agent.Agent, u *updates) *sampler {
	s := &sampler{made: made, cfg: cfg, agent: a, updates: u, log: made.log, doubted: map[string]string{}}
	for _, st := range stations {
		s.models = append(s.models, st.Model)
	}
	return s
}

// sampled is a station's bundle with the worker that runs it.
type sampled struct {
	dir    string // the bundle's folder, or a shipped model's name
	digest string // of a signed bundle, else ""
	worker *infer.Worker
	choice *choice
	golden *bundle.Golden
}

// run does it for all stations, one after the other. What fails is told as a warning of
// the station, and a signed bundle's whole gate runs again.
func (s *sampler) run(ctx context.Context) error {
	s.all(ctx)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for station, digest := range s.doubted {
			if _, now, _ := s.updates.plant.serving(station); now != digest { // the gate has thrown it out
				s.agent.Sampled(station, "")
				delete(s.doubted, station)
			}
		}
	}
}

func (s *sampler) all(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, sampleTime)
	defer cancel()
	seen := map[*infer.Worker]bool{}
	for i := range s.cfg.Stations {
		st := &s.cfg.Stations[i]
		b, err := s.find(within, st, s.models[i])
		if err == nil && b != nil && !seen[b.worker] {
			seen[b.worker] = true
			err = s.sample(within, st.ID, b)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("golden pictures weren't run after the start", "station", st.ID, "err", err)
		}
	}
}

// find waits until a station has seen its first frames, and gives its bundle; nil if it
// has none with golden vectors, or reads the model otherwise than the bundle says.
func (s *sampler) find(ctx context.Context, st *config.Station, model *infer.Worker) (*sampled, error) {
	b := &sampled{dir: st.Model, worker: model}
	if st.Bundle != "" {
		if err := s.wait(ctx, func() bool { return !s.updates.plant.lacks(st.ID) }); err != nil {
			return nil, err
		}
		if dir, digest, w := s.updates.plant.serving(st.ID); digest != "" {
			b.dir, b.digest, b.worker = dir, digest, w
		}
	}
	if b.worker == nil || b.dir == "" {
		return nil, nil // it serves nothing yet, or a recipe's model
	}
	if err := s.wait(ctx, func() bool { return b.worker.Stats().Inferred >= sampleAfter }); err != nil {
		return nil, err
	}
	if fsys, err := openBundle(b.dir); err != nil || fsys == nil {
		return nil, err
	}
	var err error
	if b.choice, b.golden, err = loadBundle(b.dir); err != nil || b.golden == nil {
		return nil, err
	}
	if b.digest == "" && s.made.running(b.choice, s.cfg.Infer.Threads, runLimit(st)) != b.worker {
		return nil, nil // the configuration reads the model in its own way
	}
	return b, nil
}

// wait looks again and again until something is so, and no longer than samplePatience.
func (s *sampler) wait(ctx context.Context, so func() bool) error {
	tick := time.NewTicker(sampleLook)
	defer tick.Stop()
	for began := time.Now(); !so() && time.Since(began) < samplePatience; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// number counts this start, when the first picture is due.
func (s *sampler) number() int {
	if !s.counted {
		var err error
		if s.boot, err = countStart(s.cfg.Data); err != nil {
			s.log.Warn("which golden pictures are due isn't known: the first ones run", "err", err)
		}
		s.counted = true
	}
	return s.boot
}

// sample runs the pictures that are due, each in a turn of its own.
func (s *sampler) sample(ctx context.Context, station string, b *sampled) (err error) {
	fsys, err := openBundle(b.dir)
	if err != nil {
		return err
	}
	subject, err := s.made.unmanned(ctx, track.Pictures, b.choice)
	if err != nil {
		return err
	}
	subject.Worker = b.worker
	defer func() { err = errors.Join(err, closeRule(ctx, subject)) }()
	passed := 0
	for _, n := range due(len(b.golden.Vectors), s.number()) {
		var report *gate.Report
		err := s.agent.Spare(ctx, b.choice.about.Digest, func(ctx context.Context) error {
			var err error
			report, err = gate.Sample(ctx, subject, fsys, b.golden, n)
			return err
		})
		switch {
		case err != nil:
			return err
		case ended(b.worker):
			return errors.New("the model's worker ended meanwhile")
		case !report.OK():
			return s.differs(station, b, report)
		}
		passed++
	}
	s.log.Info("golden pictures came out as recorded after the start", "station", station, "pictures", passed, "of", len(b.golden.Vectors))
	return nil
}

// differs tells people, and the updater of a signed bundle.
func (s *sampler) differs(station string, b *sampled, r *gate.Report) error {
	s.agent.Sampled(station, fmt.Sprintf("%s %s: %s", b.choice.about.Name, b.choice.about.Version, r.Reason()))
	s.log.Error("a golden picture comes out otherwise after the start", "station", station, "model", b.choice.about.Name, "text", r.Reason())
	if b.digest == "" {
		return nil
	}
	s.doubted[station] = b.digest
	return s.updates.now().Doubt(station, b.digest, r.Reason(), func() { s.agent.Sampled(station, "") })
}

// due are the pictures of n that run after the start number boot, so that all come
// round.
func due(n, boot int) []int {
	var list []int
	for k := range min(samplePictures, n) {
		list = append(list, (boot*samplePictures+k)%n)
	}
	return list
}

// startsFile counts the starts, for the pictures that are due.
const startsFile = "golden-starts"

// countStart gives the number of this start. A lost count costs nothing: other pictures
// run.
func countStart(data string) (int, error) {
	file := filepath.Join(data, startsFile)
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("count the starts: %w", err)
	}
	n, _ := strconv.Atoi(string(bytes.TrimSpace(text))) // 0 for what is no number
	if n < 0 || n > 1<<30 {
		n = 0
	}
	if err := whole.Write(file, []byte(strconv.Itoa(n+1)+"\n"), 0o644); err != nil {
		return n, fmt.Errorf("count the starts: %w", err)
	}
	return n, nil
}

// running is the worker that stations run a model with, nil if none does with these
// settings.
func (a *assembly) running(c *choice, threads int, limit time.Duration) *infer.Worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.workers[workerKey(c, threads, limit)]; w != nil && !ended(w) {
		return w
	}
	return nil
}

// serving is what the station that follows a bundle runs now.
func (p *plant) serving(station string) (dir, digest string, w *infer.Worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.stations[station].running; c != nil {
		return c.dir, c.digest, c.shared.worker
	}
	return "", "", nil
}
