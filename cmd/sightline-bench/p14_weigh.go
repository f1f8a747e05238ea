package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"

	"github.com/sightline-edge/sightline/internal/lean"
	"github.com/sightline-edge/sightline/vision/infer"
)

// weighRole is the first argument of a bench that only loads a model: it tells
// by how much that makes it grow.
const weighRole = "weigh"

// weighBare is the memory of the runtime with the model, by side: what a process that
// does nothing else grows by, as it is for the script, and for ours if it has let go of
// what only the start needed as our processes do, and has run again.
func weighBare(ctx context.Context, env *Env, model string) (m [sides]memory, err error) {
	self, err := os.Executable()
	if err != nil {
		return m, fmt.Errorf("find this program's own file: %w", err)
	}
	out, err := exec.CommandContext(ctx, self, weighRole, env.ORT, model).Output()
	if err != nil {
		return m, fmt.Errorf("weigh the bare model: %w", err)
	}
	script, ours := &m[scriptSide], &m[agentSide]
	if _, err := fmt.Sscan(string(out), &script.all, &script.private, &ours.all, &ours.private); err != nil {
		return m, fmt.Errorf("weigh the bare model: %w", err)
	}
	return m, nil
}

// warmRuns are enough for the model to have what it needs in memory again.
const warmRuns = 20

// weigh is the process of weighBare: its arguments are the runtime's library
// and the model.
func weigh(_ context.Context, args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("%s: a library and a model are needed, got %q", weighRole, args)
	}
	lean.Settle()
	before := memoryOf("self")
	bare, err := openBare(args[0], args[1], 1, infer.CPU)
	if err != nil {
		return err
	}
	defer bare.close()
	if err := bare.run(); err != nil {
		return fmt.Errorf("run the bare model: %w", err)
	}
	debug.FreeOSMemory() // the file's bytes, of which the runtime has made its own
	after := memoryOf("self")
	lean.Settle()
	for range warmRuns {
		if err := bare.run(); err != nil {
			return fmt.Errorf("run the bare model: %w", err)
		}
	}
	kept := memoryOf("self")
	_, err = fmt.Fprintf(stdout, "%.0f %.0f %.0f %.0f\n", after.all-before.all, after.private-before.private, kept.all-before.all, kept.private-before.private)
	return err
}
