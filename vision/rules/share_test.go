package rules

import (
	"sync"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

// TestRulesOfOneModuleComeAndGo: stations load and leave the same rule at the
// same time, as when all of them switch. wazero frees the code that two
// compilations of the same bytes share when one of them is closed.
func TestRulesOfOneModuleComeAndGo(t *testing.T) {
	e := newEngine(t, Config{CacheDir: t.TempDir()})
	spec, err := Parse("threshold:defect>0.5")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				r, err := e.Load(t.Context(), spec)
				if err != nil {
					t.Error(err)
					return
				}
				if d := r.Decide(t.Context(), vision.Part{}, 10, 10); d.Verdict != vision.Pass {
					t.Errorf("decided %+v: %s", d, r.Stats().LastError)
				}
				if err := r.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
