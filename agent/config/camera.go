package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Camera says where pictures come from, and how they are taken.
type Camera struct {
	ID       string `yaml:"id" example:"left" doc:"Name of the camera, in the list of cameras: letters, digits, dot, dash and underscore, at most 64. A camera that stands at its station has the station's name."`
	Source   string `yaml:"source" need:"yes" example:"\"rtsp://192.0.2.10/stream\"" doc:"rtsp://…, http://… (MJPEG, or the address of a snapshot), /dev/video0 (V4L2), aravis:NAME (GigE Vision, USB3 Vision), exec:PROGRAM (writes raw frames), gst:PIPELINE, a video file, a picture, or a folder of pictures. docs/cameras.md tells of each."`
	Loop     bool   `yaml:"loop" doc:"Begin a file or folder again when it is over."`
	Realtime bool   `yaml:"realtime" doc:"Play a file at its own rate, as a camera would; false reads every frame as fast as it can be inspected. Cameras are always real time."`

	Credentials string        `yaml:"credentials" doc:"File with one line, user:password, for RTSP and HTTP; or the name of a systemd credential. It is read at each connection, so it may be changed."`
	Transport   string        `yaml:"transport" doc:"RTSP: tcp, or udp where the camera or the network needs it. Empty: tcp."`
	Rate        float64       `yaml:"rate" doc:"Pictures a second asked of V4L2 and industrial cameras, or fetched from a snapshot's address. 0: the camera's own; 1 for snapshots."`
	Size        string        `yaml:"size" example:"1280x720" doc:"Width and height in pixels asked of V4L2 and industrial cameras, or that an exec: program writes."`
	Format      string        `yaml:"format" doc:"V4L2: a FOURCC as MJPG, YUYV or GREY; industrial cameras: a pixel format as Mono8 or BayerRG8; exec: BGR24, GRAY8, NV12 or MJPEG."`
	Exposure    time.Duration `yaml:"exposure" doc:"Exposure time of V4L2 and industrial cameras, as 5ms or 800us. 0: as the camera is set."`
	Gain        float64       `yaml:"gain" doc:"Gain of industrial cameras, dB. 0: as the camera is set."`
	Trigger     string        `yaml:"trigger" doc:"Industrial cameras: software, or the line that triggers, as Line0. Empty: the camera runs freely."`

	Watch  bool   `yaml:"watch" doc:"A folder: go on waiting for pictures that come into it. Each is one part."`
	Order  string `yaml:"order" doc:"Watched folder: name or time, by which waiting pictures are taken. Empty: name."`
	Done   string `yaml:"done" doc:"Watched folder: keep, move or delete pictures whose verdict is on disk. Empty: keep."`
	DoneTo string `yaml:"done_to" doc:"Watched folder: where done: move puts them."`

	Calibration string `yaml:"calibration" doc:"File with the lens's calibration (ROS camera_info or OpenCV), which takes its distortion out."`
	Mirror      string `yaml:"mirror" doc:"horizontal or vertical. Empty: not at all."`
	Rotate      int    `yaml:"rotate" doc:"Turn the picture by 0, 90, 180 or 270 degrees clockwise, after mirror."`
	ROI         []int  `yaml:"roi" example:"[100, 50, 800, 600]" doc:"What of the turned picture is inspected: x, y, width, height in pixels. Empty: all of it."`

	Silence   time.Duration `yaml:"silence" doc:"How long nothing may come before the camera counts as silent, at least 100ms; after twice that it is reached anew. 0: 1.5s, or two and a half periods of a lower rate. Cameras slower than one picture a second need it."`
	MemoryMB  int           `yaml:"memory_mb" doc:"Memory at which the camera's process is started again, MB (10^6 bytes), 16 to 1048576. 0: 1024."`
	Reference string        `yaml:"reference" doc:"A picture of what the camera should see; it is told when it has moved. Empty: the one that was set on the camera's page, if there is one."`
	Checks    Checks        `yaml:"checks" doc:"What happens when its pictures can't be trusted: warn, none (parts that were in view meanwhile get NONE, and so are rejected), or off."`

	key   string // of its settings in the file, as cameras[0] or stations[1].camera
	named bool   // of a station: only the name of one of the list
}

// Effect is what a fault of a camera's pictures brings about.
type Effect string

// The values of Effect.
const (
	Warns   Effect = "warn"
	Rejects Effect = "none"
	Off     Effect = "off"
)

// Checks says for each fault of a camera's pictures what it brings about.
type Checks struct {
	Frozen      Effect `yaml:"frozen" doc:"The same picture comes again and again."`
	Dark        Effect `yaml:"dark" doc:"There is hardly any light."`
	Overexposed Effect `yaml:"overexposed" doc:"There is too much of it."`
	Blurred     Effect `yaml:"blurred" doc:"The picture has lost its sharpness: a dirty lens, the focus."`
	Moved       Effect `yaml:"moved" doc:"The camera looks at another place than its reference picture."`
	Flicker     Effect `yaml:"flicker" doc:"The brightness swings: the lamps and the exposure time don't go together."`
}

// ByFault gives the effects by the faults' names.
func (c Checks) ByFault() map[string]Effect {
	return map[string]Effect{
		"frozen": c.Frozen, "dark": c.Dark, "overexposed": c.Overexposed, "blurred": c.Blurred, "moved": c.Moved, "flicker": c.Flicker,
	}
}

// DefaultCamera is a camera before its part of a file is read.
func DefaultCamera() Camera {
	return Camera{
		Realtime: true,
		Checks:   Checks{Frozen: Rejects, Dark: Warns, Overexposed: Warns, Blurred: Warns, Moved: Warns, Flicker: Warns},
	}
}

// Pixels are the width and height of Size, 0 0 if it is empty or no size.
func (c *Camera) Pixels() (w, h int) {
	if !size.MatchString(c.Size) {
		return 0, 0
	}
	left, right, _ := strings.Cut(c.Size, "x")
	w, _ = strconv.Atoi(left) // digits, as matched
	h, _ = strconv.Atoi(right)
	return w, h
}

// size is how Size is written.
var size = regexp.MustCompile(`^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$`)

// Key is the path of one of the camera's settings in the file, for Config.Fault.
func (c *Camera) Key(setting string) string { return c.key + "." + setting }

// Camera is the camera of that name, nil if there is none.
func (c *Config) Camera(id string) *Camera {
	for i := range c.Cameras {
		if c.Cameras[i].ID == id {
			return &c.Cameras[i]
		}
	}
	return nil
}

// cameras checks the cameras of the list and those that stand at their station,
// which join the list. Afterwards each station has the names of its cameras.
func (v *validator) cameras() {
	ids, sources := map[string]string{}, map[string]*Camera{}
	for i := range v.config.Cameras {
		c := &v.config.Cameras[i]
		c.key = fmt.Sprintf("cameras[%d]", i)
		switch {
		case c.named:
			v.fault(c.key, "must hold settings as \"key: value\", got %s", shown(c.ID))
			continue
		case c.ID == "":
			v.fault(c.Key("id"), "is missing: a name by which stations say that they use it, as left")
		case !identifier.MatchString(c.ID):
			v.fault(c.Key("id"), "must be letters, digits, dot, dash and underscore, at most 64, got %s", shown(c.ID))
		case ids[c.ID] != "":
			v.fault(c.Key("id"), "%s is also the name of the camera at line %d: give each its own", shown(c.ID), lineOf(v.config.lines, ids[c.ID]))
		}
		if c.ID != "" {
			ids[c.ID] = cmp.Or(ids[c.ID], c.Key("id"))
		}
		v.camera(c)
		v.sameDevice(c, sources)
	}
	listed := len(v.config.Cameras)
	used := map[string]bool{}
	for i := range v.config.Stations {
		v.camerasOf(i, ids, sources)
		for _, id := range v.config.Stations[i].Cameras {
			used[id] = true
		}
	}
	for i := range v.config.Cameras[:listed] {
		if c := &v.config.Cameras[i]; !used[c.ID] && c.ID != "" {
			v.warn(c.Key("id"), "no station uses the camera %s: it isn't read", shown(c.ID))
		}
	}
}

// camerasOf finds the cameras of a station.
func (v *validator) camerasOf(i int, ids map[string]string, sources map[string]*Camera) {
	s := &v.config.Stations[i]
	key := func(name string) string { return fmt.Sprintf("stations[%d].%s", i, name) }
	one := v.set(key("camera"))
	switch {
	case one && v.set(key("cameras")):
		v.fault(key("cameras"), "camera is set too: keep one of them")
		return
	case one && s.Camera.named:
		s.Cameras = []string{s.Camera.ID}
		v.known(key("camera"), s.Camera.ID, ids)
		return
	case len(s.Cameras) > 0:
		for n, id := range s.Cameras {
			v.known(fmt.Sprintf("%s[%d]", key("cameras"), n), id, ids)
			if id != "" && slices.Contains(s.Cameras[:n], id) {
				v.fault(key("cameras"), "%s stands there twice", shown(id))
			}
		}
		return
	case !one && v.set(key("cameras")):
		v.fault(key("cameras"), "is empty: name one of the list cameras, or write the settings of one as camera: {source: …}")
		return
	}
	c := s.Camera
	c.key = key("camera")
	if c.ID != "" {
		v.fault(c.Key("id"), "only the cameras of the list cameras have a name; this one has its station's")
	}
	if before := ids[s.ID]; before != "" && s.ID != "" {
		v.fault(key("id"), "%s is also the name of the camera at line %d: give the station another, or let it use that camera", shown(s.ID), lineOf(v.config.lines, before))
	}
	c.ID = s.ID
	v.camera(&c)
	v.sameDevice(&c, sources)
	s.Camera, s.Cameras = c, []string{c.ID}
	v.config.Cameras = append(v.config.Cameras, c)
}

// known checks that a station's camera is one of the list.
func (v *validator) known(key, id string, ids map[string]string) {
	if ids[id] != "" {
		return
	}
	names := make([]string, 0, len(ids))
	for name := range ids {
		names = append(names, name)
	}
	slices.Sort(names)
	switch {
	case len(names) == 0:
		v.fault(key, "there is no camera %s: add it to the list cameras, or write its settings here, as {source: …}", shown(id))
	case nearest(id, names) != "":
		v.fault(key, "there is no camera %s; did you mean %s?", shown(id), nearest(id, names))
	default:
		v.fault(key, "there is no camera %s; there are %s", shown(id), strings.Join(names, ", "))
	}
}

// camera checks one camera's settings and resolves its paths. What fits which
// kind of source is known to whoever reads them.
func (v *validator) camera(c *Camera) {
	c.Source = v.source(c.Key("source"), c.Source)
	if c.Credentials != "" && !isCredential(c.Credentials) {
		c.Credentials = v.file(c.Key("credentials"), c.Credentials)
	}
	c.Calibration = v.file(c.Key("calibration"), c.Calibration)
	c.Reference = v.file(c.Key("reference"), c.Reference)
	c.DoneTo = v.config.resolve(c.DoneTo)
	if c.Size != "" && !size.MatchString(c.Size) {
		v.fault(c.Key("size"), "must be width and height as 1280x720, got %s", shown(c.Size))
	}
	if n := len(c.ROI); n != 0 && n != 4 {
		v.fault(c.Key("roi"), "must be four numbers, x, y, width and height, got %d", n)
	}
	if c.Silence != 0 && (c.Silence < 100*time.Millisecond || c.Silence > 10*time.Minute) {
		v.fault(c.Key("silence"), "must be 100ms to 10m, or 0 for the usual, got %v", c.Silence)
	}
	if c.MemoryMB != 0 && (c.MemoryMB < 16 || c.MemoryMB > 1<<20) {
		v.fault(c.Key("memory_mb"), "must be 16 to 1048576, or 0 for the usual, got %d", c.MemoryMB)
	}
	effects := c.Checks.ByFault()
	for _, name := range []string{"frozen", "dark", "overexposed", "blurred", "moved", "flicker"} {
		if e := effects[name]; e != Warns && e != Rejects && e != Off {
			v.fault(c.Key("checks."+name), "must be warn, none or off, got %s", shown(string(e)))
		}
	}
	if u := withPassword.FindString(c.Source); u != "" && c.Credentials != "" {
		v.fault(c.Key("credentials"), "the address has a user too: keep one of them")
	}
}

// withPassword finds the user in an address.
var withPassword = regexp.MustCompile(`^[a-z]+://[^/?#]*@`)

// isCredential tells whether systemd has given the service a credential of that name.
func isCredential(name string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || strings.ContainsRune(name, '/') {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// sameDevice tells of a source that another camera has already: two processes
// would fight for it.
func (v *validator) sameDevice(c *Camera, sources map[string]*Camera) {
	src := sameSource(c.Source)
	if before := sources[src]; before != nil && src != "" {
		v.fault(c.Key("source"), "%s is also the source of the camera at line %d: put it into the list cameras once, and let the stations name it",
			shown(c.Source), lineOf(v.config.lines, before.Key("source")))
		return
	}
	sources[src] = c
}
