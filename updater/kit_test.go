package updater

import (
	"context"
	"crypto/sha256"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/mirror"
)

var update = flag.Bool("update", false, "write docs/update-states.md anew")

func full() bool { return os.Getenv("SIGHTLINE_FAULTS") == "full" }

// device is an updater on a plant, with a repository.
type device struct {
	t        testing.TB
	dir      string
	repo     *repo
	plant    *plant
	stations []Station
	step     func(string) error
	build    time.Time
	zone     *time.Location
	u        *Updater
	ctx      context.Context // of Run
	end      func()

	mu      sync.Mutex
	reports []*wire.Report
}

// in runs a test in a bubble, where waiting costs nothing.
func in(t *testing.T, f func(t *testing.T, d *device)) {
	synctest.Test(t, func(t *testing.T) { f(t, newDevice(t, newRepo(t))) })
}

func newDevice(t testing.TB, r *repo) *device {
	t.Helper()
	d := &device{t: t, dir: t.TempDir(), repo: r, plant: newPlant(t), stations: []Station{{ID: "one", Bundle: "caps"}}}
	if err := mirror.Pin(filepath.Join(d.dir, "metadata"), r.root); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.end != nil {
			d.end()
		}
	})
	return d
}

// open is the program's start, without Run.
func (d *device) open() *device {
	d.t.Helper()
	if err := d.tryOpen(); err != nil {
		d.t.Fatal(err)
	}
	return d
}

func (d *device) tryOpen() error {
	m := must(mirror.Open(filepath.Join(d.dir, "metadata")))(d.t)
	u, err := Open(Config{
		Dir: d.dir, Stations: d.stations, Mirror: m, Source: d.repo, Fetch: d.repo.fetchTo(d.dir), Plant: d.plant,
		Sign: func(s *wire.Statement) (*wire.Proof, error) {
			b, err := proto.Marshal(s)
			return &wire.Proof{Statement: b}, err
		},
		Report: func(r *wire.Report) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.reports = append(d.reports, r)
		},
		Build: d.build, Zone: d.zone, Log: slog.New(slog.NewTextHandler(logTo{d.t}, nil)),
		seams: seams{step: d.step, strict: true},
	})
	if err != nil {
		return err
	}
	d.u = u
	d.plant.boot(u)
	return nil
}

// start is the program's start.
func (d *device) start() *device {
	d.t.Helper()
	d.open()
	return d.run()
}

func (d *device) run() *device {
	ctx, cancel := context.WithCancel(context.Background())
	d.ctx = ctx
	done := make(chan struct{})
	u := d.u
	go func() {
		defer close(done)
		if err := u.Run(ctx); err != nil {
			d.t.Error(err)
		}
	}()
	d.end = func() { cancel(); <-done; d.end = nil }
	return d
}

// restart ends the program well and starts it.
func (d *device) restart() *device {
	d.t.Helper()
	d.end()
	for d.tryOpen() != nil { // the service manager starts it again
	}
	return d.run()
}

// order is a command with a nonce that follows from its name.
func order(act wire.Command_Act, rollout, version, digest string) *wire.Command {
	nonce := sha256.Sum256([]byte(rollout))
	return &wire.Command{
		Act: act, Rollout: rollout, Nonce: nonce[:16], Bundle: "caps", Version: version,
		Target: bundle.TargetPath("caps", version), Digest: unhex(digest),
	}
}

func (d *device) install(rollout, version, digest string) *wire.Command {
	c := order(wire.Command_ACT_INSTALL, rollout, version, digest)
	d.u.Command(c)
	return c
}

// until waits for a phase of the first station, under the command's nonce.
func (d *device) until(c *wire.Command, phase Phase) {
	d.t.Helper()
	d.wait(string(phase), func() bool { return d.is(c, phase) })
}

func (d *device) is(c *wire.Command, phase Phase) bool {
	want, err := readCommand(c)
	if err != nil {
		d.t.Fatal(err)
	}
	return !slices.ContainsFunc(d.u.stations, func(s *station) bool {
		r := s.rec.Load()
		return r.Job.id() != want.id() || r.Phase != phase
	})
}

// wait waits in the bubble's time.
func (d *device) wait(what string, ok func() bool) {
	d.t.Helper()
	for end := time.Now().Add(3 * time.Hour); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			r := d.u.stations[0].rec.Load()
			d.t.Fatalf("waited for %s: it is %s, %s %q %+v", what, r.Phase, r.Reason, r.Text, d.u.stations[0].waits())
		}
	}
}

// sleep lets that much of the bubble's time pass.
func (d *device) sleep(t time.Duration) { time.Sleep(t) }

// last is the newest report.
func (d *device) last() *wire.Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.reports) == 0 {
		return &wire.Report{}
	}
	return d.reports[len(d.reports)-1]
}

// told says whether a report had the text.
func (d *device) told(text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.reports, func(r *wire.Report) bool { return strings.Contains(r.GetText(), text) })
}

// runs is the digest that the first station runs; also by the record.
func (d *device) runs() string {
	d.t.Helper()
	got := d.plant.Vitals(d.stations[0].ID).Digest
	if _, digest, _, ok := d.u.Active(d.stations[0].ID); digest != got || !ok {
		d.t.Errorf("on record runs %q (%t), the plant runs %q", digest, ok, got)
	}
	return got
}

// failure is the last failure's reason.
func (d *device) failure() Reason {
	if f := d.u.Status()[0].Failure; f != nil {
		return f.Reason
	}
	return ""
}

// contents are the bundles on disk.
func (d *device) contents() []string {
	var list []string
	for _, e := range must(os.ReadDir(filepath.Join(d.dir, contentDir)))(d.t) {
		list = append(list, e.Name())
	}
	return list
}

func sorted(list ...string) []string { slices.Sort(list); return list }

type logTo struct{ t testing.TB }

func (l logTo) Write(b []byte) (int, error) {
	if testing.Verbose() {
		l.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// next is how far the first station is with its command.
func (d *device) next() NextBundle {
	if n := d.u.Status()[0].Next; n != nil {
		return *n
	}
	return NextBundle{}
}
