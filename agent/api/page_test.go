package api

import (
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision"
)

// text is what a page says, without its marks.
func text(w *httptest.ResponseRecorder) string {
	s := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(w.Body.String(), " ")
	return strings.Join(strings.Fields(s), " ")
}

func TestNowPageAnswersBeforeScripts(t *testing.T) {
	_, s := filled(t, 20)
	w := ask(t, s, "GET", "/")
	for _, want := range []string{
		"Inspecting station1 · line A · drawn-parts 3", "98.7 % 98.1–99.0 · 2,412 parts", "27 + 4 fail + no decision", "42 /min", "61 of 120 ms",
		"600 not inspected", "Nothing needs you", "NO DECISION – REJECTED not recorded in time", "FAIL scratch 0.91 &gt; 0.5",
	} {
		if !strings.Contains(text(w), want) {
			t.Errorf("the page doesn't say %q:\n%s", want, text(w))
		}
	}
	if n := strings.Count(w.Body.String(), `<li class="part `); n != 12 {
		t.Errorf("%d parts, want 12", n)
	}
	if strings.Contains(w.Body.String(), "style=") || regexp.MustCompile(`<script[^>]*>[^<]`).MatchString(w.Body.String()) || regexp.MustCompile(`\son[a-z]+=`).MatchString(w.Body.String()) {
		t.Error("the page has style or script inside, which its own policy forbids")
	}
}

func TestFirstViewIsSmall(t *testing.T) {
	_, s := filled(t, 20)
	page := ask(t, s, "GET", "/").Body.String()
	size := len(page)
	for _, asset := range regexp.MustCompile(`"(/assets/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		w := ask(t, s, "GET", asset[1])
		if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", asset[1], w.Code, w.Header())
		}
		size += w.Body.Len()
	}
	if size > 150<<10 {
		t.Errorf("the first view without its pictures is %d bytes, at most 150 KiB", size)
	}
}

func TestStationInTroubleSaysWhy(t *testing.T) {
	m, s := filled(t, 1)
	m.health.Raise(health.JournalFull, "", "0 bytes left")
	body := ask(t, s, "GET", "/").Body.String()
	if !strings.Contains(body, `class="state bad"`) || !strings.Contains(body, "Verdicts can&#39;t be recorded, there is no room on the disk: 0 bytes left") {
		t.Errorf("a full journal isn't told:\n%s", body)
	}
	m.health.Clear(health.JournalFull, "")
	m.health.Raise(health.NoRule, "other", "")
	if body := ask(t, s, "GET", "/").Body.String(); !strings.Contains(body, `class="state good"`) {
		t.Error("another station's warning colours this one's band")
	}
	m.set(func(st *Station) { st.State, st.StateText = Failed, "the model can't be read" })
	if got := text(ask(t, s, "GET", "/")); !strings.Contains(got, "Not inspecting station1 · line A · the model can&#39;t be read") || strings.Contains(got, "Nothing needs you") {
		t.Errorf("a failed station: %s", got)
	}
}

func TestWhatIsWorthKnowingNeedsNobody(t *testing.T) {
	m, s := filled(t, 1)
	m.health.Raise(health.FramesDropped, "station1", "6 of 643")
	if got := text(ask(t, s, "GET", "/")); !strings.Contains(got, "Needs you Nothing needs you") || !strings.Contains(got, "6 of 643") {
		t.Errorf("an info: %s", got)
	}
	m.health.Raise(health.NoRule, "station1", "")
	if got := text(ask(t, s, "GET", "/")); strings.Contains(got, "Nothing needs you") {
		t.Errorf("a warning: %s", got)
	}
}

// After a restart memory is empty, and the journal still has parts; those that
// aren't recorded are shown too.
func TestLastPartsComeFromMemoryAndJournal(t *testing.T) {
	m, s := filled(t, 5)
	m.set(func(st *Station) { st.Recent = nil })
	m.told(result("station1", 5, time.Now()), false)
	body := ask(t, s, "GET", "/").Body.String()
	if n := strings.Count(body, `<li class="part `); n != 12 || strings.Count(body, `part ghost`) != 6 {
		t.Errorf("%d places, %d of them empty; want 12, 6", n, strings.Count(body, `part ghost`))
	}
	if !strings.Contains(body, `data-key="station1-4705/0"`) || !strings.Contains(body, `data-key="station1-4704/5"`) {
		t.Error("the one that isn't recorded or the newest that is doesn't show")
	}
	m.tell(result("station1", 6, time.Now())) // number 6; the journal's 1 to 5 are below
	m.tell(result("station1", 7, time.Now()))
	body = ask(t, s, "GET", "/").Body.String()
	for _, key := range []string{"station1-4707/7", "station1-4706/6", "station1-4705/0", "station1-4704/5"} {
		if n := strings.Count(body, `data-key="`+key+`"`); n != 1 {
			t.Errorf("%s shows %d times", key, n)
		}
	}
}

func TestHostileTextIsOnlyText(t *testing.T) {
	evil := `"><script>alert(1)</script>'` + strings.Repeat("字", 60)
	m := newMemory(good("station1"))
	r := result("station1", 4, time.Now())
	r.ID, r.Label, r.Reason, r.Line, r.Rule.Name = evil, evil, evil, evil, evil
	r.Evidence[0].Label = evil
	m.tell(r)
	m.pictures[evil] = []byte("x")
	m.set(func(st *Station) { st.Line, st.StateText = evil, evil })
	m.watch(func(c *Camera) { c.Error, c.Source, c.Codec = evil, evil, evil })
	m.health.Raise(health.CameraSilent, "station1", evil)
	s := newServer(t, m)
	for _, target := range []string{"/", "/results", "/results/1", "/stations/station1", "/results?label=" + url.QueryEscape(evil),
		"/results?part=" + url.QueryEscape(evil), "/results?station=" + url.QueryEscape(evil), "/stations/" + url.PathEscape(evil), "/nothing/" + url.PathEscape(evil)} {
		w := ask(t, s, "GET", target)
		if strings.Contains(w.Body.String(), "<script>alert") {
			t.Errorf("%s: script gets through", target)
		}
	}
	res := body[Result](t, ask(t, s, "GET", "/v1/results/1"))
	if w := ask(t, s, "GET", res.Picture); w.Code != 200 {
		t.Errorf("the picture of a part with an odd ID, %s: %d", res.Picture, w.Code)
	}
}

func TestResultsPage(t *testing.T) {
	_, s := filled(t, 100)
	w := ask(t, s, "GET", "/results?verdict=NONE&label=cap")
	if n := strings.Count(w.Body.String(), `<li class="part none"`); n != 10 {
		t.Errorf("%d parts without a decision, want 10", n)
	}
	if !strings.Contains(w.Body.String(), `<option value="NONE" selected>`) || !strings.Contains(w.Body.String(), `name="label" value="cap"`) {
		t.Error("the filter doesn't show what is filtered")
	}
	next := regexp.MustCompile(`href="(/results[^"]*)" rel="next"`).FindStringSubmatch(ask(t, s, "GET", "/results?label=cap").Body.String())
	if next == nil || !strings.Contains(next[1], "label=cap") {
		t.Fatalf("the next page is %v, want the filter kept", next)
	}
	older := ask(t, s, "GET", strings.ReplaceAll(next[1], "&amp;", "&"))
	if !strings.Contains(older.Body.String(), ">station1-4751<") || strings.Contains(older.Body.String(), ">station1-4752<") {
		t.Error("the next page doesn't begin below the first one")
	}
	for target, status := range map[string]int{
		"/results?verdict=MAYBE": 400, "/results?cursor=zzz": 400, "/results/0": 404, "/results/x": 404, "/results/9999": 404, "/stations/none": 404, "/none": 404,
		"/results?label=" + strings.Repeat("x", 5000): 200,
	} {
		if w := ask(t, s, "GET", target); w.Code != status || !strings.Contains(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%.60s: %d, want %d", target, w.Code, status)
		}
	}
}

func TestPartPageTellsWhatTheLineHeard(t *testing.T) {
	_, s := filled(t, 9)
	got := text(ask(t, s, "GET", "/results/8"))
	for _, want := range []string{"NO DECISION – REJECTED station1-4707 not recorded in time", "the rule itself said PASS, ok", "defect 0.120 0.500", "60 ms after its last picture"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page doesn't say %q:\n%s", want, got)
		}
	}
}

func TestReasonsAreWords(t *testing.T) {
	for _, r := range []string{vision.ReasonNoRule, vision.ReasonNotRecorded, vision.ReasonRuleFailed, vision.ReasonModelFailed, "stopped"} {
		if w := vision.ReasonText(r); w == r || strings.Contains(w, "_") {
			t.Errorf("%s is shown as %q", r, w)
		}
	}
	if vision.ReasonText("scratch 0.9 > 0.5") != "scratch 0.9 > 0.5" {
		t.Error("a rule's own reason was changed")
	}
}

// Whatever is asked, the answer isn't a 5xx and not a panic.
func FuzzRequest(f *testing.F) {
	for _, target := range []string{"/v1/results?limit=1&cursor=" + cursor(3), "/results?verdict=FAIL", "/v1/stations/station1", "/results/1", "/assets/../x", "/v1/parts/%2f/picture.jpg"} {
		f.Add(target)
	}
	_, s := filled(f, 9)
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.Parse(target)
		if err != nil || !strings.HasPrefix(u.Path, "/") || strings.HasSuffix(u.Path, "/live") || strings.HasSuffix(u.Path, "/events") || strings.HasSuffix(u.Path, "picture.jpg") {
			t.Skip()
		}
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = u.Path, u.RawPath, u.RawQuery
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%q: %d %s", target, w.Code, w.Body)
		}
	})
}
