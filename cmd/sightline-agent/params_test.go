package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/rules"
)

// TestParametersOfABundlesRule: a bundle's own module is found in its folder
// and told the manifest's parameters, which may look like a path.
func TestParametersOfABundlesRule(t *testing.T) {
	fsys, err := models.Open("drawn-parts")
	if err != nil {
		t.Fatal(err)
	}
	for params, line := range map[string]string{"": "", "max=3//../4": `, params: "max=3//../4"`} {
		dir := filepath.Join(t.TempDir(), "b")
		if err := os.CopyFS(dir, fsys); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "manifest.yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), `{standard: threshold, when: "defect>0.3"}`, "{module: rules/own.wasm"+line+"}", 1)
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := choose(modelOptions{model: dir})
		if want := (rules.Spec{Module: filepath.Join(dir, "rules/own.wasm"), Params: params}); err != nil || c.rule != want {
			t.Errorf("rule is %+v, %v; want %+v", c, err, want)
		}
	}
}
