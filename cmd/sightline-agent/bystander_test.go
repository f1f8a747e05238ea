package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
)

// TestProbeStandsStillForFrames: a model that computes without end while it is probed is
// stopped for the station's frames, and only for them; the station's own never is.
func TestProbeStandsStillForFrames(t *testing.T) {
	r := newRigOver(t, 1, "", nil, drawnCamera(t), config.Infer{Threads: 1})
	dir, digest := r.bundle("1")
	r.activated("one", dir, digest)
	r.tells("one", digest)
	own := r.children()
	p := victim{fault: mutant.WithoutEnd, model: "drawn-parts"}
	p.write(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.plant.Load(ctx, "one", p.dir, "endless")
		ended <- err
	}()
	var probe int
	r.eventually("the probe's process is there", func() bool {
		for _, pid := range r.children() {
			if !slices.Contains(own, pid) {
				probe = pid
			}
		}
		return probe != 0
	})
	stood := false
	r.eventually("it stands still, and goes on", func() bool {
		for _, pid := range own {
			if state(pid) == "T" {
				t.Errorf("the station's own process %d stands still", pid)
			}
		}
		stands := state(probe) == "T"
		stood = stood || stands
		return stood && !stands
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the probe ended with %v", err)
	}
}

// state is a process's, as proc_pid_stat(5) has it: T stands still, others don't; "" if
// it is gone.
func state(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[:min(len(rest), 1)]
}
