package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision/capture"
)

func newCameras() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cameras",
		Short: "list the cameras that are plugged in; probe one",
		Long: `cameras lists the V4L2 devices of this machine, and the GigE Vision and USB3
Vision cameras that answer. The first column is what camera.source of the
configuration is to be. Network cameras (RTSP, HTTP) don't announce themselves:
probe them by their address.`,
		Example: `  sightline-agent cameras
  sightline-agent cameras probe /dev/video0`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listCameras(cmd, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for each camera")
	cmd.AddCommand(newProbe())
	return cmd
}

func listCameras(cmd *cobra.Command, asJSON bool) error {
	programs, err := findCapture()
	if err != nil {
		return err
	}
	all := capture.V4L2Devices(os.DirFS("/sys"), "/dev")
	industrial, trouble := capture.GenICamDevices(cmd.Context(), programs.capture)
	all = append(all, industrial...)
	if trouble != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "industrial cameras weren't looked for: %v\n", trouble)
	}
	out := cmd.OutOrStdout()
	if asJSON {
		enc := json.NewEncoder(out)
		for _, d := range all {
			if err := enc.Encode(d); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(out, "no cameras found: neither V4L2 devices nor industrial ones. Network cameras are probed by their address:\n  sightline-agent cameras probe rtsp://192.0.2.10/stream")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tNAME\tDRIVER\tBUS\tSERIAL\tFORMATS")
	for _, d := range all {
		last := strings.Join(d.Formats, " ")
		if d.Problem != "" {
			last = d.Problem
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Source, d.Name, d.Driver, d.Bus, d.Serial, last)
	}
	return w.Flush()
}
