package agent

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/rules"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/shm"
	"github.com/sightline-edge/sightline/vision/track"
)

// asWorker, in the environment, says which of the agent's workers this test
// binary is.
const asWorker = "SIGHTLINE_AGENT_TEST_WORKER"

// modelName, in the environment of a worker, is the name of its loadout's model.
const modelName = "SIGHTLINE_AGENT_TEST_MODEL"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(asWorker) {
	case "infer":
		err = infer.WorkerMain(context.Background(), 3)
	case "leak":
		go leak()
		err = infer.WorkerMain(context.Background(), 3)
	case "die":
		os.Exit(137)
	default:
		if slices.Contains(os.Args, "capture") {
			err = capture.WorkerMain(context.Background(), 3, capture.OpenPlain)
			break
		}
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// leaked is what a worker that leaks holds on to.
var leaked [][]byte

// leak takes 40 MB a second and never gives them back.
func leak() {
	for range time.Tick(10 * time.Millisecond) {
		b := make([]byte, 400_000)
		for n := range b {
			b[n] = 1
		}
		leaked = append(leaked, b)
	}
}

var quiet = slog.New(slog.DiscardHandler)

// shipped is the shipped model's loadout with a worker that isn't running. Its
// name tells loadouts apart; those with another confidence see other things.
func shipped(t testing.TB, name string, confidence float32) Loadout {
	t.Helper()
	return limited(t, name, confidence, 0)
}

// limited is shipped with a limit of a run, 0 for the usual one.
func limited(t testing.TB, name string, confidence float32, limit time.Duration) Loadout {
	t.Helper()
	return shippedAs(t, name, confidence, infer.Config{Env: []string{asWorker + "=infer", modelName + "=" + name}, Limit: limit})
}

// shippedAs is shipped with a worker of those settings.
func shippedAs(t testing.TB, name string, confidence float32, cfg infer.Config) Loadout {
	t.Helper()
	library, err := infer.FindLibrary("")
	if err != nil {
		t.Skip("left out: ", err)
	}
	dir, err := models.Open("drawn-parts")
	if err != nil {
		t.Fatal(err)
	}
	m, err := bundle.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := fs.ReadFile(dir, m.Model.File)
	if err != nil {
		t.Fatal(err)
	}
	info, err := infer.Describe(data)
	if err != nil {
		t.Fatal(err)
	}
	roles, o := map[string]vision.Role{}, infer.Options{Family: m.Model.Family, Confidence: confidence, NMS: m.Model.NMS}
	for _, l := range m.Model.Labels {
		roles[l.Name], _ = vision.ParseRole(l.Role)
		o.Labels = append(o.Labels, l.Name)
	}
	spec, err := info.Spec(o)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Executable, cfg.Library, cfg.Model, cfg.Spec, cfg.Log = os.Args[0], library, infer.Model{Path: name, Data: data}, spec, quiet
	return Loadout{
		Model: infer.New(cfg),
		About: Model{Name: name, Digest: m.Model.SHA256, Bundle: "digest of " + name},
		Rule:  ruleOf(t, m.Rule.Spec()),
		Track: track.Config{Start: 0.5, Keep: 0.1, Roles: roles},
	}
}

func ruleOf(t testing.TB, text string) *rules.Rule {
	t.Helper()
	cfg := rules.Config{TimeLimit: 5 * time.Second}
	if dir := os.Getenv("SIGHTLINE_CACHE"); dir != "" {
		cfg.CacheDir = filepath.Join(dir, "rules")
	}
	engine, err := rules.NewEngine(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(context.Background()) })
	spec, err := rules.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := engine.Load(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// works runs a worker until the test's end.
func works(t testing.TB, w *infer.Worker) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// eye is a worker that all tests share, with what it saw in each picture of the
// belt: the same scene is shown again and again.
var eye struct {
	once   sync.Once
	worker *infer.Worker
	seen   map[int]infer.Result
}

// seeing is the shipped model's loadout on the shared worker.
func seeing(t testing.TB, name string) Loadout {
	t.Helper()
	l := shipped(t, name, 0.1)
	eye.once.Do(func() {
		eye.worker, eye.seen = l.Model, map[int]infer.Result{}
		go eye.worker.Run(context.Background()) // until the tests are over: it goes with this process
	})
	l.Model = eye.worker
	return l
}

// belt drives a station's judge by hand: each call of step is one picture of
// the drawn belt, so that nothing depends on how fast this machine is.
type belt struct {
	t       testing.TB
	scene   *scene.Scene
	station *Station
	journal *journal.Journal
	told    chan *Inspection // closed by finish
	pool    *shm.Pool
	frame   vision.Frame
	n       int // pictures so far
	flights chan *flight
	misses  func(loadout string, d vision.Detection) bool // what a model fails to see; nil: nothing
}

// newBelt is a belt whose parts always follow each other, before a station with
// the loadout.
func newBelt(t testing.TB, l Loadout, mode track.Mode) *belt {
	t.Helper()
	sc, err := scene.New(scene.Config{Seed: 21, Speed: 2, Rate: 12, Width: 512, Height: 288})
	if err != nil {
		t.Fatal(err)
	}
	camera, err := capture.New(capture.Config{Source: t.TempDir(), SelfExecutable: os.Args[0]})
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{Journal: j, Log: quiet})
	b := &belt{t: t, scene: sc, journal: j, told: make(chan *Inspection, 1000), flights: make(chan *flight, 1)}
	a.recorder.tell = func(i *Inspection) { a.tell(i); b.told <- i }
	l.Track.Mode = mode
	b.station = a.Add(StationConfig{ID: "belt", Cameras: []*Camera{NewCamera(CameraConfig{Source: camera})}, Model: l.Model, About: l.About, Rule: l.Rule, Track: l.Track,
		Deadline: 10 * time.Second, Log: quiet})
	b.station.running = true
	f := sc.NewFrame()
	if b.pool, err = shm.NewPool(1, 1, len(f.Pix)); err != nil {
		t.Fatal(err)
	}
	b.frame = *f
	b.frame.Pix = b.pool.Slot(0)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	go func() {
		defer close(b.told)
		a.recorder.run()
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		b.pool.Release()
		j.Close()
	})
	return b
}

// step shows the next picture.
func (b *belt) step() {
	b.t.Helper()
	b.n++
	now := time.Now()
	f := &flight{view: b.station.views[0], frame: &capture.Frame{Frame: b.frame, Pool: b.pool}, done: make(chan struct{})}
	f.frame.Seq, f.frame.Captured = uint64(b.n), now
	f.frame.Media = time.Duration(float64(b.n) / b.scene.Config().Rate * float64(time.Second))
	b.station.depart(f, b.flights)
	<-b.flights
	b.look(f)
	b.station.judge(b.t.Context(), f)
	b.mind()
}

// look runs the models, the shared one only on pictures that it hasn't seen yet.
func (b *belt) look(f *flight) {
	b.t.Helper()
	shared := func(r *run) bool { return r.lane.Model == eye.worker }
	r, ok := eye.seen[b.n]
	if all := len(f.runs) == 1 || shared(f.runs[1]); !ok || !all || !shared(f.runs[0]) {
		if err := b.scene.Frame(b.n-1, &b.frame); err != nil {
			b.t.Fatal(err)
		}
		if !all || !shared(f.runs[0]) {
			b.station.look(b.t.Context(), f)
			return
		}
		var err error
		if r, err = eye.worker.Infer(b.t.Context(), &f.frame.Frame, b.pool, 0); err != nil {
			b.t.Fatal(err)
		}
		eye.seen[b.n] = r
	}
	for _, to := range f.runs {
		to.result = r
		to.result.Detections = nil
		for _, d := range r.Detections {
			if b.misses == nil || !b.misses(to.lane.About.Name, d) {
				to.result.Detections = append(to.result.Detections, d)
			}
		}
	}
}

// mind lets the judge hear what it is told.
func (b *belt) mind() {
	select {
	case <-b.station.poked:
		b.station.mind(b.t.Context())
	default:
	}
}

// finish decides what is in view and gives all that was told, in order.
func (b *belt) finish() []*Inspection {
	b.t.Helper()
	b.station.decideAll(b.t.Context())
	b.station.lane.leave(nil)
	b.station.recorder.close()
	var all []*Inspection
	for i := range b.told {
		all = append(all, i)
	}
	return all
}

// change begins a switch beside the belt; the function it gives waits for its
// end while the belt goes on, and returns what came of it.
func (b *belt) change(ctx context.Context, l Loadout) func() (Cut, error) {
	b.t.Helper()
	type outcome struct {
		cut Cut
		err error
	}
	out := make(chan outcome, 1)
	go func() {
		cut, err := b.station.change(ctx, l)
		out <- outcome{cut, err}
	}()
	for len(out) == 0 && b.station.switching() == nil {
		<-time.After(time.Millisecond)
	}
	return func() (Cut, error) {
		for n := 0; len(out) == 0; n++ {
			if b.station.switching() == nil {
				break
			}
			if n > 2000 {
				b.t.Fatal("the switch has no end")
			}
			b.step()
		}
		o := <-out
		return o.cut, o.err
	}
}

// physical gives the number of the drawn part that was judged, -1 for none.
func (b *belt) physical(i *Inspection) int {
	best, at := float32(0.3), -1
	for _, p := range b.scene.Truth(int(i.Part.Best) - 1) {
		if iou := p.Clipped.IoU(i.Part.Box); iou > best {
			best, at = iou, p.Part.Index
		}
	}
	return at
}

// verdicts gives each physical part's verdict, and complains of parts that were
// judged twice or aren't there.
func (b *belt) verdicts(all []*Inspection) map[int]vision.Verdict {
	b.t.Helper()
	out := map[int]vision.Verdict{}
	for _, i := range all {
		n := b.physical(i)
		if _, twice := out[n]; twice || n < 0 {
			b.t.Errorf("part %s of %s, frames %d to %d, is physical part %d: judged twice, or none", i.Part.ID, i.Model.Name, i.Part.First, i.Part.Last, n)
		}
		out[n] = i.Told.Verdict
	}
	return out
}
