package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lineText is a station in trigger mode with what is added to it.
func lineText(station, rest string) string {
	return "cameras:\n  - {id: cam, source: \"http://192.0.2.1/\"}\nstations:\n  - id: s\n    camera: cam\n    model: drawn-parts\n" + station + rest
}

func TestTriggersRecipesAndDoors(t *testing.T) {
	c, err := Parse("s.yaml", []byte(lineText(`    mode: trigger
    criticality: critical
    deadline: 150ms
    trigger: {speed_mm_s: 400, tolerance_mm: 20, period: 40ms}
    recipes:
      - {name: blue}
      - {name: red, rule: "threshold:scratch>0.7", roi: [0, 0, 100, 100], confidence: 0.4}
      - {name: other, model: drawn-parts, exposure: 3ms}
    preload: [blue, red]
`, `plc:
  - {station: s, protocol: modbus, listen: "192.0.2.5:502", peers: [192.0.2.10]}
  - {station: s, protocol: gpio, gpio: {chip: gpiochip0, trigger: 4, ready: 5, gate: 6, gate_delay: 800ms, active_low: [5, 6]}}
`)))
	if err != nil {
		t.Fatal(err)
	}
	s := &c.Stations[0]
	if s.Recipe != "blue" || s.Trigger.Dedupe != 10*time.Minute || s.Trigger.Ring != 4 || s.MaxAge != 2*time.Second {
		t.Errorf("%+v", s)
	}
	if d := c.PLC[1]; d.Address() != "gpiochip0" || d.GPIO.Pass != -1 || d.GPIO.Pulse != 50*time.Millisecond || len(d.GPIO.ActiveLow) != 2 {
		t.Errorf("%+v", d)
	}
	if red := s.As(&s.Recipes[1]); red.Rule != "threshold:scratch>0.7" || red.Model != "drawn-parts" || red.Confidence != 0.4 {
		t.Errorf("%+v", red)
	}
	s.Rule = "threshold:dent>0.5"
	if other := s.As(&s.Recipes[2]); other.Rule != "" { // the rule of another model's labels
		t.Errorf("%+v", other)
	}
	if signed := s.As(&Recipe{Bundle: "caps"}); signed.Bundle != "caps" || signed.Model != "" || s.Follows() {
		t.Errorf("%+v", signed)
	}
}

func TestBadLinesSayWhatWouldDo(t *testing.T) {
	recipes := "    recipes: [{name: a}, {name: b}]\n"
	door := func(text string) string { return "plc: [{" + text + "}]\n" }
	for _, c := range []struct{ station, rest, want string }{
		{"    mode: now\n", "", `stations[0].mode: must be continuous or trigger, got "now"`},
		{"    criticality: high\n", "", `stations[0].criticality: must be critical, normal or best_effort, got "high"`},
		{"    min_rate: -1\n", "", `stations[0].min_rate: must be 0 to 1000 pictures a second, got -1`},
		{"    max_age: 1ms\n", "", `stations[0].max_age: must be 10ms to 1m, got 1ms`},
		{"    mode: trigger\n    deadline: 2ms\n", "", `stations[0].deadline: must be 5ms or more in trigger mode, got 2ms`},
		{"    mode: trigger\n    trigger: {ring: 1}\n", "", `stations[0].trigger.ring: must be 2 to 16, got 1`},
		{"    mode: trigger\n    trigger: {dedupe_window: 10ms}\n", "", `stations[0].trigger.dedupe_window: must be 1s to 24h, got 10ms`},
		{"    mode: trigger\n    trigger: {tolerance_mm: 3}\n", "", `stations[0].trigger.speed_mm_s: is missing: tolerance_mm says how far parts may have moved, which needs their speed`},
		{"    mode: trigger\n    trigger: {line_slack: 2s}\n", "", `stations[0].trigger.line_slack: must be 0 to 1s, got 2s`},
		{"    mode: trigger\n    trigger: {line_late: 0s}\n", "", `stations[0].trigger.line_late: must be 1ms to 10s, got 0s`},
		{"    mode: trigger\n    trigger: {max_delay: 11s}\n", "", `stations[0].trigger.max_delay: must be 1ms to 10s, got 11s`},
		{"    recipe: a\n", "", `stations[0].recipe: there are no recipes: list them as recipes`},
		{recipes + "    recipe: c\n", "", `stations[0].recipe: there is no recipe "c"; there are a, b`},
		{recipes + "    preload: [b, d]\n", "", `stations[0].preload: there is no recipe "d"; there are a, b`},
		{"    recipes: [{name: a}, {name: a}]\n", "", `stations[0].recipes[1].name: "a" is also the name of another recipe: give each its own`},
		{"    recipes: [{name: \"a b\"}]\n", "", `stations[0].recipes[0].name: must be letters, digits, dot, dash and underscore, at most 64, got "a b"`},
		{"    recipes: [{name: a, roi: [1, 2, 3]}]\n", "", `stations[0].recipes[0].roi: must be four numbers, x, y, width and height, got [1 2 3]`},
		{"    recipes: [{name: a, confidence: 1.5}]\n", "", `stations[0].recipes[0].confidence: must be more than 0 and less than 1, got 1.5`},
		{"    recipes: [{name: a, model: x.onnx}]\n", "", `stations[0].recipes[0].model: no such file or folder: "x.onnx"`},
		{"    bundle: caps\n    recipes: [{name: a, model: drawn-parts}]\n", "", `stations[0].recipes[0].model: station "s" follows the bundle "caps", whose model its recipes use: leave model out, or give the recipe a bundle of its own`},
		{"    recipes: [{name: a, bundle: \"x y\"}]\n", "", `stations[0].recipes[0].bundle: must be letters, digits, dot, dash and underscore, at most 64, got "x y"`},
		{"", door(`station: s, protocol: ascii, listen: "192.0.2.5:1", peers: [192.0.2.1]`), `plc[0].station: station "s" follows parts by itself: only one with mode: trigger can be triggered`},
		{"    mode: trigger\n", door(`station: x, protocol: ascii, listen: "192.0.2.5:1", peers: [192.0.2.1]`), `plc[0].station: there is no station "x"`},
		{"    mode: trigger\n", door(`station: s, protocol: profinet`), `plc[0].protocol: must be ascii, modbus or gpio, got "profinet"`},
		{"    mode: trigger\n", door(`station: s, protocol: modbus, peers: [192.0.2.1]`), `plc[0].listen: is missing: address, or name of an interface, and port, as 192.0.2.5:502`},
		{"    mode: trigger\n", door(`station: s, protocol: modbus, listen: "192.0.2.5:502"`), `plc[0].peers: is missing: who may connect, as [192.0.2.10]; there is no login`},
		{"    mode: trigger\n", door(`station: s, protocol: ascii, listen: "192.0.2.5:1", peers: [192.0.2.1], heartbeat: 1ms`), `plc[0].heartbeat: must be 20ms to 10s, got 1ms`},
	} {
		_, err := Parse("s.yaml", []byte(lineText(c.station, c.rest)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s\n got %v\nwant %s", c.station, c.rest, err, c.want)
		}
	}
}

// TestSettingsWithoutEffect: what the mode doesn't look at is warned about.
func TestSettingsWithoutEffect(t *testing.T) {
	for _, c := range []struct{ station, want string }{
		{"    trigger: {ring: 5}\n", "stations[0].trigger: has no effect: mode is continuous"},
		{"    mode: trigger\n    change_gate: 1s\n", "stations[0].change_gate: has no effect: mode is trigger"},
		{"    mode: trigger\n    decide: x=0.5\n", "stations[0].decide: has no effect: mode is trigger"},
		{"    bundle: caps\n    small_model: drawn-parts\n", `stations[0].small_model: has no effect: the station follows the bundle "caps", which brings one model`},
		{"    recipes: [{name: a, bundle: caps, small_model: drawn-parts}]\n", `stations[0].recipes[0].small_model: has no effect: recipe "a" follows the bundle "caps", which brings one model`},
	} {
		cfg, err := Parse("s.yaml", []byte(lineText(c.station, "")))
		if err != nil || len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].Error(), c.want) {
			t.Errorf("%s: %v %v", c.station, err, cfg.Warnings)
		}
	}
}

// TestSmallModelBesideTheFile: a recipe's is found there, as a station's.
func TestSmallModelBesideTheFile(t *testing.T) {
	dir := t.TempDir()
	small := filepath.Join(dir, "small.onnx")
	if err := os.WriteFile(small, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(unsigned string) (*Config, error) {
		text := lineText("    allow_unsigned: "+unsigned+"\n    recipes: [{name: a, small_model: small.onnx}]\n", "")
		if err := os.WriteFile(filepath.Join(dir, "s.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(filepath.Join(dir, "s.yaml"))
	}
	c, err := load("true")
	if err != nil || c.Stations[0].Recipes[0].Small != small {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := load("false"); err == nil || !strings.Contains(err.Error(), "recipes[0].small_model: \"small.onnx\" is a file that nobody signed") {
		t.Errorf("a file that nobody signed: %v", err)
	}
}
