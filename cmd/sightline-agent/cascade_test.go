package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
)

// TestCascadeOfARecipe: the large model comes and goes with its recipe, shared with who
// else has it; one that can't be taken leaves nothing behind.
func TestCascadeOfARecipe(t *testing.T) {
	set := config.Cascade{Large: "drawn-parts", Doubt: []float64{0.02, 0.9}, Look: config.Frame, Otherwise: config.AsNone}
	r := newLineRig(t, []config.Recipe{{Name: "a"}, {Name: "b", Cascade: set}})
	for range 2 {
		r.to("one", "b")
		r.inspects("one")
		r.holds("a large model beside the other", 2) // which is asked for scores from 0.02 on
		n := r.agent.Now().Stations[0]
		if n.Cascade == nil || n.Cascade.Model.Name != "drawn-parts" {
			t.Errorf("%+v", n.Cascade)
		}
		r.to("one", "a")
		r.inspects("one")
		r.holds("changed back", 1)
		if n := r.agent.Now().Stations[0]; n.Cascade != nil {
			t.Errorf("%+v", n.Cascade)
		}
	}
	book := r.books[0]
	bad := set
	bad.Large = "pitting"
	book.station.Recipes = append(book.station.Recipes[:2:2], config.Recipe{Name: "x", Cascade: bad})
	err := book.prepare(t.Context(), "x", func(agent.Loadout) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "they must be the same") || settingOf(err) != "cascade.large" {
		t.Errorf("a large model with other labels: %v", err)
	}
	r.holds("a large model with other labels", 1)
}

// TestPixelsStayHere: no remote model is made for a station that doesn't allow it, whatever
// led here; one that is made is fed as the station's own model is.
func TestPixelsStayHere(t *testing.T) {
	s := &config.Station{Model: "drawn-parts", Cascade: config.Cascade{Remote: config.Remote{URL: "https://192.0.2.20:8000", Model: "parts"}}}
	c, err := chooseConfigured(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote(s, c); err == nil || !strings.Contains(err.Error(), "allow_pixels_out isn't set") {
		t.Error(err)
	}
	made := &assembly{}
	if _, err := made.cascade(s, c, 1, 0); err == nil || settingOf(err) != "cascade.remote" {
		t.Error(err)
	}
	s.PixelsOut = true
	l, err := made.cascade(s, c, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if about := l.Remote.About(); about.Name != "parts" || about.Family != c.about.Family {
		t.Errorf("%+v", about)
	}
	s.Cascade.Remote.Token, s.Cascade.Remote.URL = "/run/token", "http://192.0.2.20:8000"
	if _, err := made.cascade(s, c, 1, 0); err == nil || !strings.Contains(err.Error(), "a token is sent over https") {
		t.Error(err)
	}
}

// TestRemoteOfARecipe: what is known of a server goes from recipe to recipe with the same
// settings, and ends with the last that has it.
func TestRemoteOfARecipe(t *testing.T) {
	set := config.Cascade{
		Remote: config.Remote{URL: "http://127.0.0.1:1", Model: "parts"}, Doubt: []float64{0.02, 0.9}, Look: config.Frame, Otherwise: config.AsNone,
	}
	other := set
	other.Remote.Version = "2"
	r := newLineRig(t, []config.Recipe{{Name: "a"}, {Name: "b", Cascade: set}, {Name: "c", Cascade: set, Rule: rule1}, {Name: "d", Cascade: other}})
	r.cfg.Stations[0].PixelsOut = true
	has := func(recipe string) *agent.Remote {
		t.Helper()
		r.to("one", recipe)
		r.inspects("one")
		if n := len(r.made.remotes.known); n > 1 {
			t.Errorf("with recipe %s there are %d remote models", recipe, n)
		}
		for _, h := range r.made.remotes.known {
			if h.users != 1 {
				t.Errorf("%d have recipe %s", h.users, recipe)
			}
			return h.Remote
		}
		return nil
	}
	b := has("b")
	if c := has("c"); b == nil || c != b {
		t.Errorf("changed over, the server is another one: %p, %p", b, c)
	}
	if d := has("d"); d == nil || d == b {
		t.Errorf("another version is the same: %p", d)
	}
	if has("a") != nil {
		t.Error("the remote model is kept for nobody")
	}
	if again := has("b"); again == nil || again == b {
		t.Errorf("what was forgotten is back: %p", again)
	}
}

// TestLargeModelOfAFile: it gets the labels of the small one where it tells none, and
// what isn't passed on is said.
func TestLargeModelOfAFile(t *testing.T) {
	dir := t.TempDir()
	labels := filepath.Join(dir, "labels.txt")
	if err := os.WriteFile(labels, []byte("part\ndent\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	models := "../../vision/infer/testdata/"
	o := evalOptions{model: modelOptions{model: models + "slow.onnx", labels: labels}}
	c, err := choose(o.model)
	if err != nil {
		t.Fatal(err)
	}
	for _, given := range []string{labels, ""} { // by the flag, and by what the small model has
		o.model.labels, o.cascade.large = given, o.model.model
		if large, err := o.chooseLarge(c); err != nil || large.labelNames() != "part, dent" {
			t.Errorf("labels by %q: %v", given, err)
		}
	}
	for large, want := range map[string]string{
		models + "regions.onnx": "make a bundle of the large one that says its own, with sightline bundle init",
		"nothing.onnx":          "no such file or bundle folder",
	} {
		o.cascade.large = large
		if _, err := o.chooseLarge(c); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "bundle init") != strings.Contains(want, "bundle init") {
			t.Errorf("%s: %v, want %q", large, err, want)
		}
	}
}
