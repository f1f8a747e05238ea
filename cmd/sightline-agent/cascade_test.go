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
