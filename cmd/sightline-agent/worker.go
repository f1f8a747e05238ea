package main

import (
	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
)

// workerSocket is the descriptor that the agent leaves its workers.
const workerSocket = 3

// newWorker is how the agent executes itself again as one of its workers.
func newWorker() *cobra.Command {
	cmd := &cobra.Command{Use: "worker", Short: "be a worker process of the agent, which starts it itself", Hidden: true}
	cmd.AddCommand(&cobra.Command{
		Use: "infer", Short: "run one model", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return infer.WorkerMain(cmd.Context(), workerSocket)
		},
	}, &cobra.Command{
		Use: "capture", Short: "read one folder or MJPEG camera", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return capture.WorkerMain(cmd.Context(), workerSocket, capture.OpenPlain)
		},
	})
	return cmd
}
