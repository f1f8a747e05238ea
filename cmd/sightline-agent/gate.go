package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/updater/gate"
	"github.com/sightline-edge/sightline/vision/track"
)

// gateOptions are the flags of gate.
type gateOptions struct {
	infer inferOptions
	limit time.Duration
	draw  string
	json  bool
}

func newGate() *cobra.Command {
	var o gateOptions
	cmd := &cobra.Command{
		Use:   "gate BUNDLE",
		Short: "prove a bundle on this device by its golden pictures",
		Long: `gate runs the golden pictures of a bundle (a folder or a .slb archive) on this
device, with its runtime and provider, and compares what comes out with what the
publisher recorded: detections, scores, parts and verdicts within the bundle's
tolerances; raw outputs too where they were recorded with this provider and
precision. It is what an agent does before a new bundle may serve
(docs/golden-gate.md). Nothing is installed or kept.

A bundle that differs is refused with exit code 1: each refusal names the
picture, what differs, the expected and the found; --draw draws both.`,
		Example: `  sightline-agent gate caps-1.2.0.slb
  sightline-agent gate caps/ --draw refused/
  sightline-agent gate caps/ --json --config /etc/sightline/station.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage("takes one bundle, a folder or an archive, as in: gate caps-1.2.0.slb")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return interrupted(cmd, o.run(cmd, args[0]), "nothing was proved")
		},
	}
	f := cmd.Flags()
	o.infer.flags(f)
	f.DurationVar(&o.limit, "limit", 10*time.Minute, "the pictures must be done by then, or the bundle is refused; an engine's build before that has its own hour")
	f.StringVar(&o.draw, "draw", "", "folder for a drawing of each refused picture: expected and found side by side")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

// gateAnswer is gate's JSON.
type gateAnswer struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	OK          bool   `json:"ok"`
	Fingerprint string `json:"fingerprint"` // of what the model runs on; "" if the model didn't load
	*gate.Report
}

func (o *gateOptions) run(cmd *cobra.Command, path string) error {
	if err := o.infer.check(); err != nil {
		return err
	}
	made, threads, err := o.infer.assembly(cmd)
	if err != nil {
		return err
	}
	defer made.close(context.WithoutCancel(cmd.Context()))
	dir, remove, err := unpacked(path)
	if err != nil {
		return err
	}
	defer remove()
	c, golden, err := loadBundle(dir)
	if err != nil {
		return err
	}
	fsys, err := openBundle(dir)
	if err != nil {
		return err
	}
	if fsys == nil {
		return fmt.Errorf("%s: %w", path, gate.ErrNoGolden)
	}
	subject, err := made.subject(cmd.Context(), track.Pictures, c, threads)
	if err != nil {
		return err
	}
	drawing := &drawings{dir: o.draw}
	a := gateAnswer{Name: c.about.Name, Version: c.about.Version}
	err = withWorker(cmd.Context(), subject, func(ctx context.Context) error {
		_, _ = subject.Worker.Ready(ctx) // gate.Run tells of what is wrong
		ctx, stop := context.WithTimeout(ctx, o.limit)
		defer stop()
		var err error
		if a.Report, err = gate.Run(ctx, subject, fsys, golden, drawing.save); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if a.Provider == "" {
			return nil // no model runs that could be asked
		}
		info, err := subject.Worker.Ready(ctx)
		if err != nil {
			return nil // the report tells of the worker
		}
		a.Fingerprint, err = gate.Fingerprint(info)
		return err
	})
	if err != nil {
		return err
	}
	if drawing.err != nil {
		return drawing.err
	}
	a.OK = a.Report.OK()
	if err := a.print(cmd.OutOrStdout(), o.json); err != nil {
		return err
	}
	if !a.OK {
		return cli.ErrTold
	}
	return nil
}

// interrupted tells that the command was ended instead of what became of that.
func interrupted(cmd *cobra.Command, err error, what string) error {
	if err != nil && !errors.Is(err, cli.ErrTold) && cmd.Context().Err() != nil {
		return fmt.Errorf("%w: %s", errCut, what)
	}
	return err
}

func (a *gateAnswer) print(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false) // reasons say >
		return enc.Encode(a)
	}
	state, raw := "PASSED", "without raw outputs: they were recorded on something else, or not at all"
	if !a.OK {
		state = "REFUSED"
	}
	if a.Raw {
		raw = "with raw outputs"
	}
	on := "the model did not load"
	if a.Provider != "" {
		on = fmt.Sprintf("%s %s, ONNX Runtime %s, %s", a.Provider, a.Precision, a.Runtime, raw)
	}
	_, err := fmt.Fprintf(w, "%s %s: %s, %d of %d golden pictures passed (%s), %.1f s\n",
		a.Name, a.Version, state, a.Passed, a.Pictures, on, a.Took.Seconds())
	if a.OK && a.Unmeasured != "" && err == nil {
		_, err = fmt.Fprintf(w, "  passed, but that is no proof: %s\n", a.Unmeasured)
	}
	last := ""
	for _, r := range a.Refusals {
		if err != nil {
			return err
		}
		if r.Picture != last {
			fmt.Fprintf(w, "  %s\n", r.Picture)
		}
		last = r.Picture
		_, err = fmt.Fprintf(w, "    %-9s  expected %s\n               found    %s\n", r.What, r.Expected, r.Found)
	}
	if hint := a.Hint(); hint != "" && err == nil {
		_, err = fmt.Fprintf(w, "  %s\n", hint)
	}
	return err
}

// drawings keeps what the gate draws, in no folder if dir is "".
type drawings struct {
	dir string
	err error
}

func (d *drawings) save(name string, jpeg []byte) {
	if d.dir == "" || d.err != nil {
		return
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		d.err = fmt.Errorf("draw the refused pictures: %w", err)
		return
	}
	if err := os.WriteFile(filepath.Join(d.dir, name), jpeg, 0o644); err != nil {
		d.err = fmt.Errorf("draw the refused pictures: %w", err)
	}
}
