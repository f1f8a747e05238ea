package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCascades(t *testing.T) {
	c, err := Parse("s.yaml", []byte(lineText(`    cascade: {large: drawn-parts, doubt: [0, 0.7], disagreement: true, look: crop, budget_ms: 2.5, otherwise: small}
    recipes:
      - {name: same}
      - {name: other, model: pitting}
      - {name: own, cascade: {large: pitting}}
      - {name: both, model: pitting, cascade: {large: pitting, doubt: [0.5, 0.5]}}
`, "")))
	if err != nil {
		t.Fatal(err)
	}
	s := &c.Stations[0]
	whole := Cascade{Large: "drawn-parts", Doubt: []float64{0, 0.7}, Disagreement: true, Look: Crop, BudgetMS: 2.5, Otherwise: AsSmall}
	for n, want := range []Cascade{whole, {Look: Frame, Otherwise: AsNone}, {Large: "pitting", Look: Frame, Otherwise: AsNone},
		{Large: "pitting", Look: Frame, Otherwise: AsNone, Doubt: []float64{0.5, 0.5}}} {
		as := s.As(&s.Recipes[n])
		if d := cmp.Diff(want, as.Cascade); d != "" {
			t.Errorf("recipe %s: %s", s.Recipes[n].Name, d)
		}
	}
	none := DefaultStation().Cascade
	if whole.Budget() != 2500*time.Microsecond || !whole.On() || none.On() {
		t.Error(whole.Budget())
	}
}

func TestBadCascadesSayWhatWouldDo(t *testing.T) {
	for text, want := range map[string]string{
		"{doubt: [0.2, 0.7]}":            `cascade.large: is missing: the large model, as an ONNX file, a bundle's folder or the name of a shipped one`,
		"{large: x, doubt: [0.7, 0.2]}":  `cascade.doubt: must be two scores, the lower one first, between 0 and 1, as [0.2, 0.7], got [0.7 0.2]`,
		"{large: x, doubt: [0.2]}":       `got [0.2]`,
		"{large: x, doubt: [0.2, 1.5]}":  `got [0.2 1.5]`,
		"{large: x, doubt: [.nan, 1]}":   `cascade.doubt[0]: must be a number, got ".nan"`,
		"{large: x, doubt: 0.5}":         `cascade.doubt: must be a list, each entry begun with "- ", got "0.5"`,
		"{large: x, look: both}":         `cascade.look: must be frame or crop, got "both"`,
		"{large: x, otherwise: pass}":    `cascade.otherwise: must be none or small, got "pass"`,
		"{large: x, budget_ms: -1}":      `cascade.budget_ms: must be 0 to 1000000 ms, got -1`,
		"{large: x, doubts: [0.2, 0.7]}": `there is no such setting; did you mean doubt?`,
		"{large: config.go}":             `cascade.large: "config.go" is a file that nobody signed`,
		"{large: none.onnx}":             `cascade.large: no such file or folder: "none.onnx"`,
		"{}":                             `cascade.large: is missing`,
		"{large: x}\n    bundle: b":      "",
		"{large: x}\n    recipes: [{name: a, cascade: {look: all, large: x}}]": `recipes[0].cascade.look: must be frame or crop, got "all"`,
	} {
		c, err := Parse("s.yaml", []byte(lineText("    cascade: "+text+"\n", "")))
		if want == "" {
			if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings.Error(), `cascade: has no effect: the station follows the bundle "b", which brings one model`) {
				t.Errorf("%s: %v, %v", text, err, c.Warnings)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "s.yaml:7: stations[0]."+want) && !strings.Contains(err.Error(), "s.yaml:8: stations[0]."+want) && !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v, want\n%s", text, err, want)
		}
	}
}
