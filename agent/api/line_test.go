package api

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// gate is a station in trigger mode with recipes and two doors.
func gate() (Station, []Door) {
	s := good("line")
	s.Mode, s.Recipe, s.Recipes, s.DeadlineMS = "trigger", "cap-blue", []string{"cap-blue", "cap-red"}, 200
	s.Schedule = Schedule{Criticality: "critical", Turns: 107400, InTime: 107397, Late: 3, RefusedStale: 12}
	return s, []Door{
		{Protocol: "modbus", Station: "line", Address: "192.0.2.5:502", Open: true, Client: "192.0.2.10", Alive: true, Triggers: 107412, Missed: 2},
		{Protocol: "ascii", Station: "line", Address: "192.0.2.5:4000", Fault: "the interface eth1 isn't there"},
	}
}

func gateServer(t *testing.T) (*memory, string) {
	m := newMemory()
	s, doors := gate()
	m.add("line")
	m.stations[0], m.doors, m.recipe = s, doors, "cap-blue"
	return m, serve(t, newServer(t, m)).URL
}

func call(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// TestTriggerByREST: an answer is the verdict that the line acts on; what can't be
// asked says why.
func TestTriggerByREST(t *testing.T) {
	m, url := gateServer(t)
	status, body := call(t, "POST", url+"/v1/stations/line/trigger", `{"trigger_id":"t1","part_id":"p","deadline_ms":50,"at":"2026-11-26T12:00:00.25Z"}`)
	var a Answer
	if err := json.Unmarshal([]byte(body), &a); err != nil || status != 200 || a.Trigger != "t1" || a.Verdict.String() != "PASS" || a.Attempt != 1 {
		t.Errorf("%d %s", status, body)
	}
	if q := m.triggered[0]; q.At == nil || q.Deadline != 50 || q.At.Nanosecond() != 25e7 {
		t.Errorf("%+v", q)
	}
	if status, body := call(t, "POST", url+"/v1/stations/line/trigger", ""); status != 200 {
		t.Errorf("without a body: %d %s", status, body)
	}
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"nowhere/trigger", `{}`, 409, "takes no triggers"},
		{"line/trigger", `{"deadline_ms":0.5}`, 422, "deadline_ms"},
		{"line/trigger", `{"trigger_id":"` + strings.Repeat("x", 65) + `"}`, 422, "trigger_id"},
		{"line/trigger", `{"part":"p"}`, 422, "unexpected property"},
		{"line/trigger", `{"trigger_id":"a\nb"}`, 422, "can't be taken"},
		{"line/trigger", `{"trigger_id":"` + strings.Repeat("x", 70000) + `"}`, 413, "too large"},
		{"line/trigger", `{"at":"yesterday"}`, 422, "at"},
		{"line/trigger", `{`, 400, ""},
	} {
		if status, body := call(t, "POST", url+"/v1/stations/"+c.path, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s", c.path, c.body, status, body)
		}
	}
}

// TestRecipesByREST: the echo is the answer.
func TestRecipesByREST(t *testing.T) {
	_, url := gateServer(t)
	if status, body := call(t, "PUT", url+"/v1/stations/line/recipe", `{"recipe":"cap-red"}`); status != 200 || !strings.Contains(body, `"recipe":"cap-red"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := call(t, "GET", url+"/v1/stations/line/recipe", ""); status != 200 || !strings.Contains(body, `"recipes":["cap-blue","cap-red"]`) {
		t.Errorf("%d %s", status, body)
	}
	for body, want := range map[string]int{`{"recipe":"green"}`: 422, `{"recipe":""}`: 422, `{}`: 422} {
		if status, text := call(t, "PUT", url+"/v1/stations/line/recipe", body); status != want {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if status, body := call(t, "GET", url+"/v1/doors", ""); status != 200 || !strings.Contains(body, `"address":"192.0.2.5:502"`) {
		t.Errorf("%d %s", status, body)
	}
}

// TestLinePanel: what a line engineer must know stands on the page in words.
func TestLinePanel(t *testing.T) {
	m, url := gateServer(t)
	_, page := call(t, "GET", url+"/", "")
	for _, want := range []string{
		"Ready for triggers", "Modbus TCP at 192.0.2.5:502", "192.0.2.10 is in", "107,412 triggers, 2 missed", "ASCII at 192.0.2.5:4000",
		"shut: the interface eth1 isn&#39;t there", "first, as critical", `value="cap-red"`, "3 late, 12 not begun because too late", "· cap-blue",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page doesn't say %q", want)
		}
	}
	m.mu.Lock()
	m.stations[0].Degraded = Degradation{Step: "none", Why: "heat", None: 2}
	m.mu.Unlock()
	if _, page := call(t, "GET", url+"/", ""); !strings.Contains(page, "Every part gets NO DECISION, the device is overloaded: heat") || !strings.Contains(page, "no decision 2×") {
		t.Error("the page doesn't tell the last degradation step")
	}
	m.mu.Lock()
	m.stations[0] = good("line")
	m.doors = nil
	m.mu.Unlock()
	if _, page := call(t, "GET", url+"/", ""); strings.Contains(page, "lineh") {
		t.Error("a station that only follows parts has a panel of its line")
	}
}

// TestLineInABrowser: both themes and a phone; a button changes the recipe.
func TestLineInABrowser(t *testing.T) {
	m, s := line(t)
	st, doors := gate()
	m.add("line")
	m.stations[0], m.doors, m.recipe = st, doors, "cap-blue"
	b := browser(t)
	url := serve(t, s).URL
	for _, v := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"line-light", 1280, 980, "light"}, {"line-dark", 1280, 980, "dark"}, {"line-phone", 390, 1900, "light"}, {"line-phone-dark", 390, 1900, "dark"}} {
		b.window(v.width, v.height, v.scheme)
		b.open(url + "/")
		b.shows(`document.querySelectorAll(".doors li").length === 2`, loaded, noScroll)
		b.shoot(v.name)
	}
	b.run(`document.querySelector('.recipes button[value="cap-red"]').click()`)
	b.shows(`location.hash === "#line"`)
	if r, _ := m.Recipe("line"); r.Recipe != "cap-red" {
		t.Errorf("the recipe is %s", r.Recipe)
	}
}
