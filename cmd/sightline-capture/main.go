// Command sightline-capture reads one camera or recording through FFmpeg, GStreamer
// or Aravis and hands its frames to sightline-agent in shared memory. The agent
// starts one for each camera; people have no use for it but --version and devices,
// which lists the industrial cameras that answer. Built a second time, with OpenCV,
// it is sightline-capture-opencv, which reads V4L2 devices.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/sightline-edge/sightline/vision/capture"
)

// version is set by the linker.
var version = "unknown"

// socket is the descriptor on which the agent gives its order.
const socket = 3

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	switch {
	case len(args) == 1 && args[0] == "--version":
		fmt.Fprintln(stdout, "sightline-capture", version)
		return 0
	case len(args) == 1 && args[0] == "devices":
		if err := list(ctx, stdout); err != nil {
			fmt.Fprintf(stderr, "sightline-capture: %v\n", err)
			return 1
		}
		return 0
	case len(args) > 0:
		fmt.Fprintln(stderr, "sightline-capture: it is started by sightline-agent and takes no arguments but --version and devices")
		return 2
	case !capture.HaveMedia:
		fmt.Fprintln(stderr, "sightline-capture: built without FFmpeg and GStreamer, so it can't read videos, RTSP or devices: run make setup, then make build")
		return 1
	case !capture.HaveOpenCV && capture.NeedsOpenCV(socket):
		become(withOpenCV)
	}
	if err := capture.WorkerMain(ctx, socket, capture.OpenAll); err != nil {
		fmt.Fprintf(stderr, "sightline-capture: %v (it is started by sightline-agent, not by hand)\n", err)
		return 1
	}
	return 0
}

// withOpenCV is what the program's name ends in where it is built with OpenCV. Its 240
// libraries take 100 ms and tens of MB, which only V4L2 devices need.
const withOpenCV = "-opencv"

// opencvLog names how much OpenCV logs.
const opencvLog = "OPENCV_LOG_LEVEL"

// become goes on as the program beside this one whose name ends so. It returns where
// that isn't installed, which whoever opens the source tells.
func become(ending string) {
	env := os.Environ()
	if os.Getenv(opencvLog) == "" { // its warnings would reach the log at every start; it looks before main
		env = append(env, opencvLog+"=SILENT")
	}
	if self, err := os.Executable(); err == nil {
		_ = syscall.Exec(self+ending, []string{self + ending}, env)
	}
}

// list prints the GigE Vision and USB3 Vision cameras that answer, as JSON.
func list(ctx context.Context, stdout io.Writer) error {
	all, err := capture.FindGenICam(ctx)
	if err != nil {
		return err
	}
	e := json.NewEncoder(stdout)
	e.SetIndent("", "  ")
	return e.Encode(all)
}
