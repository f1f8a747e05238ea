package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/track"
)

// firstFrameLimit is how long try waits for a source to give anything.
const firstFrameLimit = 10 * time.Second

// tryOptions are the flags of try.
type tryOptions struct {
	model   modelOptions
	station stationOptions
	camera  config.Camera
	infer   inferOptions
	seconds float64
	json    bool
	save    string
	serve   string
	mm      float64
	verbose bool
}

func newTry() *cobra.Command {
	var o tryOptions
	cmd := &cobra.Command{
		Use:   "try --source S --model M",
		Short: "inspect your own stream with your own model, at once and without leaving a trace",
		Long: `try runs one station on a source and prints each part when it is decided, at the
end a summary. Nothing is kept but what --save names.

A recording is inspected frame by frame, as fast as the model can; --realtime
plays it at its own rate and drops frames as a camera would. In a folder each
picture is one part. A camera runs until Ctrl-C or --seconds.

Labels have roles: a part gets a verdict, a defect belongs to the part whose box
holds its centre. A bundle's manifest says which is which; of a plain model the
labels that --rule names are defects and the rest are parts; --count makes its
label the only part. Without a rule the verdict is NONE (no_rule).`,
		Example: `  # count bottles in a video with a COCO model
  sightline-agent try --source line.mp4 --model yolox_nano.onnx --labels coco --count bottle

  # the shipped model on pictures, as JSON Lines
  sightline-agent try --source pictures/ --model drawn-parts --json

  # pits on real ball screws, each outlined, with its area
  sightline-agent try --source bsdata/images --model pitting --loop --serve 127.0.0.1:8080

  # a network camera with your own Ultralytics export, shown in the browser
  sightline-agent try --source rtsp://user:password@192.0.2.10/stream --model best.onnx \
      --rule 'threshold:scratch>0.6' --serve 127.0.0.1:8080`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.camera.Source, "source", "", "video, picture, folder of pictures, http://, rtsp://, /dev/video0, aravis:NAME, or a GStreamer pipeline")
	modelFlags(cmd, &o.model)
	f.StringVar(&o.model.rule, "rule", "", "what decides: threshold:LABEL>SCORE (defect means any defect), or a .wasm file")
	f.StringVar(&o.model.count, "count", "", "count this label: each thing of it is a part")
	f.BoolVar(&o.camera.Loop, "loop", false, "begin a recording or folder again at its end")
	f.BoolVar(&o.camera.Realtime, "realtime", false, "play a recording at its own rate and drop frames as a camera would")
	f.DurationVar(&o.station.gate, "change-gate", 0, "how long at most a picture in which nothing has changed isn't inspected again, as 500ms; 0: every picture is inspected")
	f.Float64Var(&o.seconds, "seconds", 0, "end after so many seconds; 0: at the source's end or Ctrl-C")
	f.BoolVar(&o.json, "json", false, "print JSON Lines: one object for each part, then the summary")
	f.StringVar(&o.save, "save", "", "folder for a picture of each part and results.jsonl")
	f.StringVar(&o.serve, "serve", "", "show the station at this address, as 127.0.0.1:8080")
	f.Float64Var(&o.mm, "mm-per-px", 0, "mm of the part's surface that a pixel shows, for areas in mm²; 0: not known")
	o.infer.flags(f)
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log what workers and cameras do")
	return cmd
}

// families names those that there are, for help texts.
func families() string {
	var names []string
	for _, f := range infer.Families() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// modelFlags are those that every command with a model has.
func modelFlags(cmd *cobra.Command, o *modelOptions) {
	f := cmd.Flags()
	f.StringVar(&o.model, "model", "", "ONNX file, bundle folder, or the name of a shipped model: "+strings.Join(models.Names(), ", "))
	f.StringVar(&o.family, "family", "", "how a plain model's output is read, where its file doesn't make it certain: "+families())
	f.StringVar(&o.preset, "preset", "", "how pictures are fed to a model whose file doesn't tell: the refusal lists what there is, as torchvision or timm")
	f.StringVar(&o.size, "size", "", "WIDTHxHEIGHT of the input of a model that takes any, as 640x640; default its metadata's")
	f.StringVar(&o.activation, "activation", "", "what makes scores of a model's values, where its last operator doesn't tell: none, sigmoid or softmax")
	f.StringVar(&o.labels, "labels", "", "coco, coco91, or a file with one label a line in the model's order")
	f.Float32Var(&o.conf, "conf", 0, "predict and eval: lowest score; try: score that starts a part, weaker ones only keep it; 0: the model's own, 0.5")
	f.Float32Var(&o.nms, "nms", 0, "IoU above which the weaker of two boxes goes; 0: the family's own")
}

func (o *tryOptions) check() error {
	if err := firstOf(cli.Required("source", o.camera.Source, "line.mp4"), cli.Required("model", o.model.model, "drawn-parts")); err != nil {
		return err
	}
	switch {
	case o.model.rule != "" && o.model.count != "":
		return cli.Usage("--rule and --count exclude each other: a count has no verdict")
	case o.station.gate < 0:
		return cli.Usage("--change-gate %v: must not be negative", o.station.gate)
	case !(o.mm >= 0 && o.mm <= 1000):
		return cli.Usage("--mm-per-px %v: must lie between 0 and 1000", o.mm)
	case o.seconds < 0:
		return cli.Usage("--seconds %v: must not be negative", o.seconds)
	case !(o.model.conf >= 0 && o.model.conf < 1):
		return cli.Usage("--conf %v: must be at least 0 and less than 1", o.model.conf)
	case !(o.model.nms >= 0 && o.model.nms <= 1):
		return cli.Usage("--nms %v: must lie between 0 and 1", o.model.nms)
	}
	return o.infer.check()
}

func (o *tryOptions) run(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	collectLater()
	ctx := cmd.Context()
	log := logger(cmd.ErrOrStderr(), o.verbose)
	c, err := choose(o.model)
	if err != nil {
		return err
	}
	c.tell(cmd.ErrOrStderr())
	programs, threads, err := o.infer.programs(cmd)
	if err != nil {
		return err
	}
	made, err := newAssembly(ctx, programs, log)
	if err != nil {
		return err
	}
	defer made.close(context.WithoutCancel(ctx))
	camera, err := made.camera(&o.camera, "")
	if err != nil {
		return err
	}
	o.station.threads = threads
	o.station.id, o.station.conf, o.station.cameras = "try", o.model.conf, []*agent.Camera{camera}
	o.station.mode = modeOf(o.camera.Source, o.model.count != "")
	o.station.pictures = o.serve != "" || o.save != ""
	station, err := made.station(ctx, o.station, c)
	if err != nil {
		return err
	}
	station.MMPerPixel = o.mm
	report, err := newReport(cmd.OutOrStdout(), o)
	if err != nil {
		return err
	}
	err = o.inspect(ctx, made, station, report)
	return firstOf(err, report.close())
}

// inspect runs the station over a journal that is thrown away.
func (o *tryOptions) inspect(ctx context.Context, made *assembly, cfg agent.StationConfig, report *report) error {
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	j, _, err := journal.Open(dir)
	if err != nil {
		return err
	}
	defer j.Close()
	a := agent.New(agent.Config{Journal: j, Models: made.hired(), Log: made.log, Version: version, Told: report.part, Judge: true, Open: o.serve != "" && !web.Loopback(o.serve)})
	s := a.Add(cfg)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.seconds > 0 {
		defer time.AfterFunc(time.Duration(o.seconds*float64(time.Second)), func() { cancel(nil) }).Stop()
	}
	defer time.AfterFunc(firstFrameLimit, func() {
		if err := noFrame(cfg, fmt.Sprintf(" within %v", firstFrameLimit)); err != nil {
			cancel(err)
		}
	}).Stop()
	if err := serving(ctx, o.serve, a, made.log, report.say); err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if err := noFrame(cfg, " that can be inspected"); err != nil {
		return errors.Join(err, errNothing)
	}
	cpu := cfg.Cameras[0].Source().CPU() + cfg.Model.CPU() + ownCPU()
	return report.summary(s.Figures(), cpu)
}

// modeOf says how the frames of a source belong together.
func modeOf(source string, count bool) track.Mode {
	switch {
	case !capture.Stills(source):
		return track.Stream
	case count:
		return track.Stills
	}
	return track.Pictures
}

// errNothing ends a try that has nothing to sum up.
var errNothing = errors.New("nothing was inspected")

// noFrame says why a source has given nothing, nil if it has.
func noFrame(cfg agent.StationConfig, within string) error {
	st := cfg.Cameras[0].Source().Stats()
	if st.Captured > st.Dropped.Unreadable {
		return nil
	}
	why := st.LastError
	if why == "" {
		why = "it is connected, but nothing comes"
		if st.State == capture.Connecting {
			why = "it doesn't answer"
		}
	}
	return fmt.Errorf("source %s: no picture%s: %s", cfg.Cameras[0].Name(), within, why)
}

// ownCPU is the processor time of this process, its children apart.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// logger writes warnings, or everything, as text for people.
func logger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// told is the verdict that the line hears.
func told(i *agent.Inspection) (vision.Verdict, string) { return i.Told.Verdict, i.Told.Reason }
