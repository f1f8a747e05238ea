package api

import (
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/internal/auth"
)

// TestUnsignedStation: a station that runs a file that nobody signed says so in
// red wherever it is shown; the bundles of others are named.
func TestUnsignedStation(t *testing.T) {
	f := newFleet(t)
	f.add("dev00000001", "line-a", "")
	state := wellState("station1", "station2")
	state.Stations[0].Unsigned = true
	state.Stations[1].Bundle, state.Stations[1].BundleDigest = "caps", "aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899"
	f.connect("dev00000001", 0, state)
	const tag = `<b class="unsigned-tag">UNSIGNED</b>`
	for _, page := range []string{"/", "/devices/dev00000001"} {
		if n := strings.Count(f.page(t, "viewer", page), tag); n != 1 {
			t.Errorf("%s says UNSIGNED %d times, want it at one of two stations", page, n)
		}
	}
	if p := text(f.page(t, "viewer", "/devices/dev00000001")); !strings.Contains(p, "follows caps") {
		t.Errorf("the device's page doesn't name the bundle: %s", p)
	}
	d := body[Device](t, f.ask(auth.Viewer, "GET", "/v1/devices/dev00000001"))
	if s := d.Stations; len(s) != 2 || !s[0].Unsigned || s[1].Unsigned || s[1].Bundle != "caps" || s[1].BundleDigest != state.Stations[1].BundleDigest {
		t.Errorf("%+v", s)
	}
}
