package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/bundle"
)

// goldenOptions are the flags of bundle golden.
type goldenOptions struct {
	pictures []string
	images   string
	agent    string
	json     bool
}

func newBundleGolden() *cobra.Command {
	var o goldenOptions
	cmd := &cobra.Command{
		Use:   "golden DIR",
		Short: "record what the bundle sees in known pictures",
		Long: `golden runs the bundle's model and rule on pictures, with the sightline-agent
beside this program, and records what they give: scores, boxes and verdicts, and
samples of the raw outputs. The pictures are copied to DIR/golden, the values are
written to DIR/golden/expected.json, and the manifest gets its line.

Every device must see the same before the bundle may serve there. Choose pictures
that matter: good parts, each kind of defect, the hardest that must be told
rightly; ten to thirty are plenty. Look at the verdicts that it prints: whatever
they are, that is what every device is held to.`,
		Example: `  sightline bundle golden caps --pictures good1.png --pictures scratch3.png
  sightline bundle golden caps --images chosen-pictures/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usage("a bundle's folder is missing, as in: golden caps/ --images chosen-pictures/")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.pictures = append(o.pictures, args[1:]...) // --pictures a.png b.png
			return o.run(cmd, args[0])
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.pictures, "pictures", nil, "picture to record; may repeat, and more may follow it")
	f.StringVar(&o.images, "images", "", "folder whose pictures are all recorded")
	f.StringVar(&o.agent, "agent", "", "the agent's program, if it isn't beside this one or in PATH")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func (o *goldenOptions) run(cmd *cobra.Command, dir string) error {
	if len(o.pictures) == 0 && o.images == "" {
		return cli.Usage("neither --pictures nor --images is given, as in: golden %s --images chosen-pictures/", dir)
	}
	if len(o.pictures) > 0 && o.images != "" {
		return cli.Usage("--pictures and --images: give one of them")
	}
	if o.images != "" {
		o.pictures = []string{o.images}
	}
	if _, err := bundle.Read(os.DirFS(dir)); err != nil {
		return err
	}
	agent, err := findAgent(o.agent)
	if err != nil {
		return err
	}
	answer, err := o.record(cmd.Context(), cmd.ErrOrStderr(), agent, dir)
	if err != nil {
		return err
	}
	g, err := bundle.ReadGolden(os.DirFS(dir))
	if err != nil {
		return fmt.Errorf("what %s recorded: %w", agent, err)
	}
	if err := nameGolden(dir); err != nil {
		return err
	}
	if o.json {
		_, err := cmd.OutOrStdout().Write(answer)
		return err
	}
	t := table{head: []string{"PICTURE", "VERDICT", "WHY", "DETECTIONS"}}
	for _, v := range g.Vectors {
		t.add(v.Picture, v.Verdict, v.Reason, seen(v.Detections))
	}
	if err := t.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, on %s %s with ONNX Runtime %s\n", filepath.Join(dir, filepath.FromSlash(bundle.GoldenFile)),
		several(len(g.Vectors), "picture"), g.Recorded.Provider, g.Recorded.Precision, g.Recorded.Runtime)
	return err
}

// record runs the agent, whose words about trouble pass through.
func (o *goldenOptions) record(ctx context.Context, stderr io.Writer, agent, dir string) ([]byte, error) {
	args := []string{"golden", dir, "--json"}
	for _, p := range o.pictures {
		args = append(args, "--pictures", p)
	}
	var out bytes.Buffer
	run := exec.CommandContext(ctx, agent, args...)
	run.Stdout, run.Stderr = &out, stderr
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	if err := run.Run(); err != nil {
		return nil, fmt.Errorf("record golden vectors: %s: %w", strings.Join(slices.Concat([]string{agent}, args[:2]), " "), err)
	}
	if !json.Valid(out.Bytes()) {
		return nil, fmt.Errorf("record golden vectors: %s answered no JSON: is it of another version?", agent)
	}
	return out.Bytes(), nil
}

// seen counts detections by label, in the order of their scores.
func seen(all []bundle.Expected) string {
	n := map[string]int{}
	var names []string
	for _, d := range all {
		if n[d.Label]++; n[d.Label] == 1 {
			names = append(names, d.Label)
		}
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", n[name], name)
	}
	return listed(names)
}

// nameGolden adds the golden file to the manifest where it isn't named yet, and
// leaves all else as its author wrote it.
func nameGolden(dir string) error {
	path := filepath.Join(dir, bundle.ManifestFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("name the golden vectors: %w", err)
	}
	m, err := bundle.Parse(text)
	if err != nil || m.Golden != "" {
		return err
	}
	if !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	text = append(text, "golden: "+bundle.GoldenFile+"\n"...)
	if m, err := bundle.Parse(text); err != nil || m.Golden == "" {
		return fmt.Errorf("name the golden vectors: no line can be added to %s as it is written: add golden: %s to it", path, bundle.GoldenFile)
	}
	if err := whole.Write(path, text, 0o644); err != nil {
		return fmt.Errorf("name the golden vectors: %w", err)
	}
	return nil
}
