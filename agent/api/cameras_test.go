package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/internal/health"
)

// lineOfCameras is a device whose cameras are well, lie, and are gone.
func lineOfCameras(t *testing.T) (*memory, *Server) {
	t.Helper()
	m, s := line(t, "left", "right", "back")
	since := time.Now().Add(-90 * time.Second)
	m.cameras[1].Lies = []Lie{{Fault: "moved", Effect: "none", Since: since, Detail: "shifted by about 14, -3 pixels"}}
	m.cameras[1].Reference, m.cameras[1].Triggers = true, true
	m.cameras[2].State, m.cameras[2].Error, m.cameras[2].LastFault, m.cameras[2].Rate = "failed", "connection refused: is the camera on, and the port right?", &since, 0
	m.pictures["right/moved"] = m.shot.JPEG
	m.health.Raise(lies["moved"], "right", "shifted by about 14, -3 pixels")
	return m, s
}

func TestCamerasAnswer(t *testing.T) {
	m, s := lineOfCameras(t)
	for _, c := range []struct {
		method, path string
		status       int
		want         string // in the body
	}{
		{"GET", "/v1/cameras", 200, `"id":"back"`},
		{"GET", "/v1/cameras/right", 200, `"picture_faults":[{"fault":"moved","effect":"none"`},
		{"GET", "/v1/cameras/none", 404, `there is no camera \"none\"`},
		{"GET", "/v1/cameras/left/picture.jpg?at=12", 200, "\xff\xd8"},
		{"GET", "/v1/cameras/none/picture.jpg", 404, "there is no camera"},
		{"GET", "/v1/cameras/right/faults/moved/picture.jpg", 200, "\xff\xd8"},
		{"GET", "/v1/cameras/right/faults/dark/picture.jpg", 404, "has no picture of that fault now"},
		{"GET", "/v1/cameras/right/faults/rusty/picture.jpg", 422, "frozen"},
		{"GET", "/v1/cameras/none/live", 404, "there is no camera"},
		{"GET", "/v1/stations/left/live?camera=right", 404, "the station has no camera"},
		{"POST", "/v1/cameras/right/trigger", 204, ""},
		{"POST", "/v1/cameras/none/trigger", 404, "there is no camera"},
		{"POST", "/v1/cameras/left/reference", 204, ""},
		{"GET", "/cameras", 200, "connection refused"},
		{"GET", "/cameras/right", 200, "shifted by about 14, -3 pixels"},
		{"GET", "/cameras/none", 404, "There is no such camera"},
		{"POST", "/cameras/right/trigger", 303, ""},
		{"POST", "/cameras/right/reference", 303, ""},
		{"POST", "/cameras/none/reference", 404, "there is no camera"},
		{"POST", "/cameras/right/explode", 404, "There is no such page"},
	} {
		got := ask(t, s, c.method, c.path)
		if got.Code != c.status || !strings.Contains(strings.ReplaceAll(got.Body.String(), "&#34;", `"`), strings.ReplaceAll(c.want, `\"`, `\"`)) && !strings.Contains(strings.ToLower(got.Body.String()), strings.ToLower(c.want)) {
			t.Errorf("%s %s: %d %.300s", c.method, c.path, got.Code, got.Body)
		}
	}
	if got := strings.Join(m.asked, ", "); got != "fire right, reference left, fire right, reference right" {
		t.Errorf("asked of the cameras: %s", got)
	}
	m.broken = errors.New("the camera gives no picture that could be the reference")
	if got := ask(t, s, http.MethodPost, "/v1/cameras/left/reference"); got.Code != http.StatusConflict || !strings.Contains(got.Body.String(), "gives no picture") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

// TestWarningsOfNamesakes: a camera that has another station's name brings that
// station's warnings to nobody, and a station that has its name brings it none.
func TestWarningsOfNamesakes(t *testing.T) {
	both := Station{ID: "spare", Views: []View{{Camera: "belt"}}}
	for _, c := range []struct {
		code, subject string
		want          bool
	}{
		{"camera_dark", "belt", true}, {"no_rule", "spare", true}, {"no_rule", "belt", false}, {"camera_dark", "spare", false},
		{"golden_differs", "spare@red", true}, {"golden_differs", "belt@red", false},
	} {
		if got := both.concerns(health.Raised{Code: c.code, Subject: c.subject}); got != c.want {
			t.Errorf("%s of %s concerns station spare at camera belt: %v", c.code, c.subject, got)
		}
	}
}

// TestWarningOfAnIdleRecipe is shown with its station, which inspects well all the same;
// one of the active recipe isn't.
func TestWarningOfAnIdleRecipe(t *testing.T) {
	st := good("station1")
	st.Recipe, st.Recipes = "blue", []string{"blue", "red"}
	for recipe, class := range map[string]string{"red": "good", "blue": "bad"} {
		n := Now{Stations: []Station{st}, Health: []health.Raised{{Code: "golden_differs", Severity: health.Error, Subject: "station1@" + recipe, Text: "golden/1.jpg differs"}}}
		v := stationView{Station: &n.Stations[0]}
		if v.say(&n); v.Class != class {
			t.Errorf("golden pictures of recipe %s differ: the station is %s", recipe, v.Class)
		}
		list := needs(&n, "station1")
		if len(list) != 1 || list[0].Subject != "station1@"+recipe || list[0].Text != "golden/1.jpg differs" {
			t.Errorf("its page says %+v", list)
		}
		n.Stations[0].State = Failed
		if list = needs(&n, "station1"); (len(list) == 2) != (recipe == "red") {
			t.Errorf("golden pictures of recipe %s differ, and the station doesn't inspect: %+v", recipe, list)
		}
	}
}

// TestWarningOfTheStationsOwnModel leaves the station as it is while a recipe with a model
// or bundle of its own is active; any other warning of the station doesn't.
func TestWarningOfTheStationsOwnModel(t *testing.T) {
	for _, c := range []struct {
		code  string
		apart bool
		class string
	}{
		{health.GoldenDiffers.Code, true, "good"}, {health.GoldenDiffers.Code, false, "bad"},
		{health.UnsignedModel.Code, true, "bad"}, {health.UnsignedModel.Code, false, "bad"},
	} {
		st := good("station1")
		st.Recipe, st.Recipes, st.Apart = "blue", []string{"plain", "blue"}, c.apart
		n := Now{Stations: []Station{st}, Health: []health.Raised{{Code: c.code, Severity: health.Error, Subject: "station1", Text: "golden/1.jpg differs"}}}
		v := stationView{Station: &n.Stations[0]}
		if v.say(&n); v.Class != c.class {
			t.Errorf("%s of the station, its recipe apart %v: it is %s, want %s", c.code, c.apart, v.Class, c.class)
		}
		if list := needs(&n, "station1"); len(list) != 1 || list[0].Text != "golden/1.jpg differs" {
			t.Errorf("its page says %+v", list)
		}
	}
}

// The technician's way: which camera is it, what does it see, what is to do.
func TestCamerasInABrowser(t *testing.T) {
	m, s := lineOfCameras(t)
	b := browser(t)
	url := serve(t, s).URL
	b.window(1280, 900, "light")
	b.open(url + "/cameras")
	b.shows(`document.querySelectorAll(".card").length === 3 && document.querySelectorAll(".card.bad").length === 2`, loaded, noScroll,
		`[...document.querySelectorAll(".card img")].every((i) => i.naturalWidth > 0)`)
	b.shoot("cameras")
	b.window(1280, 900, "dark")
	b.shoot("cameras-dark")
	b.click(`.card[data-key=right]`)
	b.shows(`location.pathname === "/cameras/right"`, `document.querySelector("canvas").width === 960`, `document.querySelector(".proof img")`, noScroll)
	b.run(`document.querySelector(".proof img").scrollIntoView()`)
	b.shows(`document.querySelector(".proof img").naturalWidth > 0`)
	b.run(`scrollTo(0, 0)`)
	b.shoot("camera-dark")
	b.window(390, 1600, "light")
	b.open(url + "/cameras/right")
	b.shows(`document.querySelector("canvas").width === 960`, noScroll)
	b.shoot("camera-phone")
	b.click(`form[action="/cameras/right/reference"] button`)
	until(t, "the reference", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.asked) == 1 })
	b.window(390, 844, "dark")
	b.open(url + "/cameras")
	b.shows(noScroll)
	b.shoot("cameras-phone")

	m.set(func(st *Station) { st.Views = append(st.Views, View{Camera: "right"}) })
	b.window(1280, 900, "light")
	b.open(url + "/stations/left")
	b.shows(`document.querySelectorAll(".switch.inline a").length === 2`, drawn)
	b.click(`.switch.inline a[href="/stations/left?camera=right"]`)
	b.shows(`document.querySelector(".stage").dataset.live === "/v1/stations/left/live?camera=right"`, drawn, noScroll)
	b.shoot("station-of-two")
}
