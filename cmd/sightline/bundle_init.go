package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/cmd/internal/modelfile"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/rules"
)

// The files that init writes; bundles may name them otherwise.
const (
	modelFile = "model.onnx"
	cardFile  = "MODEL_CARD.md"
)

// initOptions are the flags of bundle init.
type initOptions struct {
	model, name, version, labels, rule, licence string

	family, preset, size, activation string
}

func newBundleInit() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init DIR --model FILE",
		Short: "begin a bundle's folder around an exported model",
		Long: `init copies an ONNX model into a folder and writes manifest.yaml and a template of
the model card beside it. What it can, it takes from the file; it says what that
was, and what you must look over. What the file leaves open (its family, how
pictures are fed to it, its size) is asked for, never guessed: a wrong one gives
wrong boxes. Weights that lie in a second file are put into the model.

The labels that the rule names get the role defect, all others the role part.`,
		Example: `  sightline bundle init caps --model best.onnx
  sightline bundle init caps --model best.onnx --name caps --version 1.3.0 --rule 'threshold:scratch>0.5,dent>0.6'
  sightline bundle init bottles --model yolox.onnx --family yolox --labels coco`,
		Args: bundleArg("the new bundle's folder", "init caps/ --model best.onnx"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cli.Required("model", o.model, "best.onnx"); err != nil {
				return err
			}
			return o.run(cmd.OutOrStdout(), args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.model, "model", "", "the model, an ONNX file")
	f.StringVar(&o.name, "name", "", "what stations will follow; default the folder's name")
	f.StringVar(&o.version, "version", "1.0.0", "of the bundle")
	f.StringVar(&o.family, "family", "", "how the model is read, if the file doesn't tell: "+families())
	f.StringVar(&o.preset, "preset", "", "how pictures are fed to a model whose file doesn't tell: the refusal lists what there is, as torchvision or timm")
	f.StringVar(&o.size, "size", "", "WIDTHxHEIGHT of the input of a model that takes any, as 640x640; default its metadata's")
	f.StringVar(&o.activation, "activation", "", "what makes scores of a model's values, where its last operator doesn't tell: none, sigmoid or softmax")
	f.StringVar(&o.labels, "labels", "", "class names: a file with one a line, coco or coco91; default the file's own")
	f.StringVar(&o.rule, "rule", "", "rule, as 'threshold:scratch>0.5', or a .wasm file, which is copied")
	f.StringVar(&o.licence, "licence", "", "SPDX identifier of the weights' licence; default the file's own")
	return cmd
}

func families() string {
	var names []string
	for _, f := range infer.Families() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// draft is what init makes of a model.
type draft struct {
	data   []byte
	info   infer.Info
	spec   infer.Spec
	rule   rules.Spec // zero without one
	module []byte     // the rule's own file
	said   []string   // what was taken from where
	open   []string   // what a person must look over
}

func (o *initOptions) run(w io.Writer, dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, bundle.ManifestFile)); err == nil {
		return fmt.Errorf("begin bundle: %s has a %s already: edit it, or name another folder", dir, bundle.ManifestFile)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("begin bundle: %w", err)
	}
	d, err := o.draft(dir)
	if err != nil {
		return fmt.Errorf("begin bundle: %w", err)
	}
	manifest := o.manifest(d)
	if _, faults := bundle.ParseFaulty(manifest); len(faults) > 0 {
		return fmt.Errorf("begin bundle: %w", errors.Join(faults...))
	}
	if err := o.write(d, dir, manifest); err != nil {
		return fmt.Errorf("begin bundle: %w", err)
	}
	var b strings.Builder
	for _, s := range d.said {
		fmt.Fprintf(&b, "%s\n", clean(s))
	}
	for _, s := range d.open {
		fmt.Fprintf(&b, "look over: %s\n", clean(s))
	}
	fmt.Fprintf(&b, "%s: written; sightline bundle lint %s tells what is left to do\n", filepath.Join(dir, bundle.ManifestFile), dir)
	_, err = io.WriteString(w, b.String())
	return err
}

func (o *initOptions) draft(dir string) (*draft, error) {
	d := &draft{}
	var err error
	if d.data, err = modelfile.Read(o.model); err != nil {
		return nil, fmt.Errorf("%s: %w", o.model, err)
	}
	if d.info, err = infer.Describe(d.data); err != nil {
		return nil, fmt.Errorf("%s: %w", o.model, err)
	}
	opts := infer.Options{Family: o.family, Preset: o.preset, Activation: infer.Activation(o.activation)}
	if opts.Width, opts.Height, err = modelfile.Size(o.size); err != nil {
		return nil, cli.Usage("--size %v", err)
	}
	if o.labels != "" {
		if opts.Labels, err = infer.ReadLabels(o.labels); err != nil {
			return nil, err
		}
	}
	if o.family == "" && d.info.Family == "" {
		_, err := d.info.Spec(opts) // it knows why
		return nil, fmt.Errorf("%s: %w; it becomes the line family: F under model: in %s", o.model, err, bundle.ManifestFile)
	}
	if d.spec, err = d.info.Spec(opts); err != nil {
		return nil, fmt.Errorf("%s: %w", o.model, err)
	}
	o.sayFamily(d)
	if err := o.nameOf(d, dir); err != nil {
		return nil, err
	}
	o.sayLabels(d)
	return d, o.draftRule(d)
}

// whyFamily tells where the family comes from.
func (o *initOptions) whyFamily(d *draft) string {
	if o.family != "" {
		return "--family"
	}
	return d.info.Why
}

// whyInput tells where the pre-processing comes from.
func (o *initOptions) whyInput(d *draft) string {
	why := "as the family's own tools feed it"
	if o.preset != "" {
		why = "--preset " + o.preset
	} else if d.info.Preset != "" && d.info.Family == d.spec.Family {
		why = "as " + d.info.Preset + " feeds it"
	}
	if slices.ContainsFunc(d.info.Inputs, func(t infer.Tensor) bool { return t.Type == "uint8" }) {
		why = "levels as uint8 takes them, else " + why
	}
	return why
}

// sayFamily tells where the family and the pre-processing come from.
func (o *initOptions) sayFamily(d *draft) {
	d.said = append(d.said, fmt.Sprintf("family %s, by %s: input %s, output %s", d.spec.Family, o.whyFamily(d), shapes(d.info.Inputs), shapes(d.info.Outputs)))
	in := d.spec.Input
	d.said = append(d.said, fmt.Sprintf("input %d×%d, %s: %s", in.Width, in.Height, in.Line(), o.whyInput(d)))
	d.open = append(d.open, "model.input, if the model was trained with another mean, scale or colour order: no file tells")
}

func (o *initOptions) sayLabels(d *draft) {
	var names []string
	for _, l := range d.spec.Labels {
		names = append(names, l.Name)
	}
	switch {
	case o.labels != "":
		d.said = append(d.said, "labels of "+o.labels+": "+listed(names))
	case d.info.Labels != nil:
		d.said = append(d.said, "labels of the file's metadata: "+listed(names))
	default:
		d.open = append(d.open, "model.labels: the file names none of its "+several(len(names), "class")+", so they are called "+listed(names))
	}
	d.open = append(d.open, "the role of each label: part (gets a verdict), defect (belongs to a part), ignored")
	o.licence = cmp.Or(o.licence, licenceOf(d.info.License))
	if o.licence == "" {
		d.open = append(d.open, "licence: neither the file nor --licence tells one")
	} else if d.info.License != "" {
		d.said = append(d.said, "licence of the file's metadata: "+d.info.License)
	}
	if why := agpl(o.licence, d.info.License); why != "" {
		d.open = append(d.open, "licence: "+why)
	}
}

// agpl says what an AGPL licence means to a factory, "" if neither of the texts
// names one.
func agpl(licences ...string) string {
	for _, l := range licences {
		if strings.Contains(strings.ToUpper(l), "AGPL") {
			return licenceOf(l) + " obliges whoever ships the model, or lets others use it over a network, to offer the sources of what it is part of: ask your lawyer, or its maker for another licence"
		}
	}
	return ""
}

// licenceOf is the SPDX identifier in what tools write, as "AGPL-3.0 License
// (https://…)"; "" if that holds none.
func licenceOf(text string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	if !regexp.MustCompile(`^[A-Za-z0-9.+-]+$`).MatchString(first) {
		return ""
	}
	return first
}

var notInName = regexp.MustCompile(`[^a-z0-9._-]+`)

// nameOf takes the folder's name for the bundle's.
func (o *initOptions) nameOf(d *draft, dir string) error {
	if o.name != "" {
		return nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	o.name = strings.Trim(notInName.ReplaceAllString(strings.ToLower(filepath.Base(abs)), "-"), "-._")
	if o.name == "" {
		return cli.Usage("no name can be made of %s: pass --name", dir)
	}
	d.said = append(d.said, "name "+o.name+", of the folder")
	return nil
}

// draftRule checks the rule against the labels and gives those it names their role.
func (o *initOptions) draftRule(d *draft) (err error) {
	if o.rule == "" {
		return nil
	}
	if d.rule, err = rules.Parse(o.rule); err != nil {
		return err
	}
	if d.rule.Module != rules.Threshold {
		d.module, err = os.ReadFile(d.rule.Module)
		d.rule.Module = filepath.Base(d.rule.Module)
		return err
	}
	for _, name := range d.rule.Labels() {
		if !slices.ContainsFunc(d.spec.Labels, func(l infer.Label) bool { return l.Name == name }) {
			return fmt.Errorf("rule %s: the model has no label %q", d.rule, name)
		}
	}
	return nil
}

// manifest is the text of the manifest, for people to edit.
func (o *initOptions) manifest(d *draft) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("manifest: %d", bundle.Version)
	line("name: %s", strconv.Quote(o.name))
	line("version: %s", strconv.Quote(o.version))
	line("licence: %s # of the weights, as an SPDX identifier", strconv.Quote(o.licence))
	line("model:")
	line("  file: %s", modelFile)
	line("  sha256: %q", fileSum(d.data))
	line("  family: %s # %s", d.spec.Family, clean(o.whyFamily(d)))
	line("  labels: # in the order of the model's classes; role: part, defect or ignored")
	defects := d.rule.Labels()
	for _, l := range d.spec.Labels {
		role := "part"
		if slices.Contains(defects, l.Name) {
			role = "defect"
		}
		line("    - {name: %s, role: %s}", strconv.Quote(l.Name), role)
	}
	o.settings(d, line)
	switch {
	case d.rule.Module == rules.Threshold:
		line("rule: {standard: %s, when: %s}", rules.Threshold, strconv.Quote(d.rule.Params))
	case d.rule.Module != "" && d.rule.Params != "":
		line("rule: {module: %s, params: %s}", strconv.Quote(d.rule.Module), strconv.Quote(d.rule.Params))
	case d.rule.Module != "":
		line("rule: {module: %s}", strconv.Quote(d.rule.Module))
	default:
		line(`# rule: {standard: threshold, when: "defect>0.5"}`)
	}
	line("card: %s", cardFile)
	return []byte(b.String())
}

// settings writes how the model is read, all of it: nothing is left to the
// defaults of whatever program reads it.
func (o *initOptions) settings(d *draft, line func(format string, args ...any)) {
	s := d.spec
	line("  size: [%d, %d] # width and height of the input", s.Input.Width, s.Input.Height)
	line("  input: {%s} # %s", s.Input.Line(), clean(o.whyInput(d)))
	if s.Activation != "" {
		line("  activation: %s # what still makes scores of the model's values", s.Activation)
	}
	line("  confidence: %v", s.Confidence)
	line("  nms: %v", s.NMS)
	line("  max_detections: %d", s.MaxDetections)
	if s.Pixel != 0 {
		line("  pixel: %v # pixels that score at least this belong to a region", s.Pixel)
	}
	if s.MinArea != 0 {
		line("  min_area: %d # regions of fewer pixels of the picture don't count", s.MinArea)
	}
}

// write makes the files, the manifest last: a folder with one is whole.
func (o *initOptions) write(d *draft, dir string, manifest []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := []struct {
		name string
		data []byte
	}{{modelFile, d.data}, {cardFile, []byte(o.card(d))}, {bundle.ManifestFile, manifest}}
	if d.module != nil {
		files = slices.Insert(files, 0, files[0])
		files[0].name, files[0].data = d.rule.Module, d.module
	}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if old, err := os.ReadFile(path); err == nil && (string(old) == string(f.data) || f.name == cardFile) {
			continue // the model that lies there already, or a card that somebody wrote
		} else if err == nil {
			return fmt.Errorf("%s is there already, and is another: move it away, or name another folder", path)
		}
		if err := os.WriteFile(path, f.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// card is a template of the model card.
func (o *initOptions) card(d *draft) string {
	var names []string
	for _, l := range d.spec.Labels {
		names = append(names, "`"+l.Name+"`")
	}
	return fmt.Sprintf(`# %s

What it finds, on what, under which light: %[2]s.

| | |
|---|---|
| Licence | %[3]s |
| File | %[4]s, %[5]d bytes, made by %[6]s |
| Input | %[7]s |
| Output | %[8]s |
| Labels | %[9]s |

## Data

How many pictures of what, taken where, labelled by whom: %[2]s.

## Figures

On pictures that it never saw: %[2]s.

## Limits

What it can't see, and where it must not be used: %[2]s.
`, o.name, untold, cmp.Or(o.licence, untold), modelFile, len(d.data), cmp.Or(d.info.Producer, "an unknown tool"),
		shapes(d.info.Inputs), shapes(d.info.Outputs), listed(names))
}
