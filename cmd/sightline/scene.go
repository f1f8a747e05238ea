package main

import (
	"github.com/spf13/cobra"
)

// newSceneCommand groups what can be done with the drawn parts.
func newSceneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scene",
		Short: "Draw parts on a belt, with the truth about each of them",
		Long: `Draw machined parts on a moving belt, some of them with defects, with the truth
about each part. The same seed gives the same pictures on every machine.`,
		Example: `  # 300 pictures with COCO annotations, to train or to evaluate a model
  sightline scene write --out parts --frames 300 --seed 7 --every 15`,
	}
	cmd.AddCommand(newSceneWriteCommand())
	return cmd
}
