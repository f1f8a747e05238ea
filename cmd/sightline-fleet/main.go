// Command sightline-fleet is the central service: devices enrol and send their
// results to it, and people look at them there.
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

// defaultDir is where a fleet lives unless --data says otherwise.
const defaultDir = "/var/lib/sightline-fleet"

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, newRoot(), args, stdout, stderr)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sightline-fleet",
		Short: "the central service of a fleet of inspection devices",
		Long: `sightline-fleet is one program with everything in it: an MQTT broker, a database,
a certificate authority, REST and pages. Devices enrol with a one-time token and
send each result until it is stored here, once.

Exit codes: 0 done, 1 failed, 2 wrong use.`,
		Example: `  sightline-fleet init --data fleet --name fleet.example --name 10.0.0.5
  sightline-fleet serve --data fleet
  sightline-fleet token --data fleet --group line-a`,
		Version: version,
	}
	var dir string
	root.PersistentFlags().StringVar(&dir, "data", defaultDir, "data directory of the fleet")
	root.AddCommand(newInit(&dir), newServe(&dir), newToken(&dir), newUser(&dir), newRevoke(&dir), newMosquitto(&dir), newSetClockBack(&dir))
	return root
}
