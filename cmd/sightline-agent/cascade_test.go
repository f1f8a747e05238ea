package main

import (
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
	r, err := remote(s, c)
	if err != nil || r.About().Name != "parts" || r.About().Family != c.about.Family {
		t.Errorf("%+v, %v", r.About(), err)
	}
	s.Cascade.Remote.Token, s.Cascade.Remote.URL = "/run/token", "http://192.0.2.20:8000"
	if _, err := remote(s, c); err == nil || !strings.Contains(err.Error(), "a token is sent over https") {
		t.Error(err)
	}
}
