package capture

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/vision/optics"
	"github.com/sightline-edge/sightline/vision/shm"
)

// Options are what may be said of a source beyond its address. The zero value
// leaves everything to the source. What a source can't heed is an error of New.
type Options struct {
	Credentials string `json:"-"` // file with user:password for RTSP and HTTP; read at each connection

	Transport string  `json:"transport,omitempty"` // RTSP: tcp, the default, or udp
	Rate      float64 `json:"rate,omitempty"`      // pictures a second asked of V4L2 and GenICam cameras, or fetched of a snapshot's address; 0: the camera's own, 1 for a snapshot
	Width     int     `json:"width,omitempty"`     // pixels asked of V4L2 and GenICam cameras, or that an exec program writes
	Height    int     `json:"height,omitempty"`    // pixels
	Format    string  `json:"format,omitempty"`    // V4L2: FOURCC; GenICam: PFNC name as Mono8; exec: one of ExecFormats

	Exposure time.Duration `json:"exposure,omitempty"` // V4L2, GenICam; 0: as the camera is set
	Gain     float64       `json:"gain,omitempty"`     // GenICam, dB; 0: as the camera is set
	Trigger  string        `json:"trigger,omitempty"`  // GenICam: software, or a line as Line0; "": free running

	Watch   bool   `json:"watch,omitempty"`    // a folder: wait for pictures that come
	Order   string `json:"order,omitempty"`    // watched folder: name, the default, or time
	Done    string `json:"done,omitempty"`     // watched folder: keep, the default, move or delete, once Camera.Done has been called
	DoneDir string `json:"done_dir,omitempty"` // where move puts them

	Rotate      int    `json:"rotate,omitempty"`      // degrees clockwise: 0, 90, 180, 270
	Mirror      string `json:"mirror,omitempty"`      // horizontal or vertical; before the rotation
	ROI         [4]int `json:"roi,omitzero"`          // x, y, w, h in pixels of the turned picture; 0 0 0 0: all of it
	Calibration string `json:"calibration,omitempty"` // file that undistorts, before everything else
}

// ExecFormats are what a program may write to its standard output.
var ExecFormats = []string{"BGR24", "GRAY8", "NV12", "MJPEG"}

// limits of what may be asked.
const (
	maxRate   = 1000 // pictures a second
	maxSide   = 20_000
	maxMemory = 1 << 20 // MB
)

// check says what of the options doesn't fit the kind of source. All faults
// are told at once.
func (o *Options) check(src source) error {
	k := src.kind
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	only := func(given bool, name string, kinds ...kind) {
		if given && !slices.Contains(kinds, k) {
			bad("%s is for %s", name, listKinds(kinds))
		}
	}
	only(o.Credentials != "", "credentials", rtsp, httpCamera)
	only(o.Transport != "", "transport", rtsp)
	only(o.Rate != 0, "rate", device, genICam, httpCamera)
	only(o.Width != 0 || o.Height != 0, "size", device, genICam, program)
	only(o.Format != "", "format", device, genICam, program)
	only(o.Exposure != 0, "exposure", device, genICam)
	only(o.Gain != 0, "gain", genICam)
	only(o.Trigger != "", "trigger", genICam)
	only(o.Order != "" || o.Done != "" || o.DoneDir != "", "order and done", watched)
	oneOf := func(name, got string, known ...string) {
		if got != "" && !slices.Contains(known, got) {
			bad("%s must be %s, got %q", name, strings.Join(known, " or "), got)
		}
	}
	oneOf("transport", o.Transport, "tcp", "udp")
	oneOf("order", o.Order, "name", "time")
	oneOf("done", o.Done, "keep", "move", "delete")
	oneOf("mirror", o.Mirror, "horizontal", "vertical")
	if o.Rate < 0 || o.Rate > maxRate || o.Rate != o.Rate {
		bad("rate must be more than 0 and at most %d, got %v", maxRate, o.Rate)
	}
	if (o.Width == 0) != (o.Height == 0) || o.Width < 0 || o.Height < 0 || o.Width > maxSide || o.Height > maxSide {
		bad("size must be width and height of 1 to %d pixels, got %dx%d", maxSide, o.Width, o.Height)
	}
	if o.Exposure < 0 || o.Exposure > maxExposure {
		bad("exposure must be at most 1m, got %v", o.Exposure)
	}
	if !slices.Contains([]int{0, 90, 180, 270}, o.Rotate) {
		bad("rotate must be 0, 90, 180 or 270, got %d", o.Rotate)
	}
	if r := o.ROI; r != [4]int{} && (r[0] < 0 || r[1] < 0 || r[2] <= 0 || r[3] <= 0 || max(r[0]+r[2], r[1]+r[3]) > maxSide) {
		bad("roi must be x, y, width and height in pixels, got %v", r)
	}
	if k == program {
		o.checkProgram(src.at, bad)
	}
	if o.Calibration != "" { // the worker reads it again
		if _, err := optics.ReadCalibration(o.Calibration); err != nil {
			errs = append(errs, err)
		}
	}
	if (o.Done == "move") != (o.DoneDir != "") {
		bad("done: move and the folder to move to belong together")
	}
	return errors.Join(errs...)
}

func (o *Options) checkProgram(command string, bad func(string, ...any)) {
	if words, err := splitWords(command); err != nil || len(words) == 0 {
		bad("name the program behind exec: (%v)", cmp.Or(err, errors.New("there is none")))
	}
	switch {
	case !slices.Contains(ExecFormats, o.Format):
		bad("format must say what the program writes, %s, got %q", strings.Join(ExecFormats, ", "), o.Format)
	case o.Format != "MJPEG" && o.Width == 0:
		bad("size must say how large the program's pictures are, as 1280x720")
	case o.Format == "NV12" && (o.Width%2 != 0 || o.Height%2 != 0):
		bad("size of NV12 pictures must be even, got %dx%d", o.Width, o.Height)
	}
}

// checkConfig is what of a Config can be wrong besides the options.
func (cfg *Config) check(src source) error {
	k := src.kind
	switch {
	case cfg.Slots < 2 || cfg.Slots > shm.MaxSlots:
		return fmt.Errorf("%d frame slots: 2 to %d are possible", cfg.Slots, shm.MaxSlots)
	case k == httpCamera && cfg.Rate > 0 && cfg.Silence.Seconds() < 1/cfg.Rate:
		return fmt.Errorf("silence of %v is shorter than the time between two pictures at a rate of %v: leave it out, or make it longer", cfg.Silence, cfg.Rate)
	case cfg.Silence < 100*time.Millisecond:
		return fmt.Errorf("silence of %v: at least 100ms", cfg.Silence)
	case cfg.MemoryMB < 16 || cfg.MemoryMB > maxMemory:
		return fmt.Errorf("memory of %d MB: 16 to %d are possible", cfg.MemoryMB, maxMemory)
	case cfg.Watch && k != watched:
		return errors.New("watch is for a folder")
	case cfg.Loop && k.live():
		return errors.New("a camera has no end to loop at; only files and folders can be looped")
	case cfg.Realtime && (k == folder || k == pictureOne):
		return errors.New("pictures have no time stamps to be played by; real time is for recordings")
	case k.native() && cfg.CaptureBinary == "":
		return errors.New("videos, RTSP, devices and industrial cameras need sightline-capture, which isn't installed: run make setup and make build, or install its package")
	case !k.native() && cfg.SelfExecutable == "":
		return errors.New("no program to read it with")
	}
	return cfg.Options.check(src)
}
