package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sightline-edge/sightline/agent"
	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/quality"
	"github.com/sightline-edge/sightline/vision/track"
)

// camera makes a camera as the configuration describes it; stationCameras makes
// each once for all its stations.
func (a *assembly) camera(c *config.Camera, data string) (*agent.Camera, error) {
	if capture.Stills(c.Source) {
		c.Realtime = false
	}
	source, err := capture.New(a.captureConfig(c))
	if err != nil {
		return nil, err
	}
	cfg := agent.CameraConfig{ID: c.ID, Source: source, Address: capture.Redact(c.Source), Checks: map[quality.Fault]agent.Severity{}, Log: a.log}
	for name, effect := range c.Checks.ByFault() {
		if f, ok := quality.ParseFault(name); ok {
			cfg.Checks[f] = map[config.Effect]agent.Severity{config.Rejects: agent.Rejects, config.Off: agent.Ignored}[effect]
		}
	}
	if err := rememberReference(&cfg, c, data); err != nil {
		return nil, err
	}
	return agent.NewCamera(cfg), nil
}

// captureConfig is how the source of a camera is read.
func (a *assembly) captureConfig(c *config.Camera) capture.Config {
	w, h := c.Pixels()
	cfg := capture.Config{
		Source: c.Source, Loop: c.Loop, Realtime: c.Realtime, Silence: c.Silence, MemoryMB: c.MemoryMB, Log: a.log,
		CaptureBinary: a.programs.capture, SelfExecutable: a.programs.self, SelfArgs: []string{"worker", "capture"},
		Options: capture.Options{
			Credentials: c.Credentials, Transport: c.Transport, Rate: c.Rate, Width: w, Height: h, Format: c.Format,
			Exposure: c.Exposure, Gain: c.Gain, Trigger: c.Trigger, Watch: c.Watch, Order: c.Order, Done: c.Done, DoneDir: c.DoneTo,
			Rotate: c.Rotate, Mirror: c.Mirror, Calibration: c.Calibration,
		},
	}
	if len(c.ROI) == 4 {
		cfg.ROI = [4]int(c.ROI)
	}
	return cfg
}

// rememberReference loads the camera's reference picture: the one that the
// configuration names, or the one that was set on the page, which is kept in the
// data directory. Without a directory none is kept. One that was kept and can't be
// read any more is told by the camera's state, and keeps nobody from starting.
func rememberReference(cfg *agent.CameraConfig, c *config.Camera, data string) error {
	path := c.Reference
	if path == "" {
		if data == "" {
			return nil
		}
		path = filepath.Join(data, "cameras", c.ID+".jpg")
		cfg.Keep = func(f *vision.Frame) error { return keepReference(path, f) }
	}
	text, err := picture.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && c.Reference == "" {
		return nil
	}
	if err == nil {
		var f vision.Frame
		f, err = picture.Decode(text, nil)
		cfg.Reference = &f
	}
	switch {
	case err != nil && c.Reference == "":
		cfg.Log.Warn("reference picture", "file", path, "err", err)
		cfg.Reference = &vision.Frame{} // which is no picture
	case err != nil:
		return about("reference", fmt.Errorf("read the reference picture %s: %w: name another one", path, err))
	}
	return nil
}

// keepReference writes a reference picture, whole or not at all.
func keepReference(path string, f *vision.Frame) error {
	jpeg, err := picture.EncodeJPEG(f, picture.Encoding{Quality: 95})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o750)
	}
	if err == nil {
		err = whole.Write(path, jpeg, 0o640)
	}
	if err != nil {
		return fmt.Errorf("keep the reference picture: %w", err)
	}
	return nil
}

// stationCameras makes the cameras of the station i, or takes those that another
// station has already. Errors stand at the cameras' lines.
func (a *assembly) stationCameras(cfg *config.Config, i int) ([]*agent.Camera, track.Mode, error) {
	var all []*agent.Camera
	var faults config.Faults
	s, stills := &cfg.Stations[i], 0
	for _, id := range s.Cameras {
		c := cfg.Camera(id)
		if c == nil {
			continue // the configuration's own check has told
		}
		if capture.Stills(c.Source) {
			stills++
		}
		made := a.cameras[id]
		if made == nil {
			var err error
			if made, err = a.camera(c, cfg.Data); err != nil {
				faults = append(faults, cameraFault(cfg, c, err)...)
				continue
			}
			a.cameras[id] = made
		}
		all = append(all, made)
	}
	mode := track.Stream
	if stills > 0 {
		mode = track.Pictures
	}
	if stills > 0 && stills < len(s.Cameras) {
		faults = append(faults, cfg.Fault(fmt.Sprintf("stations[%d].cameras", i), fmt.Sprintf("station %s has both cameras and folders of pictures: give each its own station", s.ID)))
	}
	if len(faults) > 0 {
		return nil, mode, faults
	}
	return all, mode, nil
}

// cameraFault places what is wrong with a camera at its lines of the file.
func cameraFault(cfg *config.Config, c *config.Camera, err error) config.Faults {
	key := "source"
	var known aboutSetting
	if errors.As(err, &known) {
		key = known.key
	}
	return config.Faults{cfg.Fault(c.Key(key), err.Error())}
}
