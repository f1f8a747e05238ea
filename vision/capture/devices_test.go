package capture

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// machine lays a tree of sysfs and dev as a kernel does: a USB camera with its
// metadata node, a sensor on the board, and what is no camera.
func machine(t *testing.T) (sys, dev string) {
	t.Helper()
	sys, dev = t.TempDir(), t.TempDir()
	put := func(name, text string) {
		t.Helper()
		file := filepath.Join(sys, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	usb := "devices/pci0000:00/0000:00:14.0/usb1/1-2"
	put(usb+"/serial", "A1B2C3\n")
	put(usb+"/1-2:1.0/uevent", "DEVTYPE=usb_interface\nDRIVER=uvcvideo\nPRODUCT=46d/82d/11\n")
	link("../../../devices/pci0000:00/0000:00:14.0/usb1/1-2", filepath.Join(sys, "bus/usb/devices/1-2"))
	put("devices/platform/cam/uevent", "DRIVER=tegra-camrtc-capture\nOF_NAME=vi\n")
	for node, c := range map[string]struct{ device, name, index string }{
		"video0":      {usb + "/1-2:1.0", "HD Pro Webcam C920", "0"},
		"video1":      {usb + "/1-2:1.0", "HD Pro Webcam C920", "1"},
		"video10":     {"devices/platform/cam", "vi-output, imx219 9-0010", "0"},
		"video2":      {"devices/platform/cam", "vi-output, imx219 10-0010", "1"},
		"v4l-subdev0": {"devices/platform/cam", "imx219 9-0010", "0"},
		"vbi0":        {"devices/platform/cam", "vbi", "0"},
	} {
		at := c.device + "/video4linux/" + node
		put(at+"/name", c.name+"\n")
		put(at+"/index", c.index+"\n")
		link("../../../"+filepath.Base(c.device), filepath.Join(sys, at, "device"))
		link("../../"+at, filepath.Join(sys, "class/video4linux", node))
	}
	link("../../video0", filepath.Join(dev, "v4l/by-id/usb-046d_HD_Pro_Webcam_C920_A1B2C3-video-index0"))
	link("../../video1", filepath.Join(dev, "v4l/by-id/usb-046d_HD_Pro_Webcam_C920_A1B2C3-video-index1"))
	write(t, dev, "video10", []byte("an ordinary file"))
	return sys, dev
}

func TestV4L2Devices(t *testing.T) {
	sys, dev := machine(t)
	const noFile = "the kernel knows it, but it has no device file: is it passed on to this container?"
	want := []Device{
		{Source: dev + "/v4l/by-id/usb-046d_HD_Pro_Webcam_C920_A1B2C3-video-index0", Name: "HD Pro Webcam C920", Driver: "uvcvideo", Serial: "A1B2C3", Problem: noFile},
		{Source: dev + "/video2", Name: "vi-output, imx219 10-0010", Driver: "tegra-camrtc-capture", Problem: noFile},
		{Source: dev + "/video10", Name: "vi-output, imx219 9-0010", Driver: "tegra-camrtc-capture", Problem: "it is no V4L2 device"},
	}
	if diff := cmp.Diff(want, V4L2Devices(os.DirFS(sys), dev)); diff != "" {
		t.Error(diff)
	}
}

func TestV4L2DevicesOfStrangeTrees(t *testing.T) {
	if all := V4L2Devices(fstest.MapFS{}, t.TempDir()); all != nil {
		t.Errorf("no sysfs: %+v", all)
	}
	all := V4L2Devices(fstest.MapFS{
		"class/video4linux/video":              {Data: []byte("x")},
		"class/video4linux/video-1/name":       {Data: []byte("x")},
		"class/video4linux/video99999999/name": {Data: []byte("x")},
		"class/video4linux/video3/name":        {Data: []byte("\xff\xfe" + strings.Repeat("n", 10_000))},
		"class/video4linux/video3/device":      {Data: []byte("no link")},
		"class/video4linux/video4":             {Data: []byte("no folder")},
	}, t.TempDir())
	if len(all) != 2 || len(all[0].Name) > 4096 || all[0].Serial != "" || all[1].Name != "" {
		t.Errorf("%+v", all)
	}
	V4L2Devices(os.DirFS("/sys"), "/dev") // this machine's, whatever it has
}

func TestBoundedLook(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stuck := make(chan struct{})
	defer close(stuck)
	if _, err := bounded(ctx, func() []Device { <-stuck; return nil }); err == nil {
		t.Error("a look that never ends ends without an error")
	}
	if all, err := bounded(t.Context(), func() []Device { return []Device{{Name: "one"}} }); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// The list comes from a program, which may be missing, old or broken.
func TestGenICamDevicesOfBrokenPrograms(t *testing.T) {
	program := func(script string) string {
		file := write(t, t.TempDir(), "sightline-capture", []byte("#!/bin/sh\n"+script+"\n"))
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for script, want := range map[string]string{
		`echo "sightline-capture: install libaravis-0.8-0" >&2; exit 1`: "list industrial cameras: install libaravis-0.8-0",
		`echo "[{"`: "unexpected end of JSON input",
		`exit 3`:    "list industrial cameras: exit status 3",
	} {
		if _, err := GenICamDevices(t.Context(), program(script)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
	}
	if _, err := GenICamDevices(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no program: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := GenICamDevices(ctx, program(`exec sleep 60`)); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("a program that hangs: %v after %v", err, time.Since(began))
	}
}

// The camera's answers come from the network, and may be anybody's.
func TestControlledByNobody(t *testing.T) {
	if _, err := controlled("127.0.0.9"); err == nil {
		t.Error("nobody answers, and it is no error")
	}
	if _, err := controlled("no address"); err == nil {
		t.Error("no address, and it is no error")
	}
}
