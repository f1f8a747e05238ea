// Package agent is the device's inspection: each Station takes frames from its
// camera to verdicts, and the Agent holds the stations, their workers and the
// journal together and answers for them to the page and the REST interface.
package agent

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/internal/prompt"
	"github.com/sightline-edge/sightline/sync/wire/rest"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/rules"
	"github.com/sightline-edge/sightline/vision/sched"
	"github.com/sightline-edge/sightline/vision/track"
)

// DefaultDeadline is when a decided part is told at the latest, on disk or not.
const DefaultDeadline = 500 * time.Millisecond

// StationConfig says what a station inspects and how. Cameras must be given.
type StationConfig struct {
	ID, Line string
	Cameras  []*Camera     // at least one; other stations may have them too
	Model    *infer.Worker // what it begins with, as Loadout says; see Switch
	About    Model
	Rule     *rules.Rule
	Coming   <-chan *rules.Rule // instead of Rule: gives it once it is loaded, beside the first pictures; closed if it can't be
	Track    track.Config
	Bundle   string        // name of the signed bundle that it begins to follow, "" for none
	Deadline time.Duration // 0: DefaultDeadline
	Allow    bool          // tell verdicts that aren't on disk by the deadline
	Pictures bool          // keep a picture of each part
	Swaps    bool          // another model may be switched to when the present one is given up

	Trigger    *TriggerConfig // it inspects when it is told to; nil: it follows the parts that it sees
	Class      sched.Class    // whose frames go first
	MinRate    float64        // frames a second that it needs, of each camera; 0: any
	MMPerPixel float64        // of the part's surface; 0: not known
	MaxAge     time.Duration  // of a frame at its result; 0: any

	Recipe  string   // that it begins with
	Recipes []string // names of all, as the configuration has them; nil: it has none
	Apart   []string // names of those with a model or bundle of their own
	// Prepare calls use with the loadout of a recipe, its worker started, while nothing
	// can take that away, and keeps the choice for the next start.
	Prepare    func(ctx context.Context, recipe string, use func(Loadout) error) error
	Small      *infer.Worker // see Loadout
	SmallAbout Model
	Cascade    *Cascade // see Loadout
	ROI        [4]int
	Exposure   time.Duration // of the recipe that it begins with, see Loadout

	// ChangeGate is how long at most a picture in which nothing has changed isn't
	// inspected again; 0: every picture is.
	ChangeGate time.Duration

	Log *slog.Logger
}

// Model is what a verdict says of the model that it rests on.
type Model struct {
	Name, Version, Digest, Family string

	Bundle   string // SHA-256 of the signed bundle's archive, hex; "" for what wasn't one
	Unsigned bool   // a file that nobody signed: no bundle, and not shipped with the program
}

// Station is one inspection point: one or more cameras, one model, one rule, and
// one verdict for each part. Each camera shows parts of its own.
type Station struct {
	cfg      StationConfig
	log      *slog.Logger
	recorder *recorder
	cut      func() Cut // where the journal is now
	views    []*view
	began    time.Time
	gone     chan *view // gave nothing for long

	first  *lane              // that the station began with
	coming <-chan *rules.Rule // of first, until it has come; judge's own

	history   func(ctx context.Context, most int) ([]rest.Result, error) // the station's newest results, newest first
	ledger    *ledger                                                    // of triggers; nil where parts are followed
	inquiries sync.WaitGroup                                             // triggers that aren't answered
	recalled  chan struct{}                                              // closed once the ledger knows what the journal does
	costs     func(name string) *sched.Model
	switched  func(l *Loadout, from *lane) // hears of each switch
	member    *sched.Member                // at the governor; nil before the agent has one
	hard      context.Context              // of run: what models and disk are waited for with

	large    *sched.Stream   // its large model's place at the accelerator
	strained func() bool     // the device has more to do than it can; nil before the agent has a governor
	looking  context.Context // of run: second looks go on until it ends
	asking   sync.WaitGroup  // second looks that go on
	budget   budget
	lineup   lineup

	bystanders *prompt.Bystanders // stand still while a frame is inspected; nil: none

	turn  chan struct{} // held by the switch that is on
	poked chan struct{} // holds a token when the judge must look at next, or at what became of lane

	mu       sync.Mutex    // protects all below
	armed    chan struct{} // closed when there is a model
	lane     *lane         // what decides
	next     *overlap      // the switch that is on, else nil
	running  bool
	loading  bool // the rule is still to come
	stopping bool // parts still in view get NONE stopped
	asked    bool // to end
	stop     context.CancelFunc
	ended    bool
	pending  int   // triggers that are inspected
	failure  error // why the station can't inspect, nil while it can
	warned   time.Time
	stats    Stats
	counts   counts
	recently []*Inspection // the newest told, newest first, at most keepRecent
	ages     durations     // frame captured → its result, of the newest frames
	runs     durations     // model alone
}

// Stats are a station's figures since its start.
type Stats struct {
	Inferred  uint64 // frames with a result
	Unchanged uint64 // frames that showed what the last inspected one showed
	Lost      uint64 // frames given up after the model failed on them twice
	First     time.Time
	Last      time.Time // capture of the first frame, result of the last one
}

// newStation makes a station that records through r; cut tells where the
// journal is.
func newStation(cfg StationConfig, r *recorder, cut func() Cut) *Station {
	if cfg.Deadline == 0 {
		cfg.Deadline = DefaultDeadline
	}
	s := &Station{
		cfg: cfg, recorder: r, cut: cut, began: time.Now(), log: cfg.Log.With("station", cfg.ID), stop: func() {}, switched: func(*Loadout, *lane) {},
		gone: make(chan *view, len(cfg.Cameras)), turn: make(chan struct{}, 1), poked: make(chan struct{}, 1), armed: make(chan struct{}),
	}
	s.lineup.out = func(i *Inspection) { s.recorder.decided(i) }
	for _, c := range cfg.Cameras {
		s.views = append(s.views, s.newView(c))
	}
	s.lane = newLane(Loadout{
		Model: cfg.Model, About: cfg.About, Rule: cfg.Rule, Track: cfg.Track, Follows: cfg.Bundle, Recipe: cfg.Recipe, ROI: cfg.ROI, Exposure: cfg.Exposure, Small: cfg.Small, SmallAbout: cfg.SmallAbout,
		Cascade: cfg.Cascade,
	}, cfg.Track.Mode, s.views)
	if s.triggered() {
		s.ledger, s.recalled = newLedger(cmp.Or(cfg.Trigger.Dedupe, DefaultDedupe)), make(chan struct{})
	}
	s.first, s.coming, s.loading = s.lane, cfg.Coming, cfg.Coming != nil
	s.armLocked() // nobody else has it yet
	return s
}

// run inspects until the source ends, Stop is called or ctx is done. In the
// first case open parts are judged as they were seen.
func (s *Station) run(ctx context.Context) error {
	source, stop := context.WithCancel(ctx)
	defer stop()
	s.mu.Lock()
	looking, endLooking := context.WithCancel(ctx)
	defer s.asking.Wait()
	defer endLooking()
	s.stop, s.running, s.hard, s.looking = stop, true, ctx, looking
	first := s.lane
	if s.asked {
		stop()
	}
	s.mu.Unlock()
	defer s.end()
	if err := s.exposeFor(s.cfg.Exposure, 0); err != nil {
		return err
	}
	s.asking.Go(func() { s.practise(looking, first) })
	g, ctx := errgroup.WithContext(ctx)
	leave := sync.OnceFunc(s.leave)
	defer leave()
	defer context.AfterFunc(source, leave)()
	for _, v := range s.views {
		g.Go(func() error { return v.screen.run(ctx) })
	}
	g.Go(func() error {
		defer func() {
			for _, v := range s.views {
				v.screen.close()
			}
		}()
		defer stop()
		if s.triggered() {
			return s.runTriggered(ctx, source)
		}
		return s.inspect(ctx, source)
	})
	err := g.Wait()
	s.current().asked.Wait() // verdicts that wait for the large model, until their deadline at most
	return err
}

// leave lets the cameras go; it is called once.
func (s *Station) leave() {
	for _, v := range s.views {
		v.camera.leave(v.feed)
	}
}

// End ends the source as if its recording were over: open parts are judged as
// they were seen.
func (s *Station) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = true
	s.stop()
}

// fail ends the station because it can't inspect.
func (s *Station) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *Station) failLocked(err error) {
	s.failure = err
	s.asked = true
	s.stop()
}

// Stop ends the source because the agent goes: open parts get NONE stopped.
func (s *Station) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping, s.asked = true, true
	s.stop()
}

// keepRecent is how many of the newest verdicts the page shows at once.
const keepRecent = 12

// told counts a verdict that was told.
func (s *Station) told(i *Inspection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	took := now.Sub(i.Decided)
	if i.ask != nil { // its deadline began with the trigger
		took = i.ask.latency()
	}
	s.counts.add(now, i.Told.Verdict, took)
	if i.lane != nil {
		i.lane.tally.told(i)
	}
	s.recently = slices.Insert(s.recently, 0, i)
	s.recently = s.recently[:min(len(s.recently), keepRecent)]
}

// Failure is why the station can't inspect, nil while it can.
func (s *Station) Failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Figures are what a summary tells of a station.
type Figures struct {
	Stats
	Camera             capture.Stats // of the first camera
	Parts              [3]uint64     // told, by vision.Verdict
	AgeP50, AgeP99     time.Duration // frame captured → its result
	ModelP50, ModelP99 time.Duration // the model alone
}

// Figures are the current figures, quantiles over the whole run (of its newest
// 8,192 frames).
func (s *Station) Figures() Figures { return s.figures(0) }

// figures has quantiles over the newest frames, 0 for all: sorting all of them
// is too much for what a page asks ten times a second.
func (s *Station) figures(newest int) Figures {
	f := Figures{Camera: s.views[0].camera.cfg.Source.Stats()}
	f.Camera.Dropped.Overwritten = s.views[0].feed.Stats().Overwritten // of the station's own
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Stats, f.Parts = s.stats, s.counts.total
	f.AgeP50, f.AgeP99 = s.ages.quantiles(newest)
	f.ModelP50, f.ModelP99 = s.runs.quantiles(newest)
	return f
}
