package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/track"
)

// cmdBundleDir: bundledir DIR N makes a bundle's folder of the shipped model
// with N drawn pictures in its folder golden.
func cmdBundleDir(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	_, err = mutant.Drawn(ts.MkAbs(args[0]), n)
	ts.Check(err)
}

// cmdMutate: mutate FROM TO KIND SEED makes a wrong copy of a bundle's folder.
func cmdMutate(ts *testscript.TestScript, _ bool, args []string) {
	seed, err := strconv.ParseUint(args[3], 10, 64)
	ts.Check(err)
	m, err := mutant.Write(os.DirFS(ts.MkAbs(args[0])), ts.MkAbs(args[1]), mutant.Kind(args[2]), seed)
	ts.Check(err)
	ts.Logf("%v", m)
}

// cmdPack: pack DIR FILE makes an archive of a bundle's folder.
func cmdPack(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	_, err = bundle.Pack(os.DirFS(ts.MkAbs(args[0])), f)
	ts.Check(err)
	ts.Check(f.Close())
}

// cmdTamper: tamper FILE SEED flips one bit.
func cmdTamper(ts *testscript.TestScript, _ bool, args []string) {
	seed, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	_, err = mutant.Tamper(ts.MkAbs(args[0]), seed)
	ts.Check(err)
}

// TestSlowBundlePassesTheGate: it answers the same, so that only probation can
// find it out.
func TestSlowBundlePassesTheGate(t *testing.T) {
	r := newMutantRig(t)
	slow := filepath.Join(t.TempDir(), "slow")
	if err := mutant.WriteSlow(os.DirFS(r.good), slow, 10); err != nil {
		t.Fatal(err)
	}
	fast, took := r.quickest(t, r.good), r.quickest(t, slow)
	t.Logf("the model takes %v, ten times slowed down %v", fast, took)
	if took < 4*fast {
		t.Errorf("ten times slowed down, the model takes %v instead of %v", took, fast)
	}
}

// quickest runs the gate and tells the shortest of the model's runs after it.
func (r *mutantRig) quickest(t *testing.T, dir string) time.Duration {
	t.Helper()
	c, g, err := loadBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.made.subject(t.Context(), track.Pictures, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	best := time.Hour
	err = withWorker(t.Context(), s, func(ctx context.Context) error {
		report, err := gate.Run(ctx, s, os.DirFS(dir), g, nil)
		if err != nil {
			return err
		}
		if !report.OK() {
			t.Errorf("%s is refused: %s", dir, report.Reason())
		}
		for range 3 {
			all, err := look(ctx, s, r.goldenFiles)
			if err != nil {
				return err
			}
			for _, o := range all {
				best = min(best, o.run)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return best
}
