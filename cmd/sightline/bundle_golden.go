package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

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
	f.Float32("tolerance-score", 0, "how far a score may be from the recorded one; 0: by what is measured")
	f.Float32("tolerance-iou", 0, "how far at least a box must overlap the recorded one; 0: by what is measured")
	f.Float32("tolerance-raw", 0, "how far a raw value may be, relative to the output's largest; 0: by what is measured")
	f.Int("threads", 0, "processor threads of the model; 0: the configuration's, 1")
	f.String("config", "", "configuration whose section infer the agent's program uses")
	return cmd
}

func (o *goldenOptions) run(cmd *cobra.Command, dir string) error {
	if len(o.pictures) == 0 && o.images == "" {
		return cli.Usage("neither --pictures nor --images is given, as in: golden %s --images chosen-pictures/", dir)
	}
	if len(o.pictures) > 0 && o.images != "" {
		return cli.Usage("--pictures and --images: give one of them")
	}
	if err := o.check(cmd); err != nil {
		return err
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
		err = o.record(cmd, dir)
	}
	if err != nil {
		return fmt.Errorf("record golden vectors: %w", err)
	}
	g, err := bundle.ReadGolden(os.DirFS(dir))
	if err != nil {
		return fmt.Errorf("what was recorded: %w", err)
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

// passed are the flags that are the agent's program's alone.
var passed = []string{"tolerance-score", "tolerance-iou", "tolerance-raw", "threads", "config"}

// check refuses what nobody would look at.
func (o *goldenOptions) check(cmd *cobra.Command) error {
	for _, name := range []string{"count", "mutants"} {
		if !o.suggest && cmd.Flags().Changed(name) {
			return cli.Usage("--%s is for --suggest", name)
		}
	}
	if !strings.Contains(o.agent, "://") {
		return nil
	}
	if o.suggest || o.take {
		return cli.Usage("--suggest needs the agent's program, not the address of one that runs: leave --agent out, or name the program")
	}
	for _, name := range passed {
		if cmd.Flags().Changed(name) {
			return cli.Usage("--%s needs the agent's program: one that runs records by its own settings, with the tolerances that it measures", name)
		}
	}
	return nil
}

// record lets the agent's program write what it records.
func (o *goldenOptions) record(cmd *cobra.Command, dir string) error {
	return o.start(cmd, io.Discard, dir, "--json")
}

// choose lets the agent's program choose among the pictures; what it says passes
// through.
func (o *goldenOptions) choose(cmd *cobra.Command, dir string) error {
	err := o.start(cmd, cmd.OutOrStdout(), dir, fmt.Sprint("--count=", o.count), fmt.Sprint("--mutants=", o.mutants),
		fmt.Sprint("--suggest=", o.suggest), fmt.Sprint("--take=", o.take), fmt.Sprint("--json=", o.json))
	if err != nil {
		return fmt.Errorf("choose golden pictures: %w", err)
	}
	return nil
}

// start runs the agent's program, whose words about trouble pass through.
func (o *goldenOptions) start(cmd *cobra.Command, stdout io.Writer, dir string, flags ...string) error {
	agent, err := findAgent(o.agent)
	if err != nil {
		return err
	}
	args := append([]string{"golden", dir}, flags...)
	for _, p := range o.pictures {
		args = append(args, "--pictures", p)
	}
	for _, name := range passed {
		if f := cmd.Flags().Lookup(name); f.Changed {
			args = append(args, "--"+name+"="+f.Value.String())
		}
	}
	run := exec.CommandContext(cmd.Context(), agent, args...)
	run.Stdout, run.Stderr = stdout, cmd.ErrOrStderr()
	// Ctrl-C at a terminal is ours to hear, and to pass on once.
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	err = run.Run()
	switch {
	case err == nil:
		return nil
	case run.ProcessState != nil && cmd.Context().Err() != nil:
		return cli.ErrTold // that it was interrupted
	case run.ProcessState != nil && run.ProcessState.ExitCode() == cli.WrongUse:
		return cli.ErrToldUsage
	}
	return fmt.Errorf("%s golden %s: %w", agent, dir, err)
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
