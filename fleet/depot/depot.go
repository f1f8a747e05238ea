// Package depot keeps what devices update themselves from: bundles, and the
// signed metadata of the repository that they are named in. Roots and targets
// are signed elsewhere, by keys that never come here; the depot takes only
// what a device would believe. It signs snapshot and timestamp itself, with
// keys of its own, and signs them anew before they end.
//
// A depot that is broken into can keep updates away from devices and no more:
// what they install is named by targets, whose keys it hasn't got.
package depot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// FolderName is where the depot lies in the fleet's data directory.
const FolderName = "updates"

// Errors that callers tell apart. They come wrapped.
var (
	ErrMissing = errors.New("there is no such file")
	ErrRefused = errors.New("refused") // what was given can't be taken; the text says why
	ErrFull    = errors.New("the fleet's disk is full")
	ErrBusy    = errors.New("busy, try again later")
)

// refused is an ErrRefused with its reason.
func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// Depot is an open depot. It is safe for concurrent use.
type Depot struct {
	top     folder
	now     func() time.Time
	log     *slog.Logger
	reserve int64 // see the constant; smaller in tests

	asks    *asks
	files   handles
	putting chan struct{} // has an element for each bundle that comes in

	publishing sync.Mutex // one change of metadata at a time; protects online
	online     keys
	current    atomic.Pointer[repository]
	trouble    atomic.Pointer[error] // of the last try to sign anew; nil after a good one
}

// Open opens the depot in the folder, which is made if need be, and completes
// what an earlier run hasn't. now is the fleet's time. Metadata that can't be
// used is no error: State tells, and a fleet has more to do.
func Open(dir string, now func() time.Time, log *slog.Logger) (*Depot, error) {
	return open(folder{path: dir}, now, log)
}

func open(top folder, now func() time.Time, log *slog.Logger) (*Depot, error) {
	d := &Depot{
		top: top, now: now, log: log, reserve: reserve,
		asks: newAsks(), putting: make(chan struct{}, maxPutting),
	}
	d.current.Store(new(repository))
	if err := top.make(); err != nil {
		return nil, fmt.Errorf("open the depot in %s: %w", top.path, err)
	}
	if err := d.openKeys(); err != nil {
		return nil, fmt.Errorf("open the depot in %s: %w", top.path, err)
	}
	d.publishing.Lock()
	defer d.publishing.Unlock()
	if err := d.loadLocked(); err != nil {
		d.fails("read the metadata of updates", err)
	}
	return d, nil
}

// renewEvery is how often Run looks whether something must be signed anew.
const renewEvery = time.Minute

// Run answers devices and signs anew what would end, until ctx ends.
func (d *Depot) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range answerers {
		g.Go(func() error { return d.answer(ctx) })
	}
	g.Go(func() error {
		tick := time.NewTicker(renewEvery)
		defer tick.Stop()
		for {
			d.renew()
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	return g.Wait()
}

// Close closes what is open. Files that somebody reads are closed after that.
func (d *Depot) Close() error {
	d.files.close()
	return nil
}

// fails notes trouble that a person must look at, once in the log.
func (d *Depot) fails(what string, err error) {
	err = fmt.Errorf("%s: %w", what, err)
	if old := d.trouble.Swap(&err); old == nil || (*old).Error() != err.Error() {
		d.log.Error("updates", "err", err)
	}
}

// State is how the depot is.
type State struct {
	Root        int64     // version; 0 while there is none
	Fingerprint string    // of the root
	RootEnds    time.Time // zero without
	Targets     int64     // version; 0 while there are none
	TargetsEnds time.Time // zero without
	Stale       error     // why devices wouldn't believe the targets that there are; nil is well
	Trouble     error     // why something can't be read or signed anew; nil is well
}

// State is how the depot is now.
func (d *Depot) State() State {
	c := d.current.Load()
	s := State{
		Root: c.about.Version, Fingerprint: c.about.Fingerprint, RootEnds: c.rootEnds,
		Targets: c.targetsVersion, TargetsEnds: c.targetsEnds, Stale: c.stale,
	}
	if err := d.trouble.Load(); err != nil {
		s.Trouble = *err
	}
	return s
}
