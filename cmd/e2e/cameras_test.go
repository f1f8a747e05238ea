package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// TestCameraFaultsStayWithTheirStation: one camera freezes, dies, and its process
// hangs and is killed; it is told each time and comes back, while the parts in
// front of the other camera, which two stations share, get their one verdict each.
func TestCameraFaultsStayWithTheirStation(t *testing.T) {
	t.Parallel()
	sick, well := newBelt(t, 11, 1), newBelt(t, 12, 1)
	gate, good := sick.serve(t), well.serve(t)
	c := newCell(t,
		"cameras:", fmt.Sprintf("  - {id: well, source: \"http://%s/camera\"}", good.Addr()),
		"stations:",
		fmt.Sprintf("  - {id: sick, model: drawn-parts, camera: {source: \"http://%s/camera\"}}", gate.Addr()),
		"  - {id: one, model: drawn-parts, camera: well}",
		"  - {id: two, model: drawn-parts, cameras: [well]}",
	).start()
	eventually(t, "all stations inspect", func() bool {
		return c.inferred("sick", "sick") > 0 && c.inferred("one", "well") > 0 && c.inferred("two", "well") > 0
	})
	from := well.now()
	for range rounds(1, 20) {
		for _, f := range []cameraFault{
			{"the camera freezes", "silent", func() { set(t, gate, ipcam.Freeze) }, func() { set(t, gate, ipcam.None) }},
			{"the camera is gone", "failed", func() { set(t, gate, ipcam.Refuse) }, func() { set(t, gate, ipcam.None) }},
			{"its process hangs", "silent", func() { sendSignal(t, talker(c.captures(), gate.Addr()), syscall.SIGSTOP) }, func() {}},
		} {
			f.suffer(t, c)
		}
		restarts, at := c.camera("sick").Restarts, c.inferred("sick", "sick")
		sendSignal(t, talker(c.captures(), gate.Addr()), syscall.SIGKILL)
		within(t, 5*time.Second, "its process is killed: back", func() bool {
			now := c.camera("sick")
			return now.Restarts > restarts && now.State == "streaming" && c.inferred("sick", "sick") > at
		})
		c.onePerCamera(2)
	}
	to, busy := well.now(), c.busy("one", "well") || c.busy("two", "well")
	set(t, gate, ipcam.Freeze) // what hangs doesn't hold up the end
	c.ends()
	all := c.verdicts()
	for _, station := range []string{"one", "two"} {
		s, _ := well.compare(t, all, station, "well", from, to)
		s.flawless(t, "station "+station, busy)
	}
}

// cameraFault is something that happens to the camera of the station sick.
type cameraFault struct {
	name, state string
	begin, end  func()
}

// suffer lets it happen, and wants it to be told everywhere, and to be over.
func (f cameraFault) suffer(t *testing.T, c *cell) {
	t.Helper()
	warning := map[string]string{"silent": "camera_silent", "failed": "camera_unreachable"}[f.state]
	f.begin()
	within(t, 2*time.Second, f.name+": "+f.state, func() bool { return c.camera("sick").State == f.state })
	within(t, 500*time.Millisecond, f.name+": "+warning, func() bool { return c.warned(warning, "sick") })
	text, code := c.get("/healthz")
	if code != http.StatusServiceUnavailable || !strings.HasPrefix(text, "station sick is stalled: ") || strings.Count(text, "\n") != 1 {
		t.Errorf("%s: healthz says %d %q", f.name, code, text)
	}
	at := c.inferred("sick", "sick")
	f.end()
	within(t, 5*time.Second, f.name+": back", func() bool { return c.inferred("sick", "sick") > at && c.camera("sick").State == "streaming" })
	within(t, 500*time.Millisecond, f.name+": the warning is over", func() bool { return !c.warned(warning, "sick") })
	if text, code := c.get("/healthz"); code != http.StatusOK {
		t.Errorf("%s is over, and healthz says %d %q", f.name, code, text)
	}
	c.onePerCamera(2)
}

// TestStationsOfSeveralCameras: a station of two cameras judges the parts of both,
// and says whose they are; one that shares the first camera and doesn't look twice
// at what hasn't changed judges its parts alike.
func TestStationsOfSeveralCameras(t *testing.T) {
	t.Parallel()
	left, right := newBelt(t, 21, 5), newBelt(t, 22, 1)
	c := newCell(t,
		"cameras:",
		fmt.Sprintf("  - {id: left, source: \"http://%s/camera\"}", left.serve(t).Addr()),
		fmt.Sprintf("  - {id: right, source: \"http://%s/camera\"}", right.serve(t).Addr()),
		"stations:",
		"  - {id: both, model: drawn-parts, cameras: [left, right]}",
		"  - {id: gated, model: drawn-parts, camera: left, change_gate: 2s}",
	).start()
	eventually(t, "all stations inspect", func() bool {
		return c.inferred("both", "left") > 0 && c.inferred("both", "right") > 0 && c.inferred("gated", "left") > 0
	})
	fromLeft, fromRight := left.now(), right.now()
	parts := rounds(1, 100)
	eventually(t, "parts in front of both cameras", func() bool { return left.passed(fromLeft) >= parts && right.passed(fromRight) >= 2*parts })
	eventually(t, "pictures of an empty belt that aren't inspected", func() bool {
		views := c.views("gated")
		return len(views) == 1 && views[0].Unchanged >= 15 && 5*views[0].Unchanged >= views[0].Inferred
	})
	for _, v := range [][2]string{{"both", "left"}, {"both", "right"}, {"gated", "left"}} {
		eventually(t, "results of "+v[0]+" through "+v[1], func() bool { return c.told(v[0], v[1]) >= parts })
	}
	for _, page := range []string{"/", "/stations/both", "/stations/gated", "/cameras", "/cameras/left"} {
		if text, code := c.get(page); code != http.StatusOK || !strings.Contains(text, "</html>") {
			t.Errorf("page %s: %d, %d bytes", page, code, len(text))
		}
	}
	c.onePerCamera(2)
	t.Logf("with a gate: %+v", c.views("gated"))
	toLeft, toRight := left.now(), right.now()
	busy := c.busy("both", "left") || c.busy("both", "right") || c.busy("gated", "left")
	c.ends()
	all := c.verdicts()
	s, _ := right.compare(t, all, "both", "right", fromRight, toRight)
	s.flawless(t, "both, right", busy)
	s, whole := left.compare(t, all, "both", "left", fromLeft, toLeft)
	s.flawless(t, "both, left", busy)
	s, gated := left.compare(t, all, "gated", "left", fromLeft, toLeft)
	s.flawless(t, "gated, left", busy)
	for part, a := range whole {
		b, truth := gated[part], left.scene.Part(part)
		if len(a) != 1 || len(b) != 1 || truth.BelowFloor() {
			continue // told above, or too faint to be counted on
		}
		if a, b := a[0].verdict, b[0].verdict; a != b && a != vision.None && b != vision.None {
			t.Errorf("part %d is %v without the gate and %v with it", part, a, b)
		}
	}
}

// told counts the newest results of the station's parts that the camera saw.
func (c *cell) told(station, camera string) int {
	var told struct {
		Results []struct{ Station, Camera string }
	}
	text, code := c.get("/v1/results?limit=500&station=" + station + "&camera=" + camera)
	if code != http.StatusOK || json.Unmarshal([]byte(text), &told) != nil {
		c.t.Errorf("results: %d %s", code, text)
	}
	for _, r := range told.Results {
		if r.Station != station || r.Camera != camera {
			c.t.Errorf("asked for parts of %s seen by %s, got %+v", station, camera, r)
		}
	}
	return len(told.Results)
}
