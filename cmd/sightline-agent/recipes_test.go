package main

import (
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestRecipesOnBundles: each recipe has what came with its own bundle, the active one
// alone judges, and what comes for another one waits until it is changed over to.
func TestRecipesOnBundles(t *testing.T) {
	r := newRecipeRig(t, 1, "", []config.Recipe{{Name: "plain"}, {Name: "blue", Bundle: "blue"}, {Name: "red", Bundle: "red"}})
	blue, red := wire.Unit("one", "blue"), wire.Unit("one", "red")
	dir1, digest1 := r.bundle("1")
	dir2, digest2 := r.bundle("2")
	dir3, digest3 := r.bundle("3")
	r.activated("one", dir1, digest1)
	r.tells("one", digest1)
	if _, err := r.plant.agent.SetRecipe(t.Context(), "one", "blue"); err == nil || !strings.Contains(err.Error(), "its bundle blue hasn't come to this device yet") {
		t.Errorf("a recipe whose bundle isn't there: %v", err)
	}
	r.activated(blue, dir2, digest2) // isn't the active one
	if v := r.plant.Vitals(blue); v.Digest != digest2 || v.Verdicts != 0 || v.Failure != "" {
		t.Errorf("the recipe that waits has %+v", v)
	}
	r.tells("one", digest1)

	if e, err := r.plant.agent.SetRecipe(t.Context(), "one", "blue"); err != nil || e.Recipe != "blue" {
		t.Fatal(e, err)
	}
	r.tells(blue, digest2)
	if v := r.plant.Vitals("one"); v.Digest != digest1 || v.Verdicts != 0 {
		t.Errorf("the station's own bundle, which isn't asked, has %+v", v)
	}
	r.activated(blue, dir3, digest3) // is the active one: it judges from the next part on
	r.tells(blue, digest3)
	r.activated(red, dir2, digest2)
	if _, err := r.plant.agent.SetRecipe(t.Context(), "one", "red"); err != nil {
		t.Fatal(err)
	}
	r.tells(red, digest2)
	if _, err := r.plant.agent.SetRecipe(t.Context(), "one", "plain"); err != nil {
		t.Fatal(err)
	}
	r.tells("one", digest1)
	if n := len(r.children()); n != 3 {
		t.Errorf("three bundles have %d workers", n)
	}
	if got := newCookbookOf(r).chosen(); got != "plain" {
		t.Errorf("after a new start the recipe is %q", got)
	}
}

// TestStationApart: a station tells whether its recipe has a model or bundle of its own,
// also after it was changed over to.
func TestStationApart(t *testing.T) {
	r := newRecipeRig(t, 1, "", []config.Recipe{{Name: "plain"}, {Name: "blue", Bundle: "blue"}})
	dir1, digest1 := r.bundle("1")
	dir2, digest2 := r.bundle("2")
	r.activated("one", dir1, digest1)
	r.activated(wire.Unit("one", "blue"), dir2, digest2)
	for recipe, apart := range map[string]bool{"plain": false, "blue": true} {
		if _, err := r.plant.agent.SetRecipe(t.Context(), "one", recipe); err != nil {
			t.Fatal(err)
		}
		if st := r.plant.agent.Now().Stations[0]; st.Recipe != recipe || st.Apart != apart {
			t.Errorf("with recipe %s the station inspects with %s, apart from its own: %v", recipe, st.Recipe, st.Apart)
		}
	}
}

// newCookbookOf is what a new start of the program would have.
func newCookbookOf(r *plantRig) *cookbook { return r.plant.made.newCookbook(r.cfg, 0, 0) }

// TestUnitsOfUpdates: the updater is told of each recipe with a bundle of its own.
func TestUnitsOfUpdates(t *testing.T) {
	u := &updates{cfg: &config.Config{Stations: []config.Station{
		{ID: "a", Bundle: "caps"},
		{ID: "b", Recipes: []config.Recipe{{Name: "x", Bundle: "x1"}, {Name: "y", Model: "drawn-parts"}}},
	}}}
	var got []string
	for _, s := range u.stations() {
		got = append(got, s.ID+" "+s.Bundle)
	}
	if text := strings.Join(got, ", "); text != "a caps, b@x x1" {
		t.Error(text)
	}
}
