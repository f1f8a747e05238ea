package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/eval"
	"github.com/sightline-edge/sightline/vision/infer"
)

// cascadeOptions are the flags of eval --cascade.
type cascadeOptions struct {
	on          bool
	large       string
	cost        float64
	moreEscapes string
	moreRejects string

	escapes, rejects float64 // the last two, as shares
}

func cascadeFlags(cmd *cobra.Command, o *cascadeOptions) {
	f := cmd.Flags()
	f.BoolVar(&o.on, "cascade", false, "propose the band of scores for which a large model looks too")
	f.StringVar(&o.large, "large", "", "--cascade: the large model, as --model; a plain file that tells no labels has those of --model")
	f.Float64Var(&o.cost, "cost", 0, "--cascade: propose the band with the fewest escapes that takes at most this share of the large model's time")
	f.StringVar(&o.moreEscapes, "max-escapes", "0.5%", "--cascade: propose the cheapest band with at most so many more escapes than the large model alone, of the bad parts")
	f.StringVar(&o.moreRejects, "max-false-rejects", "1%", "--cascade: and at most so many more false rejects, of the good parts")
}

func (o *cascadeOptions) check(cmd *cobra.Command) error {
	if !o.on {
		for _, name := range []string{"large", "cost", "max-escapes", "max-false-rejects"} {
			if cmd.Flags().Changed(name) {
				return cli.Usage("--%s goes with --cascade", name)
			}
		}
		return nil
	}
	if err := cli.Required("large", o.large, "drawn-parts-large"); err != nil {
		return err
	}
	if cmd.Flags().Changed("cost") {
		switch {
		case cmd.Flags().Changed("max-escapes") || cmd.Flags().Changed("max-false-rejects"):
			return cli.Usage("--cost and --max-escapes exclude each other: one says what the band is to reach")
		case !(o.cost > 0 && o.cost <= 2):
			return cli.Usage("--cost %v: must be more than 0 and at most 2", o.cost)
		}
	}
	for name, v := range map[string]struct {
		text string
		to   *float64
	}{"max-escapes": {o.moreEscapes, &o.escapes}, "max-false-rejects": {o.moreRejects, &o.rejects}} {
		share, err := asShare(v.text)
		if err != nil {
			return cli.Usage("--%s %s: must be a share, as 0.5%% or 0.005", name, v.text)
		}
		*v.to = share
	}
	return nil
}

// asShare reads 0.5% or 0.005.
func asShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("share %q", text)
	}
	return v, nil
}

// pairing compares the model of eval with a large one.
type pairing struct {
	large *choice
	pair  *eval.Pair
	close func() error
}

// newPairing reads the large model, and the rule that makes verdicts of both.
func (o *evalOptions) newPairing(ctx context.Context, truth *coco.File, c *choice, own float32) (*pairing, error) {
	large, err := o.chooseLarge(c)
	if err != nil {
		return nil, err
	}
	if got, want := large.labelNames(), c.labelNames(); got != want {
		return nil, fmt.Errorf("--large: model %s has the labels %s, %s has %s: they must be the same", large.about.Name, got, c.about.Name, want)
	}
	p := &pairing{large: large, close: func() error { return nil }}
	rejects := func(part vision.Part, _, _ int) bool {
		for _, e := range part.Defects {
			if e.Score >= own {
				return true
			}
		}
		return false
	}
	if c.rule.Module != "" {
		made, err := newAssembly(ctx, programs{}, logger(io.Discard, false))
		if err != nil {
			return nil, err
		}
		rule, err := made.engine.Load(ctx, c.rule)
		if err != nil {
			return nil, errors.Join(err, made.close(ctx))
		}
		rejects = func(part vision.Part, w, h int) bool { return rule.Decide(ctx, part, w, h).Verdict != vision.Pass }
		p.close = func() error { return made.close(context.WithoutCancel(ctx)) }
	}
	p.pair, err = eval.NewPair(truth, eval.PairConfig{
		Spec: c.spec, Large: large.about.Name, Rejects: rejects, Cost: o.cascade.cost, MoreEscapes: o.cascade.escapes, MoreFalseRejects: o.cascade.rejects,
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// chooseLarge reads the large model. What a plain one doesn't tell of its labels is as
// the small one's; nothing else that is said of that holds for it.
func (o *evalOptions) chooseLarge(c *choice) (*choice, error) {
	other := modelOptions{model: o.cascade.large, conf: c.spec.Confidence, roles: o.model.roles}
	for _, l := range c.spec.Labels {
		other.like = append(other.like, l.Name)
	}
	st, err := os.Stat(other.model)
	plain := err == nil && st.Mode().IsRegular()
	if plain {
		other.labels = o.model.labels
	}
	large, err := choose(other)
	if err != nil && plain {
		return nil, fmt.Errorf("--large: %w; --family, --preset, --size, --activation and --nms are said of --model alone: "+
			"make a bundle of the large one that says its own, with sightline bundle init", err)
	}
	return large, err
}

// took is what a result has cost, ms.
func took(r *infer.Result) float64 { return float64((r.Fill + r.Run + r.Decode).Microseconds()) / 1e3 }

// lookLarge lets the large model look at all pictures, and adds what both reach
// together to the report.
func (e *evaluation) lookLarge(r *eval.Report) error {
	p := e.pairing
	if p == nil {
		return nil
	}
	small, large := e.worker(e.choice), e.worker(p.large)
	ctx, stop := context.WithCancel(e.cmd.Context())
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return small.Run(ctx) })
	g.Go(func() error { return large.Run(ctx) })
	g.Go(func() error {
		defer stop()
		if err := e.time(ctx, small, large); err != nil {
			return err
		}
		return e.lookWith(ctx, large, p.large, "looking with the large model", func(j job, l *looked) error {
			p.pair.Add(true, eval.Look{Image: j.image, Frame: l.frame, Detections: l.result.Detections, Score: l.result.Score})
			return nil
		})
	})
	err := g.Wait()
	if e.cmd.Context().Err() != nil {
		return fmt.Errorf("%w: the cascade wasn't measured", errCut)
	}
	if err != nil {
		return err
	}
	r.Cascade, err = p.pair.Report()
	return err
}

// timed is on how many pictures the models' times are measured, in turn.
const timed = 60

// time measures how long looks of both models take.
func (e *evaluation) time(ctx context.Context, small, large *infer.Worker) error {
	slots := slotRing{worker: small}
	defer slots.release()
	for n := range timed {
		at := slots.load(e.jobs[n%len(e.jobs)].path)
		if at.err != nil {
			continue // that it can't be read is told where all are looked at
		}
		for _, w := range []*infer.Worker{small, large} {
			r, err := w.Infer(ctx, &at.frame, at.pool, at.slot)
			if err != nil {
				return err
			}
			if n > 0 { // what is made once isn't a look's
				e.pairing.pair.Took(w == large, took(&r))
			}
		}
	}
	return nil
}
