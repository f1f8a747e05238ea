// Package models carries the models that Sightline ships, each in a folder
// that is a bundle: the network, its manifest and its card. They are part of
// the binary, so that a name is enough to run one.
package models

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed drawn-parts/manifest.yaml drawn-parts/model.onnx drawn-parts/MODEL_CARD.md drawn-parts/golden
//go:embed drawn-parts-large/manifest.yaml drawn-parts-large/model.onnx drawn-parts-large/MODEL_CARD.md drawn-parts-large/golden
//go:embed pitting/manifest.yaml pitting/model.onnx pitting/MODEL_CARD.md pitting/golden
var shipped embed.FS

// FS holds one folder for each shipped model, named like it.
func FS() fs.FS { return shipped }

// Names gives the shipped models in the order of the alphabet.
func Names() []string {
	entries, err := fs.ReadDir(shipped, ".")
	if err != nil {
		panic(fmt.Sprintf("BUG: read the embedded models: %v", err))
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Open gives the folder of the model with that name.
func Open(name string) (fs.FS, error) {
	for _, n := range Names() {
		if n == name {
			return fs.Sub(shipped, n)
		}
	}
	return nil, fmt.Errorf("model %q is not one that we ship, which are: %s", name, strings.Join(Names(), ", "))
}
