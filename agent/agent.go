package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/board"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/prompt"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// stopGrace is how long stations may take to come to their end before what
// they wait for is taken from them.
const stopGrace = time.Second

// Config says what an Agent consists of. Journal must be given.
type Config struct {
	Journal *journal.Journal
	Opened  journal.Opened // what was found when it was opened
	Models  []*infer.Worker
	Log     *slog.Logger
	Told    func(*Inspection) // hears each verdict in order, after it is on disk; may be nil
	Version string            // of the program
	Turns   int               // models that run at once; 0: 1
	Open    bool              // the REST interface can be reached from the network
	Stay    bool              // go on answering when every source has ended
	Judge   bool              // when the context ends, judge parts in view instead of NONE stopped
	Board   *board.Reader     // the hardware; nil: it isn't read
	Fleet   func() *api.Fleet // how the connection to the fleet is doing, nil while there is none; may be nil

	Bystanders *prompt.Bystanders // stand still while a part or a camera's frame is inspected; nil: none

	// How signed bundles come to the stations; all nil where none follows one.
	// They are asked at any time from any goroutine.
	Updates        func() []api.Update                            // of each station that follows a bundle
	Approve        func(station string) error                     // an operator's OK for what a station waits with
	Install        func(ctx context.Context, folder string) error // bundles from a folder of this device
	RefusedPicture func(name string) ([]byte, bool)               // JPEG, by its name in api.Failure

	// How models are swapped into stations whose model the configuration names; all nil
	// where none may be. They are asked at any time from any goroutine.
	Swap       func(station string, ask api.SwapAsk) error
	CancelSwap func(station string) error
	Swapping   func(station string) Swapping

	// Golden records golden vectors for who asks; may be nil.
	Golden func(ctx context.Context, archive io.Reader, pictures []string) ([]byte, error)
}

// Agent is one device: its stations, the workers they share, and the journal.
type Agent struct {
	cfg      Config
	log      *slog.Logger
	stations []*Station
	cameras  []*Camera
	doors    []Entrance
	recorder *recorder
	sched    *sched.Scheduler
	governor *sched.Governor
	crew     *crew
	models   modelBook
	guests   *oip.Handler
	health   health.Set
	thumbs   thumbs
	events   events
	alive    liveness
	board    sampler
	changed  chan struct{} // see Changed
	began    time.Time
	begun    chan struct{} // closed when cameras, models and stations run
}

// New makes an agent; Run starts it.
func New(cfg Config) *Agent {
	a := &Agent{cfg: cfg, log: cfg.Log, changed: make(chan struct{}, 1), began: time.Now(), begun: make(chan struct{}), crew: newCrew(cfg.Models), sched: sched.New(sched.Config{Slots: cfg.Turns}), governor: sched.NewGovernor(sched.GovernorConfig{})}
	a.guests = a.newGuests()
	a.recorder = newRecorder(cfg.Journal, cfg.Log, a.tell, done)
	return a
}

// Add adds a station. Call it before Run.
func (a *Agent) Add(cfg StationConfig) *Station {
	s := newStation(cfg, a.recorder, a.cut)
	s.lane.tally.cut, s.bystanders = a.cut(), a.cfg.Bystanders
	a.enlist(s)
	a.models.use(&s.lane.Loadout, false)
	s.switched = func(l *Loadout, from *lane) {
		a.models.use(l, from.Model != nil && costName(from.About) != costName(l.About))
	}
	a.stations = append(a.stations, s)
	for _, c := range cfg.Cameras {
		if !slices.Contains(a.cameras, c) {
			a.cameras = append(a.cameras, c)
		}
	}
	return s
}

// Run inspects until every source has ended (with Stay: until the context
// does). When the context ends it is done within two seconds; every verdict
// that was told is then in the journal, or counted as lost. It returns why a
// source or a model could not be used; with Stay that is told as the
// station's state instead.
func (a *Agent) Run(ctx context.Context) error {
	keep, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	ctx, broken := context.WithCancel(ctx)
	defer broken()
	var base errgroup.Group
	base.Go(func() error {
		defer broken() // before its time only when the disk fails it: nothing could be recorded any more
		return a.cfg.Journal.Run(keep)
	})
	err := a.inspect(ctx, func() {
		close(a.begun)
		base.Go(func() error { return a.watch(keep) })
		base.Go(func() error { return a.readBoard(keep) })
	})
	if err == nil && a.cfg.Stay {
		<-ctx.Done()
	}
	end()
	return errors.Join(err, base.Wait())
}

// Begun is closed when cameras and models have been told to start: what else a program
// does at its start can wait until then.
func (a *Agent) Begun() <-chan struct{} { return a.begun }

// inspect runs models, stations and recorder until the stations have ended; begun is
// called once they run. What they wait for is taken from them when they are still there
// stopGrace after ctx.
func (a *Agent) inspect(ctx context.Context, begun func()) error {
	hard, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, a.stop)()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, end) })()

	late, endLate := context.WithCancel(context.WithoutCancel(ctx))
	defer endLate()
	var records, models errgroup.Group
	var cameras sync.WaitGroup
	eyes, shut := context.WithCancel(hard)
	defer shut()
	for _, c := range a.cameras {
		cameras.Go(func() { c.run(eyes) })
	}
	records.Go(func() error { return a.recorder.runLate(late) })
	records.Go(func() error {
		defer endLate()
		return a.recorder.run()
	})
	models.Go(func() error { return a.crew.run(hard, a.runModel) })
	var stations errgroup.Group
	for _, s := range a.stations {
		stations.Go(func() error { return a.runStation(hard, s) })
	}
	begun()
	err := stations.Wait()
	a.recorder.close()
	err = errors.Join(err, records.Wait())
	shut() // only now: judged pictures of a watched folder were still to be moved
	cameras.Wait()
	end()
	// The stations' errors only follow from the model's.
	if failed := models.Wait(); failed != nil {
		return failed
	}
	return err
}

func (a *Agent) runStation(ctx context.Context, s *Station) error {
	err := s.run(ctx)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	s.fail(err)
	if a.cfg.Stay {
		a.log.Error("station can't run", "station", s.cfg.ID, "err", err)
		return nil
	}
	return err
}

// stop ends the stations because the context has ended.
func (a *Agent) stop() {
	for _, s := range a.stations {
		if a.cfg.Judge {
			s.End()
		} else {
			s.Stop()
		}
	}
}

// tell lets everybody hear a verdict: counts, page, events, and the caller.
func (a *Agent) tell(i *Inspection) {
	i.station.told(i)
	if i.Picture != nil {
		a.thumbs.put(i.Part.ID, api.PartPicture{JPEG: i.Picture, Shows: api.NewBox(i.Shows), Camera: i.ShowsCamera})
	}
	a.events.publish(i)
	if a.cfg.Told != nil {
		a.cfg.Told(i)
	}
}

// done lets a watched folder go on with a picture whose verdict is on disk. One
// that never gets there leaves its picture to the next start.
func done(i *Inspection) { i.station.of(&i.Part).feed.Done(i.Part.Name) }

// cut is where the journal is now.
func (a *Agent) cut() Cut {
	return Cut{Epoch: a.cfg.Journal.Epoch(), After: a.cfg.Journal.Stats().Last}
}

// Cut is where the journal is now: what is decided from here on has a higher number.
func (a *Agent) Cut() Cut { return a.cut() }

// find gives the station of that name, nil if there is none.
func (a *Agent) find(id string) *Station {
	for _, s := range a.stations {
		if s.cfg.ID == id {
			return s
		}
	}
	return nil
}

// Stations are the agent's stations in the order they were added.
func (a *Agent) Stations() []*Station { return a.stations }

// Recorder tells what the disk did to verdicts.
func (a *Agent) Recorder() RecorderStats { return a.recorder.Stats() }
