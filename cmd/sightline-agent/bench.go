package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision/infer"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	model     modelOptions
	image     string
	providers []string
	threads   []string
	batches   []string
	infer     inferOptions // without threads
	precision string
	seconds   float64
	json      bool
}

func newBench() *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use:   "bench --model M",
		Short: "measure a model on this device, and what to set for it",
		Long: `bench gives a model one picture again and again, through the same process that a
station uses, and tells by provider, threads and batch how long that takes:

  run     the model alone: half of the runs took at most p50, 99 of 100 p99
  whole   what a station waits for: picture to tensor, run, detections
  /s      pictures a second with the next one filled in while one runs
  CPU     processor time for each picture, of all threads
  memory  of the process, with its share of what it has in common with others;
          not what lies on a GPU of its own

Without --provider every one that this device has is measured; those that it
hasn't are said with why. An accelerator is measured with the fewest threads.
Where TensorRT has no engine for the model yet it is built first, which takes
minutes and is kept.

Several pictures in one run (--batch) are measured where the model's file leaves
their number open: one is the picture, the others are empty, and filling them in
isn't measured. Stations find out by themselves whether more pay for cameras
that share a model (infer.batch).

What the machine does besides is measured too: other programs' share of the
processor, and the first row once more at the end. Differences that are smaller
than what these two differ by are noise. Ctrl-C tells what was measured so far.`,
		Example: `  sightline-agent bench --model drawn-parts
  sightline-agent bench --model best.onnx --threads 1,2,4 --seconds 10
  sightline-agent bench --model best.onnx --provider tensorrt,cuda --precision float16
  sightline-agent bench --model best.onnx --image part.jpg --json > bench.json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	modelFlags(cmd, &o.model)
	f := cmd.Flags()
	f.StringVar(&o.image, "image", "", "picture to look at; without it one of 1280x720 pixels that shows nothing")
	f.StringSliceVar(&o.providers, "provider", nil, "cpu, cuda, tensorrt, or several with commas; without it all that there are")
	f.StringSliceVar(&o.threads, "threads", nil, "processor threads of the model, as 1,2,4; without it 1, 2, 4 as far as there are cores")
	f.StringSliceVar(&o.batches, "batch", nil, "pictures in one run, as 1,2,4; without it 1,2,4 on one thread where the model's file leaves it open")
	o.infer.fileFlag(f, "ONNX Runtime, memory, engines, precision")
	f.StringVar(&o.precision, "precision", "", "float32, or float16 where TensorRT finds it faster; without it the configuration's, float32")
	f.Float64Var(&o.seconds, "seconds", 3, "how long each row is measured")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

// benchPlan is what is to be measured.
type benchPlan struct {
	providers []infer.Provider
	named     bool // by the caller
	threads   []int
	batches   []int
	notes     []string
}

// plan reads the flags; open tells whether the model takes any number of pictures.
func (o *benchOptions) plan(open bool, cores int) (p benchPlan, err error) {
	if err := cli.Required("model", o.model.model, "drawn-parts"); err != nil {
		return p, err
	}
	if !(o.seconds >= 0.1 && o.seconds <= 3600) {
		return p, cli.Usage("--seconds %v: must lie between 0.1 and 3600", o.seconds)
	}
	if _, err := infer.ParsePrecision(o.precision); err != nil {
		return p, cli.Usage("--%v", err)
	}
	p.named = len(o.providers) > 0
	for _, s := range o.providers {
		one, err := infer.ParseProvider(s)
		if err != nil || one == infer.Auto {
			return p, cli.Usage("--provider %q: known are cpu, cuda, tensorrt; leave it out for all", s)
		}
		p.providers = append(p.providers, one)
	}
	if !p.named {
		p.providers = []infer.Provider{infer.TensorRT, infer.CUDA, infer.CPU}
	}
	if p.threads, err = numbers("threads", o.threads, 64); err != nil {
		return p, err
	}
	for n := 1; len(o.threads) == 0 && n <= min(cores, 4); n *= 2 {
		p.threads = append(p.threads, n)
	}
	if p.batches, err = numbers("batch", o.batches, 64); err != nil {
		return p, err
	}
	switch {
	case len(o.batches) == 0 && open:
		p.batches = []int{1, 2, 4}
	case len(o.batches) == 0 || !open:
		if slices.ContainsFunc(p.batches, func(n int) bool { return n != 1 }) {
			p.notes = append(p.notes, "only runs of one picture were measured: the model's file fixes their number. Export it with an open batch size to measure others")
		}
		p.batches = []int{1}
	}
	return p, nil
}

// numbers reads a list such as 1,2,4 in ascending order, each once.
func numbers(flag string, list []string, most int) (out []int, err error) {
	for _, s := range list {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > most {
			return nil, cli.Usage("--%s %q: must be numbers from 1 to %d, as 1,2,4", flag, s, most)
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// cases are the rows to measure: threads by runs of one picture, and larger runs by
// the fewest threads. On an accelerator threads matter little.
func (p benchPlan) cases() (all []benchCase) {
	for _, provider := range p.providers {
		threads := p.threads
		if provider != infer.CPU {
			threads = threads[:1]
		}
		for n, t := range threads {
			for _, b := range p.batches {
				if n == 0 || b == p.batches[0] {
					all = append(all, benchCase{provider, t, b})
				}
			}
		}
	}
	return all
}

func (o *benchOptions) run(cmd *cobra.Command) error {
	if _, err := o.plan(false, 1); err != nil { // flags before files
		return err
	}
	c, err := choose(o.model)
	if err != nil {
		return err
	}
	c.tell(cmd.ErrOrStderr())
	info, err := c.declared()
	if err != nil {
		return err
	}
	plan, err := o.plan(info.OpenBatch(), runtime.NumCPU())
	if err != nil {
		return err
	}
	b := &bench{choice: c, seconds: o.seconds, wait: cli.NewWaiting(cmd.ErrOrStderr()), log: logger(cmd.ErrOrStderr(), false)}
	settings, err := o.infer.settings()
	if err != nil {
		return err
	}
	settings.Precision = cmp.Or(o.precision, settings.Precision)
	if b.programs, err = findPrograms(settings); err != nil {
		return err
	}
	b.programs.builds = newBuilds(cmd.ErrOrStderr())
	if b.frame, err = benchFrame(o.image); err != nil {
		return err
	}
	out := benchReport{
		Model: c.about.Name, Digest: c.about.Digest, Cores: runtime.NumCPU(), Width: b.frame.Width, Height: b.frame.Height,
		Input: fmt.Sprintf("%dx%d", c.spec.Input.Width, c.spec.Input.Height), Notes: plan.notes, Rows: []benchRow{}, Noise: -1,
	}
	err = b.measure(cmd.Context(), plan, &out)
	b.wait.Done()
	if err != nil {
		return err
	}
	if out.Interrupted && len(out.Rows) == 0 {
		return errors.New("interrupted before the first row was measured")
	}
	out.Advice = advise(&out)
	if o.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetEscapeHTML(false)
		err = enc.Encode(out)
	} else {
		err = out.print(cmd.OutOrStdout())
	}
	if err == nil && out.Interrupted {
		fmt.Fprintln(cmd.ErrOrStderr(), "interrupted: what is above was measured until then")
		err = cli.ErrTold
	}
	return err
}

// declared reads what the model's file declares.
func (c *choice) declared() (infer.Info, error) {
	data := c.data
	if data == nil {
		var err error
		if data, err = os.ReadFile(c.path); err != nil {
			return infer.Info{}, fmt.Errorf("read the model: %w", err)
		}
	}
	return infer.Describe(data)
}

// measure fills in the report until all is measured or the context ends.
func (b *bench) measure(ctx context.Context, plan benchPlan, out *benchReport) error {
	cases := plan.cases()
	gone := map[infer.Provider]bool{} // can't be had
	var first *benchCase
	for n, c := range cases {
		if gone[c.Provider] {
			continue
		}
		row, err := b.one(ctx, c, fmt.Sprintf("%d of %d", n+1, len(cases)))
		switch {
		case ctx.Err() != nil:
			out.Interrupted = true
			return nil
		case err != nil && c.Batch > 1:
			out.Notes = append(out.Notes, fmt.Sprintf("not measured with %d pictures a run: %s", c.Batch, shortly(err)))
			continue
		case err != nil && (plan.named || c.Provider == infer.CPU):
			return err
		case err != nil:
			gone[c.Provider] = true
			out.Notes = append(out.Notes, "not measured: "+shortly(err))
			continue
		}
		out.Runtime, out.Rows = row.info.Runtime, append(out.Rows, row)
		if first == nil {
			first = &c
		}
	}
	if first == nil {
		return errors.New("nothing could be measured")
	}
	again, err := b.one(ctx, *first, "the first once more")
	if ctx.Err() != nil {
		out.Interrupted = true
		return nil
	}
	if err == nil {
		out.noise(again)
	}
	return err
}

// shortly leaves out what a load's error begins with.
func shortly(err error) string {
	s := err.Error()
	for _, lead := range []string{"load the model: ", ": tensorrt: "} {
		if n := strings.LastIndex(s, lead); n >= 0 {
			s = strings.TrimPrefix(s[n:], lead)
			if lead == ": tensorrt: " {
				s = "tensorrt: " + s
			}
		}
	}
	return s
}
