package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/score"
)

// Mutations of each shipped model: all, and of each kind of settings.
const (
	mutationsFull = 500
	settingsFull  = 15
)

// mutation is what is let loose on the gate.
type mutation struct {
	kind mutant.Kind
	seed uint64
}

// mutations are the full list for a bundle: each kind of settings settingsFull times
// or as often as it has forms, and all layers in turn by each kind of weights.
func mutations() []mutation {
	var list []mutation
	for _, k := range mutant.Kinds() {
		if slices.Contains(mutant.WeightKinds(), k) {
			continue
		}
		n := uint64(settingsFull)
		if k.Forms() > 0 {
			n = k.Forms()
		}
		for seed := range n {
			list = append(list, mutation{k, seed + 1})
		}
	}
	for seed := uint64(1); seed <= mutationsFull; seed++ { // the caller stops
		for _, k := range mutant.WeightKinds() {
			list = append(list, mutation{k, seed})
		}
	}
	return list
}

// tally counts what became of one kind's mutations.
type tally struct {
	all, refused, harmful     int // harmful: something moved on the held-out pictures, or beyond the widest tolerance on golden ones
	byRaw, bySettings, narrow int // refused by nothing else; narrow: by the tolerances of this provider alone
	harmless, unseen, loose   int // loose: unseen but for the narrow tolerances and raw outputs
}

func (k *tally) add(o tally) {
	k.all, k.refused, k.harmful, k.byRaw, k.bySettings, k.narrow = k.all+o.all, k.refused+o.refused, k.harmful+o.harmful, k.byRaw+o.byRaw, k.bySettings+o.bySettings, k.narrow+o.narrow
	k.harmless, k.unseen, k.loose = k.harmless+o.harmless, k.unseen+o.unseen, k.loose+o.loose
}

// TestMutatedBundles: none passes whose mutation moves a golden output beyond
// tolerance. What a bundle does is found out without the gate's code. Eight
// mutations of each shipped model by default, 500 with SIGHTLINE_FAULTS=full.
func TestMutatedBundles(t *testing.T) {
	both := map[mutant.Kind]*tally{}
	for _, model := range []string{"drawn-parts", "pitting"} {
		t.Run(model, func(t *testing.T) {
			r, tallies := newShippedRig(t, model), map[mutant.Kind]*tally{}
			list, most := []mutation{{mutant.Noise, 1}, {mutant.Zero, 2}, {mutant.Flip, 4}, {mutant.Clip, 3}, {mutant.Labels, 1}, {mutant.Mean, 1}, {mutant.Pixel, 1}, {mutant.NMS, 1}, {mutant.When, 1}}, 8
			if os.Getenv("SIGHTLINE_FAULTS") == "full" {
				list, most = mutations(), mutationsFull
			}
			for done := 0; len(list) > 0 && done < most; list = list[1:] {
				if r.try(t, model, list[0], tallies) {
					done++
				}
			}
			t.Log("\n" + table(tallies))
			for kind, k := range tallies {
				if both[kind] == nil {
					both[kind] = &tally{}
				}
				both[kind].add(*k)
			}
		})
	}
	t.Log("\n" + table(both))
}

// try lets one mutation loose; ok is false where the bundle has nothing of its kind.
func (r *mutantRig) try(t *testing.T, model string, m mutation, tallies map[mutant.Kind]*tally) (ok bool) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	made, err := mutant.Write(os.DirFS(r.good), dir, m.kind, m.seed)
	if errors.Is(err, mutant.ErrNothing) {
		return false
	} else if err != nil {
		t.Fatal(err)
	}
	wide := ""
	report, golden, held := r.examine(t, dir, func(golden []outcome) bool {
		wide = r.moved(r.golden, golden, r.within.Tolerance)
		return wide == "" // else it is known to do harm
	})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	narrow, _ := r.within.Within(report.Provider, report.Precision, runtime.GOARCH)
	moved, harm := r.moved(r.golden, golden, narrow), wide
	if wide == "" {
		harm = r.moved(r.held, held, narrow)
	}
	one := tally{all: 1, harmful: count(harm != "")}
	switch by := refusedBy(report); {
	case moved != "" && report.OK():
		t.Errorf("%s: %v passed, though %s", model, made, moved)
	case !report.OK():
		one.refused = 1
		one.byRaw, one.bySettings, one.narrow = count(by == gate.WhatOutput), count(by == gate.WhatSettings), count(by == "" && wide == "" && golden != nil)
		one.loose = count(by != gate.WhatSettings && wide == "" && harm != "" && golden != nil)
	default:
		one.harmless, one.unseen, one.loose = count(harm == ""), count(harm != ""), count(harm != "")
	}
	if tallies[m.kind] == nil {
		tallies[m.kind] = &tally{}
	}
	tallies[m.kind].add(one)
	t.Logf("%s: %v: %+v; golden: %s; held out: %s; %s", model, made, one, moved, harm, report.Reason())
	return true
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

// refusedBy is what alone a bundle was refused for, raw outputs or settings; "" for
// anything else.
func refusedBy(r *gate.Report) string {
	what := gate.WhatSettings
	for _, x := range r.Refusals {
		switch x.What {
		case gate.WhatSettings:
		case gate.WhatOutput:
			what = gate.WhatOutput
		default:
			return ""
		}
	}
	return what
}

// table is the one of docs/golden-gate.md.
func table(tallies map[mutant.Kind]*tally) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| Mutation\t| Bundles\t| Harmful\t| Refused\t| by settings alone\t| by raw outputs alone\t| by narrow tolerances alone\t| Passed, harmless\t| Passed, unseen\t| Unseen on another provider\t|")
	fmt.Fprintln(w, "|---\t|---:\t|---:\t|---:\t|---:\t|---:\t|---:\t|---:\t|---:\t|---:\t|")
	sum := tally{}
	line := func(name string, k tally) {
		fmt.Fprintf(w, "| %s\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t|\n", name, k.all, k.harmful, k.refused, k.bySettings, k.byRaw, k.narrow, k.harmless, k.unseen, k.loose)
	}
	for _, kind := range mutant.Kinds() {
		if k := tallies[kind]; k != nil {
			line(string(kind), *k)
			sum.add(*k)
		}
	}
	line("**all**", sum)
	w.Flush()
	bound := func(k int) string {
		return fmt.Sprintf("%d of %d, at most %.2f %% at 95 %%", k, sum.harmful, 100*score.Share{K: k, N: sum.harmful}.AtMost())
	}
	fmt.Fprintf(&b, "passed of those that do harm: %s; on another provider: %s\n", bound(sum.unseen), bound(sum.loose))
	return b.String()
}
