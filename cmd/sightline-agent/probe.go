package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/quality"
)

// probeOptions is what a person says about a probe.
type probeOptions struct {
	camera  config.Camera
	config  string
	seconds float64
	save    string
	json    bool
	verbose bool
}

func newProbe() *cobra.Command {
	o := probeOptions{camera: config.DefaultCamera()}
	cmd := &cobra.Command{
		Use:   "probe SOURCE",
		Short: "try a camera, measure it and save a picture",
		Long: `probe reads a camera for some seconds and tells what it is and how well it
delivers: codec, size, the rate that it announces and the one that comes, the
time to its first picture, the jitter of the delivery, the drift of its clock,
what was lost, brightness and sharpness. The last picture is saved.

SOURCE is what camera.source of the configuration may be, or with --config the
name of a camera there.`,
		Example: `  sightline-agent cameras probe rtsp://192.0.2.10/stream --credentials cam.txt
  sightline-agent cameras probe aravis:Basler-40123456 --format Mono8 --exposure 2ms
  sightline-agent cameras probe left --config station.yaml --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage("name one camera, as in: sightline-agent cameras probe rtsp://192.0.2.10/stream")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.choose(cmd, args[0]); err != nil {
				return err
			}
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "configuration that has a camera of that name")
	f.Float64Var(&o.seconds, "seconds", 5, "how long to measure, from the first picture")
	f.StringVar(&o.save, "save", "probe.jpg", "file for the last picture; \"\" saves none")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log what the capture process does")
	cameraFlags(cmd, &o.camera)
	return cmd
}

// cameraFlags are a camera's settings as flags, for a source that stands in no
// configuration.
func cameraFlags(cmd *cobra.Command, c *config.Camera) {
	f := cmd.Flags()
	f.StringVar(&c.Credentials, "credentials", "", "file with user:password, for RTSP and HTTP")
	f.StringVar(&c.Transport, "transport", "", "RTSP: tcp or udp")
	f.Float64Var(&c.Rate, "rate", 0, "pictures a second asked of the camera")
	f.StringVar(&c.Size, "size", "", "width and height asked of the camera, as 1280x720")
	f.StringVar(&c.Format, "format", "", "pixel format: MJPG or YUYV (V4L2), Mono8 or BayerRG8 (industrial), BGR24, GRAY8, NV12, MJPEG (exec:)")
	f.DurationVar(&c.Exposure, "exposure", 0, "exposure time, as 5ms")
	f.Float64Var(&c.Gain, "gain", 0, "gain of industrial cameras, dB")
	f.StringVar(&c.Trigger, "trigger", "", "industrial cameras: software (fired here five times a second), or a line as Line0")
}

// choose takes the camera of that name of the configuration, or the source.
func (o *probeOptions) choose(cmd *cobra.Command, what string) error {
	if o.seconds <= 0 || o.seconds > 3600 {
		return cli.Usage("--seconds %v: must be more than 0 and at most 3600", o.seconds)
	}
	if o.config == "" {
		o.camera.Source = what
		if o.camera.Size != "" {
			if w, _ := o.camera.Pixels(); w == 0 {
				return cli.Usage("--size %q: must be width and height, as 1280x720", o.camera.Size)
			}
		}
		return nil
	}
	for _, name := range []string{"credentials", "transport", "rate", "size", "format", "exposure", "gain", "trigger"} {
		if cmd.Flags().Changed(name) {
			return cli.Usage("--%s and --config exclude each other: a camera of the configuration has its settings there", name)
		}
	}
	cfg, err := config.Load(o.config)
	if err != nil {
		return err
	}
	c := cfg.Camera(what)
	if c == nil {
		return fmt.Errorf("%s has no camera %q", o.config, what)
	}
	o.camera = *c
	return nil
}

func (o *probeOptions) run(cmd *cobra.Command) error {
	programs, err := findCapture()
	if err != nil {
		return err
	}
	a := &assembly{programs: programs, log: slog.New(slog.DiscardHandler)} // the end tells why nothing came
	if o.verbose {
		a.log = logger(cmd.ErrOrStderr(), true)
	}
	o.camera.Realtime = !capture.Stills(o.camera.Source)
	camera, err := capture.New(a.captureConfig(&o.camera))
	if err != nil {
		return err
	}
	p, err := o.measure(cmd.Context(), camera)
	if err == nil && o.save != "" {
		err = savePicture(o.save, &p.last)
	}
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(p.result(o))
	}
	p.result(o).print(cmd.OutOrStdout())
	return nil
}

// probe is what was seen of a camera.
type probe struct {
	began  time.Time
	came   []time.Time     // of each picture
	taken  []time.Time     // as well as its time is known
	stamps []time.Duration // by the camera's own clock
	last   vision.Frame    // owns its pixels
	stats  capture.Stats
}

// maxProbed bounds how many pictures a probe keeps the times of.
const maxProbed = 1_000_000

// measure reads the camera until the time is over or it ends.
func (o *probeOptions) measure(ctx context.Context, camera *capture.Camera) (*probe, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p := &probe{began: time.Now()}
	feed := camera.Feed()
	ended := make(chan error, 1)
	go func() { ended <- camera.Run(ctx) }()
	if camera.Triggers() {
		go fire(ctx, camera)
	}
	limit, end := context.WithCancel(ctx)
	defer end()
	clock := time.AfterFunc(firstFrameLimit, end)
	defer clock.Stop()
	for len(p.came) < maxProbed {
		f, err := feed.Next(limit)
		if err != nil {
			break
		}
		if len(p.came) == 0 {
			clock.Reset(time.Duration(o.seconds * float64(time.Second)))
		}
		p.take(f)
		f.Release()
	}
	p.stats = camera.Stats()
	stop()
	err := <-ended
	for f, left := feed.Next(ctx); left == nil; f, left = feed.Next(ctx) {
		f.Release()
	}
	if len(p.came) > 0 {
		return p, nil
	}
	why := p.stats.LastError
	if why == "" {
		why = "nothing came"
	}
	return nil, errors.Join(fmt.Errorf("camera %s: no picture within %v: %s", capture.Redact(o.camera.Source), firstFrameLimit, why), err)
}

// fire triggers the camera five times a second until the context ends.
func fire(ctx context.Context, camera *capture.Camera) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = camera.Fire() // before it is open, and after it is lost, it can't
		}
	}
}

func (p *probe) take(f *capture.Frame) {
	p.came = append(p.came, f.Came)
	p.taken = append(p.taken, f.Captured)
	p.stamps = append(p.stamps, f.Stamp)
	pix := append(p.last.Pix[:0], f.Pix...)
	p.last = f.Frame
	p.last.Pix = pix
}

func savePicture(path string, f *vision.Frame) error {
	jpeg, err := picture.EncodeJPEG(f, picture.Encoding{Quality: 95})
	if err == nil {
		err = os.WriteFile(path, jpeg, 0o644)
	}
	if err != nil {
		return fmt.Errorf("save the picture: %w", err)
	}
	return nil
}

// probeResult is what probe prints, as JSON or for people.
type probeResult struct {
	Source        string   `json:"source"`
	Codec         string   `json:"codec,omitempty"`
	Reader        string   `json:"reader,omitempty"`
	Width         int      `json:"width"`
	Height        int      `json:"height"`
	Format        string   `json:"format"` // bgr24 or gray8
	FirstMS       float64  `json:"first_picture_ms"`
	Pictures      int      `json:"pictures"`
	Seconds       float64  `json:"seconds"`           // first picture → last
	Rate          float64  `json:"rate_hz,omitempty"` // measured; 0 of fewer than two pictures
	Announced     float64  `json:"announced_rate_hz,omitempty"`
	JitterMS      float64  `json:"jitter_ms"` // standard deviation of the intervals between deliveries
	JitterP99     float64  `json:"jitter_p99_ms"`
	GapMS         float64  `json:"longest_gap_ms"`
	Timing        string   `json:"timing"`
	Drift         *float64 `json:"clock_drift_ppm,omitempty"` // of the camera's clock against this one; absent where it tells none
	DriftInterval float64  `json:"clock_drift_interval_ppm,omitempty"`
	Late          uint64   `json:"frames_late"`
	Unreadable    uint64   `json:"frames_unreadable"`
	Incomplete    uint64   `json:"frames_incomplete"`
	Stale         uint64   `json:"frames_stale"`
	Mean          float64  `json:"brightness"` // 0 to 255
	Dark          float64  `json:"dark_share"`
	Bright        float64  `json:"overexposed_share"`
	Sharpness     float64  `json:"sharpness"`
	Saved         string   `json:"saved,omitempty"`
}

func (p *probe) result(o *probeOptions) probeResult {
	st, n := &p.stats, len(p.came)
	m := quality.Measure(&p.last)
	r := probeResult{
		Source: capture.Redact(o.camera.Source), Codec: st.Codec, Reader: st.Reader, Width: p.last.Width, Height: p.last.Height, Format: "bgr24",
		FirstMS: ms(p.came[0].Sub(p.began)), Pictures: n, Seconds: p.came[n-1].Sub(p.came[0]).Seconds(), Announced: st.AnnouncedRate,
		Timing: p.last.Timing.String(), Late: st.Dropped.Late + st.Dropped.NoSlot + st.Dropped.Overwritten, Unreadable: st.Dropped.Unreadable,
		Incomplete: st.Dropped.Incomplete, Stale: st.Dropped.Stale,
		Mean: m.Mean, Dark: m.Dark, Bright: m.Bright, Sharpness: m.Sharpness, Saved: o.save,
	}
	if p.last.Format == vision.Gray8 {
		r.Format = "gray8"
	}
	if n > 1 && r.Seconds > 0 {
		r.Rate = float64(st.Captured-st.Dropped.Stale-1) / r.Seconds
		r.JitterMS, r.JitterP99, r.GapMS = jitter(p.came)
	}
	if ppm, half, ok := drift(p.stamps, p.came); ok {
		r.Drift, r.DriftInterval = &ppm, half
	}
	return r
}

// print tells a result to people.
func (r probeResult) print(w io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(w, r.Source)
	codec := r.Codec
	if codec == "" {
		codec = "pictures"
	}
	line("stream", "%s by %s, %d×%d, %s", codec, r.Reader, r.Width, r.Height, r.Format)
	line("first", "picture after %.0f ms", r.FirstMS)
	announced := "none announced"
	if r.Announced > 0 {
		announced = fmt.Sprintf("%.4g announced", r.Announced)
	}
	line("rate", "%.2f /s measured over %d pictures in %.1f s, %s", r.Rate, r.Pictures, r.Seconds, announced)
	if r.Announced > 0 && r.Rate > 0 && (r.Rate > 1.2*r.Announced || r.Rate < r.Announced/1.2) {
		line("", "the announced rate is wrong, or pictures are lost; Sightline goes by what comes")
	}
	line("delivery", "jitter %.1f ms (99 of 100 within %.1f ms), longest gap %.0f ms", r.JitterMS, r.JitterP99, r.GapMS)
	switch {
	case r.Drift != nil && r.DriftInterval > 300:
		line("clock", "pictures are timed as %s; the drift of the camera's clock needs longer to be seen: --seconds 60", r.Timing)
	case r.Drift != nil:
		line("clock", "pictures are timed as %s; the camera's clock runs %+.0f ± %.0f ppm against this device's", r.Timing, *r.Drift, r.DriftInterval)
	default:
		line("clock", "pictures are timed as %s; the camera tells no time of its own", r.Timing)
	}
	line("lost", "%d incomplete, %d unreadable, %d stale, %d passed over for newer ones", r.Incomplete, r.Unreadable, r.Stale, r.Late)
	line("picture", "brightness %.0f of 255, %.1f %% dark, %.1f %% overexposed, sharpness %.1f", r.Mean, 100*r.Dark, 100*r.Bright, r.Sharpness)
	if r.Saved != "" {
		line("saved", "%s", r.Saved)
	}
}
