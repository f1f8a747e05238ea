package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/track"
)

// swaps lets other models be swapped into running stations whose model the
// configuration names.
type swaps struct {
	made    *assembly
	agent   *agent.Agent
	threads int
	dir     string     // where choices are kept
	asked   chan *swap // has room for one of each station
	heavy   turn       // the updater's: one model is loaded and proved at a time, a device has memory for one more

	mu       sync.Mutex // protects what the stations' pointers lead to
	stations map[string]*swapped
}

// swapped is a station whose model may be swapped.
type swapped struct {
	config     *config.Station // as it began: Model may be one that was swapped in before
	configured named           // what the configuration's file names
	mode       track.Mode

	source string        // where the present model comes from
	has    agent.Loadout // what the station inspects with; the rule that it began with is missing
	now    *swap         // the newest, nil before the first
}

// swap is one that was asked for.
type swap struct {
	station *swapped
	ask     api.SwapAsk
	proved  string // identity of what was loaded; carry's own
	state   api.Swap
	hired   []*infer.Worker // that are loaded for it
	stop    context.CancelCauseFunc
	stopped context.Context // ends when it is taken back
}

var errTakenBack = errors.New("it was taken back")

func newSwaps(made *assembly, cfg *config.Config) *swaps {
	return &swaps{
		made: made, threads: cfg.Infer.Threads, dir: modelsDir(cfg), heavy: make(turn, 1), asked: make(chan *swap, len(cfg.Stations)), stations: map[string]*swapped{},
	}
}

// modelsDir is where it is kept which models were swapped in.
func modelsDir(cfg *config.Config) string { return filepath.Join(cfg.Data, "models") }

// add takes a station of the configuration. One that follows a bundle, or has recipes,
// is changed by those.
func (w *swaps) add(s *config.Station, st *agent.StationConfig, configured named) {
	if s.Follows() || len(s.Recipes) > 0 {
		return
	}
	st.Swaps = true
	w.stations[s.ID] = &swapped{
		config: s, configured: configured, mode: st.Track.Mode, source: s.Model, has: agent.Loadout{Model: st.Model, Small: st.Small, Cascade: st.Cascade},
	}
}

// hooks let the agent's interface have the swaps.
func (w *swaps) hooks(c agent.Config) agent.Config {
	c.Swap, c.CancelSwap, c.Swapping = w.ask, w.cancel, w.swapping
	return c
}

// swapping implements agent.Config.
func (w *swaps) swapping(station string) agent.Swapping {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stations[station]
	if s == nil {
		return agent.Swapping{}
	}
	out := agent.Swapping{Configured: s.configured.model, Source: s.source}
	if s.now != nil {
		state := s.now.state
		if !state.Phase.Over() {
			state.TookMS, state.Building = api.MS(time.Since(state.Asked)), s.now.building()
		}
		out.Swap = &state
	}
	return out
}

// building is the first engine that is built for a swap now, nil for none.
func (n *swap) building() *api.Building {
	for _, worker := range n.hired {
		if b, ok := worker.Building(); ok {
			return &api.Building{Text: b.String(), Phase: b.Phase, Seconds: time.Since(b.Began).Seconds(), Usual: b.Usual.Seconds()}
		}
	}
	return nil
}

// ask implements agent.Config: the station exists.
func (w *swaps) ask(station string, ask api.SwapAsk) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stations[station]
	if s == nil {
		return errors.New("the station's model comes with its signed bundle, or with its recipe: roll a bundle out (sightline publish), install one (sightline-agent update install), or change the recipe over")
	}
	if _, err := os.Stat(ask.Model); err == nil && !filepath.IsAbs(ask.Model) {
		return fmt.Errorf("%w: %s: give the file's or folder's absolute path", api.ErrBadSwap, ask.Model)
	}
	if s.now != nil && !s.now.state.Phase.Over() {
		return fmt.Errorf("%s is being swapped in: wait for it, or take it back first", s.now.ask.Model)
	}
	n := &swap{station: s, ask: ask, state: api.Swap{Model: ask.Model, Phase: api.SwapLoading, Asked: time.Now()}}
	n.stopped, n.stop = context.WithCancelCause(context.Background())
	select {
	case w.asked <- n:
	default:
		return errors.New("models are being swapped in for all stations: try again")
	}
	s.now = n
	return nil
}

// cancel implements agent.Config.
func (w *swaps) cancel(station string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stations[station]
	if s == nil || s.now == nil || s.now.state.Phase.Over() {
		return api.ErrNoSwap
	}
	s.now.stop(errTakenBack)
	return nil
}

// run carries out what is asked for, until ctx ends.
func (w *swaps) run(ctx context.Context) error {
	var g errgroup.Group
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case n := <-w.asked:
			g.Go(func() error {
				w.carry(ctx, n)
				return nil
			})
		}
	}
}

// carry takes a swap to its end.
func (w *swaps) carry(ctx context.Context, n *swap) {
	id, began := n.station.config.ID, time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(n.stopped, func() { cancel(errTakenBack) })()
	err := w.change(ctx, n)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer n.stop(nil)
	n.hired = nil
	n.state.TookMS = api.MS(time.Since(n.state.Asked))
	log := w.made.log.With("station", id, "model", n.ask.Model)
	switch {
	case err == nil:
		n.state.Phase = api.SwapDone
		log.Info("model swapped in", "digest", n.state.Digest, "after", n.state.After, "took", time.Since(began))
	case ctx.Err() != nil:
		n.state.Phase, n.state.Text = api.SwapCancelled, context.Cause(ctx).Error()
		log.Info("swap of a model taken back")
	default:
		n.state.Phase, n.state.Text = api.SwapRefused, err.Error()
		log.Warn("model not swapped in, the former one goes on", "err", err)
	}
}

// at notes how far a swap is.
func (w *swaps) at(n *swap, change func(*api.Swap)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&n.state)
}

// turn waits until no other model is loaded and proved, and says so meanwhile.
func (w *swaps) turn(ctx context.Context, n *swap) (done func(), err error) {
	if done, ok := w.heavy.try(); ok {
		return done, nil
	}
	w.at(n, func(s *api.Swap) { s.Phase = api.SwapWaiting })
	defer w.at(n, func(s *api.Swap) { s.Phase = api.SwapLoading })
	return w.heavy.take(ctx)
}

// start starts the workers of a swap.
func (w *swaps) start(n *swap, workers ...*infer.Worker) {
	w.mu.Lock()
	n.hired = append(n.hired, workers...)
	w.mu.Unlock()
	for _, worker := range workers {
		w.agent.StartWorker(worker)
	}
}

// change loads and proves the model, switches the station to it, and ends what it had.
func (w *swaps) change(ctx context.Context, n *swap) error {
	done, err := w.turn(ctx, n)
	if err != nil {
		return err
	}
	defer done()
	as := *n.station.config
	as.Model, as.Family = n.ask.Model, n.station.configured.familyOf(n.ask.Model)
	l, err := w.load(ctx, n, &as)
	if err == nil {
		err = w.prove(ctx, n, &as)
	}
	if err == nil {
		w.at(n, func(s *api.Swap) { s.Phase = api.SwapSwitching })
		l.Model.Serve()
		var cut agent.Cut
		if cut, err = w.agent.Switch(ctx, as.ID, l); err == nil {
			w.at(n, func(s *api.Swap) { s.After = cut.After })
		}
	}
	if err != nil {
		w.drop(l)
		return err
	}
	w.mu.Lock()
	before := n.station.has
	n.station.has, n.station.source = l, n.ask.Model
	w.mu.Unlock()
	w.drop(before)
	w.agent.Sampled(as.ID, "") // whatever a sample said was of the model before
	if err := w.keep(n); err != nil {
		w.at(n, func(s *api.Swap) { s.Text = "the next start won't begin with it: " + err.Error() })
		w.made.log.Error("the model that was swapped in serves, and won't after a new start", "station", as.ID, "model", n.ask.Model, "err", err)
	}
	return nil
}

// load makes the loadout of the station with another model, and its worker ready. It
// gives what must be dropped also with an error.
func (w *swaps) load(ctx context.Context, n *swap, as *config.Station) (agent.Loadout, error) {
	c, err := chooseConfigured(as)
	if err != nil {
		return agent.Loadout{}, err
	}
	n.proved = c.identity()
	w.at(n, func(s *api.Swap) { s.Name, s.Version, s.Digest = c.about.Name, c.about.Version, c.about.Digest })
	rule, err := w.made.fits(ctx, n.station.mode, c)
	if err != nil {
		return agent.Loadout{}, err
	}
	limit := runLimit(as)
	l := agent.Loadout{Model: w.made.hireProved(c, w.threads, limit), About: c.about, Rule: rule, Track: w.made.track(as, c, n.station.mode)}
	if err := follows(&l.Track, as.Decide, as.Combine); err != nil {
		return l, err
	}
	if l.Small, l.SmallAbout, err = w.made.small(as, c, w.threads, limit); err != nil {
		return l, err
	}
	if l.Cascade, err = w.made.cascade(as, c, w.threads, limit); err != nil {
		return l, err
	}
	w.start(n, l.Workers()...)
	_, err = l.Model.Ready(ctx)
	return l, err
}

// prove runs the golden pictures that the model brings.
func (w *swaps) prove(ctx context.Context, n *swap, as *config.Station) error {
	c, golden, err := loadBundle(as.Model)
	switch {
	case err != nil:
		return err
	case c.identity() != n.proved:
		return errors.New("it was changed while it was being loaded: ask again when it is whole")
	case golden == nil && n.ask.Ungated:
		return nil
	case golden == nil:
		return errors.New("the model brings no golden vectors, so that it can't prove itself here: record some (sightline bundle golden --help), or take it without (--ungated)")
	}
	c.cameras = as.Alike // it is proved on what will serve
	w.at(n, func(s *api.Swap) { s.Phase = api.SwapProving })
	ctx, cancel := context.WithTimeout(ctx, gateLimit)
	defer cancel()
	subject, err := w.made.unmanned(ctx, track.Pictures, c)
	if err != nil {
		return err
	}
	// As its publisher ran it: the station's labels and rule may ask the worker for other scores.
	subject.Worker = w.made.hireProved(c, w.threads, runLimit(as))
	defer w.drop(agent.Loadout{Model: subject.Worker, Rule: subject.Rule})
	w.start(n, subject.Worker)
	dir, err := openBundle(as.Model)
	if err != nil {
		return err
	}
	report, err := gate.Run(ctx, subject, dir, golden, func(string, []byte) {})
	if err != nil {
		return err
	}
	w.at(n, func(s *api.Swap) {
		s.Gate = &api.GoldenRun{Pictures: report.Pictures, Passed: report.Passed, Raw: report.Raw, Unmeasured: report.Unmeasured}
	})
	if report.OK() {
		return nil
	}
	return fmt.Errorf("%d of its %d golden pictures passed; %s", report.Passed, report.Pictures, report.Reason())
}

// drop gives back what a loadout holds that no station inspects with.
func (w *swaps) drop(l agent.Loadout) {
	if l.Model == nil {
		return
	}
	for _, worker := range w.made.drop(l) {
		if !w.agent.StopWorker(worker) {
			w.made.log.Error("BUG: a worker that nobody holds any more is in use", "model", l.About.Name)
		}
	}
}
