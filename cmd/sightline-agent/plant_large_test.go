package main

import (
	"bytes"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/vision/infer"
)

// TestLargeModelThatIsNotThere is no fault of a version, which serves without it.
func TestLargeModelThatIsNotThere(t *testing.T) {
	set := besideBundle()
	set.Large = "nothing.onnx"
	r := newLooksRig(t, 1, "", nil, set)
	for _, version := range []string{"1", "2"} {
		dir, digest := r.bundle(version)
		if err := r.plant.Suits("one", dir); err != nil {
			t.Errorf("version %s is refused: %v", version, err)
		}
		r.activated("one", dir, digest)
		r.looks("one", digest, agent.MissedDown)
	}
}

// TestLargeModelThatIsGivenUp is replaced while the station still has it, and then has
// left.
func TestLargeModelThatIsGivenUp(t *testing.T) {
	r := newLooksRig(t, 1, "", []config.Recipe{{Name: "plain"}, {Name: "careful", Cascade: besideBundle()}}, config.Cascade{})
	log := new(logged)
	r.plant.made.log = slog.New(slog.NewTextHandler(log, nil))
	dir, digest := r.bundle("1")
	r.activated("one", dir, digest)
	r.tells("one", digest)
	own := r.children()
	careful := func() *infer.Worker {
		t.Helper()
		if _, err := r.plant.agent.SetRecipe(t.Context(), "one", "careful"); err != nil {
			t.Fatal(err)
		}
		r.looks("one", digest, "")
		return r.plant.stations["one"].running.cascades["careful"].Large
	}
	large := careful()
	target, err := os.Readlink(r.self)
	if err == nil {
		err = os.Remove(r.self)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range r.children() {
		if !slices.Contains(own, pid) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.eventually("the large model is given up", func() bool { return ended(large) })
	if err := os.Symlink(target, r.self); err != nil {
		t.Fatal(err)
	}
	l, err := r.plant.withRecipe(t.Context(), "one", &r.cfg.Stations[0].Recipes[1])
	if err != nil || l.Cascade.Large == large {
		t.Errorf("the large model that was given up is still the recipe's: %v", err)
	}
	if _, err := r.plant.agent.SetRecipe(t.Context(), "one", "plain"); err != nil {
		t.Fatal(err)
	}
	careful()
	if text := log.String(); strings.Contains(text, "BUG") {
		t.Error(text)
	}
}

// logged is a log that is read while it is written.
type logged struct {
	mu   sync.Mutex // protects text
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestLargeModelOfAWaitingRecipe that can't be read is told at the start, as the active
// one's is.
func TestLargeModelOfAWaitingRecipe(t *testing.T) {
	bad := besideBundle()
	bad.Large = "nothing.onnx"
	r := newLooksRig(t, 1, "", []config.Recipe{{Name: "plain"}, {Name: "careful", Cascade: besideBundle()}, {Name: "lost", Cascade: bad}}, config.Cascade{})
	log := new(logged)
	r.plant.made.log = slog.New(slog.NewTextHandler(log, nil))
	if err := r.plant.stations["one"].book.warm(t.Context()); err != nil {
		t.Error(err)
	}
	text := log.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "recipe=lost") || !strings.Contains(text, "no such file or bundle folder") {
		t.Errorf("the log says %q", text)
	}
}
