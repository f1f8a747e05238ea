package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/quality"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/track"
)

// with is a station that inspects with the loadout.
func with(id string, l Loadout, cameras ...*Camera) StationConfig {
	return StationConfig{ID: id, Model: l.Model, About: l.About, Rule: l.Rule, Track: l.Track, Cameras: cameras}
}

// captures counts the capture processes of this process.
func captures(t *testing.T) int {
	t.Helper()
	n := 0
	tasks, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is good
	for _, f := range tasks {
		b, _ := os.ReadFile(f) // a thread may have ended
		for _, pid := range strings.Fields(string(b)) {
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline") // so may a process
			if strings.HasSuffix(strings.TrimRight(string(line), "\x00"), "capture") {
				n++
			}
		}
	}
	return n
}

// saw counts the verdicts of a station's parts that a camera saw.
func (r *running) saw(station, camera string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, i := range r.told {
		if i.Station == station && i.Camera == camera && i.Told.Verdict != vision.None {
			n++
		}
	}
	return n
}

// TestStationOfTwoCameras: parts of both get their verdicts, also over a switch
// of models, and each says which camera saw it.
func TestStationOfTwoCameras(t *testing.T) {
	t.Parallel()
	first, second := shipped(t, "first", 0.1), shipped(t, "second", 0.1)
	left, right := drawnCamera(t, drawnBelt(t, 1), CameraConfig{ID: "left"}), drawnCamera(t, drawnBelt(t, 2), CameraConfig{ID: "right"})
	r := plant(t, []*infer.Worker{first.Model}, with("one", first, left, right))
	both := func(more int) func() bool {
		l, g := r.saw("one", "left"), r.saw("one", "right")
		return func() bool { return r.saw("one", "left") >= l+more && r.saw("one", "right") >= g+more }
	}
	r.eventually("verdicts through both cameras", both(2))
	r.StartWorker(second.Model)
	if _, err := r.Switch(t.Context(), "one", second); err != nil {
		t.Fatal(err)
	}
	r.eventually("verdicts through both cameras with the other model", both(2))
	r.eventually("the time between two pictures of both", func() bool {
		v, err := r.Vitals("one")
		rate := r.Now().Cameras[0].Rate
		return err == nil && v.Period > 0 && v.Period.Seconds() < 0.8/rate
	})
	s, n := r.named("one"), r.Now()
	if len(s.Views) != 2 || s.Views[0].Camera != "left" || s.Views[1].Inferred == 0 || s.State != api.Inspecting {
		t.Errorf("%+v", s)
	}
	if len(n.Cameras) != 2 || n.Cameras[1].ID != "right" || n.Cameras[1].State != "streaming" || n.Cameras[1].Stations[0] != "one" {
		t.Errorf("%+v", n.Cameras)
	}
	for _, camera := range []string{"left", "right"} {
		if shot, err := r.Live(t.Context(), "one", camera, 0); err != nil || len(shot.JPEG) == 0 {
			t.Errorf("live through %s: %v", camera, err)
		}
	}
	if _, err := r.Live(t.Context(), "one", "middle", 0); err != api.ErrNoCamera {
		t.Errorf("live through a camera that isn't there: %v", err)
	}
}

// TestStationsShareACamera: one process serves both, and goes on for the one when
// the other ends.
func TestStationsShareACamera(t *testing.T) {
	l := shipped(t, "first", 0.1)
	camera := drawnCamera(t, drawnBelt(t, 3), CameraConfig{ID: "cam"})
	other := drawnCamera(t, drawnBelt(t, 6), CameraConfig{ID: "other"})
	r := plant(t, []*infer.Worker{l.Model}, with("one", l, camera), with("two", l, camera), StationConfig{ID: "three", Bundle: "caps", Cameras: []*Camera{other}})
	r.eventually("verdicts of both stations", func() bool { return r.saw("one", "cam") > 1 && r.saw("two", "cam") > 1 })
	if n := captures(t); n != 2 {
		t.Errorf("%d capture processes serve two cameras", n)
	}
	r.find("one").End()
	r.eventually("the end of station one", func() bool { return r.named("one").State == api.Ended })
	before := r.saw("two", "cam")
	r.eventually("verdicts of station two", func() bool { return r.saw("two", "cam") > before+1 })
	if c := r.Now().Cameras; len(c) != 2 || len(c[0].Stations) != 2 || c[0].State != "streaming" {
		t.Errorf("%+v", c)
	}
	r.find("two").End()
	r.eventually("the end of the camera that nobody uses", func() bool { return captures(t) == 1 })
}

// slow shows each drawn picture several times.
type slow struct {
	*scene.Scene
	times int
}

func (s slow) Frame(n int, dst *vision.Frame) error { return s.Scene.Frame(n/s.times, dst) }

// TestChangeGate: pictures that show nothing new aren't inspected, and the same
// parts are followed and judged without them.
func TestChangeGate(t *testing.T) {
	t.Parallel()
	l := shipped(t, "first", 0.1)
	camera := drawnCamera(t, slow{drawnBelt(t, 4), 12}, CameraConfig{ID: "cam", Checks: map[quality.Fault]Severity{quality.Frozen: Ignored}})
	gated := with("gated", l, camera)
	gated.ChangeGate = 2 * time.Second
	r := plant(t, []*infer.Worker{l.Model}, with("all", l, camera), gated)
	r.eventually("verdicts of both stations", func() bool { return r.saw("all", "cam") > 2 && r.saw("gated", "cam") > 2 })
	all, some := r.named("all").Views[0], r.named("gated").Views[0]
	// How many are told apart from which depends on what a busy machine drops between
	// them; package change counts without a clock.
	if all.Unchanged != 0 || some.Unchanged == 0 || some.Unchanged > 4*some.Inferred {
		t.Errorf("every picture came twelve times: without gate %+v, with it %+v", all, some)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	matched := 0
	for _, i := range r.told {
		for _, j := range r.told {
			if i.Station != "all" || j.Station != "gated" || !samePart(&i.Part, &j.Part) {
				continue
			}
			if matched++; i.Told.Verdict != j.Told.Verdict { // on a busy machine each drops other pictures; package change compares without a clock
				t.Logf("pictures %d to %d: without gate %v, with it %v", i.Part.First, i.Part.Last, i.Told, j.Told)
			}
		}
	}
	if matched < 2 {
		t.Errorf("only %d parts of the two stations are the same", matched)
	}
}

// samePart tells whether two stations followed a part over nearly the same
// pictures of their camera.
func samePart(a, b *vision.Part) bool {
	common := int64(min(a.Last, b.Last)) - int64(max(a.First, b.First))
	return 10*common > 8*int64(max(a.Last, b.Last)-min(a.First, b.First))
}

// dimmed is a belt whose lights go out.
type dimmed struct {
	*scene.Scene
	off atomic.Bool
}

func (d *dimmed) Frame(n int, dst *vision.Frame) error {
	if d.off.Load() {
		clear(dst.Pix)
		return nil
	}
	return d.Scene.Frame(n, dst)
}

// TestCameraThatLies: what is wrong with its pictures is told with one of them
// while it holds.
func TestCameraThatLies(t *testing.T) {
	t.Parallel()
	belt := &dimmed{Scene: drawnBelt(t, 5)}
	var kept *vision.Frame
	camera := drawnCamera(t, belt, CameraConfig{ID: "cam", Keep: func(f *vision.Frame) error { kept = f; return nil },
		Checks: map[quality.Fault]Severity{quality.Frozen: Ignored}})
	r := plant(t, nil, StationConfig{ID: "one", Bundle: "caps", Cameras: []*Camera{camera}})
	r.eventually("pictures", func() bool { return r.Now().Cameras[0].Captured > 5 })
	if err := r.SetReference(t.Context(), "cam"); err != nil || kept == nil || !r.Now().Cameras[0].Reference {
		t.Fatalf("set the reference: %v", err)
	}
	belt.off.Store(true)
	r.eventually("the warning", func() bool { return r.warned(health.CameraDark, "cam") })
	if lies := r.Now().Cameras[0].Lies; len(lies) != 1 || lies[0].Fault != "dark" || lies[0].Effect != "warn" || lies[0].Detail == "" {
		t.Errorf("%+v", lies)
	}
	if jpeg, ok := r.Proof("cam", "dark"); !ok || len(jpeg) == 0 {
		t.Error("there is no picture of it")
	}
	if _, ok := r.Proof("cam", "frozen"); ok {
		t.Error("there is a picture of a fault that is ignored") // it holds, and nobody is to hear of it
	}
	belt.off.Store(false)
	r.eventually("the warning's end", func() bool { return !r.warned(health.CameraDark, "cam") })
	if _, ok := r.Proof("cam", "dark"); ok {
		t.Error("the picture outlives the fault")
	}
	if err := r.SetReference(t.Context(), "none"); err != api.ErrNoCamera {
		t.Errorf("set the reference of no camera: %v", err)
	}
	if err := r.Fire("cam"); err == nil || !strings.Contains(err.Error(), "its trigger isn't software") {
		t.Errorf("fire a camera that runs freely: %v", err)
	}
	if shot, err := r.Look(t.Context(), "cam", 0); err != nil || len(shot.JPEG) == 0 {
		t.Errorf("look through it: %v", err)
	}
	broken := errors.New("no room on the disk")
	camera.cfg.Keep = func(*vision.Frame) error { return broken }
	before := camera.monitor.Reference()
	if err := r.SetReference(t.Context(), "cam"); !errors.Is(err, broken) || !slices.Equal(camera.monitor.Reference().Pix, before.Pix) {
		t.Errorf("a reference that can't be kept: %v", err)
	}
}

// TestPartsOfPicturesThatLie: where a fault is to reject, no part that is decided
// while it holds passes, and as soon as it is over they do.
func TestPartsOfPicturesThatLie(t *testing.T) {
	b := newBelt(t, seeing(t, "first"), track.Stream)
	camera := b.station.views[0].camera
	camera.cfg.Checks = map[quality.Fault]Severity{quality.Dark: Rejects}
	at := time.Now().Add(-time.Minute)
	show := func(gray byte) {
		f := b.scene.NewFrame()
		for i := range f.Pix {
			f.Pix[i] = gray + byte(i%7)
		}
		for range 60 {
			at = at.Add(100 * time.Millisecond)
			f.Captured = at
			camera.see(f)
		}
	}
	dark, light := 0, 0
	show(2)
	for range 150 {
		b.step()
	}
	show(120)
	for range 150 {
		b.step()
	}
	for _, i := range b.finish() {
		if i.Told.Reason == "camera_dark" && i.Told.Verdict == vision.None {
			dark++
		} else {
			light++
		}
		if light > 0 && i.Told.Reason == "camera_dark" {
			t.Error("the fault is over, and its reason goes on")
		}
	}
	if dark < 2 || light < 2 {
		t.Errorf("%d parts without decision, %d with one", dark, light)
	}
}

// TestPartThatWasThereWhileTheCameraLied: a part gets no verdict that rests on
// such pictures, also when it is decided after they have ended; one that came
// before or later does.
func TestPartThatWasThereWhileTheCameraLied(t *testing.T) {
	b := newBelt(t, seeing(t, "first"), track.Stream)
	camera := b.station.views[0].camera
	camera.cfg.Checks = map[quality.Fault]Severity{quality.Dark: Rejects, quality.Frozen: Warns}
	began := time.Now().Add(-time.Minute)
	f := b.scene.NewFrame()
	for n := range 200 { // dark from 5 s to 10 s
		for i := range f.Pix {
			f.Pix[i] = 100 + byte((i+n)%9)
			if n >= 50 && n < 100 {
				f.Pix[i] = byte(n % 3)
			}
		}
		f.Captured = began.Add(time.Duration(n) * 100 * time.Millisecond)
		camera.see(f)
	}
	second := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
	for _, c := range []struct {
		from, to float64
		want     string
	}{
		{0, 4, ""}, {4, 6, "camera_dark"}, {6, 8, "camera_dark"}, {3, 19, "camera_dark"}, {9, 15, "camera_dark"}, {15, 19, ""},
	} {
		if got := camera.lies(&vision.Part{Seen: second(c.from), LastSeen: second(c.to)}); got != c.want {
			t.Errorf("in view from %v to %v s: %q, want %q; %+v", c.from, c.to, got, c.want, camera.doubts)
		}
	}
}
