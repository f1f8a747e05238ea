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
	whole := Cascade{Large: "drawn-parts", Doubt: []float64{0, 0.7}, Disagreement: true, Look: Crop, BudgetMS: 2.5, Otherwise: AsSmall, Remote: defaultCascade().Remote}
	for n, want := range []Cascade{whole, defaultCascade(), {Large: "pitting", Look: Frame, Otherwise: AsNone, Remote: defaultCascade().Remote},
		{Large: "pitting", Look: Frame, Otherwise: AsNone, Doubt: []float64{0.5, 0.5}, Remote: defaultCascade().Remote}} {
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
		"{large: x}\n    bundle: b\n    recipes: [{name: a, bundle: c, cascade: {large: x}}]": "",
		"{large: x, look: both}\n    bundle: b":                                               `cascade.look: must be frame or crop, got "both"`,
		"{large: x}\n    recipes: [{name: a, cascade: {look: all, large: x}}]":                `recipes[0].cascade.look: must be frame or crop, got "all"`,
	} {
		c, err := Parse("s.yaml", []byte(lineText("    cascade: "+text+"\n", "")))
		if want == "" {
			if err != nil || len(c.Warnings) > 0 || !c.Stations[0].Cascade.On() {
				t.Errorf("%s: %v, %v", text, err, c.Warnings)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "s.yaml:7: stations[0]."+want) && !strings.Contains(err.Error(), "s.yaml:8: stations[0]."+want) && !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v, want\n%s", text, err, want)
		}
	}
}

func TestRemoteModels(t *testing.T) {
	parse := func(remote, more string) (*Config, error) {
		return Parse("s.yaml", []byte(lineText("    allow_pixels_out: true\n    cascade: {"+more+"remote: {"+remote+"}}\n", "")))
	}
	c, err := parse(`url: "https://192.0.2.20:8000", model: parts, version: 3, size: [640, 640], token_file: oip-token`, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Stations[0].Cascade.Remote, (Remote{URL: "https://192.0.2.20:8000", Model: "parts", Version: "3", Timeout: 200 * time.Millisecond, Token: "oip-token", Size: []int{640, 640}}); !cmp.Equal(got, want) || len(c.Warnings) > 0 {
		t.Errorf("%+v, %v", got, c.Warnings)
	}
	if c, err = parse(`url: "http://192.0.2.20:8000", model: parts`, ""); err != nil || !strings.Contains(c.Warnings.Error(), `cascade.remote.url: pictures go to "http://192.0.2.20:8000" unencrypted`) {
		t.Errorf("%v, %v", err, c.Warnings)
	}
	if c, err = parse(`url: "http://127.0.0.1:8000", model: parts`, ""); err != nil || len(c.Warnings) > 0 {
		t.Errorf("%v, %v", err, c.Warnings)
	}
	for text, want := range map[string]string{
		`model: parts`:                                       `remote.url: is missing: the server's address`,
		`url: "ftp://x", model: m`:                           `remote.url: must be http:// or https:// and a host, got "ftp://x"`,
		`url: "https://u:secret@x", model: m`:                `remote.url: must have no user, password, query or fragment`,
		`url: "https://x"`:                                   `remote.model: is missing`,
		`url: "https://x", model: m, timeout: 2h`:            `remote.timeout: must be 1ms to 1m, got 2h0m0s`,
		`url: "https://x", model: m, size: [640]`:            `remote.size: must be width and height, as [640, 640], got [640]`,
		`url: "https://x", model: m, token_file: ./none`:     `remote.token_file: no such file or folder`,
		`url: "https://x", model: m, ca_file: none.pem`:      `remote.ca_file: no such file or folder`,
		`url: "https://x", model: m, allow_pixels_out: true`: `there is no such setting`,
	} {
		if _, err := parse(text, ""); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := parse(`url: "https://x", model: m`, "large: drawn-parts, "); err == nil || !strings.Contains(err.Error(), "large and remote are both set") {
		t.Error(err)
	}
	_, err = Parse("s.yaml", []byte(lineText("    cascade: {remote: {url: \"https://x\", model: m}}\n", "")))
	if err == nil || !strings.Contains(err.Error(), `cascade.remote: pictures of station "s" would leave this device for the server: set allow_pixels_out: true`) {
		t.Error(err)
	}
}
