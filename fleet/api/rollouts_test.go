package api

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet/rollout"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
)

// answer has a device report about a rollout as if it had been told.
func (f *fleet) answer(id, device string, st *wire.StationUpdate) {
	f.Helper()
	f.must(f.engine.Step(f.Context())) // tells it
	all, err := f.store.RolloutDevices(f.Context(), id)
	f.must(err)
	for _, d := range all {
		if d.Device == device {
			f.engine.Heard(device, &wire.Report{Rollout: id, Nonce: d.Nonce[:], Stations: []*wire.StationUpdate{st}})
		}
	}
	f.must(f.engine.Step(f.Context()))
}

func TestRolloutOverREST(t *testing.T) {
	f := newFleet(t)
	if w := f.ask(auth.Viewer, "GET", "/v1/rollouts"); w.Code != 200 || !strings.Contains(w.Body.String(), `"rollouts":[]`) {
		t.Errorf("without a rollout: %d %s", w.Code, w.Body)
	}
	for i := range 3 {
		id := fmt.Sprintf("dwell%05d", i)
		f.add(id, "line-a", fmt.Sprintf("Press %d", i+1))
		f.connect(id, 0, wellState("station1"))
	}
	for _, tt := range []struct {
		body string
		code int
		says string
	}{
		{`{"bundle":"nuts","group":"line-a"}`, 422, "the fleet has no such bundle"},
		{`{"bundle":"caps","group":"line-x"}`, 422, "no device is in group"},
		{`{"bundle":"caps","group":"line-a","waves":"1"}`, 422, "all at the end"},
		{`{"bundle":"caps","group":"line-a","max_failures":"x"}`, 422, "a limit is a number"},
		{`{"bundle":"caps","group":"line-a","verdicts":65}`, 422, "verdicts"},
		{`{"bundle":"caps"}`, 422, "group"},
		{`{"bundle":"caps","group":"line-a","silence_ms":9223372036854775807}`, 422, "silence can be"},
	} {
		if w := f.ask(auth.Operator, "POST", "/v1/rollouts", tt.body); w.Code != tt.code || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s: %d %s", tt.body, w.Code, w.Body)
		}
	}
	good := `{"bundle":"caps","group":"line-a","waves":"1,all","verdicts":5,"max_failures":"10%","probation_ms":60000}`
	if w := f.ask(auth.Viewer, "POST", "/v1/rollouts", good); w.Code != 403 {
		t.Errorf("by a viewer: %d", w.Code)
	}
	r := body[Rollout](t, f.ask(auth.Operator, "POST", "/v1/rollouts", good))
	if r.State != "running" || r.Version != "1.2.0" || len(r.Waves) != 2 || r.Conditions.Verdicts != 5 || r.Conditions.MaxFailures != "10%" ||
		r.Conditions.Probation != 60_000 || r.By != "operator" || len(r.Devices) != 3 || len(r.Events) == 0 || !strings.HasPrefix(r.Digest, "010203") {
		t.Errorf("begun: %+v", r)
	}
	if w := f.ask(auth.Operator, "POST", "/v1/rollouts", good); w.Code != 409 || !strings.Contains(w.Body.String(), r.ID) {
		t.Errorf("a second one: %d %s", w.Code, w.Body)
	}
	f.answer(r.ID, "dwell00000", &wire.StationUpdate{Station: "station1", Phase: wire.Phase_PHASE_TRANSFER, Done: 700, Total: 1000})
	got := body[Rollout](t, f.ask(auth.Viewer, "GET", "/v1/rollouts/"+r.ID))
	if d := got.Devices[0]; d.State != "transferring" || d.Done != 700 || d.Total != 1000 || d.Sent != 1 || d.Heard == nil || d.Label != "Press 1" || d.Waits == "" {
		t.Errorf("on its way: %+v", d)
	}
	if got.Reason != "wave 1 waits for 1 device at work" {
		t.Errorf("it says %q", got.Reason)
	}
	for _, tt := range []struct {
		act, body, state string
		code             int
	}{
		{"pause", "", "paused", 200}, {"pause", "", "", 409}, {"resume", "", "running", 200}, {"resume", `{"retry_failed":true}`, "", 409},
		{"abort", `{"reason":"a better one is ready"}`, "aborted", 200}, {"abort", "", "", 409}, {"rollback", `{}`, "rolling_back", 200}, {"explode", "", "", 404},
	} {
		path := "/v1/rollouts/" + r.ID + "/" + tt.act
		if w := f.ask(auth.Viewer, "POST", path, tt.body); w.Code != 403 && tt.code != 404 {
			t.Errorf("%s by a viewer: %d", tt.act, w.Code)
		}
		w := f.ask(auth.Operator, "POST", path, tt.body)
		if w.Code != tt.code || tt.state != "" && body[Rollout](t, w).State != tt.state {
			t.Errorf("%s: %d %s", tt.act, w.Code, w.Body)
		}
	}
	if w := f.ask(auth.Viewer, "GET", "/v1/rollouts/rnone"); w.Code != 404 {
		t.Errorf("one that isn't there: %d", w.Code)
	}
}

// shown is a rollout with devices in every state that there is.
func shown(f *fleet) string {
	f.Helper()
	id, at := "rk3x7q2ab", f.store.Now()
	r := store.Rollout{ID: id, Bundle: "caps", Version: "1.2.0", Digest: [32]byte{1}, Group: "line-a", Waves: "1,10%,all", State: rollout.Running, Wave: 1,
		Conditions: `{"verdicts":20,"timeout":3600000000000,"silence":86400000000000,"success":100,"max_failures":"2","max_silent":"10%"}`,
		By:         "operator", Created: at.Add(-25 * time.Minute), Opened: at.Add(-11 * time.Minute), Changed: at}
	c := store.RolloutChange{Rollout: &r}
	for i, d := range []store.RolloutDevice{
		{State: rollout.Proven},
		{State: rollout.Proven, Wave: 1}, {State: rollout.Proven, Wave: 1}, {State: rollout.Proven, Wave: 1},
		{State: rollout.Proving, Wave: 1, Reason: "results", Text: "its proof waits for 4 results of station st1 that haven't come"},
		{State: rollout.Probation, Wave: 1}, {State: rollout.Gated, Wave: 1}, {State: rollout.WaitsOperator, Wave: 1, Reason: "operator"},
		{State: rollout.Transferring, Wave: 1, Report: &wire.Report{Stations: []*wire.StationUpdate{{Phase: wire.Phase_PHASE_TRANSFER, Done: 41e6, Total: 52e6}}}},
		{State: rollout.Failed, Wave: 1, Reason: "golden_gate", Text: "st1: cap-7.png: expected FAIL scratch 0.91, found PASS; " + strings.Repeat("and so on ", 20)},
		{State: rollout.Lying, Wave: 1, Reason: "bad_proof", Text: `its proof names record 3, which is no result of station "st1" by this bundle`},
		{State: rollout.Silent, Wave: 1, Reason: "silent", Text: "nothing was heard of it for 24h0m0s"},
		{State: rollout.NoStations, Wave: 1, Reason: "no_stations", Text: "none of its stations follows caps"},
	} {
		d.Device, d.Act, d.Sent, d.Heard, d.Changed = fmt.Sprintf("drolled%03d", i), wire.Command_ACT_INSTALL, 1, at, at.Add(-time.Duration(i*37)*time.Second)
		f.add(d.Device, "line-a", []string{fmt.Sprintf("Hall 1, press %d", i+1), ""}[i%4/3])
		f.connect(d.Device, time.Second, wellState("station1"))
		c.Devices = append(c.Devices, d)
	}
	for i := range 40 {
		device := fmt.Sprintf("dplanned%02d", i)
		f.add(device, "line-a", fmt.Sprintf("Hall 2, press %d", i+1))
		c.Devices = append(c.Devices, store.RolloutDevice{Device: device, Wave: 2, State: rollout.Planned, Changed: r.Created})
	}
	c.Events = []store.RolloutEvent{{At: r.Created, Who: "operator", What: "begun: caps 1.2.0 to 53 devices of group line-a in waves of 1,10%,all"},
		{At: r.Opened, Who: "fleet", What: "wave 2 is open"}, {At: at, Device: "drolled009", Who: "drolled009", What: "failed, golden_gate: st1: cap-7.png: expected FAIL, found PASS"}}
	f.must(f.store.SetRollouts(f.Context(), c))
	return id
}

func TestRolloutPages(t *testing.T) {
	f := newFleet(t)
	if got := text(f.page(t, "viewer", "/rollouts")); !strings.Contains(got, "Nothing is rolling out") || !strings.Contains(got, "sightline rollout start caps") {
		t.Errorf("without a rollout: %s", got)
	}
	id := shown(f)
	got := text(f.page(t, "viewer", "/rollouts"))
	for _, want := range []string{"Waiting for people", "caps 1.2.0 line-a · " + id, "4 of 52 proven", "by operator"} {
		if !strings.Contains(got, want) {
			t.Errorf("the list doesn't say %q:\n%s", want, got)
		}
	}
	page := f.page(t, "viewer", "/rollouts/"+id)
	got = text(page)
	for _, want := range []string{
		"caps 1.2.0 · group line-a wave 2 waits for an operator's OK on 1 device, 4 devices at work", "Proven 4 of 52", "Wave 2 of 3", "4 proven", "2 running, not proven", "1 waiting", "2 failed", "40 planned", "1 not counted",
		"Failed golden_gate st1: cap-7.png: expected FAIL", "Proof refused bad_proof its proof names record 3", "Transferring 78.8 %", "Waits for operator waits for an operator's OK on the device's page",
		"operator begun: caps 1.2.0", "drolled009 failed, golden_gate",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page doesn't say %q:\n%s", want, got)
		}
	}
	if strings.Contains(page, "<form method=\"post\" action=\"/rollouts/") {
		t.Error("a viewer is offered to change it")
	}
	if page := f.page(t, "operator", "/rollouts/"+id); strings.Count(page, "<form method=\"post\" action=\"/rollouts/"+id) != 3 {
		t.Error("an operator isn't offered to pause, abort and roll back")
	}
	if w := f.get("/rollouts/rnone", f.session("viewer")); w.Code != 404 {
		t.Errorf("one that isn't there: %d", w.Code)
	}
	operator := f.session("operator")
	for _, tt := range []struct {
		act, reason string
		code        int
	}{{"pause", "", 303}, {"pause", "", 409}, {"resume", "", 303}, {"abort", " ", 422}, {"abort", "a better one", 303}, {"rollback", "", 422}, {"explode", "x", 404}} {
		w := f.post("/rollouts/"+id+"/"+tt.act, url.Values{"reason": {tt.reason}}, operator)
		if w.Code != tt.code || w.Code == 303 && w.Header().Get("Location") != "/rollouts/"+id {
			t.Errorf("%s: %d %s", tt.act, w.Code, w.Body)
		}
		if w := f.post("/rollouts/"+id+"/"+tt.act, url.Values{"reason": {"x"}}, f.session("viewer")); w.Code != 403 {
			t.Errorf("%s by a viewer: %d", tt.act, w.Code)
		}
	}
	if v, err := f.engine.Get(t.Context(), id); err != nil || v.State != rollout.Aborted || v.Reason != "a better one" {
		t.Errorf("%v %+v", err, v)
	}
}

// A rollout in a browser: it goes on by itself, and a click stops it.
func TestRolloutInABrowser(t *testing.T) {
	f := newFleet(t)
	for i := range 2 {
		id := fmt.Sprintf("dwell%05d", i)
		f.add(id, "line-b", "")
		f.connect(id, 0, wellState("station1"))
	}
	b := browser(t)
	address := serve(f)
	b.logIn(address+"/rollouts", "operator")
	b.shows(`document.querySelector("h1").textContent === "Nothing is rolling out"`)
	b.shoot("fleet-rollouts-none")
	id, err := f.engine.Start(t.Context(), rollout.Spec{Bundle: "caps", Group: "line-b"}, "operator")
	f.must(err)
	b.shows(`document.querySelectorAll(".rolls tbody tr").length === 1`) // without being loaded anew
	b.click(`.rolls tbody a`)
	b.shows(`location.pathname === "/rollouts/`+id+`"`, `document.querySelectorAll(".wavebar rect").length === 2`)
	b.run(`document.querySelector("details").open = true; document.querySelector("details input").value = "because"`)
	f.answer(id, "dwell00000", &wire.StationUpdate{Station: "station1", Phase: wire.Phase_PHASE_REFUSED, Reason: "golden_gate", Text: "cap-7.png differs"})
	b.shows(`document.querySelector("h1").textContent === "Halted"`, `document.querySelector(".crew tbody tr").textContent.includes("cap-7.png differs")`,
		`document.querySelector("details").open && document.querySelector("details input").value === "because"`) // what is being written stays
	b.click(`form[data-key=retry] button`)
	b.shows(`document.querySelector("h1").textContent === "Rolling out"`)
	b.run(`document.querySelector("details input").value = "a better one"`)
	b.click(`details form button`)
	b.shows(`document.querySelector("h1").textContent === "Aborted"`)

	id = shown(f)
	for _, v := range looks {
		if os.Getenv("SIGHTLINE_SCREENSHOTS") == "" && v.name != "phone" {
			continue
		}
		b.window(v.width, v.height, v.scheme)
		for name, path := range map[string]string{"rollouts": "/rollouts", "rollout": "/rollouts/" + id} {
			b.open(address + path)
			b.shows(noScroll)
			b.shoot("fleet-" + name + "-" + v.name)
		}
	}
}
