package api

import (
	"context"
	"fmt"
	"net"
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

	"github.com/sightline-edge/sightline/sync/wire"
)

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
			// A fleet that goes, or is gone, is what pages have to bear: they say so.
			gone := strings.Contains(e.Entry.Text, "net::ERR_") || strings.Contains(e.Entry.Text, "status of 503")
			if e.Entry.Level == "error" && !gone {
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

// listens is a page whose script does. What is clicked before takes the page's own
// place in the history, as the browser has it for what no person did.
const listens = `document.readyState === "complete" && !document.querySelector(".keys")?.hidden`

// key presses one, once the page's script can hear it.
func (b tab) key(k string) {
	b.Helper()
	b.shows(listens)
	b.do(chromedp.KeyEvent(k))
}

func (b tab) run(js string) { b.Helper(); b.do(chromedp.Evaluate[chromedp.Void](js)) }

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

const noScroll = `document.documentElement.scrollWidth <= innerWidth`

// factory is a fleet with devices in all states.
func factory(t testing.TB, change ...func(*Config)) *fleet {
	f := newFleet(t, change...)
	for i := range 7 {
		id := fmt.Sprintf("dwell%05d", i)
		f.add(id, []string{"line-a", "line-b"}[i%2], fmt.Sprintf("Hall %d, press %d", 1+i%2, 1+i))
		var list []*wire.Result
		for j := range 20 + 3*i {
			list = append(list, inspected("station1", j))
		}
		f.send(id, list...)
		f.connect(id, 2*time.Second, wellState("station1"))
	}
	bad := wellState("cap-left", "cap-right")
	bad.Stations[1].State, bad.Stations[1].Text = "stalled", "no picture for 14 s"
	bad.Warnings = []*wire.Warning{
		{Code: "camera_silent", Severity: 3, Subject: "cap-right", Text: "the camera is connected but sends no pictures: nothing for 14 s",
			Act: "Check the camera's power and its cable. Sightline tries again by itself.", Since: time.Now().Add(-14 * time.Second).UnixNano()},
		{Code: "frames_dropped", Severity: 1, Subject: "cap-left", Text: "some pictures aren't inspected: 600 of 108,000", Act: "Nothing."},
	}
	f.add("dbad000001", "line-a", "Hall 1, filler")
	f.send("dbad000001", inspected("cap-left", 4))
	f.connect("dbad000001", time.Second, bad)
	f.add("dstale0001", "line-b", "Hall 2, labeller")
	f.send("dstale0001", inspected("station1", 7))
	f.connect("dstale0001", 52*time.Second, wellState("station1"))
	f.add("doff000001", "line-b", "")
	f.send("doff000001", inspected("station1", 1))
	f.connect("doff000001", 3*time.Minute, wellState("station1"))
	f.hangUp("doff000001", 2*time.Minute)
	behind := wellState("station1")
	behind.Journal = &wire.JournalState{Last: 1_204, Bytes: 12_000_000}
	f.add("dbehind001", "line-a", "检测站三号 – 灌装线末端")
	f.send("dbehind001", inspected("station1", 2))
	f.connect("dbehind001", time.Second, behind)
	clock := wellState("station1")
	clock.Clock = time.Now().Add(-10 * 365 * 24 * time.Hour).UnixNano()
	f.add("dclock0001", "line-a", strings.Repeat("a label that somebody made long ", 2))
	f.connect("dclock0001", time.Second, clock)
	f.add("dnever0001", "line-c", "Hall 3, spare")
	f.add("drevoked01", "line-c", "Hall 3, stolen")
	f.must(f.enroll.Revoke(t.Context(), "drevoked01"))
	f.devices.forget()
	return f
}

// serve runs the fleet as its program does, so that its events come.
func serve(f *fleet) string {
	f.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx, l) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			f.Error(err)
		}
	})
	f.Cleanup(f.stop)
	return "http://" + l.Addr().String()
}

// logIn is as a person does it, and waits for where it leads.
func (b tab) logIn(url, user string) {
	b.Helper()
	b.open(url)
	b.shows(`location.pathname === "/login"`, noScroll)
	b.run(fmt.Sprintf(`document.querySelector("[name=user]").value = %q; document.querySelector("[name=password]").value = %q`, user, password))
	b.click(`.login button`)
	b.shows(`location.pathname !== "/login"`)
}

// looks are how the pages are looked at.
var looks = []struct {
	name          string
	width, height int64
	scheme        string
}{{"light", 1280, 1000, "light"}, {"dark", 1280, 1000, "dark"}, {"phone", 390, 1800, "light"}, {"phone-dark", 390, 1800, "dark"}}

// The main way of operations: log in, see which device needs one, its page, its
// results, one of them, and log out.
func TestMainWayInABrowser(t *testing.T) {
	f := factory(t)
	b := browser(t)
	address := serve(f)
	b.window(1280, 1000, "light")
	b.open(address + "/results?verdict=FAIL")
	b.shows(`location.pathname === "/login"`, `document.activeElement.name === "user"`, noScroll)
	b.shoot("fleet-login")
	b.logIn(address+"/?state=", "admin")
	b.shows(`location.pathname === "/" && document.querySelectorAll(".needs tbody tr").length === 4`)

	until(t, "the page's events", func() bool { return f.readers.Load() == 1 })
	b.run(`window.first = document.querySelector(".well tbody a"); first.focus()`)
	f.connect("dwell00003", 0, &wire.State{Stations: []*wire.StationState{{Id: "station1", State: "failed", Text: "the model can't be read"}}})
	f.send("dwell00003", inspected("station1", 4))
	b.shows(`document.querySelectorAll(".needs tbody tr").length === 5`, `document.querySelector("#band h1").textContent === "5 devices need you"`,
		`document.activeElement === first`) // focus stays
	b.click(`.needs tr[data-key=dwell00003] a`)
	b.shows(`location.pathname === "/devices/dwell00003"`, `document.querySelector(".state h1").textContent === "Online, with errors"`)
	f.hangUp("dwell00003", 0)
	b.shows(`document.querySelector(".state h1").textContent === "Offline"`)
	b.click(`#results .head a`)
	b.shows(`location.search === "?device=dwell00003" && document.querySelectorAll(".res tbody tr").length > 20`)
	b.run(`document.querySelector("select[name=verdict]").value = "FAIL"`)
	b.click(`form.filters button`)
	b.shows(`new URLSearchParams(location.search).get("verdict") === "FAIL"`, `[...document.querySelectorAll(".res tbody .verdict")].every((v) => v.textContent === "FAIL")`)
	b.key("/")
	b.shows(`document.activeElement.name === "part"`)
	b.run(`document.activeElement.blur()`)
	b.key("j")
	b.shows(`document.activeElement.matches(".res a[data-step]")`)
	b.run(`document.activeElement.click()`)
	b.shows(`/^.results.\d+$/.test(location.pathname)`, `document.body.textContent.includes("What the rule compared")`)
	b.key("?")
	b.shows(`document.getElementById("keys").open`)
	b.click(`#keys button`)
	b.click(`.me button`)
	b.shows(`location.pathname === "/login"`)
	b.run(`history.back()`)
	b.shows(`document.querySelector(".login")`) // nothing of the fleet is shown again
}

// Every page in both themes and on a phone, with nothing that sticks out; the
// pictures are kept where SIGHTLINE_SCREENSHOTS says.
func TestLooks(t *testing.T) {
	f := factory(t)
	f.add("dlong00001", "line-a", strings.Repeat("标签", 32))
	state := wellState(strings.Repeat("s", 64), "station2")
	state.Stations[0].Text = strings.Repeat("why ", 100)
	long := inspected(strings.Repeat("s", 64), 4)
	long.PartId, long.Label, long.Reason = strings.Repeat("P", 200), strings.Repeat("label", 40), strings.Repeat("reason", 40)
	long.TriggerId, long.Recipe, long.Attempt = strings.Repeat("T", 200), strings.Repeat("recipe", 33), 1<<32-1
	for range wire.MaxViews {
		long.Views = append(long.Views, &wire.View{Camera: strings.Repeat("c", 200), Seq: 1 << 63, Captured: 1 << 60, Width: 4096, Height: 3000})
	}
	state.Stations[0].Recipe, state.Stations[1].Recipe, state.Stations[1].Step = long.Recipe, "0.5 l", "none"
	f.connect("dlong00001", time.Second, state)
	f.add("dtrigger01", "line-a", "")
	seen := f.send("dtrigger01", triggered())[0]
	row := f.send("dlong00001", long)[0]
	b := browser(t)
	address := serve(f)
	b.logIn(address, "admin")
	for _, v := range looks {
		if os.Getenv("SIGHTLINE_SCREENSHOTS") == "" && v.name != "phone" {
			continue // the narrowest is enough to see what sticks out
		}
		b.window(v.width, v.height, v.scheme)
		for name, path := range map[string]string{
			"overview": "/", "device": "/devices/dbad000001", "device-well": "/devices/dwell00003", "device-stale": "/devices/dstale0001",
			"device-long": "/devices/dlong00001", "results": "/results", "result": "/results/5", "result-long": fmt.Sprintf("/results/%d", row.ID),
			"result-trigger": fmt.Sprintf("/results/%d", seen.ID), "results-trigger": "/results?trigger=" + long.TriggerId + "&recipe=" + long.Recipe,
		} {
			b.open(address + path)
			b.shows(noScroll)
			b.shoot("fleet-" + name + "-" + v.name)
		}
	}
}

// States that aren't the usual: no device, hundreds, a fleet that is gone, a
// login that has ended.
func TestUnusualStatesInABrowser(t *testing.T) {
	f := newFleet(t)
	b := browser(t)
	address := serve(f)
	b.window(1280, 1000, "light")
	b.logIn(address, "viewer")
	b.shows(`document.querySelector("h1").textContent === "No devices yet"`, noScroll)
	b.shoot("fleet-none")
	for i := range 120 {
		id := fmt.Sprintf("dmany%05d", i)
		f.add(id, fmt.Sprintf("line-%c", 'a'+i%7), fmt.Sprintf("Hall %d, press %d", 1+i%7, 1+i))
		ago := time.Second
		if i%50 == 7 {
			ago = 2 * time.Minute
		}
		f.connect(id, ago, wellState("station1"))
	}
	b.shows(`document.querySelectorAll(".dots .g").length === 117`, noScroll) // without being loaded anew
	for _, v := range looks {
		b.window(v.width, v.height, v.scheme)
		b.shows(noScroll)
		b.shoot("fleet-many-" + v.name)
	}
	b.run(`window.before = performance.now()`)
	f.must(f.store.SetPassword(t.Context(), "viewer", hashed()))
	b.shows(`location.pathname === "/login" && window.before === undefined`) // the refresh leads there
	b.logIn(address, "viewer")
	f.stop()
	b.shows(`!document.querySelector(".gone").hidden`, `document.querySelector(".gone").textContent.startsWith("The fleet doesn't answer.")`)
	b.shoot("fleet-gone")
}
