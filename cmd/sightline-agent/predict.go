package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/shm"
)

// maxPredictions is how many detections a picture gets, the best first, as the
// reference evaluations of COCO detectors have it.
const maxPredictions = 100

// predictOptions are the flags of predict.
type predictOptions struct {
	model   modelOptions
	images  []string
	coco    string
	format  string
	out     string
	threads int
}

func newPredict() *cobra.Command {
	var o predictOptions
	cmd := &cobra.Command{
		Use:   "predict --model M --images DIR|FILE…",
		Short: "run a model on pictures and print what it sees",
		Long: `predict gives the detections of each picture as the model's reference decoder
does: JSON Lines, or COCO results that pycocotools reads. Overlaps are removed
with the family's own setting, and the best 100 stay: yolox 0.65 per class over every class above
--conf, yolov8 0.7, fastestdet 0.45.

With --coco the ids of pictures and categories come from that annotation file:
pictures are matched by file name, categories by name.`,
		Example: `  sightline-agent predict --model yolox_nano.onnx --labels coco --images pictures/
  sightline-agent predict --model best.onnx --images a.jpg b.png --conf 0.5

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
	f.IntVar(&o.threads, "threads", 1, "processor threads of the model")
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
	case o.model.conf < 0 || o.model.conf >= 1:
		return cli.Usage("--conf %v: must be at least 0 and less than 1", o.model.conf)
	case o.model.nms < 0 || o.model.nms > 1:
		return cli.Usage("--nms %v: must lie between 0 and 1", o.model.nms)
	}
	return nil
}

func (o *predictOptions) run(cmd *cobra.Command) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	files, err := picture.Files(o.images)
	if err != nil {
		return err
	}
	var ids *cocoIDs
	if o.coco != "" {
		if ids, err = readCOCO(o.coco); err != nil {
			return err
		}
		o.model.unsaid = ids.labels()
		all := len(files)
		if files, err = ids.known(files); err != nil {
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
	out := cmd.OutOrStdout()
	if o.out != "" {
		f, ferr := os.Create(o.out)
		if ferr != nil {
			return fmt.Errorf("write the predictions: %w", ferr)
		}
		defer func() {
			if cerr := f.Close(); err == nil {
				err = cerr
			}
		}()
		out = f
	}
	return o.predict(cmd, c, files, newPrinter(out, o.format, ids))
}

func (o *predictOptions) predict(cmd *cobra.Command, c *choice, files []string, p *printer) error {
	programs, err := findPrograms(config.Infer{})
	if err != nil {
		return err
	}
	spec := c.spec
	spec.MaxDetections = maxPredictions
	w := infer.New(infer.Config{
		Executable: programs.self, Args: []string{"worker", "infer"}, Library: programs.runtime, Provider: programs.provider,
		Model: infer.Model{Path: c.path, Data: c.data}, Spec: spec, Threads: max(o.threads, 1), Log: logger(cmd.ErrOrStderr(), false),
	})
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.Run(ctx) })
	g.Go(func() error {
		defer stop()
		return predictAll(ctx, w, files, func(path string, dets []vision.Detection, err error) error {
			if err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: left out: %v\n", path, err)
				p.left++
				return nil
			}
			return p.picture(path, dets)
		})
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if cmd.Context().Err() != nil {
		return errors.New("interrupted before the last picture: what was written is not complete")
	}
	if err := p.close(); err != nil {
		return err
	}
	if p.left > 0 {
		return fmt.Errorf("%d of %d pictures were left out", p.left, len(files))
	}
	return nil
}

// predictAll decodes the next picture while the model looks at the last one.
func predictAll(ctx context.Context, w *infer.Worker, files []string, tell func(string, []vision.Detection, error) error) error {
	slots := slotRing{worker: w}
	defer slots.release()
	next := slots.load(files[0])
	for n, path := range files {
		now := next
		type answer struct {
			r   infer.Result
			err error
		}
		done := make(chan answer, 1)
		go func() {
			if now.err != nil {
				done <- answer{err: now.err}
				return
			}
			r, err := w.Infer(ctx, &now.frame, now.pool, now.slot)
			done <- answer{r, err}
		}()
		if n+1 < len(files) {
			next = slots.load(files[n+1])
		}
		a := <-done
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if now.err == nil && a.err != nil {
			return fmt.Errorf("%s: %w", path, a.err)
		}
		if err := tell(path, a.r.Detections, a.err); err != nil {
			return err
		}
	}
	return nil
}

// loaded is a decoded picture in shared memory.
type loaded struct {
	frame vision.Frame
	pool  *shm.Pool
	slot  int
	err   error
}

// slotRing decodes pictures into slots in turn; two are in use at a time.
type slotRing struct {
	worker *infer.Worker
	pools  [2]*shm.Pool
	next   int
	made   uint64
}

func (s *slotRing) load(path string) loaded {
	n := s.next
	s.next = 1 - s.next
	data, err := os.ReadFile(path)
	if err != nil {
		return loaded{err: err}
	}
	frame, err := picture.Decode(data, func(w, h int) ([]byte, error) { return s.room(n, 3*w*h) })
	return loaded{frame: frame, pool: s.pools[n], err: err}
}

// room gives memory for a picture, in a larger pool where the last is too small.
func (s *slotRing) room(n, size int) ([]byte, error) {
	if p := s.pools[n]; p != nil && p.SlotSize >= size {
		return p.Slot(0)[:size], nil
	}
	s.drop(n)
	s.made++
	p, err := shm.NewPool(s.made, 1, size)
	if err != nil {
		return nil, err
	}
	s.pools[n] = p
	return p.Slot(0)[:size], nil
}

func (s *slotRing) drop(n int) {
	if p := s.pools[n]; p != nil {
		s.worker.Forget(p)
		p.Release()
		s.pools[n] = nil
	}
}

func (s *slotRing) release() {
	s.drop(0)
	s.drop(1)
}

// picturePrediction is a line of predict's JSON.
type picturePrediction struct {
	Image      string      `json:"image"`
	Detections []detection `json:"detections"`
}

type detection struct {
	Label string     `json:"label"`
	Score float32    `json:"score"`
	Box   [4]float32 `json:"box"` // x, y, w, h in pixels
}

// printer writes predictions in one of the formats.
type printer struct {
	enc  *json.Encoder
	coco bool
	ids  *cocoIDs
	all  []cocoResult
	left int // pictures that got none
}

func newPrinter(w io.Writer, format string, ids *cocoIDs) *printer {
	return &printer{enc: json.NewEncoder(w), coco: format == "coco", ids: ids, all: []cocoResult{}}
}

func (p *printer) picture(path string, dets []vision.Detection) error {
	if p.coco {
		p.all = append(p.all, p.ids.results(path, dets)...)
		return nil
	}
	out := picturePrediction{Image: path, Detections: []detection{}}
	for _, d := range dets {
		out.Detections = append(out.Detections, detection{d.Label, d.Score, [4]float32{d.Box.X, d.Box.Y, d.Box.W, d.Box.H}})
	}
	return p.enc.Encode(out)
}

func (p *printer) close() error {
	if !p.coco {
		return nil
	}
	return p.enc.Encode(p.all)
}
