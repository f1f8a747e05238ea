package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/cmd/internal/modelfile"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/rules"
)

// modelOptions is what a person says about a model; zero fields leave it to
// the model.
type modelOptions struct {
	model  string // file, bundle's folder, or shipped name
	family string
	preset string                 // how pictures are fed to it
	size   string                 // of its input, as 640x480
	labels string                 // coco, coco91, or a file with one name a line
	unsaid string                 // labels of a model that doesn't tell its own, as labels
	like   []string               // labels of such a model, before unsaid; nil without
	roles  map[string]vision.Role // overrides the manifest's
	rule   string
	count  string // the one label that is a part
	conf   float32
	nms    float32

	activation string // what makes scores of its values
}

// choice is a model that is ready to be run, with its rule.
type choice struct {
	about agent.Model
	path  string // as it was given
	data  []byte
	spec  infer.Spec
	rule  rules.Spec // zero without one
	plain bool       // it has no manifest
	why   string     // what tells its family
	terms string     // licence that its metadata tell, "" without
	least float32    // score that somebody besides the rule looks at; 0: none

	cameras int // that look with it, as the configuration has it

	settings []string // of its manifest, of bundle.Settings; nil without one
}

// choose reads the model and makes one thing of what it, its manifest and the
// person say.
func choose(o modelOptions) (*choice, error) {
	c := &choice{path: o.model}
	manifest, err := c.read(o)
	if err := errors.Join(err, about("rule", c.chooseRule(o, manifest))); err != nil {
		return nil, err
	}
	if err := c.chooseRoles(o, manifest); err != nil {
		return nil, err
	}
	c.about.Unsigned = unsigned(o.model)
	return c, nil
}

// unsigned tells whether a model is a file or a folder, which nobody has signed
// as far as is known here; else it is shipped with the program.
func unsigned(model string) bool {
	_, err := os.Stat(model)
	return err == nil
}

// aboutSetting is an error with the setting of the station that it is about;
// without it, that is the model.
type aboutSetting struct {
	key string // as in the configuration
	error
}

func (a aboutSetting) Unwrap() error { return a.error }

func about(key string, err error) error {
	if err == nil {
		return nil
	}
	return aboutSetting{key, err}
}

// read reads and describes the model, and gives its manifest if it has one.
func (c *choice) read(o modelOptions) (manifest *bundle.Manifest, err error) {
	dir, err := openBundle(o.model)
	if err != nil {
		return nil, err
	}
	if dir != nil {
		manifest, err = c.fromBundle(dir)
	} else {
		err = c.fromFile(o.model)
	}
	if err == nil {
		err = c.describe(o, manifest)
	}
	if err != nil {
		return manifest, fmt.Errorf("model %s: %w", o.model, err)
	}
	return manifest, nil
}

// openBundle gives the bundle's folder, nil for a plain file.
func openBundle(arg string) (fs.FS, error) {
	st, err := os.Stat(arg)
	switch {
	case err == nil && st.IsDir():
		return os.DirFS(arg), nil
	case err == nil:
		return nil, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("model %s: %w", arg, err)
	case slices.Contains(models.Names(), arg):
		return models.Open(arg)
	}
	return nil, fmt.Errorf("model %s: no such file or bundle folder, and no model of that name is shipped (shipped: %s)",
		arg, strings.Join(models.Names(), ", "))
}

func (c *choice) fromFile(path string) (err error) {
	if c.data, err = modelfile.Read(path); err != nil {
		return err
	}
	c.about = agent.Model{Name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), Digest: modelfile.Digest(c.data)}
	return nil
}

// fromBundle gives the model the digest of what is run, weights that lay in a
// second file included: by it a model is known.
func (c *choice) fromBundle(dir fs.FS) (*bundle.Manifest, error) {
	m, err := bundle.Read(dir)
	if err != nil {
		return nil, err
	}
	if c.data, err = modelfile.ReadBundle(dir, m.Model); err != nil {
		return nil, err
	}
	c.about = agent.Model{Name: m.Name, Version: m.Version, Digest: modelfile.Digest(c.data)}
	c.settings, _ = bundle.Settings(m, dir) // the rule's module can't be read: who loads the rule says so
	return m, nil
}

// describe joins the model's own words, the manifest's and the person's.
func (c *choice) describe(o modelOptions, m *bundle.Manifest) error {
	info, err := infer.Describe(c.data)
	if err != nil {
		return err
	}
	opts, err := o.options(m)
	if err != nil {
		return err
	}
	labels := o.labels
	if labels == "" && opts.Labels == nil && info.Labels == nil {
		if opts.Labels = o.like; o.like == nil {
			labels = o.unsaid
		}
	}
	if labels != "" {
		if opts.Labels, err = infer.ReadLabels(labels); err != nil {
			return err
		}
	}
	if c.spec, err = info.Spec(opts); err != nil {
		return err
	}
	c.about.Family, c.terms, c.plain = string(c.spec.Family), info.License, m == nil
	switch {
	case o.family != "":
		c.why = "as you say"
	case m != nil:
		c.why = "the bundle's manifest"
	default:
		c.why = info.Why
	}
	return nil
}

// options are what the manifest says, if there is one, and the person over it.
func (o modelOptions) options(m *bundle.Manifest) (opts infer.Options, err error) {
	if m != nil {
		opts = modelfile.Options(m.Model)
	}
	if o.preset != "" {
		opts.Preset, opts.Input, opts.Activation = o.preset, infer.Override{}, ""
	}
	w, h, err := modelfile.Size(o.size)
	if err != nil {
		return opts, fmt.Errorf("size %w", err)
	}
	opts.Width, opts.Height = cmp.Or(w, opts.Width), cmp.Or(h, opts.Height)
	opts.Family = cmp.Or(o.family, opts.Family)
	opts.Confidence = cmp.Or(o.conf, opts.Confidence)
	opts.NMS = cmp.Or(o.nms, opts.NMS)
	opts.Activation = cmp.Or(infer.Activation(o.activation), opts.Activation)
	return opts, nil
}

// tell says how a plain model is read, which only its file and the person told.
func (c *choice) tell(w io.Writer) {
	if !c.plain {
		return
	}
	text := fmt.Sprintf("%s: family %s: %s", c.path, c.spec.Family, c.why)
	if c.terms != "" {
		text += "; licence: " + c.terms
	}
	fmt.Fprintln(w, printable(text))
}

// printable has no control characters, which could make a terminal do things.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

func (c *choice) chooseRule(o modelOptions, m *bundle.Manifest) error {
	spec := o.rule
	if spec == "" && m != nil && o.count == "" {
		spec = m.Rule.Spec()
		if module := m.Rule.Module; module != "" && o.model != "" {
			spec = filepath.Join(o.model, module) + strings.TrimPrefix(spec, module) // with its parameters
		}
	}
	if spec == "" {
		return nil
	}
	var err error
	c.rule, err = rules.Parse(spec)
	return err
}

// chooseRoles says what each label means: --count makes its label the only
// part; else the person's roles come before the manifest's, and of a plain
// model the labels that the rule names are defects, the rest parts.
func (c *choice) chooseRoles(o modelOptions, m *bundle.Manifest) error {
	named := []string{}
	if o.count != "" {
		named = append(named, o.count)
	}
	if err := errors.Join(about("rule", c.unknown(c.rule.Labels())), about("labels", c.unknown(keys(o.roles))), c.unknown(named)); err != nil {
		return err
	}
	manifest := map[string]vision.Role{}
	if m != nil {
		for _, l := range m.Model.Labels {
			manifest[l.Name], _ = vision.ParseRole(l.Role) // Read checked it
		}
	}
	found := map[vision.Role]bool{}
	for i := range c.spec.Labels {
		l := &c.spec.Labels[i]
		role, given := o.roles[l.Name]
		switch {
		case o.count != "":
			l.Role = vision.Ignored
			if l.Name == o.count {
				l.Role = vision.PartRole
			}
		case given:
			l.Role = role
		case m != nil && o.labels == "":
			l.Role = manifest[l.Name]
		case slices.Contains(c.rule.Labels(), l.Name):
			l.Role = vision.DefectRole
		default:
			l.Role = vision.PartRole
		}
		found[l.Role] = true
	}
	for _, l := range c.spec.Labels {
		if slices.Contains(c.rule.Labels(), l.Name) && l.Role != vision.DefectRole {
			return about("rule", fmt.Errorf("rule %s: label %q has the role %v, so it could never fail a part: name a defect, or give it the role defect", c.rule, l.Name, l.Role))
		}
	}
	if c.rule.Module == rules.Threshold && len(c.rule.Labels()) == 0 && !found[vision.DefectRole] {
		return about("rule", fmt.Errorf("rule %s: no label of the model is a defect, so it could never fail a part: name the label, as in threshold:%s>0.5, or give it the role defect",
			c.rule, c.spec.Labels[0].Name))
	}
	return nil
}

// unknown is an error about the first label that the model hasn't.
func (c *choice) unknown(names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(c.spec.Labels, func(l infer.Label) bool { return l.Name == name }) {
			return fmt.Errorf("label %q: the model doesn't know it; its labels are %s", name, c.labelNames())
		}
	}
	return nil
}

func (c *choice) labelNames() string {
	var names []string
	for _, l := range c.spec.Labels {
		if names = append(names, l.Name); len(names) == 100 {
			return strings.Join(names, ", ") + fmt.Sprintf(", … (%d in all)", len(c.spec.Labels))
		}
	}
	return strings.Join(names, ", ")
}

// labelledAs tells whether two models have the same labels in the same order.
func (c *choice) labelledAs(o *choice) bool {
	return slices.EqualFunc(c.spec.Labels, o.spec.Labels, func(x, y infer.Label) bool { return x.Name == y.Name })
}

func (c *choice) roles() map[string]vision.Role {
	roles := map[string]vision.Role{}
	for _, l := range c.spec.Labels {
		roles[l.Name] = l.Role
	}
	return roles
}

// hasPart tells whether any label makes parts.
func (c *choice) hasPart() bool {
	return slices.ContainsFunc(c.spec.Labels, func(l infer.Label) bool { return l.Role == vision.PartRole })
}

func keys(m map[string]vision.Role) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
