package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/track"
)

// frames is how long the belt runs in most tests.
const frames = 150

// undisturbed is what the belt tells without any switch.
func undisturbed(t *testing.T, l Loadout, frames int) map[int]vision.Verdict {
	t.Helper()
	b := newBelt(t, l, track.Stream)
	for range frames {
		b.step()
	}
	want := b.verdicts(b.finish())
	if len(want) < frames/12 {
		t.Fatalf("only %d parts in %d frames", len(want), frames)
	}
	return want
}

// TestSwitchUnderLoad: the belt always shows parts. Each gets the verdict that
// it gets without a switch, once: the former model's if it was in view when the
// switch began, else the new one's.
func TestSwitchUnderLoad(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	second.Model = shipped(t, "second", 0.1).Model
	second.Rule = ruleOf(t, "threshold:defect>0.301")
	works(t, second.Model)
	want := undisturbed(t, first, frames)

	b := newBelt(t, first, track.Stream)
	for range 50 {
		b.step()
	}
	inView := map[int]bool{}
	for _, p := range b.scene.Truth(b.n - 1) {
		inView[p.Part.Index] = true
	}
	cut, err := b.change(t.Context(), second)()
	if err != nil {
		t.Fatal(err)
	}
	for b.n < frames {
		b.step()
	}
	all := b.finish()
	if d := cmp.Diff(want, b.verdicts(all)); d != "" {
		t.Errorf("parts and verdicts differ from those without a switch:\n%s", d)
	}
	late := 0
	for _, i := range all {
		n := b.physical(i)
		switch {
		case inView[n] && i.Model.Name != "first":
			// Of a part that has just come in, the former model may have seen nothing.
			if late++; i.Part.First < 50 {
				t.Errorf("part %d was in view and judged by %s", n, i.Model.Name)
			}
		case !inView[n] && i.Part.First > 51 && i.Model.Name != "second":
			t.Errorf("part %d came later and was judged by %s", n, i.Model.Name)
		}
		if i.Model.Name == "second" && i.Seq <= cut.After {
			t.Errorf("verdict %d is the new loadout's, the cut is after %d", i.Seq, cut.After)
		}
		r := i.message(nil)
		if r.GetBundleDigest() != "digest of "+i.Model.Name || r.GetRule() != map[string]string{
			"first": first.Rule.Name(), "second": second.Rule.Name()}[i.Model.Name] {
			t.Errorf("the record of %s says bundle %q and rule %q", i.Model.Name, r.GetBundleDigest(), r.GetRule())
		}
	}
	if late > 1 {
		t.Errorf("%d parts in view at the cut were judged by the new model", late)
	}
	if cut.Epoch != b.journal.Epoch() {
		t.Errorf("the cut's epoch is %d", cut.Epoch)
	}
	stats := b.station.stats
	if stats.Inferred != frames || stats.Lost != 0 || b.station.recorder.Stats().Late != 0 {
		t.Errorf("%+v, %d late: want every frame inspected and none late", stats, b.station.recorder.Stats().Late)
	}
}

// TestSwitchBackAndForth: 20 switches, each as soon as the last is done, or when
// its new parts are still the former model's to judge.
func TestSwitchBackAndForth(t *testing.T) {
	loadouts := []Loadout{seeing(t, "first"), seeing(t, "second")}
	b := newBelt(t, loadouts[0], track.Stream)
	var cuts []Cut
	for n := range 20 {
		for range n % 7 { // from right after the last to well behind it
			b.step()
		}
		cut, err := b.change(t.Context(), loadouts[(n+1)%2])()
		if err != nil {
			t.Fatal(err)
		}
		cuts = append(cuts, cut)
	}
	all := b.finish()
	if d := cmp.Diff(undisturbed(t, loadouts[0], b.n), b.verdicts(all)); d != "" {
		t.Errorf("parts and verdicts differ from those without switches:\n%s", d)
	}
	for n, cut := range cuts[1:] {
		if cut.After < cuts[n].After {
			t.Errorf("cut %d is after %d, the one before after %d", n+1, cut.After, cuts[n].After)
		}
	}
	if s := b.station.stats; s.Lost != 0 || s.Inferred != uint64(b.n) {
		t.Errorf("%+v of %d frames", s, b.n)
	}
}

// TestSwitchToAnotherEye: the new model sees parts later and loses them earlier,
// which must neither lose a part in view nor judge it twice.
func TestSwitchToAnotherEye(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	second.Track.Start = 0.85
	for _, order := range [][]Loadout{{first, second}, {second, first}} {
		b := newBelt(t, order[0], track.Stream)
		b.misses = func(name string, d vision.Detection) bool { return name == "second" && d.Score < 0.6 }
		for range 45 {
			b.step()
		}
		if _, err := b.change(t.Context(), order[1])(); err != nil {
			t.Fatal(err)
		}
		for b.n < frames {
			b.step()
		}
		got, want := b.verdicts(b.finish()), undisturbed(t, first, frames)
		if len(got) != len(want) {
			t.Errorf("%d parts from %s to %s, %d without a switch", len(got), order[0].About.Name, order[1].About.Name, len(want))
		}
	}
}

// TestSwitchToAWorkerThatDies: it is killed while both models look. The station
// goes on with the former one, and no part is lost or judged twice.
func TestSwitchToAWorkerThatDies(t *testing.T) {
	first := seeing(t, "first")
	want := undisturbed(t, first, frames)
	for _, after := range []int{0, 1, 8, 15} {
		second := shipped(t, "second", 0.1)
		ctx, kill := context.WithCancel(context.Background())
		dead := make(chan error, 1)
		go func() { dead <- second.Model.Run(ctx) }()
		b := newBelt(t, first, track.Stream)
		for range 50 {
			b.step()
		}
		wait := b.change(t.Context(), second)
		for range after {
			b.step()
		}
		on := b.station.switching() != nil
		kill()
		<-dead
		if _, err := wait(); on && !errors.Is(err, infer.ErrWorkerLost) && !errors.Is(err, infer.ErrStopped) {
			t.Errorf("after %d frames: the switch says %v", after, err)
		}
		for b.n < frames {
			b.step()
		}
		all := b.finish()
		if d := cmp.Diff(want, b.verdicts(all)); d != "" {
			t.Errorf("after %d frames: parts and verdicts differ from those without a switch:\n%s", after, d)
		}
		if s := b.station.stats; s.Lost != 0 || s.Inferred != frames {
			t.Errorf("after %d frames: %+v, want every frame inspected", after, s)
		}
		if name := b.station.loadout().About.Name; on && name != "first" {
			t.Errorf("after %d frames: %s decides", after, name)
		}
	}
}

// TestSwitchToAWorkerThatHangs: its process stands still. The station waits for
// it no longer than patience, once, and goes on with the former one.
func TestSwitchToAWorkerThatHangs(t *testing.T) {
	first, second := seeing(t, "first"), shipped(t, "second", 0.1)
	if _, err := first.Model.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	others := children(t)
	works(t, second.Model)
	b := newBelt(t, first, track.Stream)
	for range 50 {
		b.step()
	}
	wait := b.change(t.Context(), second)
	b.step()
	for _, pid := range children(t) {
		if !slices.Contains(others, pid) {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			defer syscall.Kill(pid, syscall.SIGCONT)
		}
	}
	began := time.Now()
	if _, err := wait(); !errors.Is(err, errSlow) {
		t.Errorf("the switch says %v", err)
	}
	if took := time.Since(began); took > patience+2*time.Second {
		t.Errorf("the station stood for %v", took)
	}
	for b.n < frames {
		b.step()
	}
	if d := cmp.Diff(undisturbed(t, first, frames), b.verdicts(b.finish())); d != "" {
		t.Error(d)
	}
}

// children are this process's.
func children(t *testing.T) (pids []int) {
	t.Helper()
	tasks, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is good
	for _, task := range tasks {
		b, _ := os.ReadFile(task) // a thread may have ended
		for _, word := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestSwitchWithdrawn: whoever asked for a switch has gone before its end.
func TestSwitchWithdrawn(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	want := undisturbed(t, first, frames)
	b := newBelt(t, first, track.Stream)
	for range 50 {
		b.step()
	}
	ctx, cancel := context.WithCancel(t.Context())
	wait := b.change(ctx, second)
	for range 10 {
		b.step()
	}
	cancel()
	for len(b.station.poked) == 0 {
		<-time.After(time.Millisecond)
	}
	if _, err := wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("the switch says %v", err)
	}
	for b.n < frames {
		b.step()
	}
	if d := cmp.Diff(want, b.verdicts(b.finish())); d != "" {
		t.Error(d)
	}
}

// TestSwitchAtAnyFrame: wherever on the belt a switch begins, and at whatever
// frame of it the new model fails, each part is judged once. The new model sees
// less, or holds on to parts for longer, or for less long, than the former one.
func TestSwitchAtAnyFrame(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	step := everyFrame(13)
	for n, hold := range []time.Duration{0, 3 * time.Second, 320 * time.Millisecond} {
		second.Track.Hold, second.Track.Confirm = hold, 1+2*n
		misses := func(name string, d vision.Detection) bool { return name == "second" && d.Score < 0.2*float32(n) }
		for start := 40; start < 66; start += step {
			for lasts := 0; lasts < 28; lasts += 1 + step/2 {
				disturbed(t, first, second, misses, start, lasts)
			}
		}
	}
}

// everyFrame is 1 where faults are looked for in full, else n.
func everyFrame(n int) int {
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		return 1
	}
	return n
}

// TestSwitchOverALostPart: the former model loses a part that was in view at the
// cut, waits for it long, and sees later parts to their end meanwhile. The new
// one loses all parts early, or late. When it fails then, what it has told stays
// told, and what it hasn't is told by the former one.
func TestSwitchOverALostPart(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	first.Track.Hold = 6 * time.Second
	for _, hold := range []time.Duration{320 * time.Millisecond, 3 * time.Second} {
		second.Track.Hold = hold
		for lasts := 3; lasts < 80; lasts += everyFrame(4) {
			lost := -1
			misses := func(b *belt) func(string, vision.Detection) bool {
				return func(name string, d vision.Detection) bool {
					x, _ := d.Box.Center()
					if name == "second" {
						return x > 0.8*float32(b.frame.Width)
					}
					if b.n < 50 {
						return false
					}
					for _, p := range b.scene.Truth(b.n - 1) {
						if cx, _ := p.Clipped.Center(); lost < 0 && cx < 0.5*float32(b.frame.Width) && p.Visible == 1 {
							lost = p.Part.Index
						}
						if p.Part.Index == lost && p.Clipped.IoU(d.Box) > 0.3 {
							return true
						}
					}
					return false
				}
			}
			disturbedBy(t, first, second, misses, 49, lasts)
		}
	}
}

// disturbed runs the belt with a switch that begins after start frames. After
// lasts more the new model fails, unless the switch is over by then.
func disturbed(t *testing.T, first, second Loadout, misses func(string, vision.Detection) bool, start, lasts int) {
	t.Helper()
	disturbedBy(t, first, second, func(*belt) func(string, vision.Detection) bool { return misses }, start, lasts)
}

func disturbedBy(t *testing.T, first, second Loadout, misses func(*belt) func(string, vision.Detection) bool, start, lasts int) {
	t.Helper()
	b := newBelt(t, first, track.Stream)
	b.misses = misses(b)
	for range start {
		b.step()
	}
	wait := b.change(t.Context(), second)
	for range lasts {
		b.step()
	}
	if o := b.station.switching(); o != nil {
		b.station.giveUp(t.Context(), o, errors.New("failed on purpose"))
	}
	_, err := wait()
	for b.n < frames {
		b.step()
	}
	got := b.verdicts(b.finish())
	// From the first in view at the cut to the last that has well left.
	for part := b.scene.Truth(start)[0].Part.Index; b.scene.Part(part).Left < 10*time.Second; part++ {
		if _, judged := got[part]; !judged {
			t.Errorf("part %d wasn't judged", part)
		}
	}
	if t.Failed() {
		t.Fatalf("the switch began at %d and ended %d frames later with %v, the new loadout holds parts for %v", start, lasts, err, second.Track.Hold)
	}
}

// TestFormerWorkerDiesDuringSwitch: the new one takes over at once; parts that
// were the former one's get NONE.
func TestFormerWorkerDiesDuringSwitch(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	second.Model = shipped(t, "second", 0.1).Model
	works(t, second.Model)
	b := newBelt(t, first, track.Stream)
	for range 50 {
		b.step()
	}
	wait := b.change(t.Context(), second)
	b.step()
	if b.station.lost(first.Model, errors.New("given up")) {
		t.Error("the station fails although the next model is there")
	}
	if _, err := wait(); err != nil {
		t.Fatal(err)
	}
	for b.n < frames {
		b.step()
	}
	all := b.finish()
	none := 0
	for _, i := range all {
		if i.Told.Reason == vision.ReasonModelFailed {
			none++
		}
	}
	if got := b.verdicts(all); none == 0 || none > 3 || len(got) != len(undisturbed(t, first, frames)) {
		t.Errorf("%d parts, %d of them NONE", len(got), none)
	}
	if err := b.station.Failure(); err != nil || b.station.loadout().About.Name != "second" {
		t.Errorf("the station has %v, %s decides", err, b.station.loadout().About.Name)
	}
}

// TestSwitchBetweenPictures: where each picture is a part, or shows parts of its
// own, the cut lies between two of them.
func TestSwitchBetweenPictures(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	for _, mode := range []track.Mode{track.Pictures, track.Stills} {
		b := newBelt(t, first, mode)
		for range 5 {
			b.step()
		}
		if _, err := b.change(t.Context(), second)(); err != nil {
			t.Fatal(err)
		}
		for b.n < 10 {
			b.step()
		}
		for _, i := range b.finish() {
			if want := map[bool]string{true: "first", false: "second"}[i.Part.First <= 5]; i.Model.Name != want {
				t.Errorf("mode %d: a part of picture %d was judged by %s", mode, i.Part.First, i.Model.Name)
			}
		}
	}
}

// TestVitals: they begin anew with each loadout, and name verdicts that are on
// disk with its bundle.
func TestVitals(t *testing.T) {
	first, second := seeing(t, "first"), seeing(t, "second")
	b := newBelt(t, first, track.Stream)
	a := &Agent{stations: []*Station{b.station}}
	for range 50 {
		b.step()
	}
	if v, err := a.Vitals("belt"); err != nil || v.ModelP50 <= 0 || v.AgeP99 <= 0 || v.Celsius == v.Celsius {
		t.Errorf("%+v, %v", v, err)
	}
	cut, err := b.change(t.Context(), second)()
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		b.step()
	}
	all := b.finish()
	v, err := a.Vitals("belt")
	judged := 0
	for _, i := range all {
		if i.Model.Name == "second" {
			judged++
		}
	}
	if err != nil || v.Verdicts != uint64(judged) || len(v.Seqs) != judged || v.None != 0 || v.Late != 0 {
		t.Errorf("%+v, %v: %d parts were the new one's", v, err, judged)
	}
	for _, seq := range v.Seqs {
		rows, err := b.journal.After(seq-1, 1)
		if err != nil || len(rows) != 1 || seq <= cut.After {
			t.Fatalf("seq %d, cut after %d: %v", seq, cut.After, err)
		}
		rec, err := wire.Decode(rows[0].Body)
		if err != nil || rec.GetResult().GetBundleDigest() != "digest of second" {
			t.Errorf("seq %d is %v, %v", seq, rec, err)
		}
	}
	if _, err := a.Vitals("none"); err == nil {
		t.Error("a station that isn't there has vitals")
	}
}

// TestSwitchOfAStationThatEnded, or that there never was.
func TestSwitchOfAStationThatEnded(t *testing.T) {
	first := seeing(t, "first")
	b := newBelt(t, first, track.Stream)
	a := &Agent{stations: []*Station{b.station}}
	if _, err := a.Switch(t.Context(), "none", first); !errors.Is(err, ErrNoStation) || !strings.Contains(err.Error(), "none") {
		t.Errorf("error %v", err)
	}
	wait := b.change(t.Context(), first)
	b.station.end()
	if _, err := wait(); !errors.Is(err, ErrStationEnded) {
		t.Errorf("error %v", err)
	}
	if _, err := a.Switch(t.Context(), "belt", first); !errors.Is(err, ErrStationEnded) {
		t.Errorf("error %v", err)
	}
	dead := shipped(t, "dead", 0.1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.Switch(ctx, "belt", dead); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a switch to a worker that nobody started says %v", err)
	}
	b.finish()
}
