package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/rules"
)

// checkFiles looks at names and kinds, all of them, and then at the whole.
func (l *lint) checkFiles() {
	err := fs.WalkDir(l.fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || p == bundle.SumsFile {
			return err
		}
		if err := bundle.CheckPath(p); err != nil {
			l.error(p, "rename it, or take it out of the folder", "%v", err)
			return nil
		}
		if !d.Type().IsRegular() {
			l.error(p, "put the file itself there", "it is no regular file, and a bundle holds nothing else")
			return nil
		}
		st, err := d.Info()
		if err == nil {
			l.files[p] = st.Size()
		}
		return err
	})
	if err == nil && len(l.found) == 0 {
		_, err = bundle.List(l.fsys)
	}
	if err != nil {
		l.error("the folder", "", "%v", err)
	}
}

func (l *lint) checkManifest() {
	b, err := fs.ReadFile(l.fsys, bundle.ManifestFile)
	if errors.Is(err, fs.ErrNotExist) {
		l.error(bundle.ManifestFile, "sightline bundle init DIR --model FILE writes one", "there is none")
		return
	}
	if err == nil {
		_, err = bundle.Read(l.fsys) // its size, too
	}
	if err == nil {
		l.manifest, _ = bundle.ParseFaulty(b) // Read checked it
		return
	}
	m, all := bundle.ParseFaulty(b)
	if len(all) == 0 {
		all = []error{err}
	}
	for _, fault := range all {
		where, what, ok := strings.Cut(fault.Error(), ": ")
		if !ok || strings.ContainsAny(where, " \n") {
			where, what = bundle.ManifestFile, fault.Error()
		}
		l.error(where, "", "%s", what)
	}
	l.manifest = m
}

// has tells whether a file that the manifest names is there, and finds fault if not.
func (l *lint) has(key, file string) bool {
	if file == "" || bundle.CheckPath(file) != nil {
		return false // the manifest's check told it
	}
	l.named[file] = true
	if _, err := fs.Stat(l.fsys, file); err != nil {
		l.error(key, "put the file into the folder, or correct the name", "%s is not in the bundle", file)
		return false
	}
	return true
}

func (l *lint) checkRule(ctx context.Context) {
	r := l.manifest.Rule
	if r.Spec() == "" {
		l.warn("rule", `write rule: {standard: threshold, when: "defect>0.5"}, or give each station its own`, "there is none: parts get NONE (no_rule)")
		return
	}
	if r.Module != "" {
		if l.has("rule.module", r.Module) {
			if err := l.loadModule(ctx, r); err != nil {
				l.error("rule.module", "", "%v", err)
			}
		}
		return
	}
	spec, err := rules.Parse(r.Spec())
	if err != nil {
		l.error("rule", "", "%v", err)
		return
	}
	defects := 0
	role := map[string]string{}
	names := []string{}
	for _, label := range l.manifest.Model.Labels {
		role[label.Name] = label.Role
		names = append(names, label.Name)
		if label.Role == "defect" {
			defects++
		}
	}
	for _, name := range spec.Labels() {
		switch got, ok := role[name]; {
		case !ok:
			l.error("rule", "correct the name; the labels are "+listed(names), "it asks for label %q, which the model doesn't have", name)
		case got != "defect":
			l.error("model.labels", "give it the role defect, or name another in the rule", "the rule asks for %q, whose role is %s: it could never fail a part", name, got)
		}
	}
	if len(spec.Labels()) == 0 && defects == 0 {
		l.error("rule", "give the defects' labels the role defect", "no label has the role defect, so it could never fail a part")
	}
}

// loadModule compiles the bundle's own rule and gives it its parameters.
func (l *lint) loadModule(ctx context.Context, r bundle.Rule) error {
	wasm, err := fs.ReadFile(l.fsys, r.Module)
	if err != nil {
		return err
	}
	e, err := rules.NewEngine(ctx, rules.Config{})
	if err != nil {
		return err
	}
	defer e.Close(ctx)
	module, err := e.Compile(ctx, r.Module, wasm)
	if err != nil {
		return err
	}
	_, err = module.Rule(ctx, r.Params)
	return err
}

// checkPapers looks at licence and card.
func (l *lint) checkPapers() {
	m := l.manifest
	if m.Licence == "" {
		l.warn("licence", "write the SPDX identifier of the weights' licence, as licence: Apache-2.0", "there is none: nobody can tell what may be done with the model")
	}
	if why := agpl(m.Licence, l.terms()); why != "" {
		what, do, _ := strings.Cut(why, ": ")
		l.warn("licence", do, "%s", what)
	}
	if m.Card == "" {
		l.warn("card", "write MODEL_CARD.md (data, figures, limits), and card: MODEL_CARD.md here", "there is no model card: nobody can tell what the model was made for")
		return
	}
	if !l.has("card", m.Card) {
		return
	}
	if b, err := fs.ReadFile(l.fsys, m.Card); err == nil && strings.Contains(string(b), untold) {
		l.warn("card", "fill in "+m.Card, "%s", several(strings.Count(string(b), untold), "thing")+" in it still "+untold)
	}
}

// again is what to do about golden vectors that don't fit.
const again = "record them again: sightline bundle golden DIR --pictures FILE…"

func (l *lint) checkGolden() {
	_, there := l.files[bundle.GoldenFile]
	switch {
	case l.manifest.Golden == "" && there:
		l.error("golden", "write golden: "+bundle.GoldenFile, "%s is in the folder, but the manifest doesn't name it: devices would pass it over", bundle.GoldenFile)
	case l.manifest.Golden == "":
		l.warn("golden", "record them: sightline bundle golden DIR --pictures FILE…", "there are no golden vectors: a device can't prove that the model works on its hardware")
		return
	case !l.has("golden", l.manifest.Golden):
		return
	}
	g, err := bundle.ReadGolden(l.fsys)
	if err != nil {
		for _, one := range faults(err) {
			l.error(bundle.GoldenFile, again, "%v", one)
		}
		for p := range l.files { // nobody can tell which pictures are meant
			l.named[p] = l.named[p] || path.Dir(p) == path.Dir(bundle.GoldenFile)
		}
		return
	}
	l.named[bundle.GoldenFile] = true
	known := map[string]bool{}
	for _, label := range l.manifest.Model.Labels {
		known[label.Name] = true
	}
	verdicts := map[string]int{}
	for _, v := range g.Vectors {
		verdicts[v.Verdict]++
		l.checkVector(v, known)
	}
	l.checkPinned(g)
	for _, want := range []string{"PASS", "FAIL"} {
		if verdicts[want] == 0 {
			l.warn(bundle.GoldenFile, "record a picture of such a part, too", "none of the %d pictures is a %s: a model that lost its eyes for that goes unseen", len(g.Vectors), want)
		}
	}
}

// checkPinned compares the settings with those that the vectors were recorded with.
func (l *lint) checkPinned(g *bundle.Golden) {
	now, err := bundle.Settings(l.manifest, l.fsys)
	if err != nil {
		return // of the rule's module, which is told elsewhere
	}
	for _, d := range g.OtherSettings(now) {
		l.error(bundle.GoldenFile, again, "the golden vectors were recorded with other settings: %s, the manifest has %s", cmp.Or(d[0], "nothing there"), cmp.Or(d[1], "nothing there"))
	}
	if g.Measured == nil {
		l.warn(bundle.GoldenFile, again, "the tolerances were chosen by hand: devices tell that the bundle is unmeasured")
	} else if g.Measured.Left != "" {
		l.warn(bundle.GoldenFile, "choose clearer pictures, or leave it so: devices that compute in that way may refuse the bundle", "not measured: %s", clean(g.Measured.Left))
	}
}

func (l *lint) checkVector(v bundle.Vector, known map[string]bool) {
	for _, d := range v.Detections {
		if !known[d.Label] {
			l.error(bundle.GoldenFile, again, "%s expects label %q, which the manifest doesn't have", v.Picture, d.Label)
			break
		}
	}
	if !l.has(bundle.GoldenFile, v.Picture) {
		return
	}
	b, err := fs.ReadFile(l.fsys, v.Picture)
	if err == nil {
		_, err = picture.Stat(b)
	}
	if err != nil {
		l.error(v.Picture, "", "%v", err)
	}
}

// checkUnnamed tells which files go along although nothing refers to them.
func (l *lint) checkUnnamed() {
	var names []string
	for p := range l.files {
		if !l.named[p] {
			names = append(names, p)
		}
	}
	if len(names) > 0 && l.manifest != nil {
		slices.Sort(names)
		l.warn("the folder", "take them out, unless they are meant to go to every device", "%s: nothing in the bundle refers to %s",
			listed(names), map[bool]string{true: "it", false: "them"}[len(names) == 1])
	}
}

// untold stands in a card's template for what only its author knows.
const untold = "(to be told)"

// shapes are tensors for a person.
func shapes(tensors []infer.Tensor) string {
	var all []string
	for _, t := range tensors {
		all = append(all, fmt.Sprint(t))
	}
	return listed(all)
}
