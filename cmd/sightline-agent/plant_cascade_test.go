package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/updater"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/models"
)

// besideBundle is a large model that looks at each part on which anything was seen or not.
func besideBundle() config.Cascade {
	return config.Cascade{Large: "drawn-parts-large", Doubt: []float64{0, 1}, Look: config.Frame, Otherwise: config.AsNone}
}

// looksRig is a plantRig whose stations have a large model beside their bundle, and whose
// verdicts are listened to.
type looksRig struct {
	*plantRig

	mu  sync.Mutex // protects all
	all []*agent.Inspection
}

func newLooksRig(t *testing.T, stations int, model string, recipes []config.Recipe, set config.Cascade) *looksRig {
	t.Helper()
	r := &looksRig{plantRig: newRecipeRig(t, stations, model, recipes)}
	for i := range r.cfg.Stations {
		r.cfg.Stations[i].Cascade = set
	}
	hear := func(i *agent.Inspection) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all = append(r.all, i)
	}
	r.told.Store(&hear)
	return r
}

// heard are the verdicts of a station from the n-th on.
func (r *looksRig) heard(station string, n int) (some []*agent.Inspection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.all[n:] {
		if i.Station == station {
			some = append(some, i)
		}
	}
	return some
}

// looks waits for a new verdict of the bundle's with a second look, whose models have
// their digests. With missed it waits for one that says why there was none.
func (r *looksRig) looks(station, digest, missed string) *agent.Inspection {
	r.t.Helper()
	r.mu.Lock()
	n := len(r.all)
	r.mu.Unlock()
	var found *agent.Inspection
	r.eventually(station+" looks twice with "+digest, func() bool {
		for _, i := range r.heard(station, n) {
			if len(i.Looks) == 2 && i.Looks[0].Model.Bundle == digest && i.Looks[1].Missed == missed {
				found = i
				return true
			}
		}
		return false
	})
	if found.Model.Bundle != digest {
		r.t.Errorf("the verdict names the bundle %q, want %q", found.Model.Bundle, digest)
	}
	if missed == "" && (found.Looks[0].Model.Digest == "" || len(found.Looks[1].Model.Digest) != 64 || found.Model.Digest != found.Looks[1].Model.Digest) {
		r.t.Errorf("the verdict says %+v of %+v", found.Model, found.Looks)
	}
	return found
}

// unlike is a bundle whose last label is another one.
func (r *plantRig) unlike(version string) (dir, digest string) {
	r.t.Helper()
	dir, digest = r.bundle(version)
	file := filepath.Join(dir, bundle.ManifestFile)
	b, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(b, []byte("crack,"), []byte("rust,"), 1), 0o644); err != nil {
		r.t.Fatal(err)
	}
	return dir, digest
}

// TestCascadeBesideABundle: the large model stands beside whatever version serves, loaded
// once, and no picture is lost on the way to another version and back.
func TestCascadeBesideABundle(t *testing.T) {
	r := newLooksRig(t, 1, "", nil, besideBundle())
	dir1, digest1 := r.bundle("1")
	dir2, digest2 := r.bundle("2")
	if err := r.plant.Suits("one", dir1); err != nil {
		t.Fatal(err)
	}
	r.activated("one", dir1, digest1)
	r.looks("one", digest1, "")
	before := r.children()
	now := r.plant.agent.Now().Stations[0]
	if len(before) != 2 || now.Cascade == nil || now.Cascade.Model.Name != "drawn-parts-large" || now.Cascade.Looks[1].Count == 0 {
		t.Errorf("%d workers run, the station has %+v", len(before), now.Cascade)
	}
	for _, v := range []struct{ dir, digest string }{{dir2, digest2}, {dir1, digest1}} {
		r.activated("one", v.dir, v.digest)
		r.looks("one", v.digest, "")
		after := r.children()
		if kept := slices.DeleteFunc(slices.Clone(after), func(pid int) bool { return !slices.Contains(before, pid) }); len(after) != 2 || len(kept) != 1 {
			t.Errorf("with %s there are workers %v, of %v", v.digest, after, before)
		}
		before = after
	}
	all := r.heard("one", 0)
	for n, i := range all[1:] {
		if i.Part.Last != all[n].Part.Last+1 {
			t.Errorf("between pictures %d and %d some are lost", all[n].Part.Last, i.Part.Last)
		}
	}
	t.Logf("%d pictures, none lost", len(all))
}

// TestCascadeOfOtherLabels: such a version is refused in words, and the former one serves
// on. One that is gone back to serves all the same, and parts in doubt get the configured
// answer until the large model fits again.
func TestCascadeOfOtherLabels(t *testing.T) {
	r := newLooksRig(t, 1, "", nil, besideBundle())
	dir1, digest1 := r.bundle("1")
	dir2, digest2 := r.unlike("2")
	r.activated("one", dir1, digest1)
	r.looks("one", digest1, "")
	var refused *updater.Refused
	err := r.plant.Suits("one", dir2)
	want := "model drawn-parts-large has the labels part, chip, dent, stain, scratch, crack, the station's model drawn-parts 1.0.0 has part, chip, dent, stain, scratch, rust: they must be the same; set cascade.large to a model with the labels of drawn-parts, or remove cascade"
	if !errors.As(err, &refused) || refused.Text != want {
		t.Errorf("%v, want\n%s", err, want)
	}
	r.looks("one", digest1, "")
	if n := len(r.children()); n != 2 {
		t.Errorf("%d workers run", n)
	}
	r.activated("one", dir2, digest2)
	i := r.looks("one", digest2, agent.MissedDown)
	if i.Decision.Verdict != 0 || i.Decision.Reason != "doubt" || i.Looks[1].Model.Name != "drawn-parts-large" {
		t.Errorf("a part in doubt is %+v, %+v", i.Decision, i.Looks)
	}
	r.eventually("a warning tells why", func() bool {
		for _, w := range r.plant.agent.Now().Health {
			if w.Code == "large_model_away" && strings.Contains(w.Text, "they must be the same") {
				return true
			}
		}
		return false
	})
	r.eventually("the large model is gone", func() bool { return len(r.children()) == 1 })
	r.activated("one", dir1, digest1)
	r.looks("one", digest1, "")
}

// TestCascadeOfTwoStations on one bundle: they share both models, and the golden gate
// judges the bundle's own, also where a band looks at lower scores than the bundle.
func TestCascadeOfTwoStations(t *testing.T) {
	r := newLooksRig(t, 2, "", nil, besideBundle())
	dir := filepath.Join(t.TempDir(), "shipped")
	fsys, err := models.Open("drawn-parts")
	if err == nil {
		err = os.CopyFS(dir, fsys)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"one", "two"} {
		r.activated(id, dir, "shipped")
		r.looks(id, "shipped", "")
	}
	if n := len(r.children()); n != 2 {
		t.Errorf("two stations with the same models have %d workers", n)
	}
	r.cfg.Stations[1].Cascade.Doubt = []float64{0.02, 0.9}
	c, err := r.plant.load(t.Context(), "two", dir, "shipped", false)
	if err != nil {
		t.Fatal(err)
	}
	if conf := c.subject.Lowest; conf != keepScore || c.own.stationSpec().Confidence != 0.02 {
		t.Errorf("the gate looks at scores from %v, the station from %v", conf, c.own.stationSpec().Confidence)
	}
	if report, err := c.Gate(t.Context(), func(string, []byte) {}); err != nil || !report.OK() {
		t.Errorf("%+v, %v", report, err)
	}
	if _, _, err := c.Activate(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.looks("two", "shipped", "")
	if n := len(r.children()); n != 3 {
		t.Errorf("%d workers run, want one that gives lower scores, too", n)
	}
}

// TestCascadeOfBundlesRecipes: each recipe has the large model that it names, beside the
// station's bundle or its own; what isn't active is let go of.
func TestCascadeOfBundlesRecipes(t *testing.T) {
	set := besideBundle()
	r := newLooksRig(t, 1, "", []config.Recipe{{Name: "plain"}, {Name: "careful", Cascade: set}, {Name: "blue", Bundle: "blue", Cascade: set}}, config.Cascade{})
	dir1, digest1 := r.bundle("1")
	dir2, digest2 := r.bundle("2")
	dir3, _ := r.unlike("3")
	dir4, digest4 := r.bundle("4")
	r.activated("one", dir1, digest1)
	r.activated("one@blue", dir2, digest2)
	r.tells("one", digest1)
	to := func(recipe, digest string, workers int) {
		t.Helper()
		if _, err := r.plant.agent.SetRecipe(t.Context(), "one", recipe); err != nil {
			t.Fatal(err)
		}
		if recipe == "plain" {
			r.tells("one", digest)
		} else {
			r.looks("one", digest, "")
		}
		r.eventually("the workers of recipe "+recipe, func() bool { return len(r.children()) == workers })
	}
	to("plain", digest1, 2)
	to("careful", digest1, 3)
	to("blue", digest2, 3)
	for unit, recipe := range map[string]string{"one": "careful", "one@blue": "blue"} {
		if err := r.plant.Suits(unit, dir3); err == nil || !strings.HasPrefix(err.Error(), "recipe "+recipe+": model drawn-parts-large has the labels ") {
			t.Errorf("%s takes other labels: %v", unit, err)
		}
	}
	r.activated("one@blue", dir4, digest4)
	r.looks("one", digest4, "")
	to("plain", digest1, 2)
	r.cfg.Stations[0].Preload = []string{"careful"}
	to("careful", digest1, 3)
	to("plain", digest1, 3)
}

// TestCascadeBesideItsOwnModel: a station begins with what its configuration names, and
// the large model beside that.
func TestCascadeBesideItsOwnModel(t *testing.T) {
	r := newLooksRig(t, 1, "drawn-parts", nil, besideBundle())
	dir, digest := r.bundle("1")
	r.activated("one", "", "")
	r.looks("one", "", "")
	r.activated("one", dir, digest)
	r.looks("one", digest, "")
}

// TestUnsignedLargeModel beside a signed bundle: the station isn't told as signed.
func TestUnsignedLargeModel(t *testing.T) {
	set := besideBundle()
	set.Large = filepath.Join(t.TempDir(), "large")
	fsys, err := models.Open("drawn-parts-large")
	if err == nil {
		err = os.CopyFS(set.Large, fsys)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := newLooksRig(t, 1, "", nil, set)
	dir, digest := r.bundle("1")
	r.activated("one", dir, digest)
	i := r.looks("one", digest, agent.MissedDown) // nobody allows it
	if now := r.plant.agent.Now().Stations[0]; !now.Signed || i.Looks[1].Model.Name != "large" {
		t.Errorf("%+v, %+v", now.Signed, i.Looks)
	}
	r.cfg.Stations[0].Unsigned = true
	r.activated("one", dir, digest)
	r.looks("one", digest, "")
	if now := r.plant.agent.Now().Stations[0]; now.Signed {
		t.Error("a station with a large model that nobody signed is told as signed")
	}
}

// TestRemoteBesideABundle: what is known of a server outlasts a switch of the bundle.
func TestRemoteBesideABundle(t *testing.T) {
	set := besideBundle()
	set.Large, set.Remote = "", config.Remote{URL: "http://127.0.0.1:1", Model: "parts"}
	r := newLooksRig(t, 1, "", nil, set)
	has := func(version string) *agent.Remote {
		t.Helper()
		dir, digest := r.bundle(version)
		if err := r.plant.Suits("one", dir); err != nil {
			t.Error(err)
		}
		r.activated("one", dir, digest)
		for _, h := range r.plant.made.remotes.known {
			if h.users != 1 {
				t.Errorf("%d have the remote model", h.users)
			}
			return h.Remote
		}
		return nil
	}
	if has("1") != nil {
		t.Error("pictures leave a device that doesn't allow it")
	}
	r.cfg.Stations[0].PixelsOut = true
	two := has("2")
	if three := has("3"); two == nil || three != two || len(r.plant.made.remotes.known) != 1 {
		t.Errorf("with another version the server is another one: %p, %p", two, three)
	}
}

// TestCascadeIsForeseen: what is wrong with it is said before a bundle is there, as of a
// station without one.
func TestCascadeIsForeseen(t *testing.T) {
	own, err := chooseConfigured(&config.Station{Model: "pitting"})
	if err != nil {
		t.Fatal(err)
	}
	remote := config.Remote{URL: "http://192.0.2.20:8000", Model: "parts", Token: "/run/token", Timeout: time.Second}
	for _, c := range []struct {
		set       config.Cascade
		own       *choice
		key, want string
		warning   string
	}{
		{config.Cascade{}, nil, "", "", ""},
		{besideBundle(), nil, "", "", ""},
		{besideBundle(), own, "", "", "until a version with its labels serves"}, // it may be about to come
		{config.Cascade{Large: "nothing.onnx"}, own, "cascade.large", "no such file or bundle folder", ""},
		{config.Cascade{Remote: remote}, nil, "cascade.remote", "a token is sent over https", ""},
	} {
		log := new(logged)
		a := &assembly{log: slog.New(slog.NewTextHandler(log, nil))}
		err := a.foresee(&config.Station{Bundle: "caps", Cascade: c.set}, c.own)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || settingOf(err) != c.key) {
			t.Errorf("%+v: %v of %q, want %q", c.set, err, settingOf(err), c.want)
		}
		if text := log.String(); (text == "") != (c.warning == "") || !strings.Contains(text, c.warning) {
			t.Errorf("%+v: the log says %q, want %q", c.set, text, c.warning)
		}
	}
}
