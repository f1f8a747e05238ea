package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/sync/identity"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/uplink"
	"github.com/sightline-edge/sightline/sync/wire"
)

// deviceSettings is the variable that makes this program a device.
const deviceSettings = "SIGHTLINE_TEST_DEVICE"

func TestMain(m *testing.M) {
	if text := os.Getenv(deviceSettings); text != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		var s settings
		err := json.Unmarshal([]byte(text), &s)
		if err == nil {
			err = s.run(ctx)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// settings are of a device that has the agent's journal, identity and uplink,
// and in place of cameras results that are made up: record n is what made
// gives for n.
type settings struct {
	Data    string // enrolled
	Make    recipe
	Rate    int           // records a second
	After   time.Duration // the fleet was reached: only then records are made
	Retain  int64         // bytes of the journal
	Spread  time.Duration // see uplink.Config
	Devices []string      // data directories of a crowd; then Data is none
}

// told is what a device prints when it changes.
type told struct {
	Epoch     uint64
	Last      uint64 // on disk
	Acked     uint64
	Dropped   uint64
	Located   bool
	Connects  uint64
	NewEpochs uint64
	Refusal   string
	Error     string
	Stopped   bool // no more records are made
	Expired   bool
	Renewed   uint64
}

func (s *settings) run(ctx context.Context) error {
	if len(s.Devices) > 0 {
		return runCrowd(ctx, s)
	}
	j, opened, err := journal.Open(s.Data)
	if err != nil {
		return err
	}
	if opened.Quarantined != "" {
		return fmt.Errorf("the journal was damaged: %s", opened.Reason)
	}
	j.Retain(s.Retain)
	id, err := identity.Open(s.Data)
	if err != nil {
		return errors.Join(err, j.Close())
	}
	up := newUplink(id, j, s.Spread)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	enough := make(chan os.Signal, 1)
	signal.Notify(enough, syscall.SIGUSR1)
	var stopped atomic.Bool
	g.Go(func() error { return j.Run(ctx) })
	g.Go(func() error { return id.Run(ctx) })
	g.Go(func() error { return up.Run(ctx) })
	g.Go(func() error { return s.produce(ctx, j, up, enough, &stopped) })
	g.Go(func() error { return tell(ctx, j, up, id, &stopped) })
	return errors.Join(g.Wait(), j.Close())
}

// newUplink is as the agent has it, but for how long it waits to come back.
func newUplink(id *identity.Identity, j *journal.Journal, spread time.Duration) *uplink.Uplink {
	return uplink.New(uplink.Config{
		Device: id.Device(), Broker: id.MQTT(), TLS: id.TLS(), Renew: id.Renew, Journal: j, Spread: spread,
		State: func() *wire.State {
			return &wire.State{Clock: time.Now().UnixNano(), Stations: []*wire.StationState{{Id: "one", State: "inspecting"}}}
		},
		Inventory: &wire.Inventory{Version: "test", Hostname: "drawn"},
		Log:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// produce makes records until it is enough.
func (s *settings) produce(ctx context.Context, j *journal.Journal, up *uplink.Uplink, enough <-chan os.Signal, stopped *atomic.Bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var began time.Time
	made, next := 0, j.Stats().Last+1
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-enough:
			stopped.Store(true)
			<-ctx.Done()
			return nil
		case <-tick.C:
		}
		if began.IsZero() && (s.After == 0 || up.Stats().Located) {
			began = time.Now().Add(s.After)
		}
		if began.IsZero() || time.Now().Before(began) {
			continue
		}
		var last *journal.Pending
		for due := int(time.Since(began).Seconds() * float64(s.Rate)); made < due; made++ {
			last = s.Make.append(j, next)
			next++
		}
		if last == nil {
			continue
		}
		<-last.Done()
		if seq, err := last.Result(); ctx.Err() == nil && (err != nil || seq != next-1) {
			return fmt.Errorf("record %d became %d: %w", next-1, seq, err)
		}
	}
}

// tell prints how the device is doing, and ends it when nobody reads that.
func tell(ctx context.Context, j *journal.Journal, up *uplink.Uplink, id *identity.Identity, stopped *atomic.Bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	parent := os.Getppid()
	var before told
	for {
		done := stopped.Load() // before Last is read
		s, u, i := j.Stats(), up.Stats(), id.Stats()
		now := told{
			Epoch: j.Epoch(), Last: s.Last, Acked: s.Acknowledged, Dropped: s.Dropped, Located: u.Located, Connects: u.Connects,
			NewEpochs: u.NewEpochs, Refusal: u.Refusal, Error: u.LastError, Stopped: done, Expired: i.Expired, Renewed: i.Renewed,
		}
		if now != before {
			line, err := json.Marshal(now)
			if err != nil {
				return err
			}
			fmt.Printf("%s\n", line)
			before = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if os.Getppid() != parent {
			return errors.New("the test has gone")
		}
	}
}

// recipe says what a device's made-up records are. The same recipe gives the
// same record for the same number, so that a test knows what each must be.
type recipe struct {
	Name  string // of its parts
	Clock int64  // when record 0 was decided, nanoseconds since 1970
	Until uint64 // if not 0: of records after that, Then tells
	Then  *recipe
}

// record is the one of that number; each eleventh amends the one before.
func (r recipe) record(seq uint64) (body []byte, amends uint64) {
	if r.Until > 0 && seq > r.Until {
		return r.Then.record(seq)
	}
	var err error
	if seq%11 == 0 {
		body, err = wire.EncodeTold(&wire.Told{
			Seq: seq - 1, At: r.at(seq), Answer: &wire.Answer{Verdict: wire.Verdict_VERDICT_NONE, Reason: "late"},
		})
		amends = seq - 1
	} else {
		body, err = wire.EncodeResult(r.result(seq))
	}
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return body, amends
}

// append puts the record of that number, which must be the next, into the journal.
func (r recipe) append(j *journal.Journal, seq uint64) *journal.Pending {
	body, amends := r.record(seq)
	if amends > 0 {
		return j.Amend(amends, body)
	}
	return j.Append(body)
}

func (r recipe) at(seq uint64) int64 { return r.Clock + int64(seq)*700_000_000 }

func (r recipe) result(seq uint64) *wire.Result {
	at := r.at(seq)
	p := &wire.Result{
		PartId: fmt.Sprintf("%s-%08d", r.Name, seq), Station: "station-1", Line: "line-1", Camera: "front", Label: "cap",
		Verdict: wire.Verdict_VERDICT_PASS, Score: 0.9 + float32(seq%97)/1000, Box: &wire.Box{X: float32(seq % 640), Y: 100, W: 80, H: 80},
		FirstSeq: seq * 20, LastSeq: seq*20 + 15, BestSeq: seq*20 + 7, Frames: 16,
		FirstCaptured: at - 512_000_000, LastCaptured: at - 12_000_000, BestCaptured: at - 282_000_000, Decided: at,
		Model: "fastest", ModelDigest: strings.Repeat("3f", 32), Rule: "threshold:defect>0.5", Attempt: 1, Latency: 12_000_000,
	}
	switch seq % 13 {
	case 3:
		p.Verdict, p.Reason = wire.Verdict_VERDICT_FAIL, "scratch"
		p.Evidence = []*wire.Evidence{{Label: "scratch", Score: 0.7, Frames: 5, Box: p.Box}}
	case 5:
		p.Verdict, p.Reason = wire.Verdict_VERDICT_NONE, "model_failed"
	}
	return p
}

// device is such a device as a program, behind the fleet's cables.
type device struct {
	t       testing.TB
	id      string
	set     settings
	ahead   time.Duration // its clock
	out     *output
	process *process
	disk    uint64 // the highest number that it ever said was on disk
}

// newDevice enrols one; start starts it.
func newDevice(t testing.TB, c *central, name string) *device {
	t.Helper()
	data := filepath.Join(t.TempDir(), name)
	clock := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC).UnixNano()
	return &device{t: t, id: c.enrol(data), set: settings{
		Data: data, Make: recipe{Name: name, Clock: clock}, Rate: 200, Spread: 300 * time.Millisecond,
	}}
}

// anew enrols it again, which makes another device of it.
func (d *device) anew(c *central) {
	d.t.Helper()
	if err := os.RemoveAll(filepath.Join(d.set.Data, identity.FolderName)); err != nil {
		d.t.Fatal(err)
	}
	d.id = c.enrol(d.set.Data)
}

func (d *device) start() {
	d.t.Helper()
	text, err := json.Marshal(d.set)
	if err != nil {
		d.t.Fatal(err)
	}
	d.out = &output{}
	d.process = launch(d.t, d.out, d.ahead, []string{deviceSettings + "=" + string(text)}, os.Args[0])
}

// now is how it was doing when it said so last.
func (d *device) now() (now told) {
	d.t.Helper()
	if line := d.out.line(); line != "" {
		if err := json.Unmarshal([]byte(line), &now); err != nil {
			d.t.Fatalf("the device said %q: %v", line, err)
		}
	}
	d.disk = max(d.disk, now.Last)
	return now
}

// until waits for the device to be so.
func (d *device) until(what string, holds func(told) bool) told {
	d.t.Helper()
	return d.within(patience, what, holds)
}

func (d *device) within(limit time.Duration, what string, holds func(told) bool) (now told) {
	d.t.Helper()
	began := time.Now()
	eventuallyWithin(d.t, limit, what, func() bool {
		if now = d.now(); d.process.over() {
			d.t.Fatalf("%s: device %s ended %v after: %v\n%s", what, d.set.Make.Name, time.Since(began), d.process.err, tail(d.process.stderr.String()))
		}
		return holds(now)
	})
	return now
}

func (d *device) kill() {
	d.t.Helper()
	d.now()
	d.process.kill()
}

// drained ends the making of records, and returns when the fleet has said that
// it has all of them, which must be within a minute.
func (d *device) drained() told {
	d.t.Helper()
	d.until("a sign of the device", func(now told) bool { return now.Epoch != 0 })
	if err := d.process.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		d.t.Fatal(err)
	}
	began := time.Now()
	now := d.within(time.Minute, "an empty backlog", func(now told) bool { return now.Stopped && now.Acked == now.Last })
	d.t.Logf("device %s: %d records, drained in %v", d.set.Make.Name, now.Last, time.Since(began).Round(time.Millisecond))
	return now
}

// stop drains and ends it.
func (d *device) stop() told {
	d.t.Helper()
	now := d.drained()
	d.process.finish()
	return now
}

// eventuallyWithin is eventually with another limit.
func eventuallyWithin(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, limit)
		case <-tick.C:
		}
	}
}
