package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/picture"
)

// goldenOptions are the flags of golden.
type goldenOptions struct {
	pictures  []string
	tolerance bundle.Tolerance
	infer     inferOptions
	json      bool
	suggestOptions
}

func newGolden() *cobra.Command {
	var o goldenOptions
	cmd := &cobra.Command{
		Use:   "golden DIR --pictures FILE…",
		Short: "record the golden vectors of a bundle's folder",
		Long: `golden runs the model and rule of a bundle's folder on pictures and records what
comes out in DIR/golden/expected.json, with copies of the pictures beside it. A
device lets the bundle serve only if it sees the same there, within the
tolerances (docs/golden-gate.md, which also tells how to choose pictures).

The pictures are also run with 1, 2 and 4 threads, at ONNX Runtime's four levels
of graph optimisation, and with the model rounded to float16: how far the answers
move by that, three times over, are the tolerances. --tolerance-… chooses others.

A picture whose outcome hangs on a score within the tolerance is refused, since
another device might rightly decide otherwise. What was recorded before is
replaced.

--suggest records nothing: it makes mutants of the bundle (other weights, other
pre-processing), runs them on all pictures and chooses those that together show
the most mutants; --take then records these.`,
		Example: `  sightline-agent golden caps/ --pictures good1.jpg good2.jpg scratch.jpg dent.jpg
  sightline-agent golden caps/ --pictures chosen/ --tolerance-score 0.01
  sightline-agent golden caps/ --pictures many/ --suggest --count 8 --take`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usage("the bundle's folder is missing, as in: golden caps/ --pictures chosen/")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.pictures = append(o.pictures, args[1:]...) // --pictures a.jpg b.jpg
			return interrupted(cmd, o.run(cmd, args[0]), "nothing was recorded")
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.pictures, "pictures", nil, "folder of pictures, or picture; more may follow")
	f.Float32Var(&o.tolerance.Score, "tolerance-score", 0, "how far a score may be from the recorded one; 0: by what is measured")
	f.Float32Var(&o.tolerance.IoU, "tolerance-iou", 0, "how far at least a box must overlap the recorded one; 0: by what is measured")
	f.Float32Var(&o.tolerance.Raw, "tolerance-raw", 0, "how far a raw value may be, relative to the output's largest; 0: by what is measured")
	o.infer.flags(f)
	f.BoolVar(&o.suggest, "suggest", false, "choose among the pictures: those that show the most mutants of the bundle")
	f.IntVar(&o.count, "count", 6, "pictures that --suggest chooses")
	f.IntVar(&o.mutants, "mutants", 60, "mutants that --suggest tries")
	f.BoolVar(&o.take, "take", false, "record what --suggest chooses")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func (o *goldenOptions) run(cmd *cobra.Command, dir string) error {
	if len(o.pictures) == 0 {
		return cli.Usage("--pictures is missing, as in: --pictures chosen/")
	}
	if err := firstOf(o.suggestOptions.check(cmd), o.infer.check()); err != nil {
		return err
	}
	if err := checkHand(o.tolerance); err != nil {
		return cli.Usage("%v", err)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return fmt.Errorf("record golden pictures: %s is no folder: unpack an archive first, or name the bundle's folder", dir)
	}
	files, err := picture.Files(o.pictures)
	if err != nil {
		return err
	}
	pictures, names := bundle.Place(dir, files)
	made, threads, err := o.infer.assembly(cmd)
	if err != nil {
		return err
	}
	defer made.close(context.WithoutCancel(cmd.Context()))
	as := recordOptions{o.tolerance, threads, progress(cmd.ErrOrStderr(), o.json)}
	var s *suggested
	if o.suggest {
		s, err = o.runSuggest(cmd, made, dir, pictures, names, as)
		if err != nil || !o.take {
			return err
		}
		pictures, names = bundle.Place(dir, s.files())
	}
	g, err := made.record(cmd.Context(), dir, pictures, names, as)
	if err != nil {
		return err
	}
	if err := pictures.Keep(dir, g); err != nil {
		return fmt.Errorf("record golden pictures in %s: %w", dir, err)
	}
	return o.print(cmd, goldenAnswer{filepath.Join(dir, filepath.FromSlash(bundle.GoldenFile)), s, g})
}

// goldenAnswer is golden's JSON.
type goldenAnswer struct {
	File      string     `json:"file"`
	Suggested *suggested `json:"suggested,omitempty"` // how the pictures were chosen
	*bundle.Golden
}

func (o *goldenOptions) print(cmd *cobra.Command, g goldenAnswer) error {
	w := cmd.OutOrStdout()
	if o.json {
		return json.NewEncoder(w).Encode(g)
	}
	for _, v := range g.Vectors {
		fmt.Fprintf(w, "%-40s %-4s %s, %d parts, %d detections\n", v.Picture, v.Verdict, v.Reason, len(v.Parts), len(v.Detections))
	}
	fmt.Fprintf(w, "%s: %d pictures recorded on %s %s, ONNX Runtime %s\n",
		g.File, len(g.Vectors), g.Recorded.Provider, g.Recorded.Precision, g.Recorded.Runtime)
	_, err := fmt.Fprintln(w, strings.Join(g.Measured.Lines(), "\n"))
	return err
}
