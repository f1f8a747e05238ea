package api

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sightline-edge/sightline/internal/health"
)

// line is a running line: three parts in the live picture, a dozen behind it.
func line(t testing.TB, stations ...string) (*memory, *Server) {
	m := newMemory()
	for _, id := range stations {
		m.add(id)
	}
	goodPart := belt(t, 120, 120, 44, [][2]float64{{60, 60}}, []bool{false})
	badPart := belt(t, 120, 120, 44, [][2]float64{{60, 60}}, []bool{true})
	for i := range 60 {
		for _, id := range stations {
			r := result(id, i, time.Now().Add(time.Duration(i-60)*1400*time.Millisecond))
			m.pictures[r.ID] = goodPart
			if len(r.Evidence) > 0 {
				m.pictures[r.ID] = badPart
			}
			m.tell(r)
		}
	}
	m.show(&Shot{
		Seq: 1, Width: 960, Height: 540,
		JPEG: belt(t, 960, 540, 108, [][2]float64{{170, 268}, {480, 276}, {790, 264}}, []bool{false, true, false}),
		Marks: Marks{
			Parts: []Mark{
				{ID: "station1-4762", Label: "cap", Score: 0.98, Box: Box{56, 154, 228, 228}},
				{ID: "station1-4761", Label: "cap", Score: 0.97, Box: Box{366, 162, 228, 228}, Suspect: true},
				{ID: "station1-4760", Label: "cap", Score: 0.97, Box: Box{676, 150, 228, 228}},
			},
			Defects: []Mark{{Label: "scratch", Score: 0.91, Box: Box{440, 268, 80, 26}}},
		},
	})
	return m, newServer(t, m)
}

// tab is a page in a browser.
type tab struct {
	testing.TB
	ctx context.Context
}

// browser starts Chromium, or skips the test and says so. What the browser's
// console complains about is an error of the test.
func browser(t testing.TB) tab {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("left out: the page in a browser; install chromium to have it tested")
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var list []string
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range list {
			t.Errorf("the browser complains: %s", c)
		}
	})
	err := chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case *cdpruntime.EventExceptionThrown:
			list = append(list, fmt.Sprintf("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		case *log.EventEntryAdded:
			if e.Entry.Level == "error" && !strings.Contains(e.Entry.Text, "net::ERR_") {
				list = append(list, e.Entry.Text+" "+e.Entry.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return tab{t, ctx}
}

func (b tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

func (b tab) open(url string) { b.Helper(); b.do(chromedp.Navigate(url)) }
func (b tab) run(js string)   { b.Helper(); b.do(chromedp.Evaluate[chromedp.Void](js)) }

// listens is a page whose script does. What is clicked before takes the page's own
// place in the history, as the browser has it for what no person did.
const listens = `document.readyState === "complete" && !document.querySelector(".keys")?.hidden`

// key presses a key.
func (b tab) key(k string) {
	b.Helper()
	b.shows(listens)
	b.do(chromedp.KeyEvent(k))
}

// click follows a link or presses a button.
func (b tab) click(selector string) {
	b.Helper()
	b.shows(listens)
	b.run(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// shows waits until each expression of JavaScript is true.
func (b tab) shows(expressions ...string) {
	b.Helper()
	for _, e := range expressions {
		until(b, e, func() bool {
			ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+e+")"))
			return err == nil && ok // between two pages there is nothing to ask
		})
	}
}

func (b tab) window(width, height int64, scheme string) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride,
		emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500}); err != nil {
		b.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia,
		emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		b.Fatal(err)
	}
}

// shoot keeps a picture of the page where SIGHTLINE_SCREENSHOTS says, if it does.
func (b tab) shoot(name string) {
	b.Helper()
	dir := os.Getenv("SIGHTLINE_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

const (
	drawn    = `document.querySelectorAll(".marks g").length === 4 && document.querySelector("canvas").width === 960`
	loaded   = `[...document.images].every((i) => i.complete)`
	noScroll = `document.documentElement.scrollWidth <= innerWidth`
)

// The line engineer's way: look, in both themes and on a phone; a new part
// comes; look at the rejected one.
func TestPageInABrowser(t *testing.T) {
	m, s := line(t, "station1")
	b := browser(t)
	url := serve(t, s).URL
	for _, v := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"now-light", 1280, 980, "light"}, {"now-dark", 1280, 980, "dark"}, {"now-phone", 390, 1500, "light"}, {"now-wide", 2560, 1440, "dark"}} {
		b.window(v.width, v.height, v.scheme)
		b.open(url + "/")
		b.shows(drawn, loaded, noScroll)
		b.shoot(v.name)
	}

	b.window(1280, 980, "light")
	b.open(url + "/")
	b.shows(drawn)
	b.key("j")
	b.run(`window.first = document.activeElement.parentNode.dataset.key`)
	until(t, "the page's events", func() bool { return m.subscribers() > 0 })
	bad := m.tell(result("station1", 64, time.Now())) // has no picture
	b.shows(fmt.Sprintf(`document.querySelector("#parts .part.fail").dataset.key === "%s/%d"`, bad.ID, bad.Seq),
		`document.activeElement.parentNode.dataset.key === first`, // focus stays
		`document.querySelectorAll("#parts .part").length === 12`)
	b.key("m")
	b.shows(`document.querySelector(".marks").hasAttribute("hidden")`)
	b.key("m")
	b.shows(`!document.querySelector(".marks").hasAttribute("hidden")`)
	b.key("?")
	b.shows(`document.getElementById("keys").open`)
	b.shoot("keys")
	b.click(`#keys button`)
	b.shows(`!document.getElementById("keys").open`)
	b.click(`#parts .part.fail > a`)
	b.shows(fmt.Sprintf(`location.pathname === "/results/%d" && document.querySelector("h1").textContent === %q`, bad.Seq, bad.ID))
	b.shoot("part-nopicture")
}

// Quality's way: find the rejected parts, and one of them.
func TestResultsInABrowser(t *testing.T) {
	_, s := line(t, "station1")
	b := browser(t)
	url := serve(t, s).URL
	b.window(1280, 980, "light")
	b.open(url + "/results/60")
	b.shows(`document.querySelector(".shot").naturalWidth > 0`, noScroll)
	b.shoot("part")
	b.click(`.bar nav a[href="/results"]`)
	b.shows(`document.querySelectorAll(".part").length === 48`, noScroll, `[...document.images].slice(0, 24).every((i) => i.complete)`)
	b.shoot("results")
	b.run(`document.querySelector("select[name=verdict]").value = "FAIL"`)
	b.click(`form.filters button`)
	b.shows(`document.querySelectorAll(".part.fail").length === 12 && document.querySelectorAll(".part").length === 12`,
		`new URLSearchParams(location.search).get("verdict") === "FAIL"`)
	b.run(`history.back()`)
	b.shows(`document.querySelectorAll(".part").length === 48`)
	b.key("/")
	b.shows(`document.activeElement.name === "part"`)
	b.click(`a[rel=next]`)
	b.shows(`document.querySelectorAll(".part").length === 12`)
	b.window(390, 844, "dark")
	b.open(url + "/results")
	b.shows(noScroll, `[...document.images].slice(0, 6).every((i) => i.complete)`) // those far below are fetched when they come near
	b.shoot("results-phone")
}

// States that aren't the good one: in trouble, gone, empty.
func TestPageInTrouble(t *testing.T) {
	m, s := line(t, "station1")
	b := browser(t)
	server := serve(t, s)
	m.set(func(st *Station) {
		st.State, st.StateText = Stalled, "no picture for 4 s"
		st.Hour.P99 = 181
	})
	m.watch(func(c *Camera) {
		old := time.Now().Add(-4 * time.Second)
		c.LastFrame = &old
	})
	m.health.Raise(health.CameraSilent, "station1", "nothing for 4 s")
	m.health.Raise(health.VerdictsUnrecordedAllowed, "station1", "")
	m.health.Raise(health.FramesDropped, "station1", "600 of 108,000")
	b.window(1280, 980, "light")
	b.open(server.URL + "/")
	b.shows(drawn, `document.querySelector(".stage").classList.contains("stale")`, `/No picture for \d+ s/.test(document.querySelector(".note").textContent)`,
		`document.querySelector(".state").classList.contains("bad")`, `document.querySelectorAll("#need li").length === 3`)
	b.shoot("trouble")
	b.window(1280, 980, "dark")
	b.shoot("trouble-dark")
	server.Listener.Close()
	server.CloseClientConnections()
	b.shows(`!document.querySelector(".gone").hidden`)
	b.shoot("gone")

	empty := newServer(t, newMemory(Station{ID: "station1", State: Starting, DeadlineMS: 500, Signed: true}))
	b.window(1280, 800, "light")
	b.open(serve(t, empty).URL + "/")
	b.shows(`document.querySelector(".note").textContent === "Waiting for the first picture"`)
	b.shoot("empty")
}

func TestSeveralStationsInABrowser(t *testing.T) {
	m, s := line(t, "station1", "station2", "station3")
	m.stations[1].State, m.stations[1].StateText = Failed, "the model can't be read"
	b := browser(t)
	url := serve(t, s).URL
	b.window(1280, 800, "light")
	b.open(url + "/")
	b.shows(`document.querySelectorAll(".card").length === 3 && document.querySelectorAll(".card.bad").length === 1`, noScroll,
		`document.querySelector("#need li").textContent.includes("station2: the station doesn't inspect: the model can't be read")`)
	b.shoot("overview")
	b.click(`.card:nth-child(3)`)
	b.shows(`location.pathname === "/stations/station3"`, drawn, `document.querySelector(".switch a[aria-current]").textContent === "station3"`)
	b.shoot("switch")
	b.window(390, 844, "dark")
	b.open(url + "/")
	b.shows(noScroll)
	b.shoot("overview-phone")
}

// Takes the pictures of the README from a running agent:
// SIGHTLINE_PAGE=http://127.0.0.1:8080 SIGHTLINE_SCREENSHOTS=$PWD/docs/img go test -run ARunningAgent ./agent/api
func TestPictureOfARunningAgent(t *testing.T) {
	url := os.Getenv("SIGHTLINE_PAGE")
	if url == "" {
		t.Skip("left out: pictures of a running agent; SIGHTLINE_PAGE names one")
	}
	b := browser(t)
	for _, scheme := range []string{"light", "dark"} {
		b.window(1280, 800, scheme)
		b.open(url)
		b.shows(`document.querySelector(".marks .open, .marks .suspect")`, `document.querySelectorAll("#parts .part:not(.ghost)").length === 12`, loaded, noScroll)
		b.shoot("now-" + scheme)
	}
	b.window(390, 844, "light")
	b.open(url)
	b.shows(`document.querySelector(".marks g")`, loaded, noScroll)
	b.shoot("now-phone")
	b.window(1280, 800, "light")
	b.open(url + "/results")
	b.shows(loaded, noScroll)
	b.shoot("results-light")
}

// TestRegionsInABrowser: what a model with masks saw lies over the part's picture.
func TestRegionsInABrowser(t *testing.T) {
	m, s := line(t, "station1")
	r := result("station1", 99, time.Now())
	r.Evidence = []Evidence{{Label: "pitting", Score: 0.97, Frames: 1, Box: Box{40, 44, 30, 26}, Area: 1204, AreaMM2: 3.01,
		Outlines: [][][2]int{{{40, 50}, {55, 44}, {70, 52}, {62, 70}, {44, 66}}, {{80, 80}, {90, 80}, {85, 92}}}}}
	m.pictures[r.ID] = belt(t, 120, 120, 44, [][2]float64{{60, 60}}, []bool{true})
	m.shows = Box{0, 0, 120, 120}
	m.tell(r)
	b := browser(t)
	url := serve(t, s).URL
	for _, c := range []struct {
		width, height int64
		theme         string
	}{{1280, 800, "light"}, {1280, 800, "dark"}, {390, 844, "light"}, {390, 844, "dark"}} {
		b.window(c.width, c.height, c.theme)
		b.open(url + "/results/61")
		b.shows(`document.querySelectorAll(".marks polygon").length === 2`, noScroll, `document.body.textContent.includes("1,204 px²")`,
			`document.body.textContent.includes("mm²")`, `document.querySelector(".shot").naturalWidth > 0`)
		b.shoot(fmt.Sprintf("regions-%d-%s", c.width, c.theme))
	}
}
