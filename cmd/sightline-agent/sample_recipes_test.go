package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/publish"
)

// stickRig is a folder with signed bundles, as a USB stick has it.
type stickRig struct {
	t             *testing.T
	dir, good     string // good is a bundle's folder with golden vectors
	key           *publish.Key
	online        *publish.Online
	root, targets []byte
}

func newStickRig(t *testing.T, made *assembly) *stickRig {
	t.Helper()
	s := &stickRig{t: t, dir: t.TempDir()}
	s.good = filepath.Join(s.dir, "good")
	names, err := mutant.Drawn(s.good, 2)
	s.check(err)
	var files []string
	for _, name := range names {
		files = append(files, filepath.Join(s.good, name))
	}
	record(t, made, s.good, files)
	s.key, err = publish.NewKey()
	s.check(err)
	s.online, err = publish.OpenOnline(filepath.Join(s.dir, "keys"))
	s.check(err)
	roles := publish.Roles{Targets: s.key.Public(), Online: s.online.Keys()}
	var keys []*publish.Key
	for range 3 {
		k, err := publish.NewKey()
		s.check(err)
		keys, roles.Root = append(keys, k), append(roles.Root, k.Public())
	}
	s.root, err = publish.NewRoot(roles, time.Now().AddDate(1, 0, 0), keys[0], keys[1])
	s.check(err)
	return s
}

func (s *stickRig) check(errs ...error) {
	s.t.Helper()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

// sign adds the good bundle under a name and gives its digest.
func (s *stickRig) sign(name string) string {
	s.t.Helper()
	const version = "1.0.0"
	dir := filepath.Join(s.dir, name)
	s.check(os.CopyFS(dir, os.DirFS(s.good)), mutant.SetVersion(dir, name, version))
	var b bytes.Buffer
	digest, err := bundle.Pack(os.DirFS(dir), &b)
	s.check(err)
	list, err := bundle.Pieces(bytes.NewReader(b.Bytes()))
	s.check(err)
	path, ends := bundle.TargetPath(name, version), time.Now().AddDate(1, 0, 0)
	s.targets, err = publish.AddTarget(s.targets, s.root, path, int64(b.Len()), sha256.Sum256(b.Bytes()), sha256.Sum256(list), ends, s.key)
	s.check(err)
	file := filepath.Join(s.dir, "targets", filepath.Dir(path), digest+"."+filepath.Base(path))
	s.check(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, b.Bytes(), 0o600), os.MkdirAll(filepath.Join(s.dir, "metadata"), 0o750))
	snapshot, timestamp, err := s.online.Sign(s.root, s.targets, nil, nil, time.Now())
	s.check(err)
	files, err := publish.Files(s.root, s.targets, snapshot, timestamp)
	s.check(err)
	for name, data := range files {
		s.check(os.WriteFile(filepath.Join(s.dir, "metadata", name), data, 0o600))
	}
	return digest
}

// differs are what the warning golden_differs is about now.
func (r *plantRig) differs() (subjects []string) {
	for _, w := range r.plant.agent.Now().Health {
		if w.Code == health.GoldenDiffers.Code {
			subjects = append(subjects, w.Subject)
		}
	}
	slices.Sort(subjects)
	return subjects
}

// TestSampleOfRecipesOnBundles: golden pictures of the bundles of recipes that aren't
// active run on the workers that are kept for them, once each. A bundle that differs is
// told of each recipe that has it, goes through its whole gate again, and is left for
// what the recipe had before; the station goes on meanwhile.
func TestSampleOfRecipesOnBundles(t *testing.T) {
	recipes := []config.Recipe{
		{Name: "plain"}, {Name: "blue", Bundle: "blue", Model: "drawn-parts"}, {Name: "navy", Bundle: "blue", Model: "drawn-parts"}, {Name: "red", Bundle: "red"}}
	// Its pictures leave turns over, as those of a folder don't.
	r := newRigOver(t, 1, "", recipes, drawnCamera(t), config.Infer{Threads: 1})
	stick := newStickRig(t, r.plant.made)
	caps, blue := stick.sign("caps"), stick.sign("blue")
	stick.check(mirror.Pin(metadataDir(r.cfg.Data), stick.root), r.updates.open())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.updates.run(ctx) }()
	defer func() {
		stop()
		stick.check(<-done)
	}()
	stick.check(r.updates.install(t.Context(), stick.dir))
	units := []string{wire.Unit("one", "blue"), wire.Unit("one", "navy")}
	serve := func(want map[string]string) {
		t.Helper()
		for id, digest := range want {
			r.eventually(id+" has "+digest, func() bool {
				_, now, w := r.plant.serving(id)
				return now == digest && w != nil && !ended(w)
			})
		}
	}
	serve(map[string]string{"one": caps, units[0]: blue, units[1]: blue})
	r.tells("one", caps)

	sample := func() *sampler {
		s := newSampler(r.plant.made, r.cfg, make([]agent.StationConfig, 1), r.plant.agent, r.updates)
		s.all(t.Context())
		return s
	}
	_, _, w := r.plant.serving(units[0])
	before := w.Stats().Inferred
	sample()
	if n := w.Stats().Inferred - before; n != samplePictures {
		t.Errorf("%d golden pictures ran for recipes that aren't active, want %d", n, samplePictures)
	}
	if all := r.differs(); len(all) > 0 {
		t.Errorf("what is as recorded differs: %v", all)
	}

	dir, _, _ := r.plant.serving(units[0])
	move(t, filepath.Join(dir, bundle.GoldenFile))
	s := sample()
	if diff := cmp.Diff(units, r.differs()); diff != "" {
		t.Errorf("the warnings are about others (-want +got):\n%s", diff)
	}
	serve(map[string]string{"one": caps, units[0]: "", units[1]: ""})
	r.eventually("the warnings' end", func() bool {
		s.settle()
		return len(r.differs()) == 0
	})
	if v := r.plant.Vitals("one"); v.Digest != caps || v.Restarts != 0 {
		t.Errorf("the station meanwhile: %+v", v)
	}
	r.differsBeside("blue")
}

// differsBeside lets the golden pictures of station one's own bundle differ while it
// inspects with another recipe: it is told as the station's, which is apart from it.
func (r *plantRig) differsBeside(recipe string) {
	r.t.Helper()
	if _, err := r.plant.agent.SetRecipe(r.t.Context(), "one", recipe); err != nil {
		r.t.Fatal(err)
	}
	dir, _, _ := r.plant.serving("one")
	move(r.t, filepath.Join(dir, bundle.GoldenFile))
	newSampler(r.plant.made, r.cfg, make([]agent.StationConfig, 1), r.plant.agent, r.updates).all(r.t.Context())
	if all := r.differs(); !slices.Equal(all, []string{"one"}) {
		r.t.Errorf("the warnings are about %v, want station one", all)
	}
	if st := r.plant.agent.Now().Stations[0]; st.Recipe != recipe || !st.Apart {
		r.t.Errorf("it inspects with recipe %s, apart from its own: %v", st.Recipe, st.Apart)
	}
}

// move makes all recorded scores others.
func move(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var golden any
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	var shift func(any)
	shift = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if score, ok := v["score"].(float64); ok && v["label"] != nil {
				v["score"] = score - 0.3
			}
			for _, of := range v {
				shift(of)
			}
		case []any:
			for _, of := range v {
				shift(of)
			}
		}
	}
	shift(golden)
	if text, err = json.Marshal(golden); err == nil {
		err = errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, text, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}
