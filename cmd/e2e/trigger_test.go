package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
)

// verdictOf is a trigger's answer as REST gives it.
type verdictOf struct {
	Trigger  string `json:"trigger_id"`
	Part     string `json:"part_id"`
	Attempt  int
	Recipe   string
	Verdict  string
	Reason   string
	Seq      uint64
	Repeated bool
}

// send asks the agent with a body, and wants the answer.
func (c *cell) send(method, path, body string, into any) int {
	c.t.Helper()
	req, err := http.NewRequest(method, "http://"+c.addr+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		c.t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		c.t.Errorf("%s %s: %v: %s", method, path, err, b)
	}
	return resp.StatusCode
}

func (c *cell) trigger(body string) (v verdictOf) {
	c.t.Helper()
	if code := c.send(http.MethodPost, "/v1/stations/gate/trigger", body, &v); code != http.StatusOK {
		c.t.Errorf("trigger %s: %d", body, code)
	}
	return v
}

// ready waits until the station takes triggers.
func (c *cell) ready() {
	c.t.Helper()
	eventually(c.t, "the station is ready for triggers", func() bool {
		var s struct{ Ready bool }
		return get(c.addr, "/v1/stations/gate", &s) && s.Ready
	})
}

// posing is a belt that stands, with a good part in the middle.
type posing struct {
	*scene.Scene
	n int
}

func (p posing) Frame(_ int, dst *vision.Frame) error { return p.Scene.Frame(p.n, dst) }

func pose(t *testing.T) posing {
	t.Helper()
	sc, err := scene.New(scene.Config{Seed: 21, Speed: 3, Width: beltWidth, Height: beltHeight})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20000 {
		parts := sc.Truth(n)
		if len(parts) != 1 || len(parts[0].Part.Defects) > 0 {
			continue
		}
		if x, _ := parts[0].Clipped.Center(); x > beltWidth/2-20 && x < beltWidth/2+20 {
			return posing{sc, n}
		}
	}
	t.Fatal("no good part comes by alone")
	return posing{}
}

// TestTriggersOverANewStart: the agent is killed with -9 between two triggers. A trigger
// that comes again has the answer that it had, the part's next inspection is its second,
// and the recipe that was chosen is still the active one.
func TestTriggersOverANewStart(t *testing.T) {
	t.Parallel()
	camera := mjpegCamera(t, pose(t))
	c := newCell(t, "stations:",
		"  - id: gate", "    mode: trigger", "    deadline: 10s", "    camera: {source: "+strconv.Quote("http://"+camera.Addr()+"/")+"}", "    model: drawn-parts",
		"    recipes: [{name: one}, {name: two, confidence: 0.4}]", "    preload: [one, two]",
	).start()
	c.ready()
	var echo struct{ Recipe string }
	if code := c.send(http.MethodPut, "/v1/stations/gate/recipe", `{"recipe":"two"}`, &echo); code != http.StatusOK || echo.Recipe != "two" {
		t.Fatal(code, echo)
	}
	first := c.trigger(`{"trigger_id":"t1","part_id":"p"}`)
	if first.Verdict != "PASS" || first.Recipe != "two" || first.Attempt != 1 || first.Seq == 0 {
		t.Fatalf("%+v", first)
	}
	c.kill()
	c.start()
	c.ready()
	again := c.trigger(`{"trigger_id":"t1","part_id":"p"}`)
	if !again.Repeated || again.Seq != first.Seq || again.Verdict != "PASS" {
		t.Errorf("the trigger that came again: %+v, before %+v", again, first)
	}
	if next := c.trigger(`{"trigger_id":"t2","part_id":"p"}`); next.Attempt != 2 || next.Recipe != "two" || next.Verdict != "PASS" || next.Seq <= first.Seq {
		t.Errorf("the part's next inspection: %+v", next)
	}
	if wrong := c.trigger(`{"recipe":"one"}`); wrong.Verdict != "NONE" || wrong.Reason != vision.ReasonWrongRecipe {
		t.Errorf("a trigger for another recipe: %+v", wrong)
	}
	var results struct{ Results []struct{ Verdict string } }
	if !get(c.addr, "/v1/results?part=p", &results) || len(results.Results) != 2 {
		t.Errorf("%d results of a part that was inspected twice", len(results.Results))
	}
	c.ends()
}

// TestTriggerMakesTheExposure: of a camera with a software trigger each trigger gets a
// picture that was taken for it alone, in the order in which they came.
func TestTriggerMakesTheExposure(t *testing.T) {
	t.Parallel()
	newFakeGV(t)
	c := newCell(t, "stations:",
		"  - {id: gate, mode: trigger, trigger: {max_delay: 5s}, deadline: 10s, model: drawn-parts, camera: {source: \"aravis:127.0.0.1\", format: Mono8, trigger: software, size: 256x256}}",
	).start()
	c.ready()
	const at = 3 // once
	var mu sync.Mutex
	frames := map[uint64]string{}
	n := 0
	for range rounds(5, 200) {
		var wg sync.WaitGroup
		for range at {
			n++
			id := "t" + strconv.Itoa(n)
			wg.Go(func() {
				v := c.trigger(`{"trigger_id":"` + id + `"}`)
				var r struct {
					Frame  uint64 `json:"first_frame"`
					Reason string
				}
				if !get(c.addr, "/v1/results/"+strconv.FormatUint(v.Seq, 10), &r) || r.Frame == 0 {
					t.Errorf("%s: %+v has no picture", id, v) // the pattern shows no part, which is told
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if before := frames[r.Frame]; before != "" {
					t.Errorf("%s and %s have the same picture", before, id)
				}
				frames[r.Frame] = id
			})
		}
		wg.Wait()
	}
	if now := c.camera("gate"); now.Captured-now.Dropped.Incomplete != uint64(n) || len(frames) != n {
		t.Errorf("%d pictures, %d of them incomplete, for %d triggers of which %d have one", now.Captured, now.Dropped.Incomplete, n, len(frames))
	}
	for range rounds(5, 50) { // a picture that nobody waits for is on its way
		before := c.camera("gate")
		if text, code := c.post("/v1/cameras/gate/trigger"); code != http.StatusNoContent {
			t.Errorf("a picture for nobody: %d %s", code, text)
		}
		v := c.trigger(`{}`)
		var r struct {
			Frame uint64 `json:"first_frame"`
		}
		found := get(c.addr, "/v1/results/"+strconv.FormatUint(v.Seq, 10), &r)
		if now := c.camera("gate"); !found || now.Dropped.Incomplete == before.Dropped.Incomplete && r.Frame != before.Captured+2 {
			t.Errorf("the trigger has picture %d, %d were there before", r.Frame, before.Captured)
		}
	}
	c.ends()
}
