package main

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/cmd/internal/modelfile"
	"github.com/sightline-edge/sightline/vision/infer"
)

// checkModel looks at the model's file, and at whether the manifest reads it as
// what it is.
func (l *lint) checkModel() {
	m := &l.manifest.Model
	if !l.has("model.file", m.File) {
		return
	}
	if size := l.files[m.File]; size > infer.MaxModel {
		l.error("model.file", "", "%s has %d bytes, a device reads at most %d", m.File, size, infer.MaxModel)
		return
	}
	data, err := fs.ReadFile(l.fsys, m.File)
	if err != nil {
		l.error("model.file", "", "%v", err)
		return
	}
	if sum := fileSum(data); sum != m.SHA256 {
		l.error("model.sha256", "if this is the right file, write sha256: "+sum, "%s has the SHA-256 %.8s…, the manifest says %.8s…", m.File, sum, m.SHA256)
	}
	outside, err := infer.External(data)
	for _, name := range outside {
		l.named[path.Join(path.Dir(m.File), name)] = true
		l.warn("model.file", "make one file of both: sightline bundle init NEW --model "+m.File, "weights lie in %s, which model.sha256 doesn't cover", name)
	}
	if err == nil {
		data, err = modelfile.Whole(l.fsys, m.File, data)
	}
	var info infer.Info
	if err == nil {
		info, err = infer.Describe(data)
	}
	if err != nil {
		l.error("model.file", "", "%s: %v", m.File, err)
		return
	}
	l.info = &info
	switch {
	case info.Family == "":
		l.warn("model.family", "look at boxes before you publish: sightline-agent predict --model DIR --images PICTURES",
			"the file doesn't tell its family: %s is your word for it", m.Family)
	case string(info.Family) != strings.ToLower(m.Family):
		l.error("model.family", "write family: "+string(info.Family), "it says %s, but the file is of family %s (%s)", m.Family, info.Family, info.Why)
	}
	if info.License != "" && info.License != l.manifest.Licence && licenceOf(info.License) != l.manifest.Licence {
		l.warn("licence", "ask whoever trained it which one holds", "the manifest says %q, the model's metadata %q", l.manifest.Licence, info.License)
	}
	l.checkTensors()
}

// terms is the licence that the model's metadata tell, "" without.
func (l *lint) terms() string {
	if l.info == nil {
		return ""
	}
	return l.info.License
}

// checkTensors tells what inputs and outputs cost, or lose.
func (l *lint) checkTensors() {
	for _, t := range l.info.Outputs {
		if t.Type == "float16" {
			l.warn("model.file", "export it with outputs of float32", "the output %v has three digits: devices may differ on scores next to a threshold", t)
		}
	}
	for _, t := range l.info.Inputs {
		if len(t.Shape) == 4 && t.Shape[0] > 1 {
			l.warn("model.file", "export it with batch 1", "the input %v takes %d pictures at a time and gets one: the others are computed for nothing", t, t.Shape[0])
		}
	}
}

// checkLabels compares the manifest's labels and settings with the model.
func (l *lint) checkLabels() {
	m := &l.manifest.Model
	names, parts, numbered := []string{}, 0, 0
	for i, label := range m.Labels {
		names = append(names, label.Name)
		if label.Role == "part" {
			parts++
		}
		if label.Name == fmt.Sprintf("class%d", i) {
			numbered++
		}
	}
	switch {
	case len(names) == 0:
		l.error("model.labels", "name the model's classes in its order, each with its role: part, defect or ignored", "there are none, so nothing that the model finds would count")
	case parts == 0:
		l.error("model.labels", "give the part's label the role part", "none has the role part, so nothing would be inspected")
	}
	if numbered > 0 && numbered == len(names) {
		l.warn("model.labels", "name them: these stand on every page and in every report", "nobody has named the classes: they are called %s", listed(names))
	}
	if l.info == nil {
		return
	}
	opts := modelfile.Options(*m)
	opts.Labels = nil // as many as the model has
	spec, err := l.info.Spec(opts)
	switch {
	case err != nil && l.info.Labels == nil && len(names) > 0:
		opts.Labels = names // a shape that tells no classes
		if spec, err = l.info.Spec(opts); err != nil {
			l.unreadable(err)
			return
		}
	case err != nil:
		l.unreadable(err)
		return
	case len(names) > 0 && len(names) != len(spec.Labels):
		l.error("model.labels", "name all of them in the model's order", "%d are named, the model has %s", len(names), several(len(spec.Labels), "class"))
	}
	l.checkInput(spec.Input)
	if l.info.Labels == nil || len(names) != len(l.info.Labels) {
		return
	}
	for i, name := range names {
		if name != l.info.Labels[i] {
			l.warn("model.labels", "correct it, unless you renamed it on purpose", "class %d is %q here and %q in the model's metadata", i, name, l.info.Labels[i])
		}
	}
}

// unreadable tells why the model can't be read as the manifest says. What to do
// stands in further lines of the error, if any.
func (l *lint) unreadable(err error) {
	what, do, _ := strings.Cut(err.Error(), "\n")
	l.error("model", do, "%s", what)
}

// checkInput tells what of the pre-processing the manifest leaves open.
func (l *lint) checkInput(in infer.Input) {
	open := slices.DeleteFunc(l.manifest.Model.Input.Open(), func(key string) bool {
		switch key { // what everybody takes for none
		case "mean":
			return in.Mean == [3]float64{}
		case "std":
			return in.Std == [3]float64{} || in.Std == [3]float64{1, 1, 1}
		case "interpolation":
			return in.Interpolation == "" || in.Interpolation == infer.Linear
		}
		return false
	})
	if len(open) > 0 {
		l.warn("model.input", "write what is meant: input: {"+in.Line()+"}", "%s: left to the family's defaults", strings.Join(open, ", "))
	}
}
