// Package bundle is the format of a bundle: the folder or archive that carries
// a model, its rule and their manifest. It is a leaf that both the device and
// the publishing tools import.
package bundle

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/goccy/go-yaml"
)

// ManifestFile is the manifest's name inside a bundle.
const ManifestFile = "manifest.yaml"

// Version of the manifest's format that this package writes and reads.
const Version = 1

// maxManifest bounds what is read, in bytes; a manifest is a page of text.
const maxManifest = 1 << 20

// Manifest describes a bundle. Unknown keys are refused: a device must not
// ignore what a newer tool meant.
type Manifest struct {
	Manifest int    `yaml:"manifest"` // Version
	Name     string `yaml:"name"`
	Version  string `yaml:"version"`
	Licence  string `yaml:"licence"` // SPDX expression of the weights
	Model    Model  `yaml:"model"`
	Rule     Rule   `yaml:"rule,omitempty"`
	Card     string `yaml:"card,omitempty"` // file name of the model card
}

// Model names the network's file and how it is read.
type Model struct {
	File       string  `yaml:"file"`
	SHA256     string  `yaml:"sha256"` // lower case hex
	Family     string  `yaml:"family"`
	Labels     []Label `yaml:"labels"` // in the order of the model's classes
	Input      Input   `yaml:"input,omitempty"`
	Confidence float32 `yaml:"confidence,omitempty"` // 0: the family's default
	NMS        float32 `yaml:"nms,omitempty"`        // IoU; 0: the family's default
}

// Label is a class of the model with its role: part, defect or ignored.
type Label struct {
	Name string `yaml:"name"`
	Role string `yaml:"role"`
}

// Input is the pre-processing: how a picture becomes the input tensor. Empty
// fields take the family's defaults.
type Input struct {
	Colour string    `yaml:"colour,omitempty"` // rgb, bgr or gray
	Scale  float32   `yaml:"scale,omitempty"`  // multiplies each level
	Mean   []float32 `yaml:"mean,omitempty"`   // subtracted after scaling, per channel
	Std    []float32 `yaml:"std,omitempty"`    // divides after that, per channel
	Resize string    `yaml:"resize,omitempty"` // letterbox or stretch
	Anchor string    `yaml:"anchor,omitempty"` // of a letterbox: centre or top-left
	Pad    *uint8    `yaml:"pad,omitempty"`    // grey level of a letterbox's border
}

// Rule is a standard rule with its condition, or a module of the bundle's own.
type Rule struct {
	Standard string `yaml:"standard,omitempty"` // threshold
	When     string `yaml:"when,omitempty"`     // its condition, as defect>0.5
	Module   string `yaml:"module,omitempty"`   // file name of a WASM module
}

// Spec is the rule as the commands write it: "threshold:defect>0.5", a file
// name, or "" for none.
func (r Rule) Spec() string {
	if r.Module != "" || r.Standard == "" {
		return r.Module
	}
	return r.Standard + ":" + r.When
}

// Read reads and checks the manifest at the top of a bundle's folder.
func Read(fsys fs.FS) (*Manifest, error) {
	f, err := fsys.Open(ManifestFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read bundle: it has no %s; a bundle's folder holds one beside its model", ManifestFile)
	} else if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	if st.Size() > maxManifest {
		return nil, fmt.Errorf("read bundle: %s has %d bytes, at most %d are read", ManifestFile, st.Size(), maxManifest)
	}
	b, err := fs.ReadFile(fsys, ManifestFile)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	return Parse(b)
}

// Parse decodes a manifest strictly and checks it.
func Parse(b []byte) (*Manifest, error) {
	var m Manifest
	dec := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField())
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("read %s: %w", ManifestFile, err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("read %s: %w", ManifestFile, err)
	}
	return &m, nil
}

func (m *Manifest) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if m.Manifest != Version {
		fault("manifest: %d is not a version this agent reads, want %d", m.Manifest, Version)
	}
	if m.Name == "" || m.Version == "" {
		fault("name and version: must be given")
	}
	if err := localFile(m.Model.File); err != nil {
		fault("model.file: %w", err)
	}
	if h, err := hex.DecodeString(m.Model.SHA256); err != nil || len(h) != 32 {
		fault("model.sha256: %q is not 64 hex digits", m.Model.SHA256)
	}
	if m.Model.Family == "" {
		fault("model.family: must be given")
	}
	seen := map[string]bool{}
	for i, l := range m.Model.Labels {
		if l.Name == "" || seen[l.Name] {
			fault("model.labels[%d]: name %q is empty or stands twice", i, l.Name)
		}
		seen[l.Name] = true
		if l.Role != "part" && l.Role != "defect" && l.Role != "ignored" {
			fault("model.labels[%d]: role %q is none of part, defect, ignored", i, l.Role)
		}
	}
	if c := m.Model.Confidence; c < 0 || c > 1 {
		fault("model.confidence: %v is outside 0 to 1", c)
	}
	if n := m.Model.NMS; n < 0 || n > 1 {
		fault("model.nms: %v is outside 0 to 1", n)
	}
	faults = append(faults, m.Model.Input.check()...)
	if m.Rule.Standard != "" && m.Rule.Module != "" {
		fault("rule: has both standard and module")
	}
	for _, f := range []string{m.Rule.Module, m.Card} {
		if f == "" {
			continue
		}
		if err := localFile(f); err != nil {
			fault("rule.module and card: %w", err)
		}
	}
	return errors.Join(faults...)
}

func (in Input) check() []error {
	var faults []error
	oneOf := func(key, v string, want ...string) {
		for _, w := range want {
			if v == w || v == "" {
				return
			}
		}
		faults = append(faults, fmt.Errorf("model.input.%s: %q is none of %s", key, v, strings.Join(want, ", ")))
	}
	oneOf("colour", in.Colour, "rgb", "bgr", "gray")
	oneOf("resize", in.Resize, "letterbox", "stretch")
	oneOf("anchor", in.Anchor, "centre", "top-left")
	for key, v := range map[string][]float32{"mean": in.Mean, "std": in.Std} {
		if n := len(v); n != 0 && n != 1 && n != 3 {
			faults = append(faults, fmt.Errorf("model.input.%s: has %d numbers, want one for each channel", key, n))
		}
	}
	for _, s := range in.Std {
		if s == 0 {
			faults = append(faults, errors.New("model.input.std: 0 can't divide"))
		}
	}
	return faults
}

// localFile refuses names that leave the bundle.
func localFile(name string) error {
	if name == "" {
		return errors.New("no file name is given")
	}
	if !fs.ValidPath(name) || path.IsAbs(name) || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("%q is not a path inside the bundle", name)
	}
	return nil
}
