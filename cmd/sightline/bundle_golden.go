package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/updater/bundle"
)

// goldenOptions are the flags of bundle golden.
type goldenOptions struct {
	pictures []string
	images   string
	agent    string
	json     bool
	suggest  bool
	take     bool // what suggest chooses
	count    int
	mutants  int
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

With --agent and an address, an agent that runs on a device records on that
device's own hardware, beside its stations, and keeps nothing. It takes such
requests from its own machine alone: forward its port with ssh -L.

Every device must see the same before the bundle may serve there. Choose pictures
that matter: good parts, each kind of defect, the hardest that must be told
rightly; ten to thirty are plenty. --suggest chooses: it lets mutants of the bundle
loose on all pictures, prints those that together show the most of them, and
records nothing without --take. Look at the verdicts that it prints: whatever
they are, that is what every device is held to.`,
		Example: `  sightline bundle golden caps --pictures good1.png --pictures scratch3.png
  sightline bundle golden caps --images chosen-pictures/
  sightline bundle golden caps --images many-pictures/ --suggest --count 8 --take

  # on a device's hardware, through ssh -L 8080:127.0.0.1:8080 device
  sightline bundle golden caps --images chosen-pictures/ --agent http://127.0.0.1:8080`,
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
	f.StringVar(&o.agent, "agent", "", "the agent's program, if it isn't beside this one or in PATH, or the address of one that runs")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	f.BoolVar(&o.suggest, "suggest", false, "choose among the pictures: those that show the most mutants of the bundle")
	f.IntVar(&o.count, "count", 6, "pictures that --suggest chooses")
	f.IntVar(&o.mutants, "mutants", 60, "mutants that --suggest tries")
	f.BoolVar(&o.take, "take", false, "record what --suggest chooses")
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
	if o.suggest || o.take {
		return o.choose(cmd, dir)
	}
	var err error
	if strings.HasPrefix(o.agent, "http://") || strings.HasPrefix(o.agent, "https://") {
		err = o.ask(cmd.Context(), dir)
	} else {
		err = o.record(cmd.Context(), cmd.ErrOrStderr(), dir)
	}
	if err != nil {
		return fmt.Errorf("record golden vectors: %w", err)
	}
	g, err := bundle.ReadGolden(os.DirFS(dir))
	if err != nil {
		return fmt.Errorf("what was recorded: %w", err)
	}
	if err := bundle.NameGolden(dir); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(recorded{filepath.Join(dir, filepath.FromSlash(bundle.GoldenFile)), g})
	}
	t := table{head: []string{"PICTURE", "VERDICT", "WHY", "DETECTIONS"}}
	for _, v := range g.Vectors {
		t.add(v.Picture, v.Verdict, v.Reason, seen(v.Detections))
	}
	if err := t.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, on %s %s with ONNX Runtime %s\n%s\n", filepath.Join(dir, filepath.FromSlash(bundle.GoldenFile)),
		several(len(g.Vectors), "picture"), g.Recorded.Provider, g.Recorded.Precision, g.Recorded.Runtime, strings.Join(g.Measured.Lines(), "\n"))
	return err
}

// recorded is golden's JSON.
type recorded struct {
	File string `json:"file"`
	*bundle.Golden
}

// record runs the agent's program, whose words about trouble pass through. It
// writes what it recorded.
func (o *goldenOptions) record(ctx context.Context, stderr io.Writer, dir string) error {
	agent, err := findAgent(o.agent)
	if err != nil {
		return err
	}
	args := []string{"golden", dir, "--json"}
	for _, p := range o.pictures {
		args = append(args, "--pictures", p)
	}
	run := exec.CommandContext(ctx, agent, args...)
	run.Stderr = stderr
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	if err := run.Run(); err != nil {
		return fmt.Errorf("%s golden %s: %w", agent, dir, err)
	}
	return nil
}

// choose lets the agent's program choose among the pictures; what it says passes
// through.
func (o *goldenOptions) choose(cmd *cobra.Command, dir string) error {
	if strings.Contains(o.agent, "://") {
		return cli.Usage("--suggest needs the agent's program, not the address of one that runs: leave --agent out, or name the program")
	}
	agent, err := findAgent(o.agent)
	if err != nil {
		return fmt.Errorf("choose golden pictures: %w", err)
	}
	args := []string{"golden", dir, fmt.Sprint("--count=", o.count), fmt.Sprint("--mutants=", o.mutants),
		fmt.Sprint("--suggest=", o.suggest), fmt.Sprint("--take=", o.take), fmt.Sprint("--json=", o.json)}
	for _, p := range o.pictures {
		args = append(args, "--pictures", p)
	}
	run := exec.CommandContext(cmd.Context(), agent, args...)
	run.Stdout, run.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	if err := run.Run(); err != nil {
		return fmt.Errorf("choose golden pictures: %s golden %s: %w", agent, dir, err)
	}
	return nil
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
