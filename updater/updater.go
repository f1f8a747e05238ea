// Package updater brings signed bundles onto a running device: it takes
// commands, fetches and verifies what they name, proves it on this hardware,
// switches each station to it when the plant allows, watches it, and goes back
// to the last good one when it misbehaves. All that it decides is on disk
// before it acts, so that a power cut at any moment leaves a good bundle.
package updater

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/trust"
)

// Config says what an Updater works with. All of it must be given but what
// says otherwise.
type Config struct {
	Dir      string // the device's folder for updates, made if need be
	Stations []Station
	Mirror   *mirror.Mirror // nil without a pinned root: nothing can be installed, what is active goes on
	Source   mirror.Source  // of the fleet's metadata; nil without a fleet
	// Fetch brings the archive onto this disk and gives its path. What it
	// gives is verified again, and removed once it is unpacked. nil without a
	// fleet.
	Fetch func(ctx context.Context, t trust.Target, progress func(done, total int64)) (path string, err error)
	Plant Plant
	// Sign fills in who the device is and signs with its key; nil for a
	// device that isn't enrolled, which proves nothing.
	Sign func(*wire.Statement) (*wire.Proof, error)
	// Report tells the fleet, as far as it can be reached now; it must not
	// block. nil without a fleet.
	Report func(*wire.Report)
	Boot   [16]byte  // of this boot of the device
	Build  time.Time // of this program: no clock is believed that shows less
	Log    *slog.Logger
	// Heavy has room for one, and is held by whoever loads and gates a bundle; nil
	// where nobody else on the device loads models.
	Heavy chan struct{}
	// Zone of the windows; nil for the device's own.
	Zone *time.Location

	seams // for this package's tests
}

// Station is one station that follows a bundle.
type Station struct {
	ID     string
	Bundle string // its name
	Policy Policy // zero for Auto
	Window Window // of the policy InWindow; nil never opens
}

// Window says when a station may switch, by the clock of the time's own zone.
type Window interface{ Open(at time.Time) bool }

// Policy says when a station may switch to a bundle that has passed its gate.
type Policy string

// The policies, as the configuration writes them.
const (
	Auto         Policy = "auto"     // at once
	InWindow     Policy = "window"   // in its window, or when it is approved
	Ask          Policy = "ask"      // when it is approved
	DownloadOnly Policy = "download" // as Ask, and the fleet isn't told that it waits for a person
)

// Plant is the running device.
type Plant interface {
	// Load starts a second worker for the station with the bundle in that
	// folder and warms it. With an empty folder and digest it is what the
	// configuration names itself, which may be nothing: the station then says
	// that it has no model. A bundle that can't be used is an error of type
	// *Refused; any other is tried again, a few times.
	Load(ctx context.Context, station, dir, digest string) (Candidate, error)
	// Suits looks, before a new version is loaded, whether it goes with what the
	// station's configuration sets beside it. Where it doesn't that is a *Refused; any
	// other error is tried again, as with Load. What served before isn't asked: a
	// station can always go back.
	Suits(station, dir string) error
	// Vitals are those of what the station runs now.
	Vitals(station string) Vitals
}

// Candidate is a loaded bundle that doesn't serve yet.
type Candidate interface {
	// Gate runs its golden pictures. draw takes the pictures of a refusal.
	Gate(ctx context.Context, draw func(name string, jpeg []byte)) (*gate.Report, error)
	// Fingerprint names what the gate's result holds for, beside the bundle:
	// provider, runtime, driver and precision.
	Fingerprint() string
	// Activate lets it serve from the next part on. after is the journal's
	// last number and epoch its epoch at that moment. When it fails, what ran
	// before runs on.
	Activate(ctx context.Context) (after, epoch uint64, err error)
	// Close gives the worker back, unless it was activated.
	Close() error
}

// Vitals are a station's counters since what it runs now was activated in
// this run of the program.
type Vitals struct {
	Digest   string // of the bundle that runs now, hex; empty for none
	Epoch    uint64 // of the journal
	After    uint64 // the journal's last number when it was activated
	Verdicts uint64 // told
	None     uint64 // of them NONE
	Late     uint64 // of them told after the deadline
	Restarts uint64 // of its worker
	// Seqs are the journal's numbers of verdicts told by this bundle, the
	// newest at most 64, in order.
	Seqs     []uint64
	ModelP50 time.Duration // one picture through the model
	ModelP99 time.Duration
	AgeP99   time.Duration // picture taken until its verdict is told
	Period   time.Duration // between two pictures; 0 unknown
	Deadline time.Duration // for AgeP99; 0 for none
	Celsius  float64       // of the hottest sensor that matters; NaN unknown
	Failure  string        // why it can't work at all; empty if it does
}

// Refused is an error that says that the bundle itself can't be used here.
type Refused struct{ Text string }

func (r *Refused) Error() string { return r.Text }

// Updater is the state machine of one device. Open applies what the last power
// cut left; Run does the rest.
type Updater struct {
	cfg       Config
	log       *slog.Logger
	disk      disk
	process   [16]byte // random, of this run of the program
	stations  []*station
	strangers []string // digests that stations need which aren't configured now

	device atomic.Pointer[devices]
	save   sync.Mutex // serialises writes of device
	file   copies     // of device, under save

	heavy     chan struct{} // holds one: only one bundle is loaded and gated at a time
	fetch     chan struct{} // wake-ups of the goroutines of Run
	mail      chan struct{}
	tell      chan struct{}
	metadata  sync.Mutex // one refresh and search at a time
	garbage   sync.Mutex // nothing is pinned while garbage is collected
	unpacking sync.Mutex // one bundle at a time

	mu       sync.Mutex // protects what follows
	inbox    map[string]*wire.Command
	asked    bool                // reports are due even if nothing changed
	pinned   map[string]int      // digests that no record names yet
	progress map[string]progress // by digest
	trouble  map[string]trouble  // of fetching, by command
	proofs   map[string]*wire.Proof
	unproved string    // why Sign failed last; empty if it didn't
	running  *fetching // what is being fetched
}

// station is one station at run time.
type station struct {
	Station
	rec   atomic.Pointer[record]
	dirty atomic.Bool // rec tells what has happened, and isn't on disk yet
	wake  chan struct{}
	doubt atomic.Pointer[doubt] // the gate must run again; nil: not

	save sync.Mutex // serialises changes of rec
	file copies     // under save

	// Of the station's own goroutine.
	tries  int       // failures in a row that pass by themselves
	resume time.Time // not before; monotonic
	failed string    // id of the newest command when it failed last: another one doesn't wait
	watch  watch

	mu   sync.Mutex // protects what follows
	note note       // why it waits, for people and reports
}

// note is a reason that isn't worth a write.
type note struct {
	reason Reason
	text   string
}

// Open reads the state of all stations, and decides what each has to run: a
// bundle whose files are whole. It starts nothing.
func Open(cfg Config) (*Updater, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Zone == nil {
		cfg.Zone = time.Local
	}
	u := &Updater{
		cfg: cfg, log: cfg.Log, disk: disk{cfg.step},
		heavy: cmp.Or(cfg.Heavy, make(chan struct{}, 1)), fetch: make(chan struct{}, 1), mail: make(chan struct{}, 1), tell: make(chan struct{}, 1),
		inbox: map[string]*wire.Command{}, pinned: map[string]int{}, progress: map[string]progress{},
		trouble: map[string]trouble{}, proofs: map[string]*wire.Proof{},
	}
	_, _ = rand.Read(u.process[:]) // never fails
	for _, dir := range []string{"", contentDir, stateDir} {
		if err := u.disk.mkdir("folder", filepath.Join(cfg.Dir, dir)); err != nil {
			return nil, fmt.Errorf("open the updates in %s: %w", cfg.Dir, err)
		}
	}
	if err := u.sweep(); err != nil {
		u.log.Warn("what a power cut left can't be removed", "err", err)
	}
	if err := u.load(); err != nil {
		return nil, fmt.Errorf("open the updates in %s: %w", cfg.Dir, err)
	}
	u.start()
	u.collect()
	return u, nil
}

// Run takes commands and carries them out until ctx ends.
func (u *Updater) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { u.listen(ctx); return nil })
	g.Go(func() error { u.bring(ctx); return nil })
	g.Go(func() error { u.report(ctx); return nil })
	for _, s := range u.stations {
		g.Go(func() error { u.serve(ctx, s); return nil })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// poke wakes who waits on c, if it isn't awake already.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// changed wakes all that may have something to do now.
func (u *Updater) changed() {
	poke(u.fetch)
	poke(u.tell)
	for _, s := range u.stations {
		poke(s.wake)
	}
}

func (u *Updater) station(id string) *station {
	for _, s := range u.stations {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// followers are the stations that follow the bundle of that name.
func (u *Updater) followers(bundle string) []*station {
	var list []*station
	for _, s := range u.stations {
		if s.Bundle == bundle {
			list = append(list, s)
		}
	}
	return list
}
