package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	oldDigest = "1122334455667788990011223344556677889900112233445566778899001122"
	newDigest = "aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899"
)

// following is a station with caps 1.2.0, and 1.3.0 in that phase.
func following(id string, phase Phase) Station {
	st, since := good(id), time.Now().Add(-26*time.Hour)
	st.Bundle, st.Model.Name, st.Model.Version = "caps", "caps", "1.2.0"
	st.Update = &Update{
		Station: id, Active: &Bundle{Name: "caps", Version: "1.2.0", Digest: oldDigest, Since: &since},
		Next: &Coming{Name: "caps", Version: "1.3.0", Digest: newDigest, Phase: phase, Done: 21_300_000, Total: 50_000_000},
	}
	if phase == Waiting {
		st.Update.Next.Reason = ForOperator
	}
	return st
}

// send posts as a program or a browser would.
func send(t *testing.T, s *Server, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	return sendBy(t, s, "POST", path, body, header...)
}

func sendBy(t *testing.T, s *Server, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://localhost:8080"+path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:4711"
	r.Header.Set("Content-Type", "application/json")
	for n := 0; n+1 < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
		if header[n] == "From" {
			r.RemoteAddr = header[n+1]
		}
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func TestApprove(t *testing.T) {
	m := newMemory(following("station1", Waiting))
	s := newServer(t, m)
	if w := send(t, s, "/v1/stations/none/update/approve", ""); w.Code != http.StatusNotFound {
		t.Errorf("a station that isn't there: %d %s", w.Code, w.Body)
	}
	if w := send(t, s, "/v1/stations/station1/update/approve", ""); w.Code != http.StatusAccepted {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w := send(t, s, "/stations/station1/approve", "", "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/stations/station1#update" {
		t.Errorf("the form: %d, to %q", w.Code, w.Header().Get("Location"))
	}
	if len(m.approved) != 2 {
		t.Errorf("approved: %v", m.approved)
	}
	m.refusal = errors.New("nothing waits")
	if w := send(t, s, "/v1/stations/station1/update/approve", ""); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "nothing waits") {
		t.Errorf("when nothing waits: %d %s", w.Code, w.Body)
	}
	if w := send(t, s, "/stations/station1/approve", ""); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "Nothing waits.") {
		t.Errorf("the form when nothing waits: %d %s", w.Code, w.Body)
	}
	m.refusal = ErrNoUpdates
	if w := send(t, s, "/v1/stations/station1/update/approve", ""); w.Code != http.StatusNotFound {
		t.Errorf("without bundles: %d %s", w.Code, w.Body)
	}
}

// TestOtherSitesApproveNothing: a page elsewhere makes a browser send.
func TestOtherSitesApproveNothing(t *testing.T) {
	m := newMemory(following("station1", Waiting))
	s := newServer(t, m)
	for _, path := range []string{"/stations/station1/approve", "/v1/stations/station1/update/approve", "/v1/updates"} {
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://evil.example"}} {
			if w := send(t, s, path, `{"folder":"/media/usb"}`, header...); w.Code != http.StatusForbidden {
				t.Errorf("%s with %v: %d", path, header, w.Code)
			}
		}
	}
	if w := ask(t, s, "GET", "/stations/station1/approve"); w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
		t.Errorf("a link approves: %d", w.Code)
	}
	if len(m.approved)+len(m.installed) > 0 {
		t.Errorf("approved %v, installed %v", m.approved, m.installed)
	}
}

// TestInstallFromElsewhere: only a program on the device may name its folders.
func TestInstallFromElsewhere(t *testing.T) {
	m := newMemory(following("station1", Committed))
	s := newServer(t, m)
	const usb = `{"folder":"/media/usb"}`
	for _, header := range [][]string{{"From", "192.0.2.7:99"}, {"From", "[2001:db8::1]:99"}, {"X-Forwarded-For", "192.0.2.7"}, {"Forwarded", "for=192.0.2.7"}, {"Via", "1.1 proxy"}} {
		if w := send(t, s, "/v1/updates", usb, header...); w.Code != http.StatusForbidden {
			t.Errorf("with %v: %d %s", header, w.Code, w.Body)
		}
	}
	if len(m.installed) > 0 {
		t.Fatalf("installed %v", m.installed)
	}
	for _, from := range []string{"127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"} {
		if w := send(t, s, "/v1/updates", usb, "From", from); w.Code != http.StatusAccepted {
			t.Errorf("from %s: %d %s", from, w.Code, w.Body)
		}
	}
	for _, bad := range []string{"", "{}", `{"folder":""}`, `{"folder":7}`, `{"folder":"/x","force":true}`, strings.Repeat("x", 70<<10)} {
		if w := send(t, s, "/v1/updates", bad); w.Code < 400 || w.Code > 499 {
			t.Errorf("%.20q: %d %s", bad, w.Code, w.Body)
		}
	}
	m.refusal = errors.New("the folder has no metadata")
	if w := send(t, s, "/v1/updates", usb); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "no metadata") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(m.installed) != 3 {
		t.Errorf("installed %v", m.installed)
	}
}

func TestRefusedPicture(t *testing.T) {
	m := newMemory(following("station1", Committed))
	m.pictures["refused a/b c.jpg"] = []byte("jpeg")
	s := newServer(t, m)
	if w := ask(t, s, "GET", "/v1/updates/pictures/a%2Fb%20c.jpg"); w.Code != 200 || w.Body.String() != "jpeg" || w.Header().Get("Content-Type") != "image/jpeg" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := ask(t, s, "GET", "/v1/updates/pictures/other"); w.Code != http.StatusNotFound {
		t.Errorf("%d", w.Code)
	}
}

// TestUpdateView: each phase in words and as a bar.
func TestUpdateView(t *testing.T) {
	for _, c := range []struct {
		phase       Phase
		words, bar  string // of each step: done, at or nothing
		filled      int
		approve, on bool
	}{
		{Assigned, "caps 1.3.0 is assigned, nothing is done yet", "at,,,", 10, false, true},
		{Transfer, "caps 1.3.0 is being fetched: 21 MB of 50 MB", "at,,,", 10, false, true},
		{Staged, "caps 1.3.0 is verified and proves itself on this device", "done,at,,", 36, false, true},
		{Gated, "caps 1.3.0 has proved itself on this device", "done,done,at,", 60, false, true},
		{Waiting, "caps 1.3.0 waits for your OK", "done,done,at,", 60, true, true},
		{Probation, "caps 1.3.0 is active and watched", "done,done,done,at", 84, false, true},
		{Committed, "", "", 0, false, false}, {RolledBack, "", "", 0, false, false}, {Refused, "", "", 0, false, false},
		{Cancelled, "", "", 0, false, false}, {"from the future", "", "", 0, false, false},
	} {
		st := following("station1", c.phase)
		v := viewUpdate(&st).Next
		if (v != nil) != c.on {
			t.Errorf("%s: shown is %v", c.phase, v != nil)
		}
		if v == nil {
			continue
		}
		var classes []string
		filled := 0
		for _, s := range v.Steps {
			classes = append(classes, s.Class)
			filled += s.Filled
		}
		if v.Words != c.words || strings.Join(classes, ",") != c.bar || filled != c.filled || (v.Approve != "") != c.approve {
			t.Errorf("%s: %q, %v, %d filled, %q", c.phase, v.Words, classes, filled, v.Approve)
		}
	}
	gated := following("station1", Gated)
	gated.Update.Next.Unmeasured = "how far cuda float32 moves was never measured for this bundle"
	if v := viewUpdate(&gated).Next; v.Words != "caps 1.3.0 passed its golden pictures, unmeasured on this device" || v.Why != gated.Update.Next.Unmeasured {
		t.Errorf("unmeasured: %q, %q", v.Words, v.Why)
	}
	st := following("station1", Waiting)
	st.Update.Active, st.Model = nil, Model{}
	if v := viewUpdate(&st); v.Next.Change != "Between two parts: nothing → caps 1.3.0" || !strings.HasPrefix(v.Runs, "Inspects nothing") {
		t.Errorf("%q, %q", v.Runs, v.Next.Change)
	}
	if plain := good("station1"); viewUpdate(&plain) != nil {
		t.Error("a station without bundle has a panel")
	}
}

// TestUnsignedStandsOnEveryPage: in red, by name.
func TestUnsignedStandsOnEveryPage(t *testing.T) {
	st := good("station1")
	st.Signed, st.Model.Name = false, "my-model"
	m := newMemory(st)
	m.tell(result("station1", 1, time.Now()))
	s := newServer(t, m)
	pages := []string{"/", "/stations/station1", "/results", "/results/1"}
	for _, page := range pages {
		if b := ask(t, s, "GET", page).Body.String(); !strings.Contains(b, `<p class="unsigned">`) || !strings.Contains(b, `<a href="/stations/station1">station1</a> runs a file that nobody signed`) {
			t.Errorf("%s doesn't say that station1 is unsigned", page)
		}
	}
	if b := ask(t, s, "GET", "/v1/stations").Body.String(); !strings.Contains(b, `"signed":false`) {
		t.Errorf("/v1/stations: %s", b)
	}
	m.add("station2")
	if b := ask(t, s, "GET", "/").Body.String(); strings.Count(b, "UNSIGNED") != 2 {
		t.Errorf("the overview says UNSIGNED %d times, want it above and at one of two stations", strings.Count(b, "UNSIGNED"))
	}
	m.stations = []Station{good("station1")}
	for _, page := range pages {
		if b := ask(t, s, "GET", page).Body.String(); strings.Contains(b, "UNSIGNED") {
			t.Errorf("%s says UNSIGNED although all is signed", page)
		}
	}
}

// The operator's way: a bundle waits, its button is pressed, it is watched; and
// the ML engineer's: why was it refused?
func TestUpdatesInABrowser(t *testing.T) {
	m, s := line(t, "station1")
	b := browser(t)
	url := serve(t, s).URL
	m.set(func(st *Station) { *st = following("station1", Waiting) })
	proof := belt(t, 640, 360, 72, [][2]float64{{110, 178}, {320, 184}, {530, 176}}, []bool{false, true, false})
	m.pictures["refused 4711-a.jpg"], m.pictures["refused 4711-b.jpg"] = proof, proof
	at := time.Now().Add(-3 * time.Minute)
	failure := &Failure{Name: "caps", Version: "1.2.9", Digest: newDigest, Phase: Refused, Reason: "golden_gate", At: &at,
		Text:     "picture 0017.png: a scratch with score 0.91 was expected at 440, 268, nothing is there; 2 of 40 pictures differ",
		Pictures: []string{"4711-a.jpg", "4711-b.jpg"}}
	m.stations[0].Update.Failure = failure
	for _, v := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"update-light", 1280, 1500, "light"}, {"update-dark", 1280, 1500, "dark"}, {"update-phone", 390, 2600, "light"}, {"update-phone-dark", 390, 2600, "dark"}} {
		b.window(v.width, v.height, v.scheme)
		b.open(url + "/")
		b.shows(drawn, noScroll, `document.querySelectorAll(".proofs img").length === 2`, `document.querySelector(".steps").getBoundingClientRect().width > 200`)
		b.run(`document.getElementById("update").scrollIntoView({block: "center"})`)
		b.shows(loaded)
		b.shoot(v.name)
	}
	b.window(1280, 980, "light")
	b.open(url + "/")
	b.run(`document.querySelector(".coming button").focus()`)
	b.key("\r")
	b.shows(`location.pathname === "/stations/station1"`)
	until(t, "the OK", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.approved) == 1 })
	m.set(func(st *Station) { *st = following("station1", Probation); st.Update.Failure = failure })
	b.shows(`document.querySelector(".coming b").textContent === "caps 1.3.0 is active and watched"`, `!document.querySelector(".coming button")`)

	m.set(func(st *Station) {
		*st = good("station1")
		st.Signed, st.Model.Name = false, "my-model"
	})
	b.shows(`document.querySelector(".unsigned a").textContent === "station1"`, `document.querySelector(".state .unsigned-tag")`, `document.querySelector(".update .runs.bad")`)
	for _, v := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"unsigned-light", 1280, 980, "light"}, {"unsigned-dark", 1280, 980, "dark"}, {"unsigned-phone", 390, 900, "light"}} {
		b.window(v.width, v.height, v.scheme)
		b.open(url + "/")
		b.shows(drawn, loaded, noScroll)
		b.shoot(v.name)
	}
	m.set(func(st *Station) { *st = following("station1", Transfer) })
	m.add("station2")
	m.stations[1].Signed = false
	b.window(1280, 800, "dark")
	b.open(url + "/")
	b.shows(noScroll, `document.querySelectorAll(".card .unsigned-tag").length === 1`)
	b.shoot("unsigned-overview")
}

// A bundle that waits for an OK is what the page says is needed; one that waits
// for the clock needs nobody.
func TestAWaitingBundleNeedsYou(t *testing.T) {
	n := &Now{Stations: []Station{following("station1", Waiting)}}
	for _, at := range []string{"station1", ""} {
		if list := needs(n, at); len(list) != 1 || list[0].Class != "warn" || !strings.Contains(list[0].Text, "caps 1.3.0 waits for your OK") {
			t.Errorf("needed at %q: %+v", at, list)
		}
	}
	n.Stations[0].Update.Next.Reason = "window"
	if list := needs(n, ""); len(list) != 1 || list[0].Key != "ok" {
		t.Errorf("needed with a window ahead: %+v", list)
	}
}
