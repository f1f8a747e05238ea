package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/sync/wire"
)

type resultsPage struct {
	Results []struct {
		FleetID                    int64 `json:"fleet_id"`
		Seq                        uint64
		ID, Device, Station, Epoch string
		Verdict, Reason            string
		Received                   time.Time
		Told                       *struct{ Verdict, Reason string }
	}
	Next string
}

// Pages don't repeat and don't leave out, though results arrive meanwhile.
func TestPagesAreStable(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	for i := range 25 {
		f.send("dline00001", inspected("station1", i))
	}
	var got []int64
	target := "/v1/results?limit=7"
	for n := 0; ; n++ {
		p := body[resultsPage](t, f.ask(auth.Viewer, "GET", target))
		for _, r := range p.Results {
			got = append(got, r.FleetID)
		}
		if p.Next == "" {
			break
		}
		f.send("dline00001", inspected("station1", 100+n), inspected("station1", 200+n))
		target = "/v1/results?limit=7&cursor=" + p.Next
	}
	var want []int64
	for id := int64(25); id > 0; id-- {
		want = append(want, id)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFilters(t *testing.T) {
	f := newFleet(t)
	for _, id := range []string{"dline00001", "dline00002"} {
		f.add(id, "line-a", "")
		for i := range 12 {
			f.send(id, inspected("station1", i))
		}
	}
	f.send("dline00002", inspected("station2", 0))
	seen := triggered()
	f.send("dline00002", seen)
	for query, want := range map[string]int{
		"": 26, "device=dline00001": 12, "verdict=FAIL": 5, "verdict=NONE": 2, "verdict=FAIL&device=dline00002": 3, "station=station2": 1,
		"label=scratch": 5, "part=station1-4703": 2, "part=none": 0, "device=none": 0,
		"trigger=T-000812": 1, "trigger=T-0008": 0, "recipe=0.5+l+%26+up": 1, "recipe=none": 0, "trigger=T-000812&recipe=none": 0, "part=station3-4704&trigger=T-000812": 1,
	} {
		p := body[resultsPage](t, f.ask(auth.Viewer, "GET", "/v1/results?"+query))
		if len(p.Results) != want || p.Results == nil {
			t.Errorf("%q: %d results, want %d", query, len(p.Results), want)
		}
	}
	one := body[struct{ Results []Result }](t, f.ask(auth.Viewer, "GET", "/v1/results?trigger=T-000812")).Results[0]
	if one.Trigger != "T-000812" || one.Recipe != "0.5 l & up" || one.Attempt != 2 || len(one.Views) != 2 || one.Views[1].Camera != "side" || one.Evidence[0].Camera != "side" {
		t.Errorf("%+v", one)
	}
	p := body[resultsPage](t, f.ask(auth.Viewer, "GET", "/v1/results?verdict=FAIL&limit=1&station=station1"))
	if r := p.Results[0]; r.Device != "dline00002" || r.Epoch != "000000000000feed" || r.Seq != 10 || r.Received.IsZero() || r.ID != "station1-4709" || p.Next == "" {
		t.Errorf("%+v", p)
	}
}

// An amendment shows as what the line was told, beside what was decided.
func TestAmendedResult(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	row := f.send("dline00001", inspected("station1", 0))[0]
	text, err := wire.EncodeTold(&wire.Told{Seq: 1, Answer: &wire.Answer{Reason: "not_recorded"}, At: time.Now().UnixNano()})
	f.must(err)
	_, err = f.store.Ingest(t.Context(), []store.Batch{{Device: "dline00001", Batch: &wire.Batch{Epoch: 0xfeed, Items: []wire.Item{{First: 2, Last: 2, Body: text}}}}})
	f.must(err)
	w := f.ask(auth.Viewer, "GET", fmt.Sprintf("/v1/results/%d", row.ID))
	var r struct {
		Verdict string
		Told    *struct{ Verdict, Reason string }
	}
	f.must(json.Unmarshal(w.Body.Bytes(), &r))
	if r.Verdict != "PASS" || r.Told == nil || r.Told.Verdict != "NONE" || r.Told.Reason != "not_recorded" {
		t.Errorf("%s", w.Body)
	}
	page := f.get(fmt.Sprintf("/results/%d", row.ID), f.session("viewer")).Body.String()
	for _, want := range []string{"NO DECISION", "not recorded in time", "the rule itself said PASS, ok"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page doesn't say %q", want)
		}
	}
}

func TestDevices(t *testing.T) {
	f := factory(t)
	type page struct {
		Devices []Device
		Next    string
	}
	var all []Device
	for target := "/v1/devices?limit=4"; ; {
		p := body[page](t, f.ask(auth.Viewer, "GET", target))
		all = append(all, p.Devices...)
		if p.Next == "" {
			break
		}
		target = "/v1/devices?limit=4&cursor=" + p.Next
	}
	got := map[string]string{}
	for _, d := range all {
		got[d.ID] = string(d.Presence) + " " + d.Worst
		if d.ID == "dbehind001" && (d.Journal == nil || d.Journal.Backlog != 1203 || d.Journal.Watermark != 1) {
			t.Errorf("its journal is %+v", d.Journal)
		}
		if d.ID == "dnever0001" && (d.Journal != nil || d.Board != nil || d.Inventory != nil || d.Heard != nil || d.Last != nil || len(d.Stations) != 0) {
			t.Errorf("of a device that never spoke it tells %+v", d)
		}
	}
	want := map[string]string{
		"dbad000001": "online error", "dstale0001": "stale warn", "doff000001": "offline warn", "dbehind001": "online ok",
		"dclock0001": "online warn", "dnever0001": "never ok", "drevoked01": "revoked info",
	}
	for i := range 7 {
		want[fmt.Sprintf("dwell%05d", i)] = "online ok"
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if p := body[page](t, f.ask(auth.Viewer, "GET", "/v1/devices?presence=stale")); len(p.Devices) != 1 || p.Devices[0].ID != "dstale0001" {
		t.Errorf("%+v", p)
	}
	one := f.ask(auth.Viewer, "GET", "/v1/devices/dbad000001")
	if d := body[Device](t, one); d.Stations[1].State != "stalled" || d.Warnings[0].Code != "camera_silent" || d.Last.Part != "cap-left-4704" ||
		d.Inventory.JetPack != "6.2" || *d.Board.CPU != 0.43 || d.Board.DiskFree == nil {
		t.Errorf("%s", one.Body)
	}
	h := body[struct {
		Worst    string
		Warnings []health.Raised
	}](t, f.ask(auth.Viewer, "GET", "/v1/health"))
	if h.Worst != "error" || h.Warnings[0].Subject != "dbad000001/cap-right" {
		t.Errorf("%+v", h)
	}
}

func TestTotalsAndHoles(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	for i := range 12 {
		f.send("dline00001", inspected("station1", i))
	}
	item, err := wire.NewHole(&wire.Hole{First: 13, Last: 40, Pass: 20, Fail: 3, None: 1, Other: 4, Reason: "retention"})
	f.must(err)
	_, err = f.store.Ingest(t.Context(), []store.Batch{{Device: "dline00001", Batch: &wire.Batch{Epoch: 0xfeed, Items: []wire.Item{item}}}})
	f.must(err)
	for _, q := range []string{"", "?device=dline00001"} {
		w := f.ask(auth.Viewer, "GET", "/v1/totals"+q)
		if got := body[map[string]any](t, w); got["results"] != 12.0 || got["fail"] != 2.0 || got["none"] != 1.0 || got["holes"] != 28.0 {
			t.Errorf("%s", w.Body)
		}
	}
	h := body[struct{ Holes []Hole }](t, f.ask(auth.Viewer, "GET", "/v1/holes?device=dline00001")).Holes
	if len(h) != 1 || h[0].First != 13 || h[0].Last != 40 || h[0].Fail != 3 || h[0].Reason != "retention" || h[0].Epoch != "000000000000feed" {
		t.Errorf("%+v", h)
	}
}

// What a hostile or a clumsy client may ask: all are problem details, none is a 500.
func TestBadRequests(t *testing.T) {
	f := newFleet(t)
	for _, c := range []struct {
		method, target, body string
		status               int
		detail               string
	}{
		{"GET", "/v1/results?limit=0", "", 422, "validation failed"},
		{"GET", "/v1/results?verdict=pass", "", 422, "validation failed"},
		{"GET", "/v1/results?verdcit=PASS", "", 422, "validation failed"},
		{"GET", "/v1/results?cursor=AAAA", "", 422, errCursor.Error()},
		{"GET", "/v1/results?cursor=" + web.Cursor("before", "0"), "", 422, errCursor.Error()},
		{"GET", "/v1/results?cursor=" + web.Cursor("after", "d1"), "", 422, errCursor.Error()},
		{"GET", "/v1/devices?cursor=" + web.Cursor("before", "1"), "", 422, errCursor.Error()},
		{"GET", "/v1/results/0", "", 422, "validation failed"},
		{"GET", "/v1/results/99999999999999999999", "", 422, "validation failed"},
		{"GET", "/v1/results/999", "", 404, "there is no result with number 999"},
		{"GET", "/v1/devices/%3Cscript%3E", "", 404, `there is no device "<script>"`},
		{"POST", "/v1/devices/none/revoke", `{"reason":"x"}`, 404, `there is no device "none"`},
		{"POST", "/v1/devices/none/revoke", `{"reason":""}`, 422, "validation failed"},
		{"POST", "/v1/enroll-tokens", `{"group":"Line A"}`, 422, ""},
		{"POST", "/v1/enroll-tokens", `{"group":"line-a","life_s":1}`, 422, "validation failed"},
		{"POST", "/v1/login", `{"user":"` + strings.Repeat("x", 65) + `","password":"x"}`, 422, "validation failed"},
		{"POST", "/v1/login", `{`, 400, ""},
		{"POST", "/v1/login", `{"user":"admin","password":"` + strings.Repeat("x", 70_000) + `"}`, 413, ""},
		{"POST", "/v1/enroll", `{"token":"x","csr":"y"}`, 403, ""},
		{"POST", "/v1/renew", `{"csr":"y"}`, 401, ""},
		{"GET", "/v1/", "", 404, "there is nothing at GET /v1/; /openapi.json tells what there is"},
		{"DELETE", "/v1/devices/x", "", 404, "there is nothing at DELETE /v1/devices/x; /openapi.json tells what there is"},
	} {
		w := f.ask(auth.Admin, c.method, c.target, c.body)
		p := body[struct {
			Status int
			Detail string
		}](t, w)
		if w.Code != c.status || c.detail != "" && p.Detail != c.detail || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/problem+json") {
			t.Errorf("%s %.80s: %d %s %s", c.method, c.target, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
}

// A store that doesn't answer is told as such, without its paths, and ends
// nobody's login.
func TestStoreIsGone(t *testing.T) {
	f := newFleet(t)
	cookie := f.session("viewer")
	f.close()
	for _, target := range []string{"/v1/results", "/v1/me", "/v1/events", "/", "/results", "/healthz"} {
		w := f.get(target, cookie)
		if w.Code != 503 || strings.Contains(w.Body.String(), "sql") || strings.Contains(w.Body.String(), "/tmp") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := f.post("/login", credentials("admin", password, "/")); w.Code != 503 {
		t.Errorf("login: %d %s", w.Code, w.Body)
	}
}

func TestOpenAPI(t *testing.T) {
	const file = "../../docs/fleet-openapi.json"
	f := newFleet(t)
	var doc any
	f.must(json.Unmarshal(f.ask(auth.Viewer, "GET", "/openapi.json").Body.Bytes(), &doc))
	text, err := json.MarshalIndent(doc, "", "  ")
	f.must(err)
	want := string(text) + "\n"
	if *update {
		f.must(os.WriteFile(file, []byte(want), 0o644))
	}
	got, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("%s is stale: run go generate ./fleet/api\n%s", file, d)
	}
}

func TestMetrics(t *testing.T) {
	f := factory(t, func(c *Config) {
		c.Health = func() []health.Raised { return []health.Raised{{Code: "x", Severity: health.Warn, Text: "full"}} }
		c.Figures = func() []Figure {
			return []Figure{{Name: "sightline_ingest_batches_total", Help: "Batches.", Total: true, Value: 7}}
		}
	})
	got := f.ask(auth.Viewer, "GET", "/metrics").Body.String()
	for _, want := range []string{
		`sightline_fleet_info{version="1.2.3"} 1`, `sightline_fleet_devices{presence="online"} 10`, `sightline_fleet_devices{presence="stale"} 1`,
		`sightline_fleet_devices_worst{severity="error"} 1`, `sightline_fleet_backlog_records 1203`, `sightline_fleet_results_total{verdict="FAIL"} 36`,
		`sightline_ingest_batches_total 7`, "# TYPE sightline_ingest_batches_total counter", `sightline_fleet_warnings{severity="warn"} 1`, `sightline_fleet_store_up 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(got, "dwell") {
		t.Error("a device is a label")
	}
	f.close()
	f.devices.forget()
	r := httptest.NewRequest("GET", "http://localhost/metrics", nil)
	r.RemoteAddr = "127.0.0.1:4711"
	if w := f.serve(r); w.Code != 200 || !strings.Contains(w.Body.String(), "sightline_fleet_store_up 0\n") {
		t.Errorf("of a store that is gone: %d %s", w.Code, w.Body)
	}
}
