package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/shm"
	"github.com/sightline-edge/sightline/vision/track"
)

// heldOut is how many pictures that the golden vectors don't show tell whether
// a mutation does harm.
const heldOut = 24

// mutation is what is let loose on the gate.
type mutation struct {
	kind mutant.Kind
	seed uint64
}

// mutations are n of all kinds in turn, those that have only one form once.
func mutations(n int) []mutation {
	var list []mutation
	for seed := uint64(1); ; seed++ {
		for _, k := range mutant.Kinds() {
			if single := k == mutant.Colour || k == mutant.Resize; single && seed > 1 {
				continue
			}
			if list = append(list, mutation{k, seed}); len(list) == n {
				return list
			}
		}
	}
}

// tally counts what became of one kind's mutations.
type tally struct {
	all, refused, visible, harmless, unseen int
}

// TestMutatedBundles: none passes whose mutation moves a golden output beyond
// tolerance. What a bundle does is found out without the gate's code. Eight of
// the mutations by default, 100 with SIGHTLINE_FAULTS=full.
func TestMutatedBundles(t *testing.T) {
	r := newMutantRig(t)
	list := mutations(100)
	if os.Getenv("SIGHTLINE_FAULTS") != "full" {
		list = []mutation{{mutant.Noise, 1}, {mutant.Zero, 2}, {mutant.Flip, 4}, {mutant.Labels, 1}, {mutant.Colour, 1}, {mutant.Mean, 1}, {mutant.NMS, 1}, {mutant.When, 1}}
	}
	tallies := map[mutant.Kind]*tally{}
	for n, m := range list {
		dir := filepath.Join(t.TempDir(), "bundle")
		made, err := mutant.Write(os.DirFS(r.good), dir, m.kind, m.seed)
		if err != nil {
			t.Fatal(err)
		}
		k := tallies[m.kind]
		if k == nil {
			k = &tally{}
			tallies[m.kind] = k
		}
		k.all++
		report, golden, held := r.examine(t, dir)
		moved, harm := r.moved(r.golden, golden), r.moved(r.held, held)
		switch {
		case moved != "" && report.OK():
			t.Errorf("%v passed, though %s", made, moved)
		case !report.OK():
			k.refused++
			if moved != "" {
				k.visible++
			}
		case harm == "":
			k.harmless++
		default:
			k.unseen++
		}
		t.Logf("%3d %v: ok %v; golden: %s; held out: %s; %s", n, made, report.OK(), moved, harm, report.Reason())
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Log("\n" + table(tallies))
}

// table is the one of docs/golden-gate.md.
func table(tallies map[mutant.Kind]*tally) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| Mutation\t| Bundles\t| Refused\t| of these only by raw outputs\t| Passed, harmless\t| Passed, unseen\t|")
	fmt.Fprintln(w, "|---\t|---:\t|---:\t|---:\t|---:\t|---:\t|")
	sum := tally{}
	line := func(name string, k tally) {
		fmt.Fprintf(w, "| %s\t| %d\t| %d\t| %d\t| %d\t| %d\t|\n", name, k.all, k.refused, k.refused-k.visible, k.harmless, k.unseen)
	}
	for _, kind := range mutant.Kinds() {
		if k := tallies[kind]; k != nil {
			line(string(kind), *k)
			sum.all, sum.refused, sum.visible = sum.all+k.all, sum.refused+k.refused, sum.visible+k.visible
			sum.harmless, sum.unseen = sum.harmless+k.harmless, sum.unseen+k.unseen
		}
	}
	line("**all**", sum)
	w.Flush()
	return b.String()
}

// outcome is what a bundle says about one picture, found out without the gate.
type outcome struct {
	dets     []vision.Detection
	verdicts []vision.Verdict // of the parts
	boxes    []vision.Box
	run      time.Duration // of the model
}

// mutantRig is a good bundle with golden vectors, and what it says.
type mutantRig struct {
	made         *assembly
	good         string
	goldenFiles  []string
	heldFiles    []string
	golden, held []outcome
	tol          bundle.Tolerance
	lowest       float32
}

func newMutantRig(t *testing.T) *mutantRig {
	t.Helper()
	programs, err := findPrograms(config.Infer{})
	if err != nil {
		t.Skip("left out: ", err)
	}
	r := &mutantRig{good: filepath.Join(t.TempDir(), "good"), tol: gate.DefaultTolerance}
	if r.made, err = newAssembly(t.Context(), programs, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.made.close(context.Background()) })
	names, err := mutant.Drawn(r.good, mutant.GoldenPictures)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		r.goldenFiles = append(r.goldenFiles, filepath.Join(r.good, name))
	}
	held := t.TempDir()
	if names, err = mutant.Draw(held, "held", 99, heldOut); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		r.heldFiles = append(r.heldFiles, filepath.Join(held, name))
	}
	record(t, r.made, r.good, r.goldenFiles)
	report, golden, out := r.examine(t, r.good)
	if !report.OK() {
		t.Fatalf("the good bundle: %s", report.Reason())
	}
	r.golden, r.held = golden, out
	return r
}

// record gives a bundle's folder golden vectors.
func record(t *testing.T, made *assembly, dir string, files []string) {
	t.Helper()
	pictures, names := bundle.Place(dir, files)
	g, err := made.record(t.Context(), dir, pictures, names, recordOptions{threads: 1})
	if err == nil {
		err = pictures.Keep(dir, g)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// examine runs the gate on a bundle, and what it does with golden and held out
// pictures by itself.
func (r *mutantRig) examine(t *testing.T, dir string) (report *gate.Report, golden, held []outcome) {
	t.Helper()
	c, g, err := loadBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.made.subject(t.Context(), track.Pictures, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	r.lowest = max(r.lowest, s.Lowest)
	err = withWorker(t.Context(), s, func(ctx context.Context) error {
		var err error
		if report, err = gate.Run(ctx, s, os.DirFS(dir), g, nil); err != nil {
			return err
		}
		if golden, err = look(ctx, s, r.goldenFiles); err != nil {
			return err
		}
		held, err = look(ctx, s, r.heldFiles)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return report, golden, held
}

// look is what predict and a station in still pictures do.
func look(ctx context.Context, s gate.Subject, files []string) ([]outcome, error) {
	var all []outcome
	cfg := s.Track
	cfg.Mode = track.Stills
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var pool *shm.Pool
		frame, err := picture.Decode(data, func(w, h int) ([]byte, error) {
			var err error
			if pool, err = shm.NewPool(1, 1, 3*w*h); err != nil {
				return nil, err
			}
			return pool.Slot(0)[:3*w*h], nil
		})
		if err != nil {
			return nil, err
		}
		result, err := s.Worker.Infer(ctx, &frame, pool, 0)
		s.Worker.Forget(pool)
		pool.Release()
		if err != nil && !errors.Is(err, infer.ErrTimeLimit) {
			return nil, err
		}
		o := outcome{dets: result.Detections, run: result.Run}
		tracker := track.New(cfg)
		tracker.Update(track.Frame{Seq: 1, Width: frame.Width, Height: frame.Height}, result.Detections)
		for _, p := range tracker.Flush() {
			o.boxes = append(o.boxes, p.Box)
			o.verdicts = append(o.verdicts, s.Rule.Decide(ctx, p, frame.Width, frame.Height).Verdict)
		}
		all = append(all, o)
	}
	return all, nil
}

// moved says what is beyond tolerance between two outcomes, "" if nothing is.
// It finds for each thing any that fits, so what it tells is certain.
func (r *mutantRig) moved(was, is []outcome) string {
	for i := range was {
		for _, pair := range [2][2]outcome{{was[i], is[i]}, {is[i], was[i]}} {
			for _, d := range pair[0].dets {
				if d.Score > r.lowest+r.tol.Score && !r.there(d, pair[1].dets) {
					return fmt.Sprintf("picture %d: %s %.3f at %v has no fellow", i, d.Label, d.Score, d.Box)
				}
			}
			for n, box := range pair[0].boxes {
				found := false
				for m, other := range pair[1].boxes {
					found = found || box.IoU(other) >= r.tol.IoU && pair[0].verdicts[n] == pair[1].verdicts[m]
				}
				if !found {
					return fmt.Sprintf("picture %d: part at %v, %v, has no fellow", i, box, pair[0].verdicts[n])
				}
			}
		}
	}
	return ""
}

func (r *mutantRig) there(d vision.Detection, among []vision.Detection) bool {
	for _, o := range among {
		if diff := d.Score - o.Score; o.Label == d.Label && diff <= r.tol.Score && diff >= -r.tol.Score && o.Box.IoU(d.Box) >= r.tol.IoU {
			return true
		}
	}
	return false
}
