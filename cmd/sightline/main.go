// Command sightline is the operator's program: the demonstration, drawn parts,
// and what talks to devices and the fleet.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
)

// version is set by the build.
var version = "unknown"

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, newRoot(), args, stdout, stderr)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sightline",
		Short: "see Sightline at work, and draw parts to try it on",
		Long:  `sightline is the operator's program. Exit codes: 0 done, 1 failed, 2 wrong use.`,
		Example: `  # parts on a drawn belt, inspected and shown in the browser
  sightline demo

  # the drawn belt alone, as an IP camera
  sightline scene serve --mjpeg 127.0.0.1:8090`,
		Version: version,
	}
	root.AddCommand(newDemo(), newSceneCommand())
	root.AddCommand(newLogin(), newLogout(), newDevices(), newResults(), newRollout())
	root.AddCommand(newTrust(), newBundle())
	root.AddCommand(newKeys(), newPublish())
	return root
}
