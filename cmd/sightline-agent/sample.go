package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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

// sampler runs a sample of the golden pictures of each bundle that is loaded for a
// station or its recipes once after the start, on the worker that serves, in turns
// that stations leave over.
type sampler struct {
	made    *assembly
	cfg     *config.Config
	models  []*infer.Worker // that the stations begin with; nil where one follows a bundle
	agent   *agent.Agent
	updates *updates
	log     *slog.Logger

	boot    int // number of this start, once it is counted
	counted bool
	waited  map[string]bool   // stations whose first pictures were waited for
	doubted map[string]string // what a signed bundle differed of, by wire.Unit, and its digest
}

func newSampler(made *assembly, cfg *config.Config, stations []agent.StationConfig, a *agent.Agent, u *updates) *sampler {
	s := &sampler{made: made, cfg: cfg, agent: a, updates: u, log: made.log, waited: map[string]bool{}, doubted: map[string]string{}}
	for _, st := range stations {
		s.models = append(s.models, st.Model)
	}
	return s
}

// sampled is a bundle with the worker that runs it.
type sampled struct {
	dir    string // the bundle's folder, or a shipped model's name
	digest string // of a signed bundle, else ""
	worker *infer.Worker
	choice *choice
	golden *bundle.Golden
	still  func() bool // the worker is there for it
}

// run does it for all bundles, one after the other. What fails is told as a warning of
// the station, or of its recipe, and a signed bundle's whole gate runs again.
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
		s.settle()
	}
}

// settle takes warnings back of what the gate has thrown out since.
func (s *sampler) settle() {
	for id, digest := range s.doubted {
		if _, now, _ := s.updates.plant.serving(id); now != digest {
			s.agent.Sampled(id, "")
			delete(s.doubted, id)
		}
	}
}

func (s *sampler) all(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, sampleTime)
	defer cancel()
	seen := map[*infer.Worker]bool{}
	for _, p := range s.plates() {
		b, err := s.find(within, &p)
		if err == nil && b != nil && !seen[b.worker] {
			seen[b.worker] = true
			err = s.sample(within, p.id, b)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("golden pictures weren't run after the start", "station", p.id, "err", err)
		}
	}
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
func (s *sampler) sample(ctx context.Context, id string, b *sampled) (err error) {
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
		case ended(b.worker) || !b.still():
			return errors.New("the model's worker ended meanwhile")
		case !report.OK():
			return s.differs(id, b, report)
		}
		passed++
	}
	s.log.Info("golden pictures came out as recorded after the start", "station", id, "pictures", passed, "of", len(b.golden.Vectors))
	return nil
}

// differs tells people, and the updater of all that run a signed bundle.
func (s *sampler) differs(id string, b *sampled, r *gate.Report) error {
	text := fmt.Sprintf("%s %s: %s", b.choice.about.Name, b.choice.about.Version, r.Reason())
	s.log.Error("a golden picture comes out otherwise after the start", "station", id, "model", b.choice.about.Name, "text", r.Reason())
	if b.digest == "" {
		s.agent.Sampled(id, text)
		return nil
	}
	var errs []error
	for _, id := range s.updates.plant.sharing(b.worker) {
		s.agent.Sampled(id, text)
		s.doubted[id] = b.digest
		errs = append(errs, s.updates.now().Doubt(id, b.digest, r.Reason(), func() { s.agent.Sampled(id, "") }))
	}
	return errors.Join(errs...)
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

// serving is what the station, or its recipe, that follows a bundle runs now.
func (p *plant) serving(id string) (dir, digest string, w *infer.Worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.stations[id].running; c != nil {
		return c.dir, c.digest, c.shared.worker
	}
	return "", "", nil
}

// sharing are the stations and recipes that run a bundle on that worker.
func (p *plant) sharing(w *infer.Worker) (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, s := range p.stations {
		if c := s.running; c != nil && c.shared.worker == w {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
