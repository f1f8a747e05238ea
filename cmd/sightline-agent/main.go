// Command sightline-agent inspects parts on a device: it takes cameras to
// verdicts, keeps them on disk and answers for them.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/prompt"
)

// version is set by the build.
var version = "unknown"

func main() {
	_ = prompt.All() // only a hint: what waits for a frame, a message or a person does little, and at once
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, newRoot(), args, stdout, stderr)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sightline-agent",
		Short: "inspect parts with cameras and models, on the device beside the line",
		Long: `sightline-agent takes cameras to verdicts: pictures go through a model, what it
sees becomes parts, a rule gives each part PASS, FAIL or NONE (no decision,
which rejects), and every verdict is on disk before anyone hears of it.

Exit codes: 0 done, 1 failed, 2 wrong use.`,
		Example: `  # look at your own video with your own model; nothing is installed or kept
  sightline-agent try --source line.mp4 --model yolox_nano.onnx --labels coco --count bottle

  # a station for good
  sightline-agent check --config station.yaml
  sightline-agent run --config station.yaml

  # send its results to a fleet
  sightline-agent enroll --fleet https://fleet.example:8443 --token sle1-…`,
		Version: version,
	}
	root.AddCommand(newTry(), newPredict(), newEval(), newRun(), newCheck(), newEnroll(), newPin(), newUpdate(), newSwap(), newWorker())
	root.AddCommand(newGate(), newGolden(), newBench(), newCameras(), newServe())
	return root
}
