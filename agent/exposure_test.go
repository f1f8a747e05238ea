package agent

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
)

// lamp is a view of a camera that isn't there, set as o says.
func lamp(t *testing.T, source string, o capture.Options) *view {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := capture.New(capture.Config{
		Source: source, CaptureBinary: self, SelfExecutable: self, Options: o,
	})
	if err != nil {
		t.Fatal(err)
	}
	v := &view{camera: NewCamera(CameraConfig{ID: source, Source: c}), shutter: newShutter(4)}
	v.shutter.free = func(*capture.Frame) {}
	return v
}

func (v *view) lit() time.Duration {
	now, _ := v.camera.cfg.Source.Exposure()
	return now
}

// TestPicturesOfAnotherExposure: a picture is judged by a recipe only if it surely has
// that recipe's exposure, or that of the configuration where the recipe has none.
func TestPicturesOfAnotherExposure(t *testing.T) {
	const own, other = 5 * time.Millisecond, 9 * time.Millisecond
	for _, c := range []struct {
		configured, lane, frame time.Duration
		want                    bool
	}{
		{own, 0, own, true},
		{own, 0, other, false}, // of the recipe before
		{own, 0, 0, false},     // in doubt
		{own, other, other, true},
		{own, other, own, false}, // of the next recipe, which has none
		{0, 0, 0, true},          // nobody sets one
		{0, 0, other, false},
		{0, other, 0, false},
		{0, other, other, true},
	} {
		v := lamp(t, "aravis:127.0.0.1", capture.Options{Exposure: c.configured})
		f := &capture.Frame{Frame: vision.Frame{Seq: 1}, Exposure: c.frame}
		if got := v.exposedFor(&lane{Loadout: Loadout{Exposure: c.lane}}, f); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestExposureOfOneCameraFails: then the others have theirs of before, and there is no
// changeover that couldn't be taken back.
func TestExposureOfOneCameraFails(t *testing.T) {
	const own, one, two = 5 * time.Millisecond, 7 * time.Millisecond, 9 * time.Millisecond
	lit := capture.Options{Exposure: own}
	first, second, dark := lamp(t, "aravis:127.0.0.1", lit), lamp(t, "aravis:127.0.0.2", lit), lamp(t, "http://127.0.0.1:1/", capture.Options{})
	s := &Station{views: []*view{first, second}}
	if err := s.reexpose(one, 0); err != nil || first.lit() != one || second.lit() != one {
		t.Fatal(err, first.lit(), second.lit())
	}
	s.views = append(s.views, dark)
	if err := s.reexpose(two, one); err == nil || first.lit() != one || second.lit() != one {
		t.Errorf("%v: %v and %v", err, first.lit(), second.lit())
	}
	if err := s.reexpose(0, one); err == nil || first.lit() != one || second.lit() != one {
		t.Errorf("%v: %v and %v", err, first.lit(), second.lit())
	}
	if err := s.reexpose(two, 0); err == nil || !strings.Contains(err.Error(), "configure its exposure") || first.lit() != one {
		t.Errorf("%v: %v", err, first.lit())
	}
}

// TestMessageThatIsLate: a camera isn't told to expose once the part has gone on, be it
// that the message took so long or that others were before it.
func TestMessageThatIsLate(t *testing.T) {
	v := lamp(t, "aravis:127.0.0.1", capture.Options{Trigger: "software"})
	s := &Station{cfg: StationConfig{Trigger: &TriggerConfig{MaxDelay: 200 * time.Millisecond}}, views: []*view{v}}
	ask := func(ago time.Duration) error {
		q := &inquiry{Trigger: Trigger{At: time.Now().Add(-ago)}, ctx: t.Context(), places: []place{v.camera.queue()}}
		_, err := s.bind(q, v)
		return err
	}
	if err := ask(0); err == nil || errors.Is(err, errLost) || !strings.Contains(err.Error(), "can't be reached") {
		t.Errorf("in time, with a camera that isn't there: %v", err)
	}
	if len(v.camera.fires.owed) != 0 {
		t.Error("a camera that couldn't be asked owes a picture")
	}
	if err := ask(time.Second); !errors.Is(err, errLost) {
		t.Errorf("a second late: %v", err)
	}
	front := v.camera.queue()
	if err := ask(0); !errors.Is(err, errLost) {
		t.Errorf("behind one that takes long: %v", err)
	}
	front.leave()
	v.camera.fires.begin(time.Now(), false)
	if err := ask(0); !errors.Is(err, errLost) {
		t.Errorf("behind a picture that is on its way: %v", err)
	}
}

// TestExposureOfARefusedTrigger: a line has made it all the same, and no other trigger
// gets it.
func TestExposureOfARefusedTrigger(t *testing.T) {
	line, soft := lamp(t, "aravis:127.0.0.1", capture.Options{Trigger: "Line0"}), lamp(t, "aravis:127.0.0.2", capture.Options{Trigger: "software"})
	s := &Station{cfg: StationConfig{Trigger: &TriggerConfig{}}, views: []*view{line, soft}}
	now := time.Now()
	first := &inquiry{Trigger: Trigger{At: now}, ctx: t.Context()}
	s.forgo(&inquiry{Trigger: Trigger{At: now.Add(80 * time.Millisecond)}})
	at := now.Add(90 * time.Millisecond) // the first one's was lost
	line.shutter.add(&capture.Frame{Frame: vision.Frame{Seq: 1, Captured: at}, Came: at})
	if f, err := s.bind(first, line); !errors.Is(err, errLost) {
		t.Errorf("%+v, %v", f, err)
	}
	if len(soft.shutter.spans) > 0 {
		t.Error("a software trigger that wasn't given has made an exposure")
	}
}
