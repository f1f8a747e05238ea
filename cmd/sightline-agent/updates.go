package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/sync/identity"
	"github.com/sightline-edge/sightline/sync/uplink"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/transfer"
	"github.com/sightline-edge/sightline/updater/trust"
	"github.com/sightline-edge/sightline/vision/infer"
)

// updates brings signed bundles to the device's stations: what they begin with,
// and what the fleet or an operator installs.
type updates struct {
	dir   string // of the device's folder for updates
	cfg   *config.Config
	plant *plant
	log   *slog.Logger

	puller *transfer.Puller
	heavy  turn // of whoever loads and proves a model

	mu      sync.Mutex // protects what follows
	updater *updater.Updater
	root    bool               // updater has one
	id      *identity.Identity // nil before the device is enrolled
	up      *uplink.Uplink
}

func newUpdates(cfg *config.Config, p *plant, log *slog.Logger) *updates {
	dir := filepath.Join(cfg.Data, "updates")
	return &updates{dir: dir, cfg: cfg, plant: p, log: log, heavy: make(turn, 1), puller: transfer.New(transfer.Config{Dir: filepath.Join(dir, "transfer"), Log: log})}
}

// open reads what the device has. It is called again when a root was pinned
// since, before which nothing could be installed.
func (u *updates) open() error {
	root, err := mirror.Open(metadataDir(u.cfg.Data))
	if err != nil {
		root = nil // what is on the device runs all the same
		if !errors.Is(err, mirror.ErrNoRoot) {
			u.log.Error("no bundle can be installed for now", "err", err)
		}
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	n, err := updater.Open(updater.Config{
		Dir: u.dir, Stations: u.stations(), Mirror: root, Source: metadata{u.puller}, Fetch: u.fetch,
		Plant: u.plant, Sign: u.sign, Report: u.report, Boot: boot, Build: buildTime(), Log: u.log, Heavy: u.heavy,
	})
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.updater, u.root = n, root != nil
	return nil
}

// complete says whether the updater of now has a root. It isn't opened a
// second time for nothing: each time counts as a start of the program during a
// probation.
func (u *updates) complete() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.root
}

// stations are those that follow a bundle, and those of their recipes that follow one
// of their own.
func (u *updates) stations() []updater.Station {
	var list []updater.Station
	for _, s := range u.cfg.Stations {
		follow := func(id, bundle string) {
			if bundle != "" {
				list = append(list, updater.Station{ID: id, Bundle: bundle, Policy: updater.Policy(s.Updates), Window: s.Window})
			}
		}
		follow(s.ID, s.Bundle)
		for _, r := range s.Recipes {
			follow(wire.Unit(s.ID, r.Name), r.Bundle)
		}
	}
	return list
}

// bootPatience is how long commands wait for what the stations begin with: a
// device that can't load that must be able to get something else.
const bootPatience = time.Minute

// reviveAfter is how long a model is left given up: what goes back from it by
// itself has done so by then.
const reviveAfter = 10 * time.Second

// run keeps what is active running, and carries commands out, until ctx ends.
func (u *updates) run(ctx context.Context) error {
	var g errgroup.Group
	defer g.Wait() // none of them has an error
	u.boot(ctx, &g)
	for ctx.Err() == nil {
		err := u.serve(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		u.log.Error("bundles aren't updated for now", "err", err, "again", againEvery)
		select {
		case <-ctx.Done():
		case <-time.After(againEvery):
		}
	}
	return nil
}

// serve runs the updater until ctx ends, or a root was pinned where there was
// none.
func (u *updates) serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	switch {
	case u.complete():
	case rooted(u.cfg.Data):
		if err := u.open(); err != nil {
			return err
		}
	default:
		g.Go(func() error {
			defer stop()
			for !rooted(u.cfg.Data) {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(lookEvery):
				}
			}
			return nil
		})
	}
	now := u.now()
	g.Go(func() error { return now.Run(ctx) })
	return g.Wait()
}

// rooted says whether a root is pinned, and can be read.
func rooted(data string) bool {
	_, err := mirror.Open(metadataDir(data))
	return err == nil
}

// now is the updater of now.
func (u *updates) now() *updater.Updater {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.updater
}

// boot begins to keep each station's model running, all of them at once, and
// returns when each was tried, or after bootPatience.
func (u *updates) boot(ctx context.Context, g *errgroup.Group) {
	var tried sync.WaitGroup
	for _, s := range u.stations() {
		tried.Add(1)
		g.Go(func() error {
			u.keep(ctx, s.ID, sync.OnceFunc(tried.Done))
			return nil
		})
	}
	all := make(chan struct{})
	go func() {
		tried.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-time.After(bootPatience):
	case <-ctx.Done():
	}
}

// keep gives a station its model, and gives it anew when that was given up,
// until ctx ends or the station has. A bundle on probation is the updater's to
// replace, which comes first.
func (u *updates) keep(ctx context.Context, id string, tried func()) {
	defer tried()
	var lacks time.Time // since when; zero while it has one
	said, wait := "", lookEvery
	for pause := time.Duration(0); ctx.Err() == nil; pause = wait {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		switch {
		case !u.plant.lacks(id):
			lacks, said, wait = time.Time{}, "", lookEvery
			tried()
			continue
		case lacks.IsZero():
			lacks = time.Now()
		}
		if u.plant.had(id) && time.Since(lacks) < reviveAfter {
			continue
		}
		err := u.bootStation(ctx, id)
		tried()
		if errors.Is(err, agent.ErrStationEnded) {
			return
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		if wait = min(2*wait, againEvery); err.Error() != said {
			said = err.Error()
			u.log.Error("a station has no model", "station", id, "err", err)
		}
	}
}

// bootStation loads what is active, lets it pass its gate where the device has
// changed, and gives it to the station, if that lacks a model. Meanwhile the
// updater changes nothing there.
func (u *updates) bootStation(ctx context.Context, id string) error {
	done, err := u.plant.stations[id].turn.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	for u.plant.lacks(id) {
		dir, digest, _, ok := u.now().Active(id)
		if !ok || dir == "" && u.plant.stations[id].config.Model == "" {
			return nil // the station's status says why
		}
		c, err := u.load(ctx, id, dir, digest)
		var refused *updater.Refused
		if errors.As(err, &refused) && u.now().Unusable(ctx, id, refused) {
			continue
		} else if err != nil {
			return err
		}
		if ok, err = u.now().Regate(ctx, id, c); err == nil && ok {
			if _, _, err = c.activate(ctx); err == nil {
				return nil
			}
		}
		if err = errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	return nil
}

// bootTime is how long a model may take to load at the start, when its engine may
// have to be built anew.
const bootTime = infer.BuildLimit + 5*time.Minute

func (u *updates) load(ctx context.Context, id, dir, digest string) (*candidate, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	return u.plant.load(ctx, id, dir, digest, true)
}

// enrolled hears of the device's identity and its connection.
func (u *updates) enrolled(id *identity.Identity, up *uplink.Uplink) {
	u.mu.Lock()
	u.id, u.up = id, up
	u.mu.Unlock()
	if root := id.Root(); root != nil && !rooted(u.cfg.Data) { // enrolling was cut short
		if err := mirror.Pin(metadataDir(u.cfg.Data), root); err != nil {
			u.log.Error("the fleet's root of updates isn't pinned", "err", err)
		}
	}
	u.puller.Over(up)
	if u.cfg.Updates.Transfer == config.HTTP {
		u.puller.OverHTTP(id.Fleet(), id.HTTP())
	}
}

// heard takes what the fleet says about bundles; it doesn't block.
func (u *updates) heard(kind wire.Kind, payload []byte) {
	switch kind {
	case wire.KindBlock:
		u.puller.Heard(payload)
	case wire.KindCmd:
		c := new(wire.Command)
		if err := wire.Unmarshal(payload, c); err != nil {
			u.log.Warn("a command that can't be read", "err", err)
			return
		}
		u.now().Command(c)
	}
}

func (u *updates) greeted() { u.now().Greeted() }

// report tells the fleet; what finds no room is told again with the next
// greeting.
func (u *updates) report(r *wire.Report) {
	u.mu.Lock()
	up := u.up
	u.mu.Unlock()
	if up == nil {
		return
	}
	b, err := wire.Marshal(r)
	if err != nil {
		u.log.Error("a report can't be encoded", "err", err)
		return
	}
	up.Say(wire.KindReport, 1, b)
}

// proofPrefix stands before a statement where it is signed, so that nothing
// else that the key signs can be taken for one.
const proofPrefix = "sightline proof v1\n"

// sign makes a proof of a statement.
func (u *updates) sign(s *wire.Statement) (*wire.Proof, error) {
	u.mu.Lock()
	id := u.id
	u.mu.Unlock()
	if id == nil {
		return nil, identity.ErrNotEnrolled
	}
	s.Device = id.Device()
	statement, err := wire.Marshal(s)
	if err != nil {
		return nil, err
	}
	signature, certificate, err := id.Sign(append([]byte(proofPrefix), statement...))
	if err != nil {
		return nil, err
	}
	return &wire.Proof{Statement: statement, Signature: signature, Certificate: certificate}, nil
}

// roomFactor is how much room an unpacked bundle takes, at most, of its
// archive's: models hardly shrink.
const roomFactor = 2

func (u *updates) fetch(ctx context.Context, t trust.Target, progress func(done, total int64)) (string, error) {
	return u.puller.Fetch(ctx, transfer.Want{
		Digest: t.SHA256, Length: t.Length, Piece: t.Piece, Pieces: t.Pieces, Room: roomFactor * t.Length,
	}, progress)
}

// metadata is the fleet's, as a mirror asks for it.
type metadata struct{ puller *transfer.Puller }

// Metadata implements mirror.Source.
func (m metadata) Metadata(ctx context.Context, name string, most int64) ([]byte, error) {
	b, err := m.puller.Metadata(ctx, name, most)
	if errors.Is(err, transfer.ErrMissing) {
		err = errors.Join(mirror.ErrMissing, err)
	}
	return b, err
}

// bootID names the machine's present boot, random(4). Where the kernel doesn't
// tell, as in some sandboxes, it is another one at each start of the program.
func bootID() (id [16]byte, err error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", os.Getpid(), rand.Uint64()))
		copy(id[:], sum[:])
		return id, nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(string(bytes.TrimSpace(text)), "-", ""))
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("read the boot's id: %q isn't one", bytes.TrimSpace(text))
	}
	copy(id[:], b)
	return id, nil
}

// built is when the program's source was committed, RFC 3339; the build sets it.
var built = ""

// buildTime is built, or a day before which there was no such program.
func buildTime() time.Time {
	t, err := time.Parse(time.RFC3339, built)
	if err != nil {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return t
}
