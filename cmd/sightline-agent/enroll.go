package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/sync/identity"
)

// enrollTime is how long enrolling may take.
const enrollTime = time.Minute

func newEnroll() *cobra.Command {
	var c identity.Config
	var file string
	cmd := &cobra.Command{
		Use:   "enroll --fleet URL --token T",
		Short: "make this device part of a fleet",
		Long: `enroll makes a key on this device, which never leaves it, and has the fleet
certify it for a one-time token (sightline-fleet token). The token also tells how
to know the fleet: a server that isn't the one that made it is refused. An agent
that runs on the same data directory begins to send by itself; its certificate
is renewed by itself too.

The fleet also tells the root of trust for updates, if it has one yet: from then
on the device takes bundles that are signed below it, and no others.`,
		Example: `  sightline-agent enroll --fleet https://fleet.example:8443 --token sle1-… --station-label "press 3"
  sightline-agent enroll --fleet https://10.0.0.5:8443 --token sle1-… --config station.yaml`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cli.Required("fleet", c.Fleet, "https://fleet.example:8443"); err != nil {
				return err
			}
			if err := cli.Required("token", c.Token, "sle1-…"); err != nil {
				return err
			}
			var err error
			if c.Dir, err = dataDir(c.Dir, file); err != nil {
				return err
			}
			c.Hostname, _ = os.Hostname() // only for people
			ctx, cancel := context.WithTimeout(cmd.Context(), enrollTime)
			defer cancel()
			id, err := identity.Enroll(ctx, c)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "this device is %s in group %s of the fleet at %s\nan agent that runs on %s begins to send within seconds\n",
				id.Device(), id.Group(), id.Fleet(), c.Dir)
			if err != nil {
				return err
			}
			return pinFleet(cmd.OutOrStdout(), c.Dir, id.Root())
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Fleet, "fleet", "", "HTTPS address of the fleet")
	f.StringVar(&c.Token, "token", "", "one-time enrolment token (sightline-fleet token)")
	f.StringVar(&c.StationLabel, "station-label", "", "what people call this device or its place")
	f.StringVar(&file, "config", "", "configuration whose data directory is meant")
	f.StringVar(&c.Dir, "data", "", "data directory of the agent; overrides the configuration")
	return cmd
}

// pinFleet makes the fleet's root the one that the device trusts. The device is
// enrolled by then, whatever comes of it.
func pinFleet(w io.Writer, data string, root []byte) error {
	if len(root) == 0 {
		_, err := fmt.Fprintln(w, "the fleet has no keys for updates yet; once it has: sightline-agent pin ROOT.json")
		return err
	}
	p, err := pin(data, root)
	if err != nil {
		return fmt.Errorf("the device is enrolled, and can't take updates of this fleet yet: %w", err)
	}
	return p.print(w)
}
