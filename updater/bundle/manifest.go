// Package bundle is the format of a bundle: the folder or archive that carries
// a model, its rule, what it says about known pictures, and their manifest
// (docs/bundles.md). It is a leaf that both the device and the publishing tools
// import. Nothing here trusts a bundle: who made it is for updater/trust to say.
package bundle

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
)

// ManifestFile is the manifest's name inside a bundle.
const ManifestFile = "manifest.yaml"

// Version of the manifest's format that this package writes and reads.
const Version = 1

// A name and a version become a path of the repository, a file name and a
// word on pages, so they are plain.
var (
	nameRE    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	versionRE = regexp.MustCompile(`^[a-z0-9][a-z0-9._+-]{0,63}$`)
)

// maxManifest bounds what is read, in bytes; a manifest is a page of text.
const maxManifest = 256 << 10

// Manifest describes a bundle. Unknown keys are refused: a device must not
// ignore what a newer tool meant.
type Manifest struct {
	Manifest int    `yaml:"manifest"` // Version
	Name     string `yaml:"name"`     // what stations follow; stands in paths
	Version  string `yaml:"version"`  // of the bundle; stands in paths
	Licence  string `yaml:"licence"`  // SPDX expression of the weights
	Model    Model  `yaml:"model"`
	Rule     Rule   `yaml:"rule,omitempty"`
	Card     string `yaml:"card,omitempty"`   // path of the model card
	Golden   string `yaml:"golden,omitempty"` // GoldenFile, or empty without golden vectors
}

// Model names the network's file and how it is read. Zero settings take the
// family's default.
type Model struct {
	File          string  `yaml:"file"`
	SHA256        string  `yaml:"sha256"` // lower case hex
	Family        string  `yaml:"family"`
	Labels        []Label `yaml:"labels"`         // in the order of the model's classes
	Size          []int   `yaml:"size,omitempty"` // of the input: width and height in pixels
	Input         Input   `yaml:"input,omitempty"`
	Activation    string  `yaml:"activation,omitempty"` // none, sigmoid or softmax
	Confidence    float32 `yaml:"confidence,omitempty"`
	NMS           float32 `yaml:"nms,omitempty"` // IoU
	MaxDetections int     `yaml:"max_detections,omitempty"`
	Pixel         float32 `yaml:"pixel,omitempty"`    // pixels of a map that score at least this count
	MinArea       int     `yaml:"min_area,omitempty"` // regions of fewer pixels of the picture don't
}

// Label is a class of the model with its role: part, defect or ignored.
type Label struct {
	Name string `yaml:"name"`
	Role string `yaml:"role"`
}

// Input is the pre-processing: how a picture becomes the input tensor. Empty
// fields take the family's defaults.
type Input struct {
	Colour        string    `yaml:"colour,omitempty"`        // rgb, bgr or gray
	Scale         float64   `yaml:"scale,omitempty"`         // multiplies each level
	Mean          []float64 `yaml:"mean,omitempty"`          // subtracted after scaling, per channel
	Std           []float64 `yaml:"std,omitempty"`           // divides after that, per channel
	Resize        string    `yaml:"resize,omitempty"`        // letterbox, stretch or crop
	Interpolation string    `yaml:"interpolation,omitempty"` // linear, area, bilinear, bicubic or nearest
	Anchor        string    `yaml:"anchor,omitempty"`        // of a letterbox: centre or top-left
	Pad           *uint8    `yaml:"pad,omitempty"`           // grey level of a letterbox's border
	Crop          float64   `yaml:"crop,omitempty"`          // of crop: the tensor's shorter side ÷ the resized picture's
}

// Rule is a standard rule with its condition, or a module of the bundle's own.
type Rule struct {
	Standard string `yaml:"standard,omitempty"` // threshold
	When     string `yaml:"when,omitempty"`     // its condition, as defect>0.5
	Module   string `yaml:"module,omitempty"`   // path of a WASM module, ends in .wasm
	Params   string `yaml:"params,omitempty"`   // what the module is told, as it understands it
}

// Spec is the rule as the commands write it: "threshold:defect>0.5", a file
// name with or without ":parameters", or "" for none.
func (r Rule) Spec() string {
	switch {
	case r.Module != "" && r.Params != "":
		return r.Module + ":" + r.Params
	case r.Module != "" || r.Standard == "":
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
	m, faults := ParseFaulty(b)
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("read %s: %w", ManifestFile, err)
	}
	return m, nil
}

// ParseFaulty decodes a manifest and gives all that is wrong with it, for
// those who tell an author. The manifest is nil if it can't be decoded.
func ParseFaulty(b []byte) (*Manifest, []error) {
	if len(b) > maxManifest {
		return nil, []error{fmt.Errorf("it has %d bytes, at most %d are read", len(b), maxManifest)}
	}
	if err := checkText(string(b)); err != nil {
		return nil, []error{err}
	}
	var m Manifest
	dec := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField())
	if err := dec.Decode(&m); err != nil {
		return nil, []error{plainFault(err)}
	}
	return &m, m.check()
}

func (m *Manifest) check() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if m.Manifest != Version {
		fault("manifest: %d is not a version this agent reads, want %d", m.Manifest, Version)
	}
	if m.Name == "" || m.Version == "" {
		fault("name and version: must be given")
	} else {
		if !nameRE.MatchString(m.Name) {
			fault("name: %q must have 1 to 64 lower case letters, digits, dots, hyphens and underscores, and begin with a letter or digit", m.Name)
		}
		if !versionRE.MatchString(m.Version) {
			fault("version: %q must have 1 to 64 lower case letters, digits, dots, hyphens, underscores and pluses, and begin with a letter or digit", m.Version)
		}
	}
	if err := CheckPath(m.Model.File); err != nil {
		fault("model.file: %w", err)
	}
	if h, err := hex.DecodeString(m.Model.SHA256); err != nil || len(h) != 32 || m.Model.SHA256 != strings.ToLower(m.Model.SHA256) {
		fault("model.sha256: %q is not 64 hex digits in lower case", m.Model.SHA256)
	}
	if m.Model.Family == "" {
		fault("model.family: must be given")
	}
	seen := map[string]bool{}
	for i, l := range m.Model.Labels {
		if l.Name == "" || !plainText(l.Name) || seen[l.Name] {
			fault("model.labels[%d]: name %.40q is empty, unprintable, longer than 256 bytes or stands twice", i, l.Name)
		}
		seen[l.Name] = true
		if l.Role != "part" && l.Role != "defect" && l.Role != "ignored" {
			fault("model.labels[%d]: role %q is none of part, defect, ignored", i, l.Role)
		}
	}
	faults = append(faults, m.Model.checkSettings()...)
	faults = append(faults, m.Model.Input.check()...)
	faults = append(faults, m.Rule.check()...)
	if m.Card != "" {
		if err := CheckPath(m.Card); err != nil {
			fault("card: %w", err)
		}
	}
	if m.Golden != "" && m.Golden != GoldenFile {
		fault("golden: %q must be %s, or absent without golden vectors", m.Golden, GoldenFile)
	}
	return faults
}

func (r Rule) check() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if r.Standard != "" && r.Module != "" {
		fault("rule: has both standard and module")
	}
	if r.When != "" && r.Standard == "" {
		fault("rule.when: is for a standard rule; a module takes params")
	}
	if r.Params != "" && r.Module == "" {
		fault("rule.params: are for a module; a standard rule takes when")
	}
	if r.Module == "" {
		return faults
	}
	if err := CheckPath(r.Module); err != nil {
		fault("rule.module: %w", err)
	} else if !strings.HasSuffix(r.Module, ".wasm") {
		fault("rule.module: %q must end in .wasm", r.Module)
	}
	return faults
}

// compare says what of the files that the manifest names is missing, and
// whether the model is the one that it means.
func (m *Manifest) compare(files map[string]File) []error {
	var faults []error
	for _, named := range []struct{ key, path string }{
		{"model.file", m.Model.File}, {"rule.module", m.Rule.Module}, {"card", m.Card}, {"golden", m.Golden},
	} {
		if _, ok := files[named.path]; named.path != "" && !ok {
			faults = append(faults, fmt.Errorf("%s: %s: %s is not in the bundle", ManifestFile, named.key, named.path))
		}
	}
	if f, ok := files[m.Model.File]; ok && hex.EncodeToString(f.SHA256[:]) != m.Model.SHA256 {
		faults = append(faults, fmt.Errorf("%s: model.sha256: %s has the SHA-256 %.4x…, the manifest says %.8s…", ManifestFile, m.Model.File, f.SHA256, m.Model.SHA256))
	}
	return faults
}
