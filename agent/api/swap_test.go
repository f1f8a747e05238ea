package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestSwapByREST: what can't be asked says why, and how far it is can be told at any time.
func TestSwapByREST(t *testing.T) {
	m := newMemory(good("station1"))
	s := newServer(t, m)
	const path = "/v1/stations/station1/model"
	for _, c := range []struct {
		method, path, body, from string
		status                   int
		want                     string
	}{
		{"GET", path, "", "", 200, `"configured":"/srv/caps"`},
		{"GET", "/v1/stations/none/model", "", "", 404, "there is no station"},
		{"DELETE", path + "/swap", "", "", 409, "no model is being swapped in"},
		{"PUT", path, `{"model":"/srv/new"}`, "192.0.2.7:4711", 403, "only programs on the device itself"},
		{"PUT", path, `{"model":""}`, "", 422, "model"},
		{"PUT", path, `{"model":"/srv/new","force":true}`, "", 422, "force"},
		{"PUT", path, `{"model":`, "", 400, ""},
		{"PUT", path, `{"model":"not/absolute"}`, "", 422, "give the absolute path"},
		{"PUT", "/v1/stations/none/model", `{"model":"/srv/new"}`, "", 404, "there is no station"},
		{"PUT", path, `{"model":"/srv/new","ungated":true}`, "", 202, `"phase":"loading"`},
		{"PUT", path, `{"model":"/srv/newer"}`, "", 409, "another one is being swapped in"},
		{"DELETE", path + "/swap", "", "192.0.2.7:4711", 403, "only programs on the device itself"},
		{"DELETE", path + "/swap", "", "", 204, ""},
		{"GET", path, "", "", 200, `"phase":"cancelled","text":"it was taken back"`},
	} {
		header := []string{}
		if c.from != "" {
			header = []string{"From", c.from}
		}
		w := sendBy(t, s, c.method, c.path, c.body, header...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s %s: %d %s, want %d with %q", c.method, c.path, c.body, w.Code, w.Body, c.status, c.want)
		}
	}
	var st Station
	w := sendBy(t, s, "GET", "/v1/stations/station1", "")
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || st.Swap == nil || st.Swap.Phase != SwapCancelled {
		t.Errorf("the station tells %+v: %v", st.Swap, err)
	}
}

// TestSwapOnThePage: the page says how far it is, and how it ended.
func TestSwapOnThePage(t *testing.T) {
	for phase, want := range map[SwapPhase]string{
		SwapWaiting:   "caps 1.3 waits until another model is loaded and proved; asked for 1.2 s ago.",
		SwapLoading:   "caps 1.3 is being loaded, for 1.2 s.",
		SwapProving:   "caps 1.3 runs its golden pictures; asked for 1.2 s ago.",
		SwapSwitching: "caps 1.3 takes over when the parts that are in view have left.",
		SwapDone:      "caps 1.3 was swapped in after 1.2 s, 6 of 6 golden pictures passed; its results have numbers above 41. &lt;none&gt; passed.",
		SwapRefused:   "caps 1.3 was refused: &lt;none&gt; passed.",
		SwapCancelled: "caps 1.3 was not swapped in: &lt;none&gt; passed.",
	} {
		m := newMemory(good("station1"))
		m.set(func(s *Station) {
			s.Swap = &Swap{Model: "/srv/caps", Name: "caps", Version: "1.3", Phase: phase, Text: "<none> passed", TookMS: 1234, After: 41}
			if phase == SwapDone {
				s.Swap.Gate = &GoldenRun{Pictures: 6, Passed: 6}
			}
		})
		w := sendBy(t, newServer(t, m), "GET", "/stations/station1", "")
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, without %q", phase, w.Code, want)
		}
	}
}

// TestSwapSaysThatAnEngineIsBuilt: minutes without a word look like a fault.
func TestSwapSaysThatAnEngineIsBuilt(t *testing.T) {
	for _, phase := range []SwapPhase{SwapLoading, SwapProving} {
		s := Swap{Model: "/srv/caps", Name: "caps", Version: "1.3", Phase: phase, Building: &Building{Text: "building engine, 3 min 10 s"}}
		if got, want := s.Words(), "caps 1.3 isn't loaded yet: building engine, 3 min 10 s"; got != want {
			t.Errorf("%s: %q, want %q", phase, got, want)
		}
	}
}
