package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/eval"
	"github.com/sightline-edge/sightline/vision/infer"
)

// evalOptions are the flags of eval.
type evalOptions struct {
	model   modelOptions
	coco    string
	images  string
	report  string
	json    bool
	target  float64
	infer   inferOptions
	cascade cascadeOptions
}

func newEval() *cobra.Command {
	var o evalOptions
	cmd := &cobra.Command{
		Use:   "eval --model M --coco annotations.json --images DIR",
		Short: "measure a model on annotated pictures",
		Long: `eval runs a model on the pictures of a COCO annotation file and tells how right it
is: average precision of boxes and masks by COCO's definition, overlap of pixels,
AUROC of pictures and of pixels, AU-PRO, escapes and false rejects against the
threshold with their 95 % intervals, tables by class and by slices of the
pictures, and the worst of them. What doesn't apply to a model is left out.

Pictures are found by their file_name under --images, else by its last element.
A picture is bad by "state": "bad"; without a state, if it has an annotation;
those with "state": "uncertain" are left out of pictures' scores.

Average precision uses every detection from --conf 0.001 on, at most 100 a
picture; what depends on one threshold uses the model's own.

With --cascade it also says what a station gains whose large model looks at the
parts in doubt (docs/cascade.md): escapes and false rejects against cost, and the
band of scores that does what is asked for. It is chosen on one half of the
pictures and measured on the other. A part is bad if a defect is marked on it;
where no parts are marked, each picture is one.`,
		Example: `  # how good is my export, and is it as good as in training?
  sightline-agent eval --model best.onnx --coco annotations_val.json --images pictures/

  # a page with plots and pictures to show to others, and figures for a program
  sightline-agent eval --model pitting --coco bsdata/annotations_val.json --images bsdata \
      --report pitting.html --json > pitting.json

  # for which scores should a large model look too?
  sightline-agent eval --cascade --model drawn-parts --large best.onnx --coco annotations_val.json --images pictures/`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.cascade.check(cmd); err != nil {
				return err
			}
			return o.run(cmd)
		},
	}
	modelFlags(cmd, &o.model)
	f := cmd.Flags()
	f.StringVar(&o.coco, "coco", "", "COCO annotation file: what is true")
	f.StringVar(&o.images, "images", "", "folder of its pictures")
	f.StringVar(&o.report, "report", "", "write one HTML file with plots and pictures here")
	f.BoolVar(&o.json, "json", false, "print one JSON object instead of text")
	f.Float64Var(&o.target, "false-rejects", 0.01, "share of good pictures that may be rejected, for which a threshold is suggested")
	o.infer.flags(f)
	cascadeFlags(cmd, &o.cascade)
	return cmd
}

func (o *evalOptions) check() error {
	if err := firstOf(cli.Required("model", o.model.model, "pitting"), cli.Required("coco", o.coco, "annotations.json"), cli.Required("images", o.images, "pictures/")); err != nil {
		return err
	}
	switch {
	case !(o.model.conf >= 0 && o.model.conf < 1):
		return cli.Usage("--conf %v: must be at least 0 and less than 1", o.model.conf)
	case !(o.model.nms >= 0 && o.model.nms <= 1):
		return cli.Usage("--nms %v: must lie between 0 and 1", o.model.nms)
	case !(o.target >= 0 && o.target <= 1):
		return cli.Usage("--false-rejects %v: must lie between 0 and 1", o.target)
	}
	return o.infer.check()
}

// lowest is the confidence from which detections count for average precision, as
// the reference evaluations have it.
const lowest = 0.001

func (o *evalOptions) run(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := writable(o.report); err != nil {
		return err
	}
	truth, err := coco.Read(o.coco)
	if err != nil {
		return err
	}
	o.model.unsaid = cocoLabels(truth)
	c, err := choose(o.model)
	if err != nil {
		return err
	}
	own := c.spec.Confidence
	if o.model.conf == 0 && c.spec.Family != infer.Segmentation && c.spec.Family != infer.Classification { // whose maps and labels come whatever it is
		o.model.conf = lowest
		if c, err = choose(o.model); err != nil {
			return err
		}
	}
	jobs, missing, err := pictured(truth, o.images)
	if err != nil {
		return err
	}
	e := evaluation{options: o, choice: c, cmd: cmd, jobs: jobs,
		run: eval.New(truth, eval.Config{Spec: c.spec, Confidence: own, FalseRejects: o.target, Worst: 24})}
	if e.programs, e.threads, err = o.infer.programs(cmd); err != nil {
		return err
	}
	if o.cascade.on {
		if e.pairing, err = o.newPairing(cmd.Context(), truth, c, own); err != nil {
			return err
		}
		defer e.pairing.close()
	}
	report, err := e.measure()
	if err == nil {
		err = e.lookLarge(report)
	}
	if err != nil {
		return err
	}
	report.Missing = missing
	if missing > 0 {
		report.Notes = append(report.Notes, fmt.Sprintf("%d of the file's %d pictures aren't under %s and weren't measured", missing, len(truth.Images), o.images))
	}
	if err := e.tell(report); err != nil {
		return err
	}
	if report.Unread > 0 {
		return fmt.Errorf("%d of %d pictures can't be read and weren't measured", report.Unread, len(jobs))
	}
	return nil
}

// writable refuses a place that no report can be written to, before the work.
func writable(path string) error {
	if path == "" {
		return nil
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || !st.IsDir() {
		return fmt.Errorf("--report %s: there is no folder %s", path, filepath.Dir(path))
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return fmt.Errorf("--report %s: is a folder: name a file in it", path)
	}
	return nil
}

// job is a picture that is to be measured.
type job struct {
	path  string
	image *coco.Image
}

// pictured finds the pictures of an annotation file: by file_name under the folder,
// else by the last element of it, wherever under the folder that lies.
func pictured(truth *coco.File, dir string) (jobs []job, missing int, err error) {
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return nil, 0, fmt.Errorf("--images %s: is no folder", dir)
	}
	var base map[string][]string
	for n := range truth.Images {
		img := &truth.Images[n]
		path, err := img.Locate(dir)
		if err != nil {
			return nil, 0, fmt.Errorf("read %s: %w", truth.Path, err)
		}
		if _, err := os.Stat(path); err != nil {
			if base == nil {
				if base, err = basenames(dir); err != nil {
					return nil, 0, err
				}
			}
			found := base[filepath.Base(path)]
			if len(found) > 1 {
				return nil, 0, fmt.Errorf("%s: image %s is none of the files under %s, and %d there have its last element (%s, %s): give the folder that file_name starts from",
					truth.Path, img.Name, dir, len(found), found[0], found[1])
			}
			if len(found) == 0 {
				missing++
				continue
			}
			path = found[0]
		}
		jobs = append(jobs, job{path, img})
	}
	if len(jobs) == 0 {
		return nil, 0, fmt.Errorf("none of the %d pictures of %s is under %s: give --images the folder that its file_name (%s) starts from", len(truth.Images), truth.Path, dir, truth.Images[0].Name)
	}
	return jobs, missing, nil
}

func basenames(dir string) (map[string][]string, error) {
	out := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out[d.Name()] = append(out[d.Name()], path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for pictures: %w", err)
	}
	return out, nil
}

// evaluation is one run of eval.
type evaluation struct {
	options *evalOptions
	choice  *choice
	cmd     *cobra.Command
	jobs    []job
	run     *eval.Run
	info    infer.Info
	unread  int
	pairing *pairing // with a large model; nil: none

	programs programs
	threads  int
}

// measure runs the model on all pictures.
func (e *evaluation) measure() (*eval.Report, error) {
	w := e.worker(e.choice)
	ctx, stop := context.WithCancel(e.cmd.Context())
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.Run(ctx) })
	g.Go(func() error {
		defer stop()
		return e.lookAll(ctx, w)
	})
	err := g.Wait()
	if e.cmd.Context().Err() != nil {
		return nil, fmt.Errorf("%w: nothing was measured", errCut)
	}
	if err != nil {
		return nil, err
	}
	report, err := e.run.Report()
	if err != nil {
		return nil, err
	}
	report.Model, report.Digest, report.Unread = e.choice.about.Name, e.choice.about.Digest, e.unread
	report.Runtime = fmt.Sprintf("ONNX Runtime %s, %s, %s", e.info.Runtime, e.info.Provider, e.info.Precision)
	return report, nil
}

// worker runs a model as eval wants it.
func (e *evaluation) worker(c *choice) *infer.Worker {
	spec := c.spec
	spec.MaxDetections = maxPredictions
	return infer.New(e.programs.worker(c, spec, e.threads, logger(e.cmd.ErrOrStderr(), false)))
}

func (e *evaluation) lookAll(ctx context.Context, w *infer.Worker) error {
	var err error
	if e.info, err = w.Ready(ctx); err != nil {
		return err
	}
	return e.lookWith(ctx, w, e.choice, "looking at pictures", func(j job, l *looked) error {
		look := eval.Look{Image: j.image, Frame: l.frame, Detections: l.result.Detections, Score: l.result.Score, Map: l.scores}
		if e.pairing != nil {
			e.pairing.pair.Add(false, look)
		}
		return e.run.Add(look)
	})
}

// lookWith tells what a model sees in each picture; those that can't be read are
// counted as unread.
func (e *evaluation) lookWith(ctx context.Context, w *infer.Worker, c *choice, what string, tell func(job, *looked) error) error {
	files := make([]string, len(e.jobs))
	for n, j := range e.jobs {
		files[n] = j.path
	}
	bar := cli.NewProgress(e.cmd.ErrOrStderr(), what, int64(len(files)))
	defer bar.Done()
	n := 0
	e.unread = 0
	return lookAt(ctx, w, files, c.spec.Family.Maps() && c == e.choice, func(l *looked) error {
		j := e.jobs[n]
		n++
		bar.Add(1)
		if l.err != nil {
			if c == e.choice { // a large model looks at them again
				fmt.Fprintf(e.cmd.ErrOrStderr(), "%s: left out: %v\n", l.path, l.err)
			}
			e.unread++
			return nil
		}
		return tell(j, l)
	})
}

// tell writes the page and prints the figures.
func (e *evaluation) tell(r *eval.Report) error {
	if e.options.report != "" {
		f, err := openOutput(e.options.report, nil)
		if err == nil {
			defer f.drop()
			err = r.WriteHTML(f)
		}
		if err == nil {
			err = f.keep()
		}
		if err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	out := e.cmd.OutOrStdout()
	if e.options.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return errors.Join(r.WriteText(out), said(out, e.options.report))
}

func said(out io.Writer, page string) error {
	if page == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "\nthe report is in %s\n", page)
	return err
}
