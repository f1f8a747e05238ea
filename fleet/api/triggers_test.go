package api

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestTriggersOnThePages: trigger, recipe, attempt and cameras where a result
// has them, and no word of them where it hasn't.
func TestTriggersOnThePages(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	plain := f.send("dline00001", inspected("station1", 4))[0]
	row := f.send("dline00001", triggered())[0]
	page := f.page(t, "viewer", fmt.Sprintf("/results/%d", row.ID))
	for _, want := range []string{
		"Part cap, attempt 2", "Trigger T-000812", "Recipe 0.5 l & up", "Seen by top picture 168, 1280 × 720,", "side picture 170, 640 × 480,",
		"Defect Camera Score In pictures scratch side 0.91",
	} {
		if !strings.Contains(text(page), want) {
			t.Errorf("the page doesn't say %q:\n%s", want, text(page))
		}
	}
	for _, link := range []string{"/results?trigger=T-000812", "/results?recipe=0.5%20l%20%26%20up"} {
		if !strings.Contains(page, `href="`+link+`"`) {
			t.Errorf("the page doesn't lead to %s:\n%s", link, page)
		}
		list := f.page(t, "viewer", link)
		if strings.Count(list, "<tr data-key") != 1 || !strings.Contains(text(list), "station3-4704 trigger T-000812 · 0.5 l & up · attempt 2") {
			t.Errorf("%s: %s", link, text(list))
		}
		if name := link[9:strings.Index(link, "=")]; !strings.Contains(list, `<input name="`+name+`"`) {
			t.Errorf("%s: the filter doesn't stay in the form", link)
		}
	}
	for _, target := range []string{fmt.Sprintf("/results/%d", plain.ID), "/results?station=station1"} {
		if got := text(f.page(t, "viewer", target)); strings.Contains(got, "rigger") || strings.Contains(got, "ecipe") || strings.Contains(got, "Seen by") || strings.Contains(got, "Camera") {
			t.Errorf("%s: %s", target, got)
		}
	}
	if link := readResults(url.Values{"trigger": {"a&b"}, "recipe": {"é"}}).link("c"); link != "/results?cursor=c&recipe=%C3%A9&trigger=a%26b" {
		t.Errorf("the next page is %s", link)
	}
}

// TestTurnedDown: a station that is short of computing time says so on the
// page, and readers of events are told.
func TestTurnedDown(t *testing.T) {
	f := newFleet(t)
	f.add("dline00001", "line-a", "")
	looks := map[string]bool{}
	for step, want := range map[string]string{
		"": "inspecting · line A", "full": "inspecting · line A", "slower": "turned down: fewer pictures · line A", "smaller": "turned down: smaller model · line A",
		"none": "overloaded, rejects all · line A", "<b>odd": "turned down · line A",
	} {
		state := wellState("station1")
		state.Stations[0].Step, state.Stations[0].Recipe = step, "0.5 l"
		f.connect("dline00001", time.Second, state)
		if got := text(f.page(t, "viewer", "/devices/dline00001")); !strings.Contains(got, want+" · recipe 0.5 l") {
			t.Errorf("%q: the page doesn't say %q:\n%s", step, want, got)
		}
		d := body[Device](t, f.ask(auth.Viewer, "GET", "/v1/devices/dline00001"))
		if st := d.Stations[0]; st.Step != step || st.Recipe != "0.5 l" {
			t.Errorf("%q: got %q, recipe %q", step, st.Step, st.Recipe)
		}
		if looks[looksOf(&d)] {
			t.Errorf("%q looks as another step", step)
		}
		looks[looksOf(&d)] = true
	}
	if c := viewStation(&Station{State: "stalled", Step: "none"}); c.Word != "stalled" {
		t.Errorf("a stalled station is said to be %q", c.Word)
	}
}

// TestHostileTrigger: what a device calls trigger, recipe and cameras can't
// become a part of a page.
func TestHostileTrigger(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>` + "javascript:alert(3)"
	f := newFleet(t)
	f.add("devil00001", "line-a", "")
	r := triggered()
	r.TriggerId, r.Recipe, r.Views[1].Camera, r.Attempt = evil, evil, evil, 1<<32-1
	r.Views[0] = &wire.View{Captured: -1 << 63, Width: 1<<32 - 1}
	state := wellState("station1")
	state.Stations[0].Step, state.Stations[0].Recipe = evil, evil
	f.connect("devil00001", time.Second, state)
	row := f.send("devil00001", r)[0]
	for _, target := range []string{"/", "/devices/devil00001", "/results", fmt.Sprintf("/results/%d", row.ID), "/results?trigger=" + url.QueryEscape(evil) + "&recipe=" + url.QueryEscape(evil)} {
		page := f.page(t, "admin", target)
		for _, bad := range []string{"<script>a", "<img", "onerror=alert(2)>", `href="javascript`} {
			if strings.Contains(page, bad) {
				t.Errorf("%s holds %s", target, bad)
			}
		}
	}
}
