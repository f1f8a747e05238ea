package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
)

// swapRig is a lineRig whose station's model is the configuration's to name.
type swapRig struct {
	*lineRig
	models *swaps
	stop   context.CancelFunc // of the swaps
}

func newSwapRig(t *testing.T) *swapRig {
	r := &swapRig{lineRig: bareLineRig(t)}
	s := &r.cfg.Stations[0]
	s.Unsigned = true
	st, _, err := r.made.configured(t.Context(), r.cfg, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.models = newSwaps(r.made, r.cfg)
	r.models.add(s, &st, named{s.Model, s.Family})
	r.run([]agent.StationConfig{st}, r.models.hooks)
	r.models.agent = r.agent
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.models.run(ctx) }()
	r.stop = func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(r.stop)
	return r
}

// other makes a bundle's folder with weights of its own and no golden vectors.
func (r *swapRig) other(seed uint64) string {
	r.t.Helper()
	dir := filepath.Join(r.t.TempDir(), "good")
	if err := mutant.Plain(dir); err != nil {
		r.t.Fatal(err)
	}
	wrong := dir + "-wrong"
	if _, err := mutant.Write(os.DirFS(dir), wrong, mutant.Flip, seed); err != nil {
		r.t.Fatal(err)
	}
	return wrong
}

// to swaps a model in and waits for its end.
func (r *swapRig) to(ask api.SwapAsk) *api.Swap {
	r.t.Helper()
	if err := r.models.ask("one", ask); err != nil {
		r.t.Fatal(err)
	}
	return r.over()
}

func (r *swapRig) over() (s *api.Swap) {
	r.t.Helper()
	r.eventually("the swap is over", func() bool {
		s = r.models.swapping("one").Swap
		return s.Phase.Over()
	})
	return s
}

// TestSwapAgainAndAgain: no picture is lost, every verdict has the digest of the model
// that made it, and the workers of former models end.
func TestSwapAgainAndAgain(t *testing.T) {
	r := newSwapRig(t)
	r.inspects("one")
	began := r.agent.Now().Stations[0]
	cuts := map[string]uint64{began.Model.Digest: 0} // above which a model's results are, at first
	for n, model := range []string{r.other(1), r.other(2), "drawn-parts"} {
		s := r.to(api.SwapAsk{Model: model, Ungated: true})
		if s.Phase != api.SwapDone || s.Digest == began.Model.Digest != (n == 2) || (s.Gate == nil) != (n < 2) {
			t.Fatalf("%+v", s)
		}
		if _, ok := cuts[s.Digest]; !ok {
			cuts[s.Digest] = s.After
		}
		r.inspects("one")
		r.holds("swapped", 1)
		if st := r.agent.Now().Stations[0]; st.Model.Digest != s.Digest || st.Views[0].Failed != 0 {
			t.Errorf("%+v of %+v", st.Views, st.Model)
		}
	}
	if text, err := os.ReadFile(keptFile(r.models.dir, "one")); err == nil {
		t.Errorf("the configuration's own model is kept: %s", text)
	}
	results, _, err := r.agent.Results(t.Context(), api.Query{Limit: 10000})
	if err != nil || len(results) < 4 {
		t.Fatal(len(results), err)
	}
	for _, res := range results {
		if after, ok := cuts[res.Model.Digest]; !ok || res.Seq <= after {
			t.Errorf("result %d says %.8s, whose results have numbers above %d", res.Seq, res.Model.Digest, after)
		}
	}
}

// TestSwapThatFails: the former model goes on and no worker is left.
func TestSwapThatFails(t *testing.T) {
	r := newSwapRig(t)
	r.inspects("one")
	broken := r.other(1)
	if err := os.WriteFile(filepath.Join(broken, "model.onnx"), []byte("nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		ask  api.SwapAsk
		want string
	}{
		"a damaged bundle":       {api.SwapAsk{Model: broken, Ungated: true}, "damaged or was changed"},
		"no golden vectors":      {api.SwapAsk{Model: r.other(2)}, "brings no golden vectors"},
		"nothing":                {api.SwapAsk{Model: "nothing"}, "no such file"},
		"another kind of labels": {api.SwapAsk{Model: "pitting"}, ""},
	} {
		s := r.to(c.ask)
		if c.want == "" { // a model of regions fits a station of pictures
			if back := r.to(api.SwapAsk{Model: "drawn-parts"}); s.Phase != api.SwapDone || back.Phase != api.SwapDone {
				t.Errorf("%s: %+v, and back %+v", what, s, back)
			}
		} else if s.Phase != api.SwapRefused || !strings.Contains(s.Text, c.want) {
			t.Errorf("%s: %+v, want %q", what, s, c.want)
		}
		r.inspects("one")
		r.holds(what, 1)
	}
	for what, ask := range map[string]api.SwapAsk{"a relative path": {Model: "testdata"}} {
		if err := r.models.ask("one", ask); !errors.Is(err, api.ErrBadSwap) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := r.models.cancel("one"); !errors.Is(err, api.ErrNoSwap) {
		t.Errorf("nothing is on: %v", err)
	}
}

// TestSwapTakenBack: a model that is being loaded can be taken back, and a second one
// waits for that.
func TestSwapTakenBack(t *testing.T) {
	r := newSwapRig(t)
	r.inspects("one")
	r.made.programs.self = neverReady(t)
	if err := r.models.ask("one", api.SwapAsk{Model: r.other(1), Ungated: true}); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is being loaded", func() bool { return len(r.made.hired()) == 2 })
	if err := r.models.ask("one", api.SwapAsk{Model: "drawn-parts"}); err == nil || !strings.Contains(err.Error(), "is being swapped in") {
		t.Errorf("two at once: %v", err)
	}
	if s := r.agent.Now().Stations[0].Swap; s == nil || s.Phase != api.SwapLoading {
		t.Errorf("the station tells %+v", s)
	}
	if err := r.models.cancel("one"); err != nil {
		t.Fatal(err)
	}
	if s := r.over(); s.Phase != api.SwapCancelled || s.Text != errTakenBack.Error() {
		t.Errorf("%+v", s)
	}
	r.inspects("one")
	r.holds("taken back", 1)

	if err := r.models.ask("one", api.SwapAsk{Model: r.other(2), Ungated: true}); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is being loaded", func() bool { return len(r.made.hired()) == 2 })
	r.stop() // the program ends meanwhile; what is left is seen by the rig
}

// TestSwapOfAModelThatIsBeingWritten: what serves is what was proved.
func TestSwapOfAModelThatIsBeingWritten(t *testing.T) {
	r := newSwapRig(t)
	n := &swap{station: r.models.stations["one"], ask: api.SwapAsk{Model: "drawn-parts"}, proved: "another one"}
	as := *n.station.config
	if err := r.models.prove(t.Context(), n, &as); err == nil || !strings.Contains(err.Error(), "it was changed while it was being loaded") {
		t.Error(err)
	}
}

// TestKeptModelThatDoesntFit: it must not keep the device from inspecting.
func TestKeptModelThatDoesntFit(t *testing.T) {
	r := bareLineRig(t)
	s := &r.cfg.Stations[0]
	c, err := chooseConfigured(&config.Station{Model: "pitting"})
	if err != nil {
		t.Fatal(err)
	}
	w := newSwaps(r.made, r.cfg)
	n := &swap{station: &swapped{config: s, configured: named{s.Model, s.Family}}, ask: api.SwapAsk{Model: "pitting"}, proved: c.identity()}
	if err := w.keep(n); err != nil {
		t.Fatal(err)
	}
	s.Small = "drawn-parts" // whose labels pitting hasn't
	names := recallModels(r.cfg, r.made.log)
	if s.Model != "pitting" {
		t.Fatalf("the station would begin with %s", s.Model)
	}
	st, _, err := r.made.begin(t.Context(), r.cfg, 0, names["one"])
	if err != nil || st.About.Name != "drawn-parts" || s.Model != "drawn-parts" {
		t.Errorf("it begins with %+v: %v", st.About, err)
	}
	if n := len(r.made.hired()); n != 1 {
		t.Errorf("%d workers are held", n)
	}
	if k, err := recallModel(w.dir, s); err != nil || k.Model != "" {
		t.Errorf("the choice is kept: %+v %v", k, err)
	}
	if err := r.made.close(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestSwapRescues: a station whose model was given up gets another one.
func TestSwapRescues(t *testing.T) {
	r := newSwapRig(t)
	r.inspects("one")
	target, err := os.Readlink(r.self)
	if err == nil {
		err = os.Remove(r.self)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range r.children() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually("the station says so", func() bool {
		v, err := r.agent.Vitals("one")
		return err == nil && v.Failure != ""
	})
	if err := os.Symlink(target, r.self); err != nil {
		t.Fatal(err)
	}
	if s := r.to(api.SwapAsk{Model: r.other(1), Ungated: true}); s.Phase != api.SwapDone {
		t.Fatalf("%+v", s)
	}
	r.inspects("one")
	r.holds("mended", 1)
}

// TestSwapTellsWhatItWaitsFor: for another model's turn, and for its engine's build.
func TestSwapTellsWhatItWaitsFor(t *testing.T) {
	r := newSwapRig(t)
	r.inspects("one")
	done, err := r.models.heavy.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	built := pretend(t)
	if err := r.models.ask("one", api.SwapAsk{Model: r.other(1), Ungated: true}); err != nil {
		t.Fatal(err)
	}
	tells := func(what string, holds func(*api.Swap) bool) {
		t.Helper()
		r.eventually(what, func() bool { return holds(r.agent.Now().Stations[0].Swap) })
	}
	tells("it waits for its turn", func(s *api.Swap) bool { return s.Phase == api.SwapWaiting && s.Name == "" })
	done()
	tells("its engine is built", func(s *api.Swap) bool {
		return s.Phase == api.SwapLoading && s.Building != nil && s.Building.Phase == "building engine" && s.Building.Usual == 100 &&
			strings.Contains(s.Words(), "isn't loaded yet: building engine, ")
	})
	built()
	if s := r.over(); s.Phase != api.SwapDone || s.Building != nil || s.Text != "" {
		t.Errorf("%+v", s)
	}
	r.holds("swapped", 1)
}

// TestSwapThatIsntKept: a full disk doesn't undo a swap, and is told with it.
func TestSwapThatIsntKept(t *testing.T) {
	r := newSwapRig(t)
	r.inspects("one")
	if err := os.WriteFile(r.models.dir, nil, 0o644); err != nil { // where the folder would be
		t.Fatal(err)
	}
	s := r.to(api.SwapAsk{Model: r.other(1), Ungated: true})
	if s.Phase != api.SwapDone || !strings.HasPrefix(s.Text, "the next start won't begin with it: keep the choice of the model: ") {
		t.Errorf("%+v", s)
	}
	r.inspects("one")
}
