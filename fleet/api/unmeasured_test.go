package api

import (
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/fleet/rollout"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
)

const nobodyMeasured = "how far cuda float32 moves was never measured for this bundle"

// TestUnmeasuredStation: a bundle that passed its golden pictures where that is no
// proof is told as that wherever the station is shown.
func TestUnmeasuredStation(t *testing.T) {
	f := newFleet(t)
	f.add("dev00000001", "line-a", "")
	state := wellState("station1", "station2")
	for _, st := range state.Stations {
		st.Bundle, st.BundleDigest = "caps", strings.Repeat("ab", 32)
	}
	state.Stations[1].Unmeasured = nobodyMeasured
	f.connect("dev00000001", 0, state)
	if n := strings.Count(f.page(t, "viewer", "/"), ">unmeasured</span>"); n != 1 {
		t.Errorf("the overview says unmeasured %d times, want it at one of two stations", n)
	}
	const says = "passed its golden pictures, unmeasured on this device: " + nobodyMeasured
	if p := text(f.page(t, "viewer", "/devices/dev00000001")); strings.Count(p, says) != 1 {
		t.Errorf("the device's page doesn't say once %q: %s", says, p)
	}
	d := body[Device](t, f.ask(auth.Viewer, "GET", "/v1/devices/dev00000001"))
	if s := d.Stations; len(s) != 2 || s[0].Unmeasured != "" || s[1].Unmeasured != nobodyMeasured {
		t.Errorf("%+v", s)
	}
}

// TestUnmeasuredRollout: devices that have proved that they run a bundle which is
// unmeasured there are never counted as plainly proven, on pages and over REST.
func TestUnmeasuredRollout(t *testing.T) {
	f := newFleet(t)
	at := f.store.Now()
	r := store.Rollout{ID: "runmeasured", Bundle: "caps", Version: "1.2.0", Digest: [32]byte{1}, Group: "line-a", Waves: "all", State: rollout.Succeeded,
		Reason: "3 devices proved that they run it", Conditions: `{"verdicts":20,"success":100}`, By: "operator", Created: at, Opened: at, Changed: at, Ended: at}
	c := store.RolloutChange{Rollout: &r}
	for i, d := range []store.RolloutDevice{
		{State: rollout.Proven},
		{State: rollout.Proven, Reason: rollout.ReasonUnmeasured, Text: nobodyMeasured}, {State: rollout.Proven, Reason: rollout.ReasonUnmeasured, Text: nobodyMeasured},
		{State: rollout.Probation, Report: &wire.Report{Stations: []*wire.StationUpdate{{Phase: wire.Phase_PHASE_PROBATION, Unmeasured: nobodyMeasured}}}},
	} {
		d.Device, d.Act, d.Sent, d.Heard, d.Changed = []string{"dmeasured1", "dunmeasur1", "dunmeasur2", "dunmeasur3"}[i], wire.Command_ACT_INSTALL, 1, at, at
		f.add(d.Device, "line-a", "")
		f.connect(d.Device, 0, wellState("station1"))
		c.Devices = append(c.Devices, d)
	}
	f.must(f.store.SetRollouts(f.Context(), c))

	list := text(f.page(t, "viewer", "/rollouts"))
	for _, want := range []string{"Proven, unmeasured on 2 devices", "1 of 4 proven, 2 proven but unmeasured"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list doesn't say %q:\n%s", want, list)
		}
	}
	page := text(f.page(t, "viewer", "/rollouts/runmeasured"))
	const says = " passed its golden pictures, unmeasured on this device: " + nobodyMeasured
	for want, n := range map[string]int{
		"Proven, unmeasured on 2 devices": 1, "Proven 1 of 4 devices; 2 more unmeasured": 1, "1 proven 2 proven, unmeasured 1 running, not proven": 1,
		"Proven, unmeasured" + says: 2, "On probation" + says: 1, nobodyMeasured: 3,
	} {
		if strings.Count(page, want) != n {
			t.Errorf("the page says %q %d times, want %d:\n%s", want, strings.Count(page, want), n, page)
		}
	}
	one := body[Rollout](t, f.ask(auth.Viewer, "GET", "/v1/rollouts/runmeasured"))
	if w := one.Waves[0]; one.Proven != 3 || one.Unmeasured != 2 || w.Proven != 3 || w.Unmeasured != 2 || w.Running != 1 || w.Size != 4 {
		t.Errorf("%+v", one)
	}
	for i, d := range one.Devices {
		if (d.Doubt == nobodyMeasured) != (i > 0) {
			t.Errorf("device %d: %+v", i, d)
		}
	}
	raw := f.ask(auth.Viewer, "GET", "/v1/rollouts/runmeasured").Body.String()
	for _, want := range []string{`"devices_running":3,"devices_unmeasured":2`, `"unmeasured":"` + nobodyMeasured + `"`, `"proven":3,"unmeasured":2,"running":1`} {
		if !strings.Contains(raw, want) {
			t.Errorf("REST doesn't say %s: %s", want, raw)
		}
	}
}
