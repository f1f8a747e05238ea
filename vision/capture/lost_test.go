package capture

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// TestLostCameraStaysLost: while a camera that is lost is tried again, it is told
// as lost all the time; a warning that comes and goes is read by nobody.
func TestLostCameraStaysLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault ipcam.Fault
	}{{"it refuses", ipcam.Refuse}, {"it hangs up", ipcam.Cut}, {"it accepts and says nothing", ipcam.Freeze}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, addr := mjpegCamera(t, 160, 120, 50)
			cfg := config("http://" + addr + "/")
			cfg.Silence = 200 * time.Millisecond
			r := start(t, cfg)
			before := r.next(10 * time.Second)
			before.Release()
			lose := func() {
				set(t, g, c.fault)
				eventually(t, 10*time.Second, "the camera to be lost", func() bool { return r.Stats().State == Failed })
				tries := r.Stats().Restarts
				eventually(t, 20*time.Second, "three more tries", func() bool {
					s := r.Stats()
					if s.State != Failed {
						t.Fatalf("it is %s after %d tries, nothing has come: %q", s.State, s.Restarts-tries, s.LastError)
					}
					return s.Restarts >= tries+3
				})
			}
			back(t, r, lose, func() { set(t, g, ipcam.None) }, before.Seq)
			eventually(t, 5*time.Second, "streaming", func() bool { return r.Stats().State == Streaming })
		})
	}
}

// TestNoisyAnswerIsToldShortly: what a camera sends instead of an answer isn't
// shown to people in full.
func TestNoisyAnswerIsToldShortly(t *testing.T) {
	if s := short("connection refused"); s != "connection refused" {
		t.Errorf("%q", s)
	}
	s := short(strings.Repeat("ä", 1000))
	if len(s) > longest+len("…") || !utf8.ValidString(s) || !strings.HasPrefix(s, "ää") {
		t.Errorf("%d bytes: %q", len(s), s)
	}
}

// TestTriggerOfACameraThatIsAway: who triggers a camera that isn't there is told,
// also while a process tries to reach it.
func TestTriggerOfACameraThatIsAway(t *testing.T) {
	t.Parallel()
	needMedia(t)
	cfg := config("aravis:127.0.0.9")
	cfg.Trigger = "software"
	r := start(t, cfg)
	eventually(t, 20*time.Second, "two tries", func() bool {
		if err := r.Fire(); err == nil {
			t.Fatalf("it was triggered: %+v", r.Stats())
		}
		return r.Stats().Restarts >= 2
	})
}
