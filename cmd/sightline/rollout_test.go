package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet/rollout"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
)

// newTestRollouts adds a device in a group of its own that refuses what it is
// told to install, and gives the engine that tells it. The other devices never
// answer.
func newTestRollouts(t testing.TB, f *testFleet) *rollout.Engine {
	t.Helper()
	key := auth.KeyOf("refuses")
	f.must(f.store.AddEnrolToken(t.Context(), store.EnrolToken{Key: key, Group: "line-b", Expires: f.store.Now().Add(time.Hour)}))
	f.must(f.store.AddDevice(t.Context(), store.Device{ID: "drefuses01", Label: "Halle 2", CertNotAfter: time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC)}, key))
	f.must(f.store.Heard(t.Context(), []store.Sign{
		{Device: "drefuses01", At: f.store.Now(), Hello: &wire.Hello{Connection: 7, Epoch: 1}},
		{Device: "drefuses01", At: f.store.Now(), State: &wire.State{Connection: 7, EveryMs: 3600_000}},
	}))
	var e *rollout.Engine
	e = rollout.New(rollout.Config{
		Store: f.store,
		Lookup: func(name, version string) (rollout.Target, error) {
			if name == "caps" {
				return rollout.Target{Version: cmp.Or(version, "1.2.0"), Digest: [32]byte{1}, Path: "bundles/caps/1.2.0.slb", Golden: true}, nil
			}
			return rollout.Target{}, fmt.Errorf("%w: %s", rollout.ErrUnknown, name)
		},
		Send: func(device string, c *wire.Command) bool {
			if device == "drefuses01" {
				e.Heard(device, &wire.Report{Rollout: c.GetRollout(), Nonce: c.GetNonce(), Digest: c.GetDigest(), Stations: []*wire.StationUpdate{
					{Station: "st1", Phase: wire.Phase_PHASE_REFUSED, Reason: "golden_gate", Text: "cap-7.png: expected FAIL, found PASS"},
				}})
			}
			return true
		},
	})
	return e
}

// A wave's bar shows each kind of device, however few there are.
func TestWaveBar(t *testing.T) {
	for i, tt := range []struct {
		w    waveAnswer
		want string
	}{
		{waveAnswer{Size: 4, Proven: 4}, strings.Repeat("█", 40)},
		{waveAnswer{Size: 4, Proven: 1, Failed: 1, Planned: 2}, strings.Repeat("█", 10) + strings.Repeat("x", 10) + strings.Repeat("·", 20)},
		{waveAnswer{Size: 1000, Proven: 998, Failed: 1, Silent: 1}, strings.Repeat("█", 39) + "x!"},
		{waveAnswer{Size: 2, Waiting: 1}, strings.Repeat("▒", 20) + strings.Repeat("?", 20)},
		{waveAnswer{}, strings.Repeat(" ", 40)},
	} {
		if got := tt.w.bar(); got != tt.want {
			t.Errorf("%d: got %q, want %q", i, got, tt.want)
		}
	}
}

// A screen that is too small shows those first that need somebody.
func TestRolloutOnASmallScreen(t *testing.T) {
	r := &rolloutAnswer{ID: "r1", Bundle: "caps", Version: "1.2.0", Group: "*", State: "running", Wave: 1, Waves: []waveAnswer{{Size: 40}}}
	for i := range 40 {
		r.Devices = append(r.Devices, crewAnswer{Device: fmt.Sprintf("dev-%02d", i), State: "staged", Wave: 1})
	}
	r.Devices[39].State, r.Devices[39].Text = "failed", "\x1b[2Jbad model "+strings.Repeat("x", 200)
	text := r.draw(60, 20)
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > 20 || !strings.Contains(lines[5], "dev-39") || !strings.Contains(text, "and 26 more") || strings.Contains(text, "\x1b") {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
	for _, line := range lines {
		if width(line) > 60 {
			t.Errorf("%d places: %s", width(line), line)
		}
	}
}

// TestWatchOnATerminal: the drawing is redrawn in place.
func TestWatchOnATerminal(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var w watcher
	r := &rolloutAnswer{ID: "r1", Bundle: "caps", State: "running", Waves: []waveAnswer{{Size: 1}}}
	for range 2 {
		if err := w.show(in, in, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(out); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); w.lines != 4 || strings.Count(got, "\x1b[4A\r") != 1 || strings.Count(got, "wave 1") != 2 {
		t.Errorf("%d lines: %q", w.lines, got)
	}
}

// TestWatchWithoutAFleet: one that is away from the start isn't waited for.
func TestWatchWithoutAFleet(t *testing.T) {
	err := watchRollout(context.Background(), new(bytes.Buffer), &login{Fleet: "http://127.0.0.1:1"}, "r1", false)
	if err == nil {
		t.Error("a fleet that isn't there is watched")
	}
}
