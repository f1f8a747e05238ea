package api

import (
	"crypto/tls"
	"fmt"
	"html"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/sync/wire"
)

// text is what a page says, without its marks.
func text(page string) string {
	s := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " ")
	return html.UnescapeString(strings.Join(strings.Fields(s), " "))
}

func (f *fleet) page(t *testing.T, user, target string) string {
	t.Helper()
	w := f.get(target, f.session(user))
	if w.Code != 200 {
		t.Fatalf("%s: %d %s", target, w.Code, text(w.Body.String()))
	}
	return w.Body.String()
}

func TestOverviewAnswersBeforeScripts(t *testing.T) {
	f := factory(t, func(c *Config) {
		c.Health = func() []health.Raised {
			return []health.Raised{{Code: "store_full", Severity: health.Error, Text: "the disk is full", Do: "Make room."}}
		}
	})
	page := f.page(t, "viewer", "/")
	got := text(page)
	for _, want := range []string{
		"4 devices need you 1 with errors · 1 offline · 1 stale", "Online 10 of 13 devices", "207", "26.0 % 36 fail + 18 no decision", "Backlog 1,203 on 1 device",
		"The service itself The disk is full Make room.", "Needs you 4",
		"Hall 1, filler line-a · dbad000001 Online for 3 h cap-right: the camera is connected but sends no pictures: nothing for 14 s Check the camera",
		"cap-left cap-right stalled", "Stale nothing heard for 5", "Offline for 2 min", "The device's clock is wrong: 3650 d behind",
		"Well 9", "Hall 1, press 1 line-a · dwell00000 Online for 3 h station1 caps 38 9f2c…2c FAIL", "检测站三号 – 灌装线末端", "1,203 12 d",
		"Hall 3, spare line-c · dnever0001 Never connected enrolled 0 s ago none told", "Revoked nothing more is taken from them", "Hall 3, stolen",
	} {
		if !strings.Contains(strings.ReplaceAll(got, "3649 d", "3650 d"), want) {
			t.Errorf("the page doesn't say %q:\n%s", want, got)
		}
	}
	if strings.Contains(page, "style=") || regexp.MustCompile(`<script[^>]*>[^<]`).MatchString(page) || regexp.MustCompile(`\son[a-z]+=`).MatchString(page) {
		t.Error("the page has style or script inside, which its own policy forbids")
	}
	order := []string{"dbad000001", "doff000001", "dstale0001", "dclock0001", "dwell00000", "drevoked01"}
	for i := 1; i < len(order); i++ {
		if strings.Index(got, order[i-1]) > strings.Index(got, order[i]) {
			t.Errorf("%s comes before %s", order[i], order[i-1])
		}
	}
}

func TestOverviewFilters(t *testing.T) {
	f := factory(t)
	for query, want := range map[string]int{
		"": 14, "group=line-c": 2, "state=needs": 4, "state=stale": 1, "state=never": 1, "state=revoked": 1, "q=FILLER": 1, "q=dwell": 7,
		"q=host-doff": 1, "q=none": 0, "group=line-a&state=online": 7, "page=2": 1, "page=x": 14, "page=-3": 14, "state=%3Cscript%3E": 0,
	} {
		page := f.page(t, "viewer", "/?"+query)
		if n := strings.Count(page, `<tr class="dev`); n != want {
			t.Errorf("%q: %d devices, want %d", query, n, want)
		}
	}
	if got := text(f.page(t, "viewer", "/?q=none")); !strings.Contains(got, "No device fits this filter. Show all") {
		t.Errorf("%s", got)
	}
}

func TestManyDevicesAreSmall(t *testing.T) {
	f := newFleet(t)
	var signs []store.Sign
	for i := range 500 {
		id := fmt.Sprintf("dmany%05d", i)
		f.add(id, fmt.Sprintf("line-%c", 'a'+i%7), fmt.Sprintf("Hall %d, press %d", 1+i%7, 1+i))
		at := f.store.Now()
		if i%100 == 0 {
			at = at.Add(-time.Hour)
		}
		state := wellState("station1")
		state.Connection, state.EveryMs, state.Clock = 7, 10_000, at.UnixNano()
		signs = append(signs, store.Sign{Device: id, At: at, Hello: &wire.Hello{Connection: 7, Epoch: 1}}, store.Sign{Device: id, At: at, State: state})
	}
	f.must(f.store.Heard(t.Context(), signs))
	f.devices.forget()
	page := f.page(t, "viewer", "/")
	size := len(page)
	for _, asset := range regexp.MustCompile(`"(/assets/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		size += f.get(asset[1]).Body.Len()
	}
	if size > 150<<10 {
		t.Errorf("the first view of 500 devices is %d bytes, at most 150 KiB", size)
	}
	if n := strings.Count(page, `class="g"`); n != 495 {
		t.Errorf("%d marks of well devices, want 495", n)
	}
	seen := map[string]bool{}
	for target := "/"; target != ""; {
		page := f.page(t, "viewer", target)
		for _, m := range regexp.MustCompile(`data-key="(dmany\d+)"`).FindAllStringSubmatch(page, -1) {
			if seen[m[1]] {
				t.Errorf("%s shows twice", m[1])
			}
			seen[m[1]] = true
		}
		target = ""
		if m := regexp.MustCompile(`href="([^"]+)" rel="next"`).FindStringSubmatch(page); m != nil {
			target = m[1]
		}
	}
	if len(seen) != 500 {
		t.Errorf("%d of 500 devices show on some page", len(seen))
	}
	if page := f.page(t, "viewer", "/results"); len(page) > 40<<10 {
		t.Errorf("the page Results has %d bytes, without a result", len(page))
	}
}

// What a device says of itself can't become a part of the page.
func TestHostileDevice(t *testing.T) {
	f := newFleet(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>'` + "`{{.}}javascript:alert(3)"
	long := strings.Repeat("W", 150)
	f.add("devil00001", "line-a", evil)
	state := wellState(evil, long)
	state.Stations[0].State, state.Stations[0].Text, state.Stations[0].Model, state.Stations[0].ModelDigest, state.Stations[0].Rule, state.Stations[0].Line = evil, evil, evil, evil, evil, evil
	state.Warnings = []*wire.Warning{{Code: evil, Severity: 99, Subject: evil, Text: evil, Act: evil, Since: -1}, {}}
	state.Board.Temperatures[1].Name, state.Board.Gpus[0].Name = evil, evil
	f.connect("devil00001", time.Second, state)
	r := inspected("station1", 4)
	r.PartId, r.Station, r.Label, r.Reason, r.Model, r.ModelDigest, r.Rule, r.Line = evil, evil, evil, evil, evil, evil, evil, evil
	r.Evidence[0].Label, r.Measurements[0].Name, r.Measurements[0].Unit = evil, evil, evil
	hello := &wire.Hello{Connection: 7, Epoch: 0xfeed, Inventory: &wire.Inventory{Version: evil, Os: evil, Kernel: evil, Arch: evil, Model: evil, Serial: evil, Jetpack: evil, Gpus: []string{evil}}}
	row := f.send("devil00001", r)[0]
	f.must(f.store.Heard(t.Context(), []store.Sign{{Device: "devil00001", At: f.store.Now(), Hello: hello}}))
	f.devices.forget()
	for _, target := range []string{
		"/", "/devices/devil00001", "/results", fmt.Sprintf("/results/%d", row.ID), "/results?part=" + url.QueryEscape(evil) + "&device=" + url.QueryEscape(evil),
		"/?q=" + url.QueryEscape(evil) + "&group=" + url.QueryEscape(evil), "/results?station=" + url.QueryEscape(evil),
	} {
		page := f.page(t, "admin", target)
		for _, bad := range []string{"<script>a", "<img", "onerror=alert(2)>", `href="javascript`} {
			if strings.Contains(page, bad) {
				t.Errorf("%s holds %s", target, bad)
			}
		}
	}
	w := f.get("/login?next=" + url.QueryEscape(evil))
	if strings.Contains(w.Body.String(), "<script>a") {
		t.Error("the login shows where it leads")
	}
	if w := f.get("/nowhere/"+url.PathEscape(evil), f.session("viewer")); strings.Contains(w.Body.String(), "<script>a") || w.Code != 404 {
		t.Errorf("a page that isn't there: %d", w.Code)
	}
	d := body[Device](t, f.ask(auth.Viewer, "GET", "/v1/devices/devil00001"))
	if d.Warnings[0].Severity != health.Error || d.Label != evil {
		t.Errorf("%+v", d.Warnings)
	}
}

func TestDevicePage(t *testing.T) {
	f := factory(t)
	got := text(f.page(t, "viewer", "/devices/dbad000001"))
	for _, want := range []string{
		"Online, with errors Hall 1, filler · for 3 h dbad000001 · group line-a", "Results 1 at the fleet", "Rejected 100 % 1 fail + 0 no decision", "Certificate 12 d left",
		"cap-right: the camera is connected but sends no pictures: nothing for 14 s", "2,381 pass, 27 fail, 4 no decision", "30 /s, 107,400 of 108,000 inspected",
		"Journal record 1 4.2 MB", "Acknowledged up to 1", "Dropped unsent 0", "serial 0a1b…5f", "Processor 43 % busy load 1.20", "Hottest 57 °C gpu-thermal", "Agent 1.2.3", "JetPack 6.2",
		"FAIL cap-left-4704",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page doesn't say %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "Revoke") {
		t.Error("a viewer is offered to revoke it")
	}
	got = text(f.page(t, "viewer", "/devices/dnever0001"))
	if strings.Contains(got, "Board") || strings.Contains(got, "Backlog") || !strings.Contains(got, "Never connected Hall 3, spare") {
		t.Errorf("of a device that never spoke: %s", got)
	}
}

func TestRevokeOnThePage(t *testing.T) {
	f := factory(t)
	admin := f.session("admin")
	if page := f.get("/devices/dwell00000", admin).Body.String(); !strings.Contains(page, "Revoke Hall 1, press 1") {
		t.Fatal("an admin isn't offered to revoke it")
	}
	if w := f.post("/devices/dwell00000/revoke", url.Values{"reason": {" "}}, admin); w.Code != 422 || !strings.Contains(w.Body.String(), "Say why") {
		t.Errorf("without a reason: %d", w.Code)
	}
	if w := f.post("/devices/dwell00000/revoke", url.Values{"reason": {"stolen"}}, f.session("operator")); w.Code != 403 {
		t.Errorf("by an operator: %d", w.Code)
	}
	if w := f.post("/devices/dwell00000/revoke", url.Values{"reason": {"stolen"}}, admin); w.Code != 303 || w.Header().Get("Location") != "/devices/dwell00000" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	got := text(f.get("/devices/dwell00000", admin).Body.String())
	if !strings.Contains(got, "Revoked Hall 1, press 1") || strings.Contains(got, "Revoke this device") {
		t.Errorf("%s", got)
	}
}

func TestEmptyPages(t *testing.T) {
	f := newFleet(t)
	if got := text(f.page(t, "viewer", "/")); !strings.Contains(got, "No devices yet") || !strings.Contains(got, "sightline-fleet token --group line1") {
		t.Errorf("%s", got)
	}
	if got := text(f.page(t, "viewer", "/results")); !strings.Contains(got, "No result has come yet.") {
		t.Errorf("%s", got)
	}
	for _, target := range []string{"/devices/none", "/results/4711", "/results/x", "/nowhere"} {
		if w := f.get(target, f.session("viewer")); w.Code != 404 || !strings.Contains(w.Body.String(), "Back to the overview") {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if w := f.get("/results?cursor=x", f.session("viewer")); w.Code != 400 {
		t.Errorf("%d", w.Code)
	}
}

// Without a device the page says how the first one comes in, at an address that
// the device can reach.
func TestFirstDevice(t *testing.T) {
	f := newFleet(t, func(c *Config) { c.Hosts, c.Address = []string{"fleet.example"}, "fleet.example:9443" })
	for _, c := range []struct {
		host string
		tls  bool
		want string
	}{
		{"fleet.example:8443", true, "fleet.example:8443"}, {"10.0.0.5", true, "10.0.0.5"}, {"[fd00::5]:8443", true, "[fd00::5]:8443"},
		{"localhost:8443", true, "fleet.example:9443"}, {"127.0.0.1:8443", true, "fleet.example:9443"}, {"[::1]", true, "fleet.example:9443"},
		{"localhost:8082", false, "fleet.example:9443"},
	} {
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		r.Host = c.host
		r.Header.Set("Authorization", "Bearer "+f.tokens[auth.Viewer])
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		w := f.serve(r)
		if !strings.Contains(w.Body.String(), "enroll --fleet https://"+c.want+" --token") {
			t.Errorf("by %s: %d %s", c.host, w.Code, text(w.Body.String()))
		}
	}
}

// What a device hasn't told yet has its place, so that it appears by itself.
func TestDeviceBeforeItsFirstState(t *testing.T) {
	f := newFleet(t)
	f.add("dnew000001", "line-a", "")
	places := func() (all, hidden []string) {
		for _, m := range regexp.MustCompile(`<[^>]* id="(\w+)" data-fresh[^>]*>`).FindAllStringSubmatch(f.page(t, "viewer", "/devices/dnew000001"), -1) {
			all = append(all, m[1])
			if strings.Contains(m[0], " hidden") {
				hidden = append(hidden, m[1])
			}
		}
		return all, hidden
	}
	before, hidden := places()
	if !slices.Equal(hidden, []string{"board", "inventory"}) {
		t.Errorf("hidden are %v", hidden)
	}
	f.connect("dnew000001", 0, wellState("station1"))
	if after, hidden := places(); !slices.Equal(before, after) || len(hidden) > 0 {
		t.Errorf("%v are now %v, hidden %v", before, after, hidden)
	}
}

func TestJudge(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) time.Time { return now.Add(-d) }
	good := func() store.Device {
		return store.Device{
			ID: "d1", Enrolled: at(100 * 24 * time.Hour), CertNotAfter: at(-10 * 24 * time.Hour), Connected: at(time.Hour), Heard: at(time.Second),
			Every: 10 * time.Second, State: &wire.State{Clock: at(time.Second).UnixNano()}, StateAt: at(time.Second),
		}
	}
	for name, c := range map[string]struct {
		change func(*store.Device)
		want   string
	}{
		"all is well":          {func(*store.Device) {}, ""},
		"stale":                {func(d *store.Device) { d.Heard = at(time.Minute) }, "device_stale"},
		"offline":              {func(d *store.Device) { d.Ended = at(time.Minute) }, "device_offline"},
		"just enrolled":        {func(d *store.Device) { *d = store.Device{Enrolled: at(time.Minute)} }, ""},
		"never came":           {func(d *store.Device) { *d = store.Device{Enrolled: at(time.Hour)} }, "device_never"},
		"certificate ends":     {func(d *store.Device) { d.CertNotAfter = at(-time.Hour) }, "device_certificate"},
		"certificate ended":    {func(d *store.Device) { d.CertNotAfter = at(time.Hour) }, "device_certificate"},
		"short certificates":   {func(d *store.Device) { d.Enrolled, d.CertNotAfter = at(time.Hour), at(-time.Hour) }, ""},
		"clock ahead":          {func(d *store.Device) { d.State.Clock = at(-time.Hour).UnixNano() }, "device_clock"},
		"clock behind":         {func(d *store.Device) { d.State.Clock = 1 }, "device_clock"},
		"dropped":              {func(d *store.Device) { d.State.Journal = &wire.JournalState{Dropped: 7} }, "device_dropped"},
		"stalled":              {func(d *store.Device) { d.State.Stations = []*wire.StationState{{Id: "s", State: "stalled"}} }, "station_stopped"},
		"revoked says no more": {func(d *store.Device) { d.Revoked, d.Ended = at(time.Minute), at(time.Minute) }, "device_revoked"},
		"worst first": {func(d *store.Device) {
			d.Ended, d.State.Stations = at(time.Minute), []*wire.StationState{{Id: "s", State: "failed"}}
		}, "station_stopped device_offline"},
	} {
		d := good()
		c.change(&d)
		var got []string
		for _, w := range judge(&d, now) {
			got = append(got, w.Code)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %q, want %q", name, s, c.want)
		}
	}
}
