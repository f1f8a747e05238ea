package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/fleet"
)

func newSetClockBack(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "set-clock-back",
		Short: "after a clock that stood ahead: go by this machine's clock again",
		Long: `The fleet's time never runs behind the newest time that it has seen, so that a clock
that falls back to 1970 neither refuses every device nor revives old certificates.
If this machine's clock once stood far ahead, that time stays, and certificates that
are good look expired. Set the machine's clock, stop the service, and run this.`,
		Example: `  sightline-fleet set-clock-back --data fleet`,
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			was, err := fleet.SetClockBack(cmd.Context(), *dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the fleet's time was %s and is %s\n", was.Format(time.DateTime), time.Now().UTC().Format(time.DateTime))
			return err
		},
	}
}
