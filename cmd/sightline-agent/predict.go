package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/picture"
)

// maxPredictions is how many detections a picture gets, the best first, as the
// reference evaluations of COCO detectors have it.
const maxPredictions = 100

// predictOptions are the flags of predict.
type predictOptions struct {
	model  modelOptions
	images []string
	coco   string
	format string
	out    string
	draw   string
	infer  inferOptions
}

func newPredict() *cobra.Command {
	var o predictOptions
	cmd := &cobra.Command{
		Use:   "predict --model M --images DIR|FILE…",
		Short: "run a model on pictures and print what it sees",
		Long: `predict gives the detections of each picture as the model's reference decoder
does: JSON Lines, or COCO results that pycocotools reads. Overlaps are removed
with the family's own setting, and the best 100 stay.

With --coco the ids of pictures and categories come from that annotation file:
pictures are matched by file name, categories by name.

A line of JSON has the picture's name and size, its detections (label, score, box
as x, y, width, height in pixels; oriented with centre, sides and angle in radians
and mask as COCO's compressed run lengths where the model gives them), and score
where the model scores the whole picture.`,
		Example: `  sightline-agent predict --model yolox_nano.onnx --labels coco --images pictures/
  sightline-agent predict --model best.onnx --images a.jpg b.png --conf 0.5

  # what a segmentation model sees, drawn over copies of the pictures
  sightline-agent predict --model pitting --images bsdata/images --draw seen/

  # ready for pycocotools
  sightline-agent predict --model yolox_nano.onnx --images val2017/ --coco instances_val2017.json \
      --format coco --conf 0.001 --out results.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.images = append(o.images, args...) // --images a.jpg b.jpg
			return o.run(cmd)
		},
	}
	modelFlags(cmd, &o.model)
	f := cmd.Flags()
	f.StringArrayVar(&o.images, "images", nil, "folder of pictures, or picture; more may follow")
	f.StringVar(&o.coco, "coco", "", "COCO annotation file with the ids of pictures and categories")
	f.StringVar(&o.format, "format", "json", "json: one object a line; coco: one array of COCO results")
	f.StringVar(&o.out, "out", "", "write here instead of standard output")
	f.StringVar(&o.draw, "draw", "", "folder for a copy of each picture with what was seen drawn over it")
	o.infer.flags(f)
	return cmd
}

func (o *predictOptions) check() error {
	if err := cli.Required("model", o.model.model, "yolox_nano.onnx"); err != nil {
		return err
	}
	switch {
	case len(o.images) == 0:
		return cli.Usage("--images is missing, as in: --images pictures/")
	case o.format != "json" && o.format != "coco":
		return cli.Usage("--format %q: is neither json nor coco", o.format)
	case o.format == "coco" && o.coco == "":
		return cli.Usage("--format coco needs the annotation file with the ids: --coco annotations.json")
	case !(o.model.conf >= 0 && o.model.conf < 1):
		return cli.Usage("--conf %v: must be at least 0 and less than 1", o.model.conf)
	case !(o.model.nms >= 0 && o.model.nms <= 1):
		return cli.Usage("--nms %v: must lie between 0 and 1", o.model.nms)
	}
	return o.infer.check()
}

func (o *predictOptions) run(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	files, err := picture.Files(o.images)
	if err != nil {
		return err
	}
	if o.draw != "" {
		if err := apart(o.draw, files); err != nil {
			return err
		}
	}
	var truth *coco.File
	if o.coco != "" {
		if truth, err = coco.Read(o.coco); err != nil {
			return err
		}
		o.model.unsaid = cocoLabels(truth)
		all := len(files)
		if files, err = annotated(truth, o.images, files); err != nil {
			return err
		}
		if left := all - len(files); left > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "%d pictures without an entry in %s are left out\n", left, o.coco)
		}
	}
	c, err := choose(o.model)
	if err != nil {
		return err
	}
	c.tell(cmd.ErrOrStderr())
	out, err := openOutput(o.out, cmd.OutOrStdout())
	if err != nil {
		return fmt.Errorf("write the predictions: %w", err)
	}
	defer out.drop()
	p, err := newPrinter(out, o, truth)
	if err == nil {
		err = o.predict(cmd, c, files, p)
	}
	switch {
	case errors.Is(err, errCut) && out.unfinished != nil:
		return fmt.Errorf("%w: nothing was written", err)
	case errors.Is(err, errCut):
		return fmt.Errorf("%w: what was written is not complete", err)
	case err != nil:
		return err
	}
	if err := out.keep(); err != nil {
		return fmt.Errorf("write the predictions: %w", err)
	}
	if s := p.unscored(); s != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), s)
	}
	if p.left > 0 {
		return fmt.Errorf("%d of %d pictures were left out", p.left, len(files))
	}
	return nil
}

// errCut is why what a command gives is not complete.
var errCut = errors.New("interrupted before the last picture")

// predict writes what the model sees.
func (o *predictOptions) predict(cmd *cobra.Command, c *choice, files []string, p *printer) error {
	programs, threads, err := o.infer.programs(cmd)
	if err != nil {
		return err
	}
	spec := c.spec
	spec.MaxDetections = maxPredictions
	w := infer.New(programs.worker(c, spec, threads, logger(cmd.ErrOrStderr(), false)))
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.Run(ctx) })
	g.Go(func() error {
		defer stop()
		return lookAt(ctx, w, files, false, func(l *looked) error {
			if l.err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: left out: %v\n", l.path, l.err)
				p.left++
				return nil
			}
			return p.picture(l)
		})
	})
	err = g.Wait()
	if cmd.Context().Err() != nil {
		return errCut
	}
	if err != nil {
		return err
	}
	return p.close()
}
